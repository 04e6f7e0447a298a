"""The limits of the control groups (Linux) of this process, as containers set them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

ReadLimit = Callable[[Path], "float | None"]
"""Reads the limit in the folder of a control group; None where there is none."""


def group_limits(
    root: Path, controller: str, read_v2: ReadLimit, read_v1: ReadLimit
) -> Iterator[float]:
    """Yield the limits of this process's control groups and of those around them.

    Args:
        root: the folder that holds `proc` and `sys`.
        controller: the name of the controller, such as "cpu".
        read_v2: reads a limit of version 2 of control groups.
        read_v1: reads one of version 1.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            yield from _each_limit(root / "sys/fs/cgroup", group, read_v2)
        elif controller in controllers.split(","):
            for mount in (controllers, controller):
                yield from _each_limit(root / "sys/fs/cgroup" / mount, group, read_v1)


def _each_limit(mount: Path, group: str, read: ReadLimit) -> Iterator[float]:
    """Yield the limits of a control group and its parents; a container sees its own as the root."""
    path = PurePosixPath(group.lstrip("/"))
    for part in (path, *path.parents):
        try:
            limit = read(mount / part)
        except (OSError, ValueError, ZeroDivisionError):
            continue
        if limit is not None:
            yield limit
