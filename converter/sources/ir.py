"""Exported programs, in one form for both of Paddle's formats.

`.pdmodel` is a ProgramDesc (protobuf, Paddle 1.x to 2.x); `inference.json` is PIR (Paddle 3.x).
Kinds, roles and attribute names are the canonical ones of `op_table.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape (-1 where unknown) and NumPy-style dtype (`float32`) of a tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Operation:
    """One operation: what it computes from which values.

    `inputs` maps roles to value names; roles are those of `op_table.py`, else `0`, `1`, ... in the
    operation's own order. An operand that is a constant and stands for an attribute (the axis of a
    PIR concat) is in `attributes` instead. `outputs` has the main result first. `attributes` are
    ints, floats, strings, bools and tuples of them.
    """

    kind: str
    inputs: Mapping[str, tuple[str, ...]]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Program:
    """An exported program.

    Values are named: a parameter and an input by their own names, others as the file names them
    (`conv2d_0.tmp_0`; `%12` in PIR, where values are numbers). `operations` are in order of
    execution, with `fetch` but without the definitions of parameters and inputs; those of a loop
    or branch come right before it, and name the values that enter a PIR loop as before its first
    round. `outputs` are the values fetched. `content` is the file, `source` its name for messages.
    """

    format: Literal["pdmodel", "pir"]
    operations: tuple[Operation, ...]
    parameters: Mapping[str, TensorSpec]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    content: bytes = field(repr=False)
    source: str = field(default="the program", compare=False)


def spec(name: object, shape: Sequence[object], dtype: str, *, known: bool = False) -> TensorSpec:
    """Make a TensorSpec of what a file states.

    Raises `ValueError` if its name or shape is none, if the name has control characters, or, with
    `known`, if a length is unknown (-1).
    """
    if not isinstance(name, str):
        raise ValueError(f"a {type(name).__name__} as a name")
    if not name.isprintable():
        raise ValueError(f"control characters in the name {name!r}")
    lowest = 0 if known else -1
    lengths = tuple(n for n in shape if isinstance(n, int) and lowest <= n)
    if len(lengths) != len(shape) or len(shape) > 32 or math.prod(map(abs, lengths)) >= 2**60:
        raise ValueError(f"{name!r} has an impossible shape")
    return TensorSpec(name, lengths, dtype)
