"""The command line: which command is meant, errors as messages, exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from converter.errors import ConverterError

# Command -> module in converter/commands; without one of these words a model is converted.
COMMANDS = {"verify": "verify", "add-dict": "add_dict", "diagnose": "diagnose",
            "prove": "prove"}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _interrupt)  # so that what is half written is removed
    named = arguments[:1] and arguments[0] in COMMANDS
    command = import_module(f"converter.cli.{COMMANDS[arguments[0]] if named else 'convert'}")
    options = command.parser().parse_args(arguments[1:] if named else arguments)
    try:
        code = int(command.run(options))
        sys.stdout.flush()
        return code
    except ConverterError as error:
        if getattr(options, "verbose", False):
            traceback.print_exc()
        print(f"{options.prog}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # whoever read what is printed has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print(f"{options.prog}: interrupted, nothing was written", file=sys.stderr)
        return 130


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
