"""`python -m converter verify DIR`: compare the networks with recorded outputs of PaddleOCR's."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from converter.cli.options import regular_expression
from converter.conversion.artefact import check_report_path, write_json
from converter.errors import ConverterError, ParityError, UsageError


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Compare the PyTorch networks with records of the outputs that PaddleOCR's "
        "networks computed with seeded weights. Prints one line per record.",
        epilog="exit codes: 0 all records pass; 2 usage; 5 a record fails",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="folder of records, such as records/")
    add(
        "--only",
        type=regular_expression,
        default="",
        metavar="REGEX",
        help="verify only records whose name matches",
    )
    add("--json", type=Path, metavar="FILE", help="write the reports of all records to a file")
    add(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="write parity.json, parity.md and parity.html to a folder",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    """Verify every record and print one line each."""
    from tqdm import tqdm

    from converter.diagnosis.records import verify
    from converter.references.recorded.record import find_records
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
