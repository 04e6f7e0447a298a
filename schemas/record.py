"""The facts of a record: what PaddleOCR's own network of one architecture computed.

`reference.json` of a record is written by `scripts/record_reference.py` and read by
`converter.references.recorded`. Its rows are lists in JSON, in the order of the fields here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeVar

from schemas.checks import shorten

Row = TypeVar("Row")

RECORDED_CHANGE = "change_under_1e-6_jitter"
"""The key of `RecordFacts.noise` in the JSON."""


class RecordError(ValueError):
    """The facts of a record lack a key, or hold a row of another form."""


class ParameterRow(NamedTuple):
    """A tensor of the network; its seeded value is multiplied by two to the `exponent`."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    exponent: int


class InputRow(NamedTuple):
    """An input of the network; `rule` names how its values are made, or begins with `stored`."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    rule: str


class OutputRow(NamedTuple):
    """A result of the network, of which every `stride`-th value is stored."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    mean: float
    std: float
    largest: float
    stride: int


class TraceRow(NamedTuple):
    """A layer, in the order of first calls; `shape` is that of its first output."""

    layer: str
    kind: str
    calls: int
    shape: tuple[int, ...]


class ConstantRow(NamedTuple):
    """A constant that the network's constructor computes."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    sha1: str
    stride: int


_ROWS: Mapping[str, Callable[..., Any]] = {
    "parameters": ParameterRow,
    "inputs": InputRow,
    "outputs": OutputRow,
    "trace": TraceRow,
    "constants": ConstantRow,
}
_REQUIRED = ("rule", "salt", "architecture", "parameters", "inputs", "outputs", "trace", "aliases")
_OTHER_KEYS = {"noise": RECORDED_CHANGE}


@dataclass(frozen=True)
class RecordFacts:
    """The content of `reference.json`.

    Attributes:
        architecture: the Architecture section that the network was built from.
        salt: the seed of weights and inputs.
        rule: the version of the rule that makes them.
        inputs: in the order of the network, the image first.
        outputs, trace, parameters, constants: see their rows.
        aliases: further names of tensors, each with the tensor's first name.
        noise: for each output, its relative change when the image moves by 1e-6.
        change_for_mirrored_image: for each output, its relative change for another image.
        distinct_argmax: for each output of class scores, how many classes win somewhere.
        config: the training YAML, below PaddleOCR's `configs`.
        algorithm, model_type: those of the architecture.
        paddle: the version of Paddle.
        note: how the network was run, if not by a plain call.
    """

    architecture: Mapping[str, Any] = field(default_factory=dict)
    salt: int = 0
    rule: int = 1
    inputs: tuple[InputRow, ...] = ()
    outputs: tuple[OutputRow, ...] = ()
    trace: tuple[TraceRow, ...] = ()
    parameters: tuple[ParameterRow, ...] = ()
    constants: tuple[ConstantRow, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    noise: Mapping[str, float] = field(default_factory=dict)
    change_for_mirrored_image: Mapping[str, float] = field(default_factory=dict)
    distinct_argmax: tuple[tuple[str, int], ...] = ()
    config: str = ""
    algorithm: str | None = None
    model_type: str | None = None
    paddle: str | None = None
    note: str | None = None

    @classmethod
    def from_dict(cls, content: object) -> RecordFacts:
        """Read the content of `reference.json`; keys that are not known here are ignored.

        Raises:
            RecordError: a key is missing, or a row has another form.
        """
        if not isinstance(content, Mapping):
            raise RecordError(f"holds {shorten(content)}, expected an object")
        if missing := [key for key in _REQUIRED if key not in content]:
            raise RecordError(f"lacks {', '.join(sorted(missing))}")
        values: dict[str, Any] = {}
        for item in fields(cls):
            key = _OTHER_KEYS.get(item.name, item.name)
            if key not in content:
                continue
            value = content[key]
            if item.name in _ROWS:
                value = _read_rows(key, value, _ROWS[item.name])
            elif item.name in ("aliases", "distinct_argmax"):
                value = _read_rows(key, value, lambda first, second: (first, second))
            values[item.name] = value
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `reference.json`, in its order of keys."""
        order = (
            *("config", "algorithm", "model_type", "salt", "paddle", "rule", "note"),
            *("architecture", "inputs", "outputs", "distinct_argmax", "noise"),
            *("change_for_mirrored_image", "trace", "constants", "aliases", "parameters"),
        )
        return {_OTHER_KEYS.get(name, name): _plain(getattr(self, name)) for name in order}


def _read_rows(key: str, value: object, row: Callable[..., Row]) -> tuple[Row, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise RecordError(f"has {shorten(value)} as {key}, expected a list of rows")
    rows = []
    for item in value:
        try:
            rows.append(row(*(tuple(x) if isinstance(x, list) else x for x in item)))
        except TypeError as error:
            raise RecordError(f"has the row {shorten(item)} in {key}: {error}") from error
    return tuple(rows)


def _plain(value: object) -> object:
    """Return a value with lists in place of tuples."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value
