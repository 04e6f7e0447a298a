"""`python -m converter convert-all`: convert every released model in a folder of downloads."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from converter.catalog import cards as catalog
from converter.cli.options import (
    add_reference_options,
    add_verbose_option,
    name_and_path,
    process_count,
    regular_expression,
)
from converter.conversion import batch
from converter.conversion.artefact import make_folder
from converter.conversion.discovery import Discovery, ModelFiles, discover
from converter.conversion.download import FORMS, Downloads, release_urls
from converter.conversion.request import Request
from converter.conversion.result import ModelResult
from converter.errors import ConverterError, UsageError
from converter.reports.formatting import scientific
from converter.reports.write import prepare, write_report

TITLE = "Parity of the converted models"
INTERRUPTED = 130

_DESCRIPTION = """Convert every released model in a folder of downloads, and verify each.

Writes OUT/NAME.pth and OUT/NAME.json for each model, and the parity report to OUT/report. A model
that is up to date is not converted again, so an interrupted run can be continued."""
_EPILOG = """exit codes: 0 all models are converted; 2 usage, or no model was found; 130
interrupted; else that of the first model that failed (as of convert, or 1 if its process died)"""


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--paddle-root", type=Path, metavar="DIR", help="folder of downloaded models")
    add(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the results, created if it does not exist",
    )
    add(
        "--only",
        type=regular_expression,
        default="",
        metavar="REGEX",
        help="convert only models whose name matches",
    )
    add(
        "--jobs",
        type=process_count,
        default=1,
        metavar="N",
        help="number of processes, which share the cores (default: 1)",
    )
    add(
        "--map",
        type=name_and_path,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="path of a model whose files have other names than the release; may be repeated",
    )
    add(
        "--fuse",
        action="store_true",
        help="write the fastest form: branches merged, normalisation folded",
    )
    add_reference_options(parser)
    add(
        "--download",
        nargs="?",
        const="infer",
        choices=FORMS,
        metavar="FORM",
        help="download the models that the folder lacks: infer (exports; the default), train "
        "(checkpoints) or both",
    )
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder for downloads (default: the user's cache folder)",
    )
    add("--force", action="store_true", help="convert models that are up to date again")
    add_verbose_option(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Find, convert and verify the models, and write the report."""
    if options.paddle_root is None and not (options.download or options.map):
        raise UsageError("--paddle-root is missing: the folder of downloads (or add --download)")
    prepare(make_folder(options.out, f"--out {options.out}") / "report")
    discovery = discover(options.paddle_root, options.map, options.only)
    models = list(discovery.models)
    results = [
        batch.failed_result(name, reason, UsageError.exit_code)
        for name, reason in discovery.ambiguous.items()
    ]
    if options.download:
        downloaded, failures = download_missing(options, discovery)
        models += downloaded
        results += failures
    if not models and not results:
        folder = options.paddle_root or "the cache"
        lines = [f"there is no model to convert in {folder}", *not_converted(discovery)]
        raise UsageError("\n".join(lines))
    requests = [build_request(options, model) for model in models]
    finished = convert(requests, results, options)
    results.sort(key=lambda result: (catalog.TASKS.index(result.task), result.name))
    write_report(options.out / "report", results, title=TITLE)
    print("\n".join([*table(results), *not_converted(discovery)]))
    print(f"The parity report is {options.out / 'report' / 'parity.html'}.")
    if not finished:
        names = {request.name for request in requests}
        remaining = len(requests) - sum(result.name in names for result in results)
        message = f"interrupted; {remaining} models are left, run it again to continue"
        print(f"converter convert-all: {message}", file=sys.stderr)
        return INTERRUPTED
    return next((result.exit_code for result in results if result.exit_code), 0)


def convert(
    requests: Sequence[Request], results: list[ModelResult], options: argparse.Namespace
) -> bool:
    """Convert the models one after the other, with a progress bar.

    Args:
        requests: the conversions.
        results: receives the result of each conversion that ended.
        options: `jobs` and `force` of the command line.

    Returns:
        False if the user interrupted it.
    """
    from tqdm import tqdm

    bar = tqdm(total=len(requests), disable=not sys.stderr.isatty(), unit="model", leave=False)
    try:
        with bar, closing(batch.convert_all(requests, options.jobs, force=options.force)) as ended:
            for result in ended:
                results.append(result)
                bar.set_postfix_str(result.name)
                bar.update()
    except KeyboardInterrupt:
        return False
    return True


def download_missing(
    options: argparse.Namespace, discovery: Discovery
) -> tuple[list[ModelFiles], list[ModelResult]]:
    """Download the models that were not discovered.

    Returns:
        The downloaded models, and a failed result for each that could not be downloaded.
    """
    from tqdm import tqdm

    present = {model.name for model in discovery.models} | discovery.ambiguous.keys()
    cards = [card for card in catalog.cards() if card.name not in present]
    cards = [card for card in cards if re.search(options.only, card.name)]
    downloads, downloaded, failures = Downloads(options.cache), [], []
    bar = tqdm(cards, disable=not sys.stderr.isatty(), unit="model", leave=False)
    for card in bar:
        bar.set_postfix_str(card.name)
        try:
            urls = release_urls(card, options.download)
            paths = [downloads.fetch(card.name, url) for url in urls]
        except ConverterError as error:
            failures.append(batch.failed_result(card.name, str(error), error.exit_code))
        else:
            downloaded.append(ModelFiles(card.name, *paths))
    return downloaded, failures


def build_request(options: argparse.Namespace, model: ModelFiles) -> Request:
    """Build the conversion request of one model."""
    uses_program = options.reference in ("auto", "program")
    return Request(
        name=model.name,
        paddle_dir=model.path,
        program_dir=model.program if uses_program else None,
        out=options.out / f"{model.name}.pth",
        fuse=options.fuse,
        reference=options.reference,
        paddleocr=options.paddleocr,
        tolerance=options.tolerance,
    )


def table(results: Sequence[ModelResult]) -> list[str]:
    """Format the results as a table, followed by the messages of the failures."""
    rows = [("model", "status", "reference", "worst difference", "time")]
    rows += [
        (
            result.name,
            result.status,
            result.reference or "-",
            scientific(result.difference),
            f"{result.seconds:.1f} s" if result.fresh else "up to date",
        )
        for result in results
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    for result in results:
        if result.error:
            lines += ["", f"{result.name}: {result.error}"]
    for result in results:
        lines += [f"{result.name}: warning: {warning}" for warning in result.warnings]
    failed = sum(result.status == "failed" for result in results)
    return [*lines, "", f"{len(results) - failed} converted, {failed} failed"]


def not_converted(discovery: Discovery) -> list[str]:
    """List the models and files that are not converted, with the reasons."""
    refused = [f"  {name}: {reason}" for name, reason in discovery.refused.items()]
    unknown = [f"  {path}: {advice}" for path, advice in discovery.unknown.items()]
    return ["", "Not converted:", *refused, *unknown] if refused or unknown else []
