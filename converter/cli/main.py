"""Choose the subcommand, run it, and turn errors into messages and exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType

from converter import __version__
from converter.cli.options import EXIT_CODES
from converter.errors import ConverterError, SourceError
from schemas.artefact_files import written_files

SCRIPT = "paddleocr-to-torch"  # the console script of setup.cfg


@dataclass(frozen=True)
class Command:
    """A subcommand: its module in `converter/cli`, and one line for the overview.

    The module has `build_parser(prog)`, which returns the argument parser, and `run(options)`,
    which returns the exit code. It is imported only when its command is called.
    """

    module: str
    summary: str


COMMANDS = {
    "convert": Command("convert", "convert one model and verify it; the default command"),
    "convert-all": Command("convert_all", "convert every model in a folder of downloads"),
    "verify": Command("verify", "compare the networks with recorded outputs of PaddleOCR's"),
    "diagnose": Command("diagnose", "find the first layer that differs, and the cause"),
    "prove": Command("prove", "read pages with Paddle and with PyTorch, and compare the texts"),
    "export": Command("export", "write a converted network for another program"),
    "add-classes": Command("add_classes", "let a recogniser have more characters, for training"),
    "add-dict": Command("add_dict", "add a dictionary to a converted recogniser"),
    "add-tokenizer": Command("add_tokenizer", "add a tokeniser to a network of key information"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:  # the caller has closed it
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
    signal.signal(signal.SIGTERM, _raise_interrupt)  # so that partly written files are removed
    program = SCRIPT if Path(sys.argv[0]).stem == SCRIPT else "python -m converter"
    if arguments[:1] in (["-h"], ["--help"], ["--version"]):
        build_parser(program).parse_args(arguments)
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "convert"
    command = import_module(f"converter.cli.{COMMANDS[name].module}")
    parser: argparse.ArgumentParser = command.build_parser(f"{program} {name}")
    parser.set_defaults(verbose=False)
    options = parser.parse_args(arguments)
    prefix = "converter" if name == "convert" else f"converter {name}"
    before = len(written_files())
    try:
        code = int(command.run(options))
        sys.stdout.flush()
        return code
    except ConverterError as error:
        if options.verbose:
            traceback.print_exc()
        print(f"{prefix}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of the output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is not None:  # such as a file in a folder that may not be entered
            if options.verbose:
                traceback.print_exc()
            fault = SourceError(f"{os.fsdecode(error.filename)} cannot be used: {error.strerror}")
            print(f"{prefix}: {fault}", file=sys.stderr)
            return fault.exit_code
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
        print(f"{prefix}: standard output cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        done = ", ".join(map(str, written_files()[before:]))
        after = f" after {done} was written" if done else ", nothing was written"
        print(f"{prefix}: interrupted{after}", file=sys.stderr)
        return 130


def build_parser(program: str) -> argparse.ArgumentParser:
    """Build the parser of the overview: `--help` lists the subcommands."""
    commands = [f"  {name:<13}{command.summary}" for name, command in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog=program,
        usage="%(prog)s [convert] NAME --paddle-dir PATH --out FILE [options]\n"
        "       %(prog)s COMMAND [options]\n"
        "       %(prog)s --list | --version | --help",
        description="Convert PaddleOCR models to PyTorch and verify the result.\n\n"
        + "\n".join(["commands:", *commands])
        + "\n\nCOMMAND --help lists the options of a command; --list prints the released models.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _raise_interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
