"""`python -m converter NAME ...`: convert one model, or list them all."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any

from converter import __version__
from converter.catalog import cards as catalog
from converter.conversion.artefact import check_report_path, write_json
from converter.conversion.steps import STAGES, Request
from converter.conversion.steps import run as convert
from converter.errors import ParityError, UsageError

USAGE = """%(prog)s NAME --paddle-dir PATH --out FILE [options]
       %(prog)s verify DIR [--only REGEX] [--json FILE]
       %(prog)s add-dict X.pth DICT [--replace]
       %(prog)s --list"""
EPILOG = """exit codes: 0 written; 2 usage, or the output cannot be written; 3 source unreadable or
unsafe; 4 names or layers do not fit; 5 Paddle and PyTorch disagree; 6 no reference"""


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m converter",
        usage=USAGE,
        description="Convert a PaddleOCR model to PyTorch and prove that nothing was lost.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(prog="converter")
    add_request_options(parser)
    add = parser.add_argument
    add("--out", type=Path, metavar="FILE", help="file to write: X.pth or X.safetensors")
    add("--format", choices=("pth", "safetensors"), help="default: by the ending of --out")
    add("--fuse", action="store_true", help="write the form that runs fastest: branches merged, "
        "normalisation folded")  # fmt: skip
    add("--report", type=Path, metavar="FILE.json", help="write the parity report, passed or not")
    add("--plan", action="store_true", help="print what happens to each tensor, and stop")
    add("--list", action="store_true", help="print the models by task")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="the last line only")
    loudness.add_argument("-v", "--verbose", action="store_true", help="every probe; tracebacks")
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def add_request_options(parser: argparse.ArgumentParser) -> None:
    """Add what says which model is meant and what it is compared with."""
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="a released model's name, or your own's (--config)")
    add("--paddle-dir", type=Path, metavar="PATH", help="folder, .pdparams file, program or .tar")
    add("--program-dir", type=Path, metavar="PATH",
        help="the export of that checkpoint, where it lies elsewhere: the proof")  # fmt: skip
    add("--config", type=Path, metavar="YAML", help="the YAML that PaddleOCR trained it with")
    add("--dict", type=Path, metavar="TXT", dest="dictionary", help="another character table")
    add("--submodel", metavar="NAME", help="another network of a distillation, such as Teacher")
    add_proof_options(parser)


def add_proof_options(parser: argparse.ArgumentParser) -> None:
    """Add what says what a network is compared with, and how closely."""
    add = parser.add_argument
    add("--reference", default="auto", choices=("auto", "program", "network", "recorded", "none"),
        help="what to compare with; none marks the result UNVERIFIED (default: auto)")  # fmt: skip
    add("--paddleocr", type=Path, metavar="CHECKOUT", default=os.environ.get("PADDLEOCR") or None,
        help="a PaddleOCR checkout, for --reference network (default: $PADDLEOCR)")  # fmt: skip
    add("--tolerance", type=_tolerance, default=1e-4, metavar="X",
        help="largest max|difference| / max|reference| (default: 1e-4)")  # fmt: skip


def request_of(options: argparse.Namespace, **more: Any) -> Request:
    """Return what `add_request_options` took, and `more`; UsageError where a part is missing."""
    if options.name is None or options.paddle_dir is None:
        missing = "NAME" if options.name is None else "--paddle-dir"
        raise UsageError(f"{missing} is missing; see --help, or --list for the names")
    return Request(
        name=options.name,
        paddle_dir=options.paddle_dir,
        program_dir=options.program_dir,
        config=options.config,
        dictionary=options.dictionary,
        submodel=options.submodel,
        reference=options.reference,
        paddleocr=options.paddleocr,
        tolerance=options.tolerance,
        **more,
    )


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"should be a number between 0 and 1, not {text}")
    return value


def run(options: argparse.Namespace) -> int:
    """Convert, plan or list, and return the exit code."""
    if options.list:
        return _list()
    request = request_of(
        options,
        out=options.out,
        format=options.format,
        fuse=options.fuse,
        plan_only=options.plan,
    )
    if options.report:
        check_report_path(options.report, options.out)
    from tqdm import tqdm

    bar = tqdm(
        total=len(STAGES),
        disable=options.quiet or not sys.stderr.isatty(),
        bar_format="{desc:<24} {bar:30} {n_fmt}/{total_fmt} {elapsed}",
        leave=False,
    )

    def stage(name: str) -> None:
        bar.set_description(f"{options.name}: {name}")
        bar.update(STAGES.index(name) - bar.n)

    try:
        with bar:
            outcome = convert(request, stage)
    except ParityError as error:
        if options.report:
            _write_report(options, error.report.to_dict())
        raise
    if options.plan:
        print(outcome.plan.table())
        return 0
    if options.report:
        report = outcome.report.to_dict() if outcome.report else {"status": "unverified"}
        _write_report(options, report)
    _print_outcome(outcome, options)
    return 0


def _write_report(options: argparse.Namespace, report: dict[str, Any]) -> None:
    write_json(options.report, {"model": options.name, **report})


def _print_outcome(outcome: Any, options: argparse.Namespace) -> None:
    counts, report = outcome.plan.counts(), outcome.report
    if not options.quiet:
        dropped = "".join(f", {n} dropped ({why})" for why, n in counts["dropped"].items())
        print(f"{counts['used']} tensors used{dropped}, {counts['filled']} filled")
    if report and options.verbose:
        for comparison in report.comparisons:
            size = "x".join(map(str, comparison.input_shape))
            print(f"  {comparison.probe:<50} {size:<14} {comparison.difference:.2e}")
    if report:
        worst = report.worst
        proof = (
            f"worst difference {worst.difference:.2e} of the maximum at {worst.probe} "
            f"({report.reference} reference, {len(report.comparisons)} comparisons)"
        )
    else:
        proof = "UNVERIFIED: no reference was wanted"
    print(f"wrote {outcome.written} ({outcome.size / 1e6:.1f} MB): {proof}")
    if outcome.card.task in catalog.READING and outcome.card.dictionary is None:
        print(
            "It has no dictionary, so its classes stand for no characters yet; add one with\n"
            f"    python -m converter add-dict {outcome.written} DICT.txt"
        )


def _list() -> int:
    titles = {
        "det": "text detection",
        "cls": "classification",
        "rec": "text recognition",
        "e2e": "detection and recognition in one",
        "formula": "recognition of formulas",
        "sr": "super-resolution of lines",
    }
    task = ""
    for card in catalog.cards():
        if card.task != task:
            task = card.task
            print(f"{titles[task]} ({task})")
        forms = " or ".join(
            text
            for text, url in (("training checkpoint", card.train), ("export", card.infer))
            if url
        )
        names = f"{card.name} ({', '.join(card.aliases)})" if card.aliases else card.name
        classes = f", {card.classes} classes" if card.classes else ""
        table = f", dictionary {card.dictionary.file}" if card.dictionary else ""
        print(f"  {names:<34} {card.release:<16} {forms}{classes}{table}")
    print("released in a form that is refused")
    for name, reason in catalog.refused().items():
        print(f"  {name:<34} {reason}")
    return 0
