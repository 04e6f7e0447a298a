"""Files of a Linux system about control groups, for tests."""

from __future__ import annotations


def write_system(root, group, files):
    """Write /proc/self/cgroup, and further files below a folder that stands for the root."""
    for path, content in {"proc/self/cgroup": group, **files}.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root
