"""Options that several subcommands share, and the types of option values."""

from __future__ import annotations

import argparse
import math
import os
import re
from pathlib import Path
from typing import Any

from converter.conversion.request import Request
from converter.errors import UsageError
from converter.sources.open import ONNX
from schemas.checks import shorten

EXIT_CODES = """exit codes: 0 written; 2 usage, or the output cannot be written; 3 source unreadable
or unsafe; 4 names or layers do not fit; 5 Paddle and PyTorch disagree; 6 no reference;
130 interrupted"""


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a model, its files and its reference."""
    add = parser.add_argument
    add(
        "name",
        nargs="?",
        metavar="NAME",
        help="name of a released model (see --list), or any name with --config",
    )
    add(
        "--paddle-dir",
        type=Path,
        metavar="PATH",
        help="Paddle's files: a folder, a .pdparams file, an exported program or a .tar",
    )
    add(
        "--onnx",
        type=Path,
        metavar="FILE",
        help="the model as Paddle2ONNX wrote it, in place of Paddle's files; beside a checkpoint "
        "(--paddle-dir) it becomes the reference",
    )
    add(
        "--program-dir",
        type=Path,
        metavar="PATH",
        help="exported program of the same weights, if it is in another folder than the "
        "checkpoint; it becomes the reference",
    )
    add(
        "--config",
        type=Path,
        metavar="YAML",
        help="training configuration of a custom model: PaddleOCR's, PaddleDetection's, PaddleX's",
    )
    add(
        "--dict",
        type=Path,
        metavar="TXT",
        dest="dictionary",
        help="dictionary of a recogniser, one character per line (default: the release's)",
    )
    add(
        "--labels",
        type=Path,
        metavar="FILE",
        help="names of a detector's or classifier's classes, one per line, the annotations of a "
        "detector's data set in COCO's JSON, or the class list of a network for key information "
        "(default: those beside the export, of the YAML, or the release's)",
    )
    add(
        "--submodel",
        metavar="NAME",
        help="sub-network of a distillation checkpoint to convert, for example Teacher "
        "(default: the one that inference uses)",
    )
    add_reference_options(parser)


def add_reference_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the reference and the largest allowed difference."""
    add = parser.add_argument
    add(
        "--reference",
        default="auto",
        choices=("auto", "program", "network", "recorded", "none"),
        help="reference to compare with: the exported program, PaddleOCR's network "
        "(--paddleocr), recorded outputs of that network, or none, which marks the result "
        "UNVERIFIED (default: auto, the first of these that is available)",
    )
    add(
        "--paddleocr",
        type=Path,
        metavar="CHECKOUT",
        default=os.environ.get("PADDLEOCR") or None,
        help="PaddleOCR source checkout for --reference network (default: $PADDLEOCR)",
    )
    add(
        "--tolerance",
        type=tolerance,
        default=1e-4,
        metavar="X",
        help="largest allowed max|difference| / max|reference| (default: 1e-4)",
    )


def add_strip_option(parser: argparse.ArgumentParser) -> None:
    """Add `--strip-dict`, which cleans a table of characters."""
    parser.add_argument(
        "--strip-dict",
        action="store_true",
        help="remove a byte order mark, spaces and tabs beside characters, and line numbers from "
        "the dictionary (default: every line is taken as it is, as PaddleOCR does)",
    )


def add_verbose_option(parser: argparse.ArgumentParser) -> None:
    """Add `-v`, with which errors show their traceback."""
    parser.add_argument("-v", "--verbose", action="store_true", help="print tracebacks of errors")


def build_request(options: argparse.Namespace, **fields: Any) -> Request:
    """Build the conversion request from the model options.

    Args:
        options: parsed options of a parser with `add_model_options`.
        fields: further fields of the request.

    Raises:
        UsageError: the model's name or its files are missing.
    """
    paddle_dir, program_dir = _sources(options)
    if options.name is None or paddle_dir is None:
        missing = (
            "NAME is missing" if options.name is None else "--paddle-dir is missing (or --onnx)"
        )
        raise UsageError(f"{missing}; see --help, or --list for the names")
    return Request(
        name=options.name,
        paddle_dir=paddle_dir,
        program_dir=program_dir,
        config=options.config,
        dictionary=options.dictionary,
        labels=options.labels,
        submodel=options.submodel,
        reference=options.reference,
        paddleocr=options.paddleocr,
        tolerance=options.tolerance,
        **fields,
    )


def _sources(options: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """Return the model's files, and the export that is in another place than its checkpoint."""
    if options.onnx is None:
        return options.paddle_dir, options.program_dir
    if options.onnx.suffix != ONNX:
        raise UsageError(f"--onnx {options.onnx} should name a file that ends in {ONNX}")
    if options.paddle_dir is None:
        if options.program_dir is not None:
            raise UsageError("--program-dir belongs to a checkpoint; give --paddle-dir, too")
        return options.onnx, None
    if options.program_dir is not None:
        raise UsageError("--onnx and --program-dir both name the reference; give one of them")
    return options.paddle_dir, options.onnx


def tolerance(text: str) -> float:
    """Parse a relative difference, a number between 0 and 1."""
    value = _float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"should be a number between 0 and 1, not {text}")
    return value


def positive_number(text: str) -> float:
    """Parse a finite number above 0."""
    value = _float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"should be a number above 0, not {text}")
    return value


def probability(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = _float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"should be from 0 to 1, not {text}")
    return value


def process_count(text: str) -> int:
    """Parse a number of processes, at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"should be a number of processes, not {text}")
    return int(text)


def regular_expression(text: str) -> str:
    """Check that an option value is a regular expression."""
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:  # nested or repeated too often
        raise argparse.ArgumentTypeError(
            f"{shorten(text)} is no regular expression: {error}"
        ) from error
    return text


def name_and_path(text: str) -> tuple[str, Path]:
    """Parse NAME=PATH."""
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"should read NAME=PATH, not {text}")
    return name, Path(path)


def _float(text: str) -> float:
    """Parse a number; NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
