"""What a process keeps of the memory that it frees."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from cores import allocator
from cores.allocator import (
    _TRIM_THRESHOLD,
    KEPT,
    OLD_LIMIT,
    TRIM_SECONDS,
    TUNED,
    give_back_memory,
    keep_freed_memory,
)

GLIBC = platform.libc_ver()[0] == "glibc"
FAULTS = """
import resource
from cores.allocator import keep_freed_memory
keep_freed_memory()
def blocks():
    return [bytearray(40 << 20) for _ in range(3)]
blocks()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
blocks()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

GIVEN_BACK = """
import os, time
from pathlib import Path
from cores import allocator
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
allocator.keep_freed_memory()
blocks = [b"x" * (1 << 20) for _ in range(200)]
last = blocks[-1]  # which keeps what is below it from being given back
full = resident()
blocks.clear()
kept = resident()
allocator._last_trim = -allocator.TRIM_SECONDS
print(full, kept, allocator.give_back_memory(), resident(), allocator.give_back_memory())
"""


def faults(**variables: str) -> int:
    """Return how many pages of 120 MB the system clears again, in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k not in TUNED} | variables
    command = [sys.executable, "-c", FAULTS]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(not GLIBC, reason="other libraries decide for themselves")
def test_freed_memory_is_given_back_from_time_to_time():
    environment = {k: v for k, v in os.environ.items() if k not in TUNED}
    command = [sys.executable, "-c", GIVEN_BACK]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    full, kept, first, left, again = run.stdout.split()
    assert (first, again) == ("True", "False")
    assert int(full) - int(kept) < 10
    assert int(kept) - int(left) > 150


def test_memory_is_given_back_only_where_it_is_kept(monkeypatch):
    called, now = [], iter([TRIM_SECONDS - 1, TRIM_SECONDS, TRIM_SECONDS + 1, 3 * TRIM_SECONDS])
    library = type("Library", (), {"malloc_trim": lambda *given: called.append(given)})
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: len(called) < 1)
    monkeypatch.setattr(allocator, "_last_trim", 0.0)
    monkeypatch.setattr(allocator.time, "process_time", lambda: next(now))
    assert [give_back_memory() for _ in range(4)] == [False, True, False, False]
    assert called == [(0,)]


@pytest.mark.skipif(not GLIBC, reason="other libraries decide for themselves")
def test_freed_memory_is_used_again():
    assert faults() < 100
    assert faults(MALLOC_TRIM_THRESHOLD_="131072") > 10_000  # as the user wants it


def test_a_user_who_tunes_glibc_is_obeyed(monkeypatch):
    called = []
    library = type("Library", (), {"mallopt": lambda *given: called.append(given) or 1})
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    for name in TUNED:
        monkeypatch.delenv(name, raising=False)
    assert not keep_freed_memory.__wrapped__()  # not glibc
    library.gnu_get_libc_version = None
    assert keep_freed_memory.__wrapped__()
    assert [value for *_, value in called] == [KEPT, KEPT]
    monkeypatch.setenv(TUNED[0], "1000")
    called.clear()
    assert not keep_freed_memory.__wrapped__()
    assert not called


def test_older_versions_of_glibc_keep_smaller_blocks(monkeypatch):
    called = []

    def mallopt(name: int, value: int) -> int:
        called.append(value)
        return int(name == _TRIM_THRESHOLD or value <= OLD_LIMIT)

    library = type("Library", (), {"mallopt": mallopt, "gnu_get_libc_version": None})
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    for name in TUNED:
        monkeypatch.delenv(name, raising=False)
    assert keep_freed_memory.__wrapped__()
    assert called == [KEPT, OLD_LIMIT, KEPT]
