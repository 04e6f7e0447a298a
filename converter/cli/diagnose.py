"""`python -m converter diagnose NAME ...`: which layer is the first that differs, and why."""

from __future__ import annotations

import argparse
from pathlib import Path

from converter.cli.convert import add_request_options, request_of
from converter.conversion.artefact import check_report_path, write_json
from converter.errors import AlignmentError, ParityError

_DESCRIPTION = """Compare a model with its reference layer by layer. Nothing is written; where a
conversion failed, give the same options. The first layer that differs is marked, and experiments on
its own inputs and tensors say why it does."""


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m converter diagnose",
        description=_DESCRIPTION,
        epilog="exit codes: 0 all agree; 5 a layer differs; else as of a conversion",
    )
    parser.set_defaults(prog="converter diagnose")
    add_request_options(parser)
    add = parser.add_argument
    add("--weights", type=Path, metavar="X.pth",
        help="look at this artefact in place of a new conversion")  # fmt: skip
    add("--all", action="store_true", help="print all layers, not only those around the first")
    add("--json", type=Path, metavar="FILE", help="write all layers, the cause and the check")
    add("-v", "--verbose", action="store_true", help="tracebacks")
    return parser


def run(options: argparse.Namespace) -> int:
    """Compare, print, and return the exit code."""
    request = request_of(options)
    if options.json:
        check_report_path(options.json, options.weights)
    from converter.diagnosis.examine import examine
    from converter.diagnosis.table import lines

    try:
        found = examine(request, options.weights)
    except AlignmentError as error:
        for line in error.unmatched:
            print(line)
        raise
    if options.json:
        write_json(options.json, found.to_dict())
    print("\n".join(lines(found, everything=options.all)))
    return 0 if found.agrees else ParityError.exit_code
