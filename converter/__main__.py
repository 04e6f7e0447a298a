"""`python -m converter`, and the console script `paddleocr-to-torch`."""

from __future__ import annotations

import gc
import sys

from cores.threads import available_cores, configure_threads, configure_waiting


def run() -> int:
    """Run the command line as a process of its own and return its exit code."""
    # What imports make stays; to look it over for garbage takes a tenth of the time.
    gc.set_threshold(1_000_000)
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
