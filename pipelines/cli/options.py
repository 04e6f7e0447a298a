"""Argument parsers of the commands: images and PDFs in, one result per file out."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipelines.cli.page_workers import MEMORY_PER_WORKER, PAGES_PER_WORKER
from pipelines.documents.roles import ROLES
from pipelines.io.exporters import WriterMaker
from pipelines.io.files import DPI
from schemas.checks import JSONValue
from schemas.processing import SettingsError, check_setting, checks_of_task

EPILOG = """PATH is an image, a PDF, a folder (the images and PDFs directly in it), or a quoted
pattern such as 'scans/**/*.png'. Files and pages that cannot be read are listed at the end; the
others are processed.
exit codes: 0 all was read; 2 usage, or the output cannot be written; 3 weights, a page or a file
could not be read"""

T = TypeVar("T", int, float)

_DETECTOR = "det_"  # before the names of a detector's settings among the parsed options


def page_parser(name: str, purpose: str) -> argparse.ArgumentParser:
    """Build a command's parser with PATH; the command adds its own options, then the page options.

    Args:
        name: the command.
        purpose: one sentence about it, for --help.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m pipelines {name}",
        description=purpose,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(prog=name)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="images and PDFs to read")
    return parser


def add_page_options(
    parser: argparse.ArgumentParser,
    formats: Mapping[str, WriterMaker],
    *,
    texts: bool,
    default: str = "txt",
) -> None:
    """Add the options that all commands share.

    Args:
        parser: the command's parser.
        formats: the output formats of the command, by name.
        texts: whether its results have a text, which --visualize draws with a font.
        default: the default format.
    """
    parser.set_defaults(formats=formats, together=1)
    add_runtime_options(parser)
    add_workers(parser)
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="write a file per input into this folder, instead of printing the results",
    )
    searchable = "; pdf is searchable" if "pdf" in formats else ""
    add(
        "--format",
        choices=formats,
        default=default,
        help=f"output format (default: {default}{searchable})",
    )
    add_reading_options(parser, texts=texts)


def add_runtime_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how networks are computed."""
    add = parser.add_argument
    add("--device", default="cpu", help="cpu (default), cuda, cuda:N or mps")
    add(
        "--half",
        action="store_true",
        help="compute in half precision: float16 on cuda and mps, bfloat16 on a cpu with "
        "avx512_bf16 or amx",
    )
    add(
        "--compile",
        action="store_true",
        help="compile the networks, which are then faster; on cpu the code is kept for later runs",
    )


def add_workers(parser: argparse.ArgumentParser, *, memory: int = MEMORY_PER_WORKER) -> None:
    """Add the option --workers.

    Args:
        parser: the command's parser.
        memory: the memory of a process, in bytes, with which the default number reckons.
    """
    parser.set_defaults(per_worker=PAGES_PER_WORKER, worker_memory=memory)
    parser.add_argument(
        "--workers",
        type=positive(int),
        metavar="N",
        help="processes that read pages at the same time, which share the cores (default: on a CPU "
        "one for each core, as far as there are pages and memory for them)",
    )


def add_reading_options(parser: argparse.ArgumentParser, *, texts: bool) -> None:
    """Add the options of drawings, of PDF pages and of messages.

    Args:
        parser: the command's parser.
        texts: whether the results have a text, which --visualize draws with a font.
    """
    parser.set_defaults(texts=texts)
    add = parser.add_argument
    add("--visualize", action="store_true", help="also draw the results on each page, as JPEG")
    if texts:
        add("--font", type=Path, metavar="FILE", help="font for --visualize")
    add(
        "--dpi",
        type=positive(float),
        default=DPI,
        metavar="N",
        help=f"resolution of PDF pages, in pixels per inch (default: {DPI})",
    )
    add("-v", "--verbose", action="store_true", help="print log messages and tracebacks")


def network_parser(
    name: str,
    purpose: str,
    weights: str,
    formats: Mapping[str, WriterMaker],
    *,
    texts: bool,
    scored: bool = False,
    default: str = "txt",
) -> argparse.ArgumentParser:
    """Build the parser of a command that runs one network.

    Args:
        name: the command.
        purpose: one sentence about it, for --help.
        weights: the kind of network, for --help.
        formats: the output formats of the command, by name.
        texts: whether its results have a text.
        scored: whether its results have a score, by which --min-score selects.
        default: the default format.
    """
    parser = page_parser(name, purpose)
    add = parser.add_argument
    add("--weights", type=Path, required=True, metavar="X.pth", help=weights)
    if scored:
        add_min_score(parser, 0.0)
    add_page_options(parser, formats, texts=texts, default=default)
    return parser


def add_detector_options(parser: argparse.ArgumentParser, *, without: Collection[str] = ()) -> None:
    """Add --tiles, and an option for each setting of detectors and their decoders.

    Args:
        parser: the command's parser.
        without: settings whose name is that of another option of the command.
    """
    parser.add_argument(
        "--tiles",
        action="store_true",
        help="search long or large pages, such as receipts and plans, in overlapping tiles "
        "instead of shrinking them",
    )
    group = parser.add_argument_group(
        "settings of the detector",
        "They replace those of the weights; which there are depends on the network.",
    )
    for name, checks in checks_of_task("det").items():
        if name not in without:
            expected = " or ".join(dict.fromkeys(check.expected for check in checks))
            group.add_argument(
                f"--{name.replace('_', '-')}",
                dest=f"{_DETECTOR}{name}",
                type=_setting("det", name),
                metavar="X",
                help=expected,
            )


def detector_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the options of `add_detector_options` change."""
    return {
        name.removeprefix(_DETECTOR): value
        for name, value in vars(options).items()
        if name.startswith(_DETECTOR) and value is not None
    }


def _setting(task: str, name: str) -> Callable[[str], JSONValue]:
    """Return an argument type for a setting: a number, true, false, a list in JSON, or a word."""

    def convert(text: str) -> JSONValue:
        try:
            value: JSONValue = json.loads(text)
        except ValueError:
            value = text
        try:
            check_setting(task, name, value)
        except SettingsError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return value

    return convert


def add_line_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a recogniser of lines."""
    parser.add_argument(
        "--right-to-left",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="reverse the lines of a right-to-left script, which a network reads in visual order "
        "(default: as the weights state)",
    )


def recognizer_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the options of `add_line_options` change."""
    return {} if options.right_to_left is None else {"right_to_left": options.right_to_left}


def add_min_score(parser: argparse.ArgumentParser, default: float) -> None:
    """Add the option --min-score, with its default from 0 to 1."""
    parser.add_argument(
        "--min-score",
        type=probability,
        default=default,
        metavar="X",
        help=f"leave out lines with a lower score, 0 to 1 (default: {default:g})",
    )


def add_roles(parser: argparse.ArgumentParser) -> None:
    """Add the options of the networks of documents: a folder of them, and each by its role."""
    parser.add_argument("--models", type=Path, metavar="DIR",
        help="folder of converted weights, of which the best for each role are taken")  # fmt: skip
    group = parser.add_argument_group("single networks", "They replace those in --models.")
    for name, role in ROLES.items():
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, dest=name, type=Path, metavar="X.pth", help=role.title)


def given_roles(options: argparse.Namespace) -> dict[str, Path]:
    """Return the networks that the options of `add_roles` name singly, by role."""
    return {name: path for name in ROLES if (path := getattr(options, name)) is not None}


def runtime_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of a predictor that --device, --half and --compile set."""
    return {"device": options.device, "half": options.half, "compile": options.compile}


def positive(number: Callable[[str], T]) -> Callable[[str], T]:
    """Return an argument type for finite numbers above 0.

    Args:
        number: int or float.
    """

    def convert(text: str) -> T:
        try:
            value = number(text)
        except ValueError:
            value = number("0")
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"should be greater than 0, not {text}")
        return value

    return convert


def probability(text: str) -> float:
    """Convert an argument to a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"should be from 0 to 1, not {text}")
    return value
