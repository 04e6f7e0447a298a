"""`python -m converter verify DIR`: compare our networks with records of PaddleOCR's."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from converter.conversion.artefact import check_report_path, write_json
from converter.errors import ConverterError, ParityError, UsageError


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m converter verify",
        description="Compare our networks with records of what PaddleOCR's computed.",
    )
    parser.set_defaults(prog="converter verify")
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder of records")
    parser.add_argument("--only", type=regex, default="", metavar="REGEX",
        help="records whose name matches")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all reports")
    parser.add_argument("--report", type=Path, metavar="FOLDER",
        help="write parity.json, parity.md and parity.html")  # fmt: skip
    return parser


def regex(text: str) -> str:
    """Read an option that is a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text} is no regular expression: {error}") from error
    return text


def run(options: argparse.Namespace) -> int:
    """Prove every record, print a line each, and return the exit code."""
    from tqdm import tqdm

    from converter.references.recorded.reference import find_records, verify
    from converter.reports.record_results import result_of
    from converter.reports.write import prepare, write_report

    if not options.folder.is_dir():
        raise UsageError(f"{options.folder} is not a folder of records")
    folders = find_records(options.folder, options.only)
    if not folders:
        raise UsageError(f"{options.folder} has no record that matches {options.only!r}")
    if options.json:
        check_report_path(options.json)
    if options.report:
        prepare(options.report)
    passed, reports, rows = 0, {}, []
    bar = tqdm(verify(folders), total=len(folders), disable=not sys.stderr.isatty(), leave=False)
    for verified in bar:
        name, result = verified.folder.name, verified.result
        if options.report:
            rows.append(result_of(verified))
        if isinstance(result, ConverterError):
            first_line = str(result).splitlines()[0]
            line, reports[name] = f"FAILED {first_line}", {"status": "failed", "error": str(result)}
        else:
            reports[name] = result.to_dict()
            passed += result.passed
            worst = result.worst
            line = f"{worst.difference:.2e} at {worst.probe}"
            if not result.passed:
                line = f"FAILED {line}: {worst.fault}; first difference: {result.first_difference}"
        tqdm.write(f"{name}: {line}")
    print(f"{passed} passed, {len(folders) - passed} failed")
    if options.json:
        write_json(options.json, reports)
    if options.report:
        write_report(options.report, rows, title="Parity with PaddleOCR's networks")
    return 0 if passed == len(folders) else ParityError.exit_code
