"""The intermediate representation of an exported program, the same for all of its formats.

`.pdmodel` is a ProgramDesc (protobuf, Paddle 1.x to 2.x); `inference.json` is PIR (Paddle 3.x);
`.onnx` is what Paddle2ONNX makes of either.
Kinds, roles and attribute names are the canonical ones of `op_table.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

# What reading a malformed document ends in.
MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)

# Far beyond every released program, the largest of which has 2 MB and some 10,000 operations.
LARGEST_PROGRAM = 64 << 20  # bytes
MOST_OPERATIONS = 100_000


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape (-1 for an unknown length) and NumPy-style dtype (`float32`) of a tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Block:
    """The operations of a loop's body or of a branch, in order of execution.

    Values of the blocks around it are used by their names.

    Args:
        operations: its own operations.
        arguments: of a loop, the names that the carried values have inside.
        results: the names of the values that it gives. Those of a loop's body are the arguments
            of the next iteration, in the same order.
    """

    operations: tuple[Operation, ...]
    arguments: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One operation of a program.

    Args:
        kind: its canonical kind, such as `conv2d`.
        inputs: from roles to value names. Roles are those of `op_table.py`, otherwise `0`, `1`, ...
            in the order of the file. A constant operand that sets an attribute (the axis of a PIR
            concat) is in `attributes` instead.
        outputs: value names, the main result first.
        attributes: ints, floats, strings, bools and tuples of them.
        blocks: the body of a loop (`while`), whose operand `carried` holds the first arguments; or
            the branches of a condition. The outputs are the results of the last iteration, or of
            the branch that ran, in their order.
    """

    kind: str
    inputs: Mapping[str, tuple[str, ...]]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Program:
    """An exported program.

    Parameters and inputs have their own names; other values are named as in the file
    (`conv2d_0.tmp_0`; `%12` in PIR, where values are numbers).

    Args:
        format: the format of the file.
        operations: in order of execution, with `fetch` but without the definitions of parameters
            and inputs. Those of a loop or branch are in its `blocks`. In a `.pdmodel` they write
            values of the blocks around them under the names that these have there.
        parameters: the tensors of the weights file, by name.
        inputs: the tensors that the program is fed with.
        outputs: the names of the values that it returns.
        content: the file; empty of an ONNX file, which holds the weights, too.
        source: the name of the file, for messages.
    """

    format: Literal["pdmodel", "pir", "onnx"]
    operations: tuple[Operation, ...]
    parameters: Mapping[str, TensorSpec]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    content: bytes = field(repr=False)
    source: str = field(default="the program", compare=False)

    def every_operation(self) -> Iterator[Operation]:
        """Yield all operations; those of a loop or branch follow the operation that owns them."""
        waiting = list(reversed(self.operations))
        while waiting:
            operation = waiting.pop()
            yield operation
            for block in reversed(operation.blocks):
                waiting += reversed(block.operations)


def spec(name: object, shape: Sequence[object], dtype: str, *, known: bool = False) -> TensorSpec:
    """Check the name and shape of a tensor in a file, and build its TensorSpec.

    Args:
        name: its name, a string without control characters.
        shape: its shape, of integers.
        dtype: its NumPy-style dtype.
        known: whether every length has to be known, that is not -1.

    Raises:
        ValueError: the name or the shape is not valid.
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
