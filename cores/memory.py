"""How much memory a process and its workers may take, and what they share."""

from __future__ import annotations

import math
import re
from pathlib import Path

from cores.control_groups import group_limits

_weights_are_shared = False


def share_weights() -> None:
    """Let this process, one of several workers, map files of weights from now on.

    The workers then share the pages of the files that they do not change. A process that a user has
    started does not, since a mapped file may not be written to.
    """
    global _weights_are_shared
    _weights_are_shared = True


def weights_are_shared() -> bool:
    """Return whether files of weights are to be mapped."""
    return _weights_are_shared


def available_memory(root: Path = Path("/")) -> float:
    """Return how many bytes may be taken yet: of the system, and of the control groups.

    Args:
        root: the folder that holds `proc` and `sys`.

    Returns:
        The number of bytes; infinity where nothing states it.
    """
    limits = list(group_limits(root, "memory", _rest_v2, _rest_v1))
    try:
        text = (root / "proc/meminfo").read_text(encoding="ascii")
    except (OSError, ValueError):
        text = ""
    if match := re.search(r"^MemAvailable: +(\d+) kB$", text, re.MULTILINE):
        limits.append(int(match[1]) * 1024)
    return max(0.0, min(limits, default=math.inf))


def _rest_v2(folder: Path) -> float | None:
    limit = (folder / "memory.max").read_text(encoding="ascii").strip()
    if limit == "max":
        return None
    return int(limit) - _number(folder / "memory.current") + _cached(folder, "inactive_file")


def _rest_v1(folder: Path) -> float | None:
    limit, used = (_number(folder / f"memory.{name}_in_bytes") for name in ("limit", "usage"))
    return limit - used + _cached(folder, "total_inactive_file")


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _cached(folder: Path, name: str) -> int:
    """Return the memory of files that the group counts as its own, but gives back if needed."""
    text = (folder / "memory.stat").read_text(encoding="ascii")
    match = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
    return int(match[1]) if match else 0
