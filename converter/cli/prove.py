"""`python -m converter prove`: pages read with Paddle and with PyTorch, and compared."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from converter.errors import ParityError, SourceError, UsageError

# `pipelines`, and what of the converter uses it, is imported in `run`: it needs OpenCV and more
# that no other command does.

_DESCRIPTION = """Read pages twice by the same pipeline, once with Paddle running the exported
programs and once with the converted weights, and compare the boxes, texts and scores of every line
that is found. Both sides prepare images and decode outputs as the JSON beside the weights says."""
_EPILOG = """PATH is an image, a PDF, a folder (the images and PDFs directly in it), or a quoted
pattern. DIR is a folder, a program file or the release's .tar, as in a conversion.
exit codes: 0 all pages are read alike; 2 usage; 3 weights, programs or pages that cannot be read;
5 a page is read differently; 6 Paddle cannot be run"""


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m converter prove",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(prog="converter prove")
    add = parser.add_argument
    add("--det", type=Path, required=True, metavar="X.pth", help="the converted detector")
    add("--rec", type=Path, required=True, metavar="Y.pth", help="the converted recogniser")
    add("--cls", type=Path, metavar="Z.pth", help="the converted classifier of directions")
    add("--paddle-det", type=Path, required=True, metavar="DIR", help="the detector's export")
    add("--paddle-rec", type=Path, required=True, metavar="DIR", help="the recogniser's export")
    add("--paddle-cls", type=Path, metavar="DIR", help="the classifier's export")
    add("--images", nargs="+", required=True, metavar="PATH", help="the pages to read")
    add("--out", type=Path, metavar="DIR",
        help="folder for prove.json, prove.md and prove.html")  # fmt: skip
    add("--limit-pixels", type=_limit, default=1.0, metavar="X",
        help="how far corners of boxes may be apart (default: 1)")  # fmt: skip
    add("--limit-score", type=_limit, default=1e-3, metavar="X",
        help="how far scores may be apart (default: 1e-3)")  # fmt: skip
    add("-v", "--verbose", action="store_true", help="tracebacks")
    return parser


def _limit(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"should be a number above 0, not {text}")
    return number


def run(options: argparse.Namespace) -> int:
    """Read and compare every page, print a line each, and return the exit code."""
    if (options.cls is None) != (options.paddle_cls is None):
        raise UsageError("--cls and --paddle-cls go together: give both or neither")
    from tqdm import tqdm

    from converter.conversion.versions import versions
    from converter.end_to_end import report
    from converter.end_to_end.compare import Limits
    from converter.end_to_end.pages import prove_pages, unreadable
    from converter.end_to_end.runtimes import TASKS, open_sides
    from converter.reports.write import prepare
    from pipelines.io.files import find_files, read_pages

    if options.out:
        prepare(options.out, report.FILES)
    files, missing = find_files(options.images)
    limits = Limits(options.limit_pixels, options.limit_score)
    weights = {task: file for task in TASKS if (file := getattr(options, task))}
    exports = {task: getattr(options, f"paddle_{task}") for task in weights}
    results = [unreadable(failure) for failure in missing]
    # Lines of low score are compared like all others.
    with open_sides(weights, exports, min_score=0) as sides:
        pages = prove_pages(sides, read_pages(files), limits)
        for result in tqdm(pages, unit=" pages", leave=False, disable=not sys.stderr.isatty()):
            results.append(result)
            tqdm.write(result.line)
        found = versions(sides.paddle_version)
    counted = {status: sum(r.status == status for r in results) for status in report.STATUSES}
    for result in results:
        if result.status == "unreadable":
            print(f"{options.prog}: {result.message}", file=sys.stderr)
    print(f"{counted['passed']} passed, {counted['failed']} failed"
          + (f", {counted['unreadable']} unreadable" if counted["unreadable"] else ""))  # fmt: skip
    if options.out:
        report.write_report(
            options.out, results, limits=limits, models=sides.models, versions=found
        )
        print(options.out / report.FILES[2])
    if counted["failed"]:
        return ParityError.exit_code
    if counted["unreadable"]:
        return SourceError.exit_code
    if not any(result.lines and result.lines[0] for result in results):
        raise UsageError("neither side found a line on any page, so nothing was compared; "
                         "give pages with text")  # fmt: skip
    return 0
