"""`python -m converter [convert] NAME ...`: convert one model, or list the released models."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.catalog import cards as catalog
from converter.cli.options import EXIT_CODES, add_model_options, add_strip_option, build_request
from converter.conversion.artefact import check_report_path, write_json
from converter.conversion.request import proof_scope
from converter.conversion.steps import STAGES
from converter.conversion.steps import run as convert
from converter.errors import ParityError

if TYPE_CHECKING:
    from converter.conversion.request import Outcome

_TASK_TITLES = {
    "det": "text detection",
    "cls": "classification",
    "rec": "text recognition",
    "e2e": "end-to-end text spotting",
    "formula": "formula recognition",
    "sr": "text image super-resolution",
    "layout": "layout analysis",
    "table": "table structure recognition",
    "unwarp": "page unwarping",
    "kie": "key information extraction",
}


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog=prog,
        usage="%(prog)s NAME --paddle-dir PATH --out FILE [options]\n       %(prog)s --list",
        description="Convert a PaddleOCR model to PyTorch, and verify that both compute the same.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_options(parser)
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        metavar="FILE",
        help="file to write: X.pth or X.safetensors; of a vision-language model, a folder",
    )
    add(
        "--format",
        choices=("pth", "safetensors"),
        help="format of the weights (default: by the suffix of --out)",
    )
    add(
        "--fuse",
        action="store_true",
        help="write the fastest form: branches merged, normalisation folded",
    )
    add_strip_option(parser)
    add(
        "--right-to-left",
        action=argparse.BooleanOptionalAction,
        help="state that the network returns text that is read from the right, which the "
        'pipelines then turn round (default: as PaddleOCR, by whether "arabic" occurs in '
        "character_dict_path)",
    )
    add(
        "--report",
        type=Path,
        metavar="FILE.json",
        help="write the parity report, also of a failed comparison",
    )
    add("--plan", action="store_true", help="print how each tensor is converted, and stop")
    add("--list", action="store_true", help="print the released models by task, and stop")
    verbosity = parser.add_mutually_exclusive_group()
    verbosity.add_argument("-q", "--quiet", action="store_true", help="print the last line only")
    verbosity.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print every comparison, and tracebacks of errors",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    """Convert one model, print its plan, or list the models."""
    if options.list:
        _print_models()
        return 0
    if options.name and (known := catalog.vision_language_name(options.name)):
        from converter.cli import vision_language

        return vision_language.run(known, options)
    request = build_request(
        options,
        out=options.out,
        format=options.format,
        fuse=options.fuse,
        strip_dictionary=options.strip_dict,
        right_to_left=options.right_to_left,
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

    def show_stage(name: str) -> None:
        bar.set_description(f"{options.name}: {name}")
        bar.update(STAGES.index(name) - bar.n)

    try:
        with bar:
            outcome = convert(request, show_stage)
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


def _print_outcome(outcome: Outcome, options: argparse.Namespace) -> None:
    """Print the counts of tensors, the largest difference, and what is still missing."""
    counts: dict[str, Any] = outcome.plan.counts()
    report = outcome.report
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
        if report.reference == "recorded":
            proof += f". {proof_scope(report.reference)}"
    else:
        proof = "UNVERIFIED: no reference was wanted"
    for warning in outcome.warnings:
        print(f"converter: warning: {warning}", file=sys.stderr)
    print(f"wrote {outcome.written} ({outcome.size / 1e6:.1f} MB): {proof}")
    if outcome.card.task in catalog.READING and outcome.card.dictionary is None:
        print(
            "It has no dictionary, so its classes stand for no characters yet; add one with\n"
            f"    python -m converter add-dict {outcome.written} DICT.txt"
        )


def _print_models() -> None:
    """Print the released models by task, then those that are refused, with the reasons."""
    task = ""
    for card in catalog.cards():
        if card.task != task:
            task = card.task
            print(f"{_TASK_TITLES[task]} ({task})")
        forms = " or ".join(
            text
            for text, url in (("training checkpoint", card.train), ("export", card.infer))
            if url
        )
        names = f"{card.name} ({', '.join(card.aliases)})" if card.aliases else card.name
        classes = f", {card.classes} classes" if card.classes else ""
        table = f", dictionary {card.dictionary.file}" if card.dictionary else ""
        print(f"  {names:<34} {card.release:<16} {forms}{classes}{table}")
    print(f"vision-language models for transformers ({catalog.VISION_LANGUAGE})")
    for name, row in catalog.vision_language().items():
        note = f"; {row['note']}" if "note" in row else ""
        print(f"  {name:<34} {row['release']:<16} export{note}")
    print("known, but not converted")
    for name, reason in catalog.refused().items():
        print(f"  {name:<34} {reason}")
