"""The errors of the converter, each with the exit code that the command line returns for it.

    ConverterError
    ├── UsageError 2            a wrong argument, an unknown model, an unwritable place
    │   ├── UnknownModel        a name that no config has; carries the nearest ones
    │   ├── RefusedModel        a released model in a form that cannot be converted
    │   ├── ConfigError         a config, mapping or dictionary that does not hold together
    │   └── OutputError         the output cannot be written
    ├── SourceError 3           a Paddle file that is missing, truncated, corrupt or foreign
    │   └── UnsafeSource        a Paddle file that would do more than hold arrays
    ├── PlanError 4             tensors and network do not fit together
    │   ├── MappingError        by name: lists every fault of a mapping
    │   └── AlignmentError      by data flow: names the layers that do not match
    ├── ParityError 5           Paddle and PyTorch disagree; carries the report
    ├── ExportError 5           an exported file does not compute what the network does
    └── ReferenceUnavailable 6  nothing to compare with, or the reference could not be run

Every message says what was found, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from schemas.messages import escape_controls


class FailedProof(Protocol):
    """The part of a parity report (`parity.report.ParityReport`) that an error uses."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        ...


class ConverterError(Exception):
    """An error that stops a conversion; `exit_code` is what the command line returns.

    Messages quote names from files of strangers, so control characters are escaped in all of them.
    """

    exit_code: ClassVar[int]

    def __init__(self, message: str) -> None:
        super().__init__(escape_controls(message))


class UsageError(ConverterError):
    """The call itself is wrong: a name, an option, a config, the place to write to."""

    exit_code = 2


class UnknownModel(UsageError):
    """No config has a model of this name."""


class RefusedModel(UsageError):
    """The model was released in a form that cannot be converted; the message says why."""


class ConfigError(UsageError):
    """A config, mapping or dictionary does not hold together."""


class OutputError(UsageError):
    """The output cannot be written."""


class SourceError(ConverterError):
    """A Paddle file is missing, truncated, corrupt or foreign."""

    exit_code = 3


class UnsafeSource(SourceError):
    """A Paddle file would do more than hold arrays."""


class PlanError(ConverterError):
    """Tensors and network do not fit together."""

    exit_code = 4


class MappingError(PlanError):
    """A mapping by name leaves gaps; the message is a table of all of them."""


class AlignmentError(PlanError):
    """Program and network differ in their data flow; the message names the layers.

    `unmatched` has a line for every layer of either side without a counterpart, in order.
    """

    def __init__(self, message: str, unmatched: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.unmatched = tuple(unmatched)


class ParityError(ConverterError):
    """Paddle and PyTorch disagree; `report` holds every probe."""

    exit_code = 5

    def __init__(self, message: str, report: FailedProof) -> None:
        super().__init__(message)
        self.report = report


class ExportError(ConverterError):
    """An exported file does not compute what the network that it was made of does."""

    exit_code = 5


class ReferenceUnavailable(ConverterError):
    """There is nothing to compare with, or it could not be run."""

    exit_code = 6
