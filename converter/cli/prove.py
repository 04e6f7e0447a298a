"""`python -m converter prove`: read pages with Paddle and with PyTorch, and compare the texts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from converter.cli.options import add_verbose_option, positive_number
from converter.errors import ParityError, SourceError, UsageError

# `pipelines` and `converter.end_to_end`, which uses it, are imported in `run`: they need OpenCV and
# more that no other command does.

_DESCRIPTION = """Read pages twice with the same pipeline, once with the exported programs in Paddle
and once with the converted weights in PyTorch, and compare boxes, texts and scores of every line.
Both runs prepare images and decode outputs with the settings in the JSON of the weights."""
_EPILOG = """PATH is an image, a PDF, a folder (the images and PDFs directly in it), or a quoted
pattern. DIR is a folder, a program file or the release's .tar, as in a conversion.
exit codes: 0 all pages agree; 2 usage; 3 weights, programs or pages cannot be read; 5 a page
differs; 6 Paddle cannot be run"""


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--det", type=Path, required=True, metavar="X.pth", help="converted detector")
    add("--rec", type=Path, required=True, metavar="Y.pth", help="converted recogniser")
    add("--cls", type=Path, metavar="Z.pth", help="converted text direction classifier")
    add("--paddle-det", type=Path, required=True, metavar="DIR", help="export of the detector")
    add("--paddle-rec", type=Path, required=True, metavar="DIR", help="export of the recogniser")
    add("--paddle-cls", type=Path, metavar="DIR", help="export of the classifier")
    add("--images", nargs="+", required=True, metavar="PATH", help="pages to read")
    add("--out", type=Path, metavar="DIR", help="folder for prove.json, prove.md and prove.html")
    add(
        "--limit-pixels",
        type=positive_number,
        default=1.0,
        metavar="X",
        help="largest allowed distance between corners of boxes, in pixels (default: 1)",
    )
    add(
        "--limit-score",
        type=positive_number,
        default=1e-3,
        metavar="X",
        help="largest allowed difference between scores (default: 1e-3)",
    )
    add_verbose_option(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Read and compare every page and print one line each."""
    if (options.cls is None) != (options.paddle_cls is None):
        raise UsageError("--cls and --paddle-cls go together: give both or neither")
    from tqdm import tqdm

    from converter.conversion.versions import versions
    from converter.end_to_end import report
    from converter.end_to_end.compare import Limits
    from converter.end_to_end.pages import STATUSES, find_pages, prove_pages
    from converter.end_to_end.runtimes import TASKS, open_runtimes
    from converter.reports.write import prepare

    if options.out:
        prepare(options.out, report.FILES)
    pages, results = find_pages(options.images)
    limits = Limits(options.limit_pixels, options.limit_score)
    weights = {task: file for task in TASKS if (file := getattr(options, task))}
    exports = {task: getattr(options, f"paddle_{task}") for task in weights}
    # Lines of low score are compared like all others.
    with open_runtimes(weights, exports, min_score=0) as runtimes:
        compared = prove_pages(runtimes, pages, limits)
        for result in tqdm(compared, unit=" pages", leave=False, disable=not sys.stderr.isatty()):
            results.append(result)
            tqdm.write(result.line)
        package_versions = versions(runtimes.paddle_version)
    counts = {status: sum(r.status == status for r in results) for status in STATUSES}
    for result in results:
        if result.status == "unreadable":
            print(f"converter prove: {result.message}", file=sys.stderr)
    print(
        f"{counts['passed']} passed, {counts['failed']} failed"
        + (f", {counts['unreadable']} unreadable" if counts["unreadable"] else "")
    )
    if options.out:
        report.write_report(
            options.out, results, limits=limits, models=runtimes.models, versions=package_versions
        )
        print(options.out / report.FILES[2])
    if counts["failed"]:
        return ParityError.exit_code
    if counts["unreadable"]:
        return SourceError.exit_code
    if not any(result.lines and result.lines[0] for result in results):
        raise UsageError(
            "neither side found a line on any page, so nothing was compared; give pages with text"
        )
    return 0
