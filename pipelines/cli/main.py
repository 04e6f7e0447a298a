"""The command line: which command is meant, errors as messages, exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from pipelines.errors import CommandError

# Command -> module in pipelines/commands and what it does.
COMMANDS = {
    "ocr": ("ocr", "read the text of images and PDFs"),
    "detect": ("detect", "find the lines of text in images and PDFs"),
    "spot": ("spot", "find and read text by one network"),
    "recognize": ("recognize", "read images of one line each"),
    "formula": ("formula", "read images of one formula each, as LaTeX"),
    "upscale": ("upscale", "draw blurred images of one line each anew, larger"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _interrupt)  # so that what is half written is removed
    name = _parser().parse_args(arguments[:1]).command
    command = import_module(f"pipelines.cli.{COMMANDS[name][0]}")
    options = command.parser().parse_args(arguments[1:])
    try:
        code = int(command.run(options))
        sys.stdout.flush()
        return code
    except CommandError as error:
        if options.verbose:
            traceback.print_exc()
        print(f"{options.prog}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # whoever read what is printed has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print(f"{options.prog}: interrupted, the results so far are whole", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    commands = [f"  {name:<12}{purpose}" for name, (_, purpose) in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="python -m pipelines",
        description="Use converted networks; COMMAND --help tells what a command takes.",
        epilog="\n".join(["commands:", *commands]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS)
    return parser


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
