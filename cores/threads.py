"""Threads that suit the cores which this process may use, also where other processes use them.

OpenMP's threads wait for each other in a loop ("spinning") that takes the core from the thread they
wait for if another process has the other cores: a page then takes many times as long. Threads that
sleep while they wait cost little on an idle machine. OpenMP reads its settings when PyTorch is
imported, so they have to be made before.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from cores.control_groups import group_limits

logger = logging.getLogger(__name__)

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""The variables by which a user sets how threads wait, of any OpenMP, of GNU's and of LLVM's."""
SLEEPING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
"""Threads sleep; those of GNU's OpenMP first look a thousand times, within microseconds."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""The variables that bound the threads of PyTorch, Paddle and NumPy."""
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""The variable by which PyTorch puts large maps into pages of 2 MB, which the CPU finds faster."""
PRIMITIVES = 256
"""How many compiled operations oneDNN keeps; by default 1,024, each for one size of an input.

After lines of 250 widths a process with the recogniser of PP-OCRv4 takes 473 MB, with 64 operations
439 MB, with the default twice as much, and all take the same time. A network has up to about a
hundred: with 64, SLANet_plus takes 7 % longer.
"""

_QUOTA_V1, _PERIOD_V1 = "cpu.cfs_quota_us", "cpu.cfs_period_us"


def configure_threads(threads: int | None = None) -> Mapping[str, str]:
    """Bound the number of threads, and let them sleep while they wait.

    Call it before PyTorch is imported, as the command lines do; child processes inherit the
    settings. Variables that are set already are left as they are.

    Args:
        threads: the number of threads; by default the frameworks' own choice, unless a quota of
            this process's control group is lower than that.

    Returns:
        The environment variables that were set.
    """
    if threads is None and (cores := available_cores()) < _affinity():
        threads = cores
    counts = dict.fromkeys(THREADS, str(threads)) if threads is not None else {}
    return {**configure_waiting(), **_set_defaults(os.environ, counts)}


def configure_waiting() -> Mapping[str, str]:
    """Let threads sleep while they wait, and set what memory PyTorch and oneDNN take.

    Returns:
        The environment variables that were set.
    """
    if "torch" in sys.modules:
        logger.warning(
            "the threads of PyTorch cannot be configured, it is imported already; do it before"
        )
    values = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": str(PRIMITIVES), HUGE_PAGES: "1"}
    if not any(name in os.environ for name in WAITING):
        values |= SLEEPING
    return _set_defaults(os.environ, values)


def _set_defaults(
    environment: MutableMapping[str, str], values: Mapping[str, str]
) -> Mapping[str, str]:
    """Set those variables that are not set yet, and return them."""
    new = {name: value for name, value in values.items() if name not in environment}
    environment.update(new)
    return new


def available_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use: by its affinity and its control group's quota.

    A quota of 2.5 cores counts as 2, and one below 1 as 1.

    Args:
        root: the folder that holds `proc` and `sys`.
    """
    return max(1, math.floor(min([_affinity(), *_quotas(root)])))


def core_budget() -> int:
    """Return how many cores this process and its workers use: at most OMP_NUM_THREADS."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    cores = available_cores()
    return min(cores, max(1, int(threads))) if threads.isdecimal() else cores


def _affinity() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas, in cores, of this process's control groups and of those around them."""
    return group_limits(root, "cpu", _quota_v2, _quota_v1)


def _quota_v2(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float | None:
    quota = int((folder / _QUOTA_V1).read_text(encoding="ascii"))
    period = int((folder / _PERIOD_V1).read_text(encoding="ascii"))
    return None if quota <= 0 else quota / period


def threads_spin() -> bool:
    """Return whether nothing says how threads wait, or says that they spin."""
    if os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive":
        return False
    return os.environ.get("GOMP_SPINCOUNT", "infinity").lower() in ("infinity", "infinite")


def cores_are_contended() -> bool:
    """Return whether the processes of the last minute and this one's threads exceed the cores.

    Half of the cores may be in use: this process was one of those that used them.
    """
    try:
        load = os.getloadavg()[0]
    except (OSError, AttributeError):  # AttributeError: not on Windows
        return False
    return load + available_cores() > 1.5 * (os.cpu_count() or 1)
