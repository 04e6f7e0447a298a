"""Printing of the package's log messages: warnings with the page that they are about."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.messages import escape_controls


class LogPrinter(logging.Handler):
    """Prints log messages to standard error, without breaking the progress bar.

    Attributes:
        page: the page that is being read, for the warnings; empty between pages.

    Args:
        command: the name of the command, before each warning.
        verbose: whether to print more than warnings.
    """

    def __init__(self, command: str, *, verbose: bool) -> None:
        super().__init__(logging.DEBUG if verbose else logging.WARNING)
        self._command = command
        self.page = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        from tqdm import tqdm

        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f"{self._command}: {self.page and f'{self.page}: '}{text}"
        else:
            text = f"{record.name}: {text}"
        tqdm.write(escape_controls(text), file=sys.stderr)


@contextmanager
def printed_log(command: str, *, verbose: bool) -> Iterator[LogPrinter]:
    """Print the log messages of the package while a command runs.

    Args:
        command: the name of the command.
        verbose: whether to print more than warnings.
    """
    printer = LogPrinter(command, verbose=verbose)
    logger = logging.getLogger("pipelines")
    before = logger.level
    logger.addHandler(printer)
    if verbose:
        logger.setLevel(logging.DEBUG)
    try:
        yield printer
    finally:
        logger.removeHandler(printer)
        logger.setLevel(before)
