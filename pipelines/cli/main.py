"""The entry point of `python -m pipelines`: selects the command, prints errors, sets exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from cores.threads import configure_threads
from pipelines.errors import CommandError, UsageError
from schemas.messages import escape_controls

# Command -> module in pipelines/cli, and its purpose.
COMMANDS = {
    "ocr": ("ocr", "read the text of images and PDFs"),
    "corpus": ("corpus", "read many files, on many machines, into Parquet and JSON"),
    "detect": ("detect", "find the text lines in images and PDFs"),
    "spot": ("spot", "find and read text with one network"),
    "recognize": ("recognize", "read images of one line each"),
    "formula": ("formula", "read images of one formula each, as LaTeX"),
    "kie": ("kie", "find the key information of forms and receipts"),
    "layout": ("layout", "find the regions of pages, such as titles and tables"),
    "table": ("table", "recognise images of one table each"),
    "parse": ("parse", "turn pages into Markdown, HTML, Word, Excel and JSON"),
    "serve": ("serve", "answer requests over HTTP: text and documents of images and PDFs"),
    "unwarp": ("unwarp", "flatten photographs of pages"),
    "upscale": ("upscale", "super-resolve low-resolution images of one line each"),
}
PACKAGE = "paddleocr-to-torch"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the arguments; by default those of the process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:  # the caller has closed it
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
    signal.signal(signal.SIGTERM, _interrupt)  # so that incomplete files are removed
    name = _build_parser().parse_args(arguments[:1]).command
    if "torch" not in sys.modules:  # as in a process of its own, before the command imports it
        configure_threads()
    command = import_module(f"pipelines.cli.{COMMANDS[name][0]}")
    options = command.build_parser().parse_args(arguments[1:])
    try:
        code = int(command.run(options))
        sys.stdout.flush()
        return code
    except CommandError as error:
        if options.verbose:
            traceback.print_exc()
        print(escape_controls(f"{options.prog}: {error}"), file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is not None:  # such as a file in a folder that may not be entered
            if options.verbose:
                traceback.print_exc()
            name = escape_controls(os.fsdecode(error.filename))
            print(f"{options.prog}: {name} cannot be used: {error.strerror}", file=sys.stderr)
            return UsageError.exit_code
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
        print(
            f"{options.prog}: standard output cannot be written: {error.strerror}", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        print(
            f"{options.prog}: interrupted; the files written so far are complete", file=sys.stderr
        )
        return 130


def _build_parser() -> argparse.ArgumentParser:
    commands = [f"  {name:<12}{purpose}" for name, (_, purpose) in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="python -m pipelines",
        description="Run converted networks on images and PDFs; "
        "COMMAND --help lists the options of a command.",
        epilog="\n".join(["commands:", *commands]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS)
    return parser


def _version() -> str:
    """Return the version of the installed package."""
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return f"unknown ({PACKAGE} is not installed)"


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
