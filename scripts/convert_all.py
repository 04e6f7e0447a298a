"""Convert every released model that lies in a folder of downloads, each with proof.

    python scripts/convert_all.py --paddle-root DIR --out DIR [--only REGEX] [--jobs N]
        [--download [train|infer|both]] [--map NAME=PATH] [--fuse] [--reference KIND] [--force]

Writes OUT/NAME.pth with its .json for each model, and the parity report into OUT/report. What is
up to date is not converted again, so an interrupted run goes on where it stopped.

Exit codes: 0 all are converted; else that of the first model that failed (see README; 1 where its
process died); 2 usage, or nothing was found; 130 interrupted.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from converter.catalog import cards as catalog
from converter.cli.convert import add_proof_options
from converter.cli.verify import regex
from converter.conversion import batch
from converter.conversion.artefact import make_folder
from converter.conversion.discovery import Discovery, Found, discover
from converter.conversion.download import WHICH, Downloads, wanted
from converter.conversion.steps import Request
from converter.errors import ConverterError, UsageError
from converter.reports.write import ModelResult, prepare, scientific, write_report

TITLE = "Parity of the converted models"
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Convert what there is and return the exit code."""
    options = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return run(options)
    except ConverterError as error:
        print(f"convert_all: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("convert_all: interrupted before the first conversion", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--paddle-root", type=Path, metavar="DIR", help="the folder of downloads")
    add("--out", type=Path, required=True, metavar="DIR", help="made where it does not exist")
    add("--only", type=regex, default="", metavar="REGEX", help="models whose name matches")
    add("--jobs", type=_count, default=1, metavar="N",
        help="processes at once; the cores are shared among them (default: 1)")  # fmt: skip
    add("--map", type=_named, action="append", default=[], metavar="NAME=PATH",
        help="a model whose files have other names; may be repeated")  # fmt: skip
    add("--fuse", action="store_true", help="write the form that runs fastest")
    add_proof_options(parser)
    add("--download", nargs="?", const="infer", choices=WHICH, metavar="WHICH",
        help="fetch what is not there: infer (the exports; the default), train (the checkpoints) "
        "or both")  # fmt: skip
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where downloads go (default: the user's cache folder)",
    )
    add("--force", action="store_true", help="convert what is up to date too")
    return parser


def run(options: argparse.Namespace) -> int:
    """Find, convert and report; return the exit code."""
    if options.paddle_root is None and not (options.download or options.map):
        raise UsageError("--paddle-root is missing: the folder of downloads (or give --download)")
    prepare(make_folder(options.out, f"--out {options.out}") / "report")
    found = discover(options.paddle_root, options.map, options.only)
    models = list(found.models)
    results = [
        batch.failed(name, reason, UsageError.exit_code) for name, reason in found.ambiguous.items()
    ]
    if options.download:
        fetched, missing = download(options, found)
        models += fetched
        results += missing
    if not models and not results:
        place = options.paddle_root or "the cache"
        raise UsageError("\n".join([f"there is no model to convert in {place}", *left(found)]))
    requests = [request_of(options, model) for model in models]
    finished = convert(requests, results, options)
    results.sort(key=lambda result: (catalog.TASKS.index(result.task), result.name))
    write_report(options.out / "report", results, title=TITLE)
    print("\n".join([*table(results), *left(found)]))
    print(f"The parity report is {options.out / 'report' / 'parity.html'}.")
    if not finished:
        rest = len(requests) - sum(
            result.name in {request.name for request in requests} for result in results
        )
        print(f"convert_all: interrupted; {rest} models are left, run it again to go on",
              file=sys.stderr)  # fmt: skip
        return INTERRUPTED
    return next((result.exit_code for result in results if result.exit_code), 0)


def convert(
    requests: Sequence[Request], results: list[ModelResult], options: argparse.Namespace
) -> bool:
    """Add to `results` what became of each model; return False where that was interrupted."""
    bar = tqdm(total=len(requests), disable=not sys.stderr.isatty(), unit="model", leave=False)
    try:
        with bar, closing(batch.convert_all(requests, options.jobs, force=options.force)) as done:
            for result in done:
                results.append(result)
                bar.set_postfix_str(result.name)
                bar.update()
    except KeyboardInterrupt:
        return False
    return True


def download(
    options: argparse.Namespace, found: Discovery
) -> tuple[list[Found], list[ModelResult]]:
    """Fetch the models that were not found; return their files, and what could not be fetched."""
    there = {model.name for model in found.models} | found.ambiguous.keys()
    cards = [card for card in catalog.cards() if card.name not in there]
    cards = [card for card in cards if re.search(options.only, card.name)]
    downloads, fetched, missing = Downloads(options.cache), [], []
    bar = tqdm(cards, disable=not sys.stderr.isatty(), unit="model", leave=False)
    for card in bar:
        bar.set_postfix_str(card.name)
        try:
            paths = [downloads.fetch(card.name, url) for url in wanted(card, options.download)]
        except ConverterError as error:
            missing.append(batch.failed(card.name, str(error), error.exit_code))
        else:
            fetched.append(Found(card.name, *paths))
    return fetched, missing


def request_of(options: argparse.Namespace, model: Found) -> Request:
    """Return the conversion of one model."""
    proved_by_program = options.reference in ("auto", "program")
    return Request(
        name=model.name,
        paddle_dir=model.path,
        program_dir=model.program if proved_by_program else None,
        out=options.out / f"{model.name}.pth",
        fuse=options.fuse,
        reference=options.reference,
        paddleocr=options.paddleocr,
        tolerance=options.tolerance,
    )


def table(results: Sequence[ModelResult]) -> list[str]:
    """Return a line for each model, and the messages of those that failed."""
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
    failed = sum(result.status == "failed" for result in results)
    return [*lines, "", f"{len(results) - failed} converted, {failed} failed"]


def left(found: Discovery) -> list[str]:
    """Return what was found and is not converted, with the reasons."""
    refused = [f"  {name}: {reason}" for name, reason in found.refused.items()]
    unknown = [f"  {path}: {advice}" for path, advice in found.unknown.items()]
    return ["", "Not converted:", *refused, *unknown] if refused or unknown else []


def _named(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"should read NAME=PATH, not {text}")
    return name, Path(path)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"should be a number of processes, not {text}")
    return int(text)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
