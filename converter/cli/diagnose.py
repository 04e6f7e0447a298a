"""`python -m converter diagnose NAME ...`: find the first layer that differs, and the cause."""

from __future__ import annotations

import argparse
from pathlib import Path

from converter.cli.options import add_model_options, add_verbose_option, build_request
from converter.conversion.artefact import check_report_path, write_json
from converter.errors import AlignmentError, ParityError

_DESCRIPTION = """Compare a model with its reference layer by layer; no weights are written. After a
failed conversion, run it with the same options. The first layer that differs is marked, and
experiments with its inputs and weights find the cause."""


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=_DESCRIPTION,
        epilog="exit codes: 0 all layers agree; 5 a layer differs; else those of convert",
    )
    add_model_options(parser)
    add = parser.add_argument
    add(
        "--weights",
        type=Path,
        metavar="X.pth",
        help="examine this converted model instead of converting again",
    )
    add("--all", action="store_true", help="print all layers, not only those around the first")
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="write all layers, the cause and the parity report to a file",
    )
    add_verbose_option(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Compare layer by layer and print the result."""
    request = build_request(options)
    if options.json:
        check_report_path(options.json, options.weights)
    from converter.conversion.examine import examine
    from converter.diagnosis.table import lines

    try:
        examination = examine(request, options.weights)
    except AlignmentError as error:
        for line in error.unmatched:
            print(line)
        raise
    if options.json:
        write_json(options.json, examination.to_dict())
    print("\n".join(lines(examination, everything=options.all)))
    return 0 if examination.agrees else ParityError.exit_code
