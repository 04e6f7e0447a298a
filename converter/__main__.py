"""`python -m converter`, and the console script `paddleocr-to-torch`."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys

from cores.threads import available_cores, configure_threads, configure_waiting

_TRUNCATED = (
    b"converter: a source file became shorter while it was read, so nothing more was written; "
    b"convert it when it is complete\n"
)


def _end_where_a_file_is_truncated(_signal: int) -> None:
    """End the process with a message: a page that a mapped file no longer has cannot be read."""
    os.write(2, _TRUNCATED)
    os._exit(3)  # SourceError's; a return would read the same page again


_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)(_end_where_a_file_is_truncated)  # lives on


def handle_truncation() -> None:
    """Let a file that is truncated while it is read end in a message, not in a bus error alone.

    A handler in Python would run after the instruction that reads, which never ends.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).signal(signal.SIGBUS, _HANDLER)


def run() -> int:
    """Run the command line as a process of its own and return its exit code."""
    # What imports make stays; to look it over for garbage takes a tenth of the time.
    gc.set_threshold(1_000_000)
    handle_truncation()
    from converter.cli.main import main

    # PyTorch and Paddle run at once; each gets half of the cores, or they would wait for each
    # other. The workers of convert-all share the cores among themselves (conversion/batch.py).
    if sys.argv[1:2] == ["convert-all"]:
        configure_waiting()
    else:
        configure_threads(max(1, available_cores() // 2))
    return main()


if __name__ == "__main__":
    sys.exit(run())
