"""Memory that a network frees and soon needs again.

The maps of a network are blocks of several megabytes, which live for a few layers. By default
glibc returns much of that memory to the system, which then has to clear it, page by page, for the
next layer: about a fifth of the time of a network on a CPU. What is kept lies between blocks that
are in use, and grows with each size of image that has not been seen before; so it is given back
from time to time, after which the next page takes about a tenth longer.
"""

from __future__ import annotations

import ctypes
import functools
import os
import time

KEPT = 256 << 20
"""How many bytes of freed memory a process keeps; blocks that are larger are always returned."""
OLD_LIMIT = 32 << 20
"""The largest size of such a block that older versions of glibc accept."""
TRIM_SECONDS = 10
"""The processor time after which freed memory is given back, which costs less than 1 % of it."""
TUNED = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""The variables by which a user sets what glibc keeps."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

_last_trim = 0.0


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep `KEPT` bytes of freed memory, where glibc manages the memory.

    Variables by which the user has set what glibc keeps hold.

    Returns:
        Whether the process does so now.
    """
    if os.name != "posix" or any(name in os.environ for name in TUNED):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    # This one first: once another one is set, it stays at a value that is far too low.
    if not any(library.mallopt(_MMAP_THRESHOLD, size) == 1 for size in (KEPT, OLD_LIMIT)):
        return False
    return bool(library.mallopt(_TRIM_THRESHOLD, KEPT) == 1)


def give_back_memory() -> bool:
    """Give all freed memory back to the system, if `TRIM_SECONDS` have passed since the last time.

    It does so only where `keep_freed_memory` lets the process keep it.

    Returns:
        Whether it was given back.
    """
    global _last_trim
    now = time.process_time()
    if now - _last_trim < TRIM_SECONDS or not keep_freed_memory():
        return False
    _last_trim = now
    ctypes.CDLL(None).malloc_trim(0)
    return True
