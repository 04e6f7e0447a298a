"""Run a Python file in a process that can do little harm: the Paddle process.

    python confined.py FILE FOLDER LIFELINE

Before anything else is imported, so that every later thread is bound too: the process works in
FOLDER, may write there and nowhere else (Linux with Landlock), opens no network connection, writes
no large file and no core dump, holds no more memory than the machine has, and is killed by the
kernel when the other end of the pipe LIFELINE, a descriptor, is closed, which happens when the
parent ends, whichever of its threads started this process (Linux; -1 is no pipe). What a system
does not offer is left out; the environment variable CONFINEMENT lists what is in force. Needs the
standard library alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import runpy
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

IN_FORCE = "CONFINEMENT"
LARGEST_FILE = 64 << 20  # bytes
_MEMORY_SHARE = 0.9  # of the machine's memory

# Numbers of <linux/landlock.h>, of <linux/prctl.h>, of <fcntl.h>, and of the system calls on every
# architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _RULE_PATH_BENEATH = 1, 1
_SET_NO_NEW_PRIVS = 38
_SET_SIGNAL = 10  # F_SETSIG: the signal of a descriptor that is ready, or whose other end is closed
_WRITE_FILE = 1 << 1
_WRITES = sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12))  # create, write and remove
_WRITES_SINCE = {2: 1 << 13, 3: 1 << 14}  # by version: move elsewhere, truncate
_NETWORK = 0b11  # bind and connect, since version 4
_SCOPES = 0b11  # abstract sockets and signals outside, since version 6


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scopes", ctypes.c_uint64),
    )


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def confine(folder: str, lifeline: int) -> list[str]:
    """Bind this process and return, in words, what is in force."""
    os.chdir(folder)
    os.environ["TMPDIR"] = folder
    return [*_limits(), *_death_with(lifeline), *_write_only_in(folder)]


def _limits() -> Iterator[str]:
    try:
        import resource
    except ImportError:  # Windows
        return
    memory = int(_MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    limits = {
        "core dumps": (resource.RLIMIT_CORE, 0),
        "file size": (resource.RLIMIT_FSIZE, LARGEST_FILE),
        "memory": (resource.RLIMIT_DATA, memory),
    }
    for name, (kind, most) in limits.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))
            yield name


def _death_with(lifeline: int) -> Iterator[str]:
    """Have the kernel kill this process when its parent ends, however that happens.

    A death signal of the parent (PR_SET_PDEATHSIG) comes when the thread ends that started this
    process; the pipe's other end belongs to the whole process.
    """
    if lifeline < 0 or not sys.platform.startswith("linux"):
        return
    import fcntl

    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, _SET_SIGNAL, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it ended meanwhile
        os._exit(1)
    yield "death with the parent"


def _write_only_in(folder: str) -> Iterator[str]:
    """Give up writing outside of `folder`, and connections, by Landlock."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    if version < 1:
        return
    writes = _WRITES | sum(bit for since, bit in _WRITES_SINCE.items() if version >= since)
    rules = _Ruleset(writes, _NETWORK if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return
    try:
        for path, allowed in ((folder, writes), (os.devnull, _WRITE_FILE)):
            handle = os.open(path, os.O_PATH)
            rule = _PathRule(allowed, handle)
            added = libc.syscall(
                _ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0)
            )
            os.close(handle)
            if added:
                return
        if libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            return
        if libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0:
            yield "writes within its folder"
            if version >= 4:
                yield "no connections"
    finally:
        os.close(ruleset)


def main() -> None:
    """Bind the process, then run the file as a program."""
    file, folder, lifeline = sys.argv[1:4]
    sys.path[:] = [str(Path(entry).absolute()) for entry in sys.path]  # the working folder changes
    os.environ[IN_FORCE] = ", ".join(confine(folder, int(lifeline)))
    sys.argv[:] = [file]
    runpy.run_path(file, run_name="__main__")


if __name__ == "__main__":
    main()
