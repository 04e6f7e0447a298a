"""`python -m converter prove`: read pages with the exports and with PyTorch, and compare texts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from converter.cli.options import add_verbose_option, positive_number, probability
from converter.errors import ParityError, SourceError, UsageError

# `pipelines` and `converter.end_to_end`, which uses it, are imported in `run`: they need OpenCV and
# more that no other command does.

_DESCRIPTION = """Read pages twice with the same pipeline, once with the exported programs in Paddle
or, if they are ONNX files, in ONNX Runtime, and once with the converted weights in PyTorch, and
compare boxes, texts and scores of every line; with --layout the regions of the pages and their
labels, with --table the HTML and the cells of images of tables, with --unwarp the brightness of the
tiles of flattened pages. With --layout, --det and --rec, and further networks, whole documents: the
blocks of the pages, their order and contents. Both runs prepare images and decode outputs with the
settings in the JSON of the weights. With --half, both runs are PyTorch's, in single and in half
precision, and the shares of lines with equal texts and boxes are printed."""
_EPILOG = """PATH is an image, a PDF, a folder (the images and PDFs directly in it), or a quoted
pattern. DIR is a folder, a program file, an ONNX file or the release's .tar, as in a conversion.
exit codes: 0 all pages agree; 2 usage; 3 weights, programs or pages cannot be read; 5 a page
differs, or with --half more lines than --least-share allows; 6 Paddle or ONNX Runtime cannot be
run"""


TASKS = {
    "det": ("detector", "ocr"),
    "rec": ("recogniser", "ocr"),
    "cls": ("text direction classifier", "ocr"),
    "layout": ("layout network", "layout"),
    "table": ("network of table structure", "table"),
    "unwarp": ("unwarping network", "unwarp"),
}
"""The networks that are proved, in words, and what they are proved with."""
DOCUMENT = {"layout", "det", "rec"}
"""With these, whole documents are proved, also with all others."""


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    for task, (network, _) in TASKS.items():
        add(f"--{task}", type=Path, metavar="X.pth", help=f"converted {network}")
        add(f"--paddle-{task}", type=Path, metavar="DIR", help=f"export of the {network}")
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
    half = parser.add_argument_group("half precision")
    half.add_argument(
        "--half",
        action="store_true",
        help="compare --det and --rec in half precision (bfloat16 on cpu) with single precision; "
        "no exports are given",
    )
    half.add_argument(
        "--device", metavar="NAME", help="cpu (default), cuda, cuda:N or mps; with --half"
    )
    half.add_argument(
        "--least-share",
        type=probability,
        metavar="X",
        help="the share of lines, 0 to 1, whose texts and whose boxes have to be equal (default: "
        "0, the shares are only printed)",
    )
    add_verbose_option(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Read and compare every page and print one line each."""
    if options.half:
        return _compare_precisions(options)
    if options.device is not None or options.least_share is not None:
        raise UsageError("--device and --least-share go with --half")
    weights, exports = _networks(options)
    from tqdm import tqdm

    from converter.conversion.versions import versions
    from converter.end_to_end import report
    from converter.end_to_end.compare import Limits
    from converter.end_to_end.documents import open_documents
    from converter.end_to_end.pages import STATUSES, find_pages, prove_pages
    from converter.end_to_end.runtimes import open_runtimes
    from converter.end_to_end.structure import open_structure
    from converter.reports.write import prepare

    if options.out:
        prepare(options.out, report.FILES)
    pages, results = find_pages(options.images)
    limits = Limits(options.limit_pixels, options.limit_score)
    if weights.keys() >= DOCUMENT:
        opened = open_documents(weights, exports)
    elif "det" in weights:  # lines of low score are compared like all others
        opened = open_runtimes(weights, exports, min_score=0)
    else:
        ((task, file),) = weights.items()
        opened = open_structure(task, file, exports[task])
    with opened as runtimes:
        compared = prove_pages(runtimes, pages, limits)
        for result in tqdm(compared, unit=" pages", leave=False, disable=not sys.stderr.isatty()):
            results.append(result)
            tqdm.write(result.line)
        package_versions = versions(runtimes.paddle_versions)
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
            f"neither side found a {runtimes.thing} on any page, so nothing was compared; give "
            "pages with something to find"
        )
    return 0


def _compare_precisions(options: argparse.Namespace) -> int:
    """Read every page in single and in half precision, and print how many lines agree."""
    weights = {task: file for task in TASKS if (file := getattr(options, task))}
    exports = [task for task in TASKS if getattr(options, f"paddle_{task}")]
    if exports or options.out or not {"det", "rec"} <= weights.keys() <= {"det", "rec", "cls"}:
        raise UsageError(
            "--half takes --det and --rec, with or without --cls, and neither exports nor --out"
        )
    from converter.end_to_end.pages import find_pages
    from converter.end_to_end.precision import Agreement, compare_pages, open_precisions

    pages, missing = find_pages(options.images)
    single, half = open_precisions(weights, options.device or "cpu")
    total, unreadable = Agreement(), [result.message for result in missing]
    for name, agreement in compare_pages(single, half, pages, options.limit_pixels):
        if agreement is None:
            unreadable.append(name)
            continue
        total += agreement
        print(f"{name}: {agreement.describe(options.limit_pixels)}")
        for change in agreement.changed:
            print(f"  {change}")
    for message in unreadable:
        print(f"converter prove: {message}", file=sys.stderr)
    if not total.lines:
        raise UsageError("no line was found on any page, so nothing was compared")
    print(f"all pages: {total.describe(options.limit_pixels)}")
    if total.share < (options.least_share or 0):
        return ParityError.exit_code
    return SourceError.exit_code if unreadable else 0


def _networks(options: argparse.Namespace) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the converted weights and the exports by task.

    Raises:
        UsageError: one of both is missing, or networks are given that are not proved together.
    """
    weights = {task: file for task in TASKS if (file := getattr(options, task))}
    exports = {task: file for task in TASKS if (file := getattr(options, f"paddle_{task}"))}
    for task in TASKS:
        if (task in weights) != (task in exports):
            raise UsageError(f"--{task} and --paddle-{task} go together: give both or neither")
    together = {TASKS[task][1] for task in weights}
    if weights.keys() >= DOCUMENT:
        return weights, exports
    if len(together) != 1 or (together == {"ocr"} and not {"det", "rec"} <= weights.keys()):
        raise UsageError(
            "give --det and --rec, with or without --cls, or one of --layout, --table and "
            "--unwarp, or --layout, --det and --rec with any others, each with its --paddle-... "
            "option"
        )
    return weights, exports
