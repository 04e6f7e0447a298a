"""The errors of the converter, each with the exit code that the command line returns for it.

    ConverterError
    ├── UsageError 2            a wrong argument, an unknown model, a place that cannot be written to
    │   ├── UnknownModel        a name that no config has; carries the nearest ones
    │   ├── ConfigError         a config, mapping or dictionary that does not hold together
    │   └── OutputError         the output cannot be written
    ├── SourceError 3           a Paddle file that is missing, truncated, corrupt or foreign
    │   └── UnsafeSource        a Paddle file that would do more than hold arrays
    ├── PlanError 4             tensors and network do not fit together
    │   ├── IncompletePlan      by name: lists every fault of a mapping
    │   └── AlignmentError      by data flow: names the layers that do not match
    ├── ParityError 5           Paddle and PyTorch disagree; carries the report
    └── NoReference 6           nothing to compare with, or the reference could not be run

Every message says what was found, what was expected and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from converter.parity import ParityReport


class ConverterError(Exception):
    """Anything that stops a conversion; `exit_code` is what the command line returns."""

    exit_code: ClassVar[int]


class UsageError(ConverterError):
    exit_code = 2


class UnknownModel(UsageError):
    pass


class ConfigError(UsageError):
    pass


class OutputError(UsageError):
    pass


class SourceError(ConverterError):
    exit_code = 3


class UnsafeSource(SourceError):
    pass


class PlanError(ConverterError):
    exit_code = 4


class IncompletePlan(PlanError):
    pass


class AlignmentError(PlanError):
    pass


class ParityError(ConverterError):
    """Paddle and PyTorch disagree; `report` holds every probe."""

    exit_code = 5

    def __init__(self, message: str, report: ParityReport) -> None:
        super().__init__(message)
        self.report = report


class NoReference(ConverterError):
    exit_code = 6
