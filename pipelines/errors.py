"""The exceptions that stop a command, with their exit codes.

    CommandError
    ├── UsageError 2       an invalid argument, or weights of another task
    │   └── OutputError    a result cannot be written
    └── SourceError 3      weights are missing or unreadable

The exit codes are those of `python -m converter`. An unreadable page does not stop a command.
"""

from __future__ import annotations

from typing import ClassVar


class CommandError(Exception):
    """The base of all exceptions that stop a command."""

    exit_code: ClassVar[int]


class UsageError(CommandError):
    """An argument is invalid, or weights are of another task."""

    exit_code = 2


class OutputError(UsageError):
    """A result cannot be written."""


class SourceError(CommandError):
    """Weights are missing or unreadable."""

    exit_code = 3
