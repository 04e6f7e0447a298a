"""Read many different pages in one process, and print how much memory it holds.

    python scripts/soak.py --det X.pth --rec Y.pth [--pages 300] [--every 50] [--limit MB]

Each page has another size and other lines, so each meets networks with shapes they have not seen:
what is kept for each shape adds up here. Threads and oneDNN are set as in the command lines
(`cores.configure_threads`). With --limit, the exit code is 1 if the process holds more memory after
the last page than after the first `every` pages plus that many megabytes. Needs Linux's /proc.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cores.threads import configure_threads

WORDS = "Room 305 opens at 09:20, parcels 17 and 42 are ready; ask Ms Weber or call 030 5558 121"


def main(argv: Sequence[str] | None = None) -> int:
    """Print a row for every so many pages, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--det", type=Path, required=True, metavar="X.pth", help="detector of text lines")
    add("--rec", type=Path, required=True, metavar="Y.pth", help="recogniser of text lines")
    add("--pages", type=int, default=300, metavar="N", help="how many pages (default: 300)")
    add("--every", type=int, default=50, metavar="N", help="pages per row (default: 50)")
    add("--limit", type=float, metavar="MB", help="growth that is too much")
    options = parser.parse_args(argv)
    configure_threads()
    from pipelines.ocr import OCR  # PyTorch reads the settings when it is imported

    ocr = OCR(options.det, options.rec)
    lines, rows = 0, list[float]()
    for number in range(1, options.pages + 1):
        lines += len(ocr(page(number)))
        if number % options.every == 0:
            rows.append(resident())
            print(f"{number:5} pages, {lines:6} lines, {rows[-1]:6.0f} MB", flush=True)
    if not lines:
        print("soak: no line was found, so the recogniser never ran", file=sys.stderr)
        return 1
    return int(options.limit is not None and rows[-1] > rows[0] + options.limit)


def page(number: int) -> np.ndarray:
    """Return a page of a size and with lines of its own, `(H, W, 3) uint8`."""
    random = np.random.default_rng(number)
    height, width = random.integers(160, 640, 2)
    image = np.full((height, width, 3), 255, np.uint8)
    for top in range(40, height - 20, 50):
        start = int(random.integers(0, len(WORDS) // 2))
        text = WORDS[start : start + int(random.integers(4, 30))]
        scale = float(random.uniform(0.5, 0.9))
        cv2.putText(image, text, (10, top), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 2)
    return image


def resident() -> float:
    """Return the memory that this process holds, in megabytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main())
