"""What stops a command, each with the exit code that the command line returns for it.

    CommandError
    ├── UsageError 2       an argument that does not fit, weights of another kind than asked for
    │   └── OutputError    a result cannot be written
    └── SourceError 3      weights that are missing or unreadable

The codes are those of `python -m converter`. A page that cannot be read stops nothing.
"""

from __future__ import annotations

from typing import ClassVar


class CommandError(Exception):
    """Anything that stops a command."""

    exit_code: ClassVar[int]


class UsageError(CommandError):
    """The call itself is wrong."""

    exit_code = 2


class OutputError(UsageError):
    """A result cannot be written."""


class SourceError(CommandError):
    """Weights are missing or unreadable."""

    exit_code = 3
