"""Parse a ProgramDesc, the format of `.pdmodel`, and replace its outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from converter.errors import SourceError, UnsafeSource
from converter.sources import framework_proto as schema
from converter.sources import op_table as kinds
from converter.sources.computing_operators import OPERATORS, REMOTE_ATTRIBUTES, refusal
from converter.sources.entries import count_entries
from converter.sources.ir import (
    MALFORMED,
    MOST_OPERATIONS,
    Block,
    Operation,
    Program,
    TensorSpec,
    spec,
)

_MOST_MESSAGES = 2_000_000
_COPIES = {b"assign", b"select_input"}
_CONDITIONS = {b"Condition", b"Cond"}  # operands of loops and branches
_CONSTANTS = {b"fill_constant", b"assign_value"}
_LEVELS = 3  # blocks, operations and variables, attributes


def parse(content: bytes, name: str) -> Program:
    """Parse the content of a `.pdmodel` file; `name` is the file for messages."""
    program = _message(content, name)
    if (total := sum(len(block.ops) for block in program.blocks)) > MOST_OPERATIONS:
        raise SourceError(f"{name} has {total} operations; at most {MOST_OPERATIONS} are read.")
    try:
        specs = {text(v.name): v for v in program.blocks[0].vars}
        parameters = {
            key: _spec(variable, known=True)
            for key, variable in specs.items()
            if variable.persistable and variable.type.type == schema.DENSE_TENSOR
        }
        operations = [_unwritten(op, parameters) for op in _operations(program, 0, {0})]
        inputs = [op for op in operations if op.kind == "data"]
        outputs = [op for op in operations if op.kind == "fetch"]
        return Program(
            format="pdmodel",
            operations=tuple(op for op in operations if op.kind != "data"),
            parameters=MappingProxyType(parameters),
            inputs=tuple(_spec(specs[op.outputs[0]]) for op in sorted(inputs, key=_column)),
            outputs=tuple(op.inputs["x"][0] for op in sorted(outputs, key=_column)),
            content=content,
            source=name,
        )
    except (*MALFORMED, RecursionError) as fault:
        raise SourceError(
            f"{name} is not a program that can be followed ({type(fault).__name__}: {fault}); "
            "it is corrupt. Export or download it again."
        ) from None


def check_operators(content: bytes, name: str) -> None:
    """Raise `UnsafeSource` unless every operation of every block only computes."""
    for number, block in enumerate(_message(content, name).blocks):
        for op in block.ops:
            operator = text(op.type)
            if operator not in OPERATORS:
                raise UnsafeSource(refusal(name, operator, f"block {number}"))
            for attribute in op.attrs:
                if text(attribute.name) in REMOTE_ATTRIBUTES and _value(attribute):
                    remote = f"{operator} ({text(attribute.name)})"
                    raise UnsafeSource(refusal(name, remote, f"block {number}"))


def fetch(content: bytes, values: Sequence[str]) -> bytes:
    """Write `content` again with its fetch operations replaced by those of `values`.

    A value of a loop or branch is declared in the main block instead, where its last value stays.
    Fields that the schema does not know are left out.
    """
    program = _message(content, "the program")
    program.DiscardUnknownFields()
    block, *inner = program.blocks
    for other in inner:
        moved = [v for v in other.vars if text(v.name) in values]
        block.vars.extend(moved)
        for variable in moved:
            other.vars.remove(variable)
    _remove_unread_copies(program, values)
    known = {text(variable.name) for variable in block.vars}
    if unknown := [value for value in values if value not in known]:
        raise ValueError(f"the program has no value {unknown[0]!r}")
    kept = [op for op in block.ops if op.type != b"fetch"]
    for column, value in enumerate(values):
        operation = schema.message("OpDesc")(type=b"fetch")
        operation.inputs.add(parameter=b"X", arguments=[value.encode()])
        operation.outputs.add(parameter=b"Out", arguments=[b"fetch"])
        operation.attrs.add(name=b"col", type=schema.INT, i=column)
        kept.append(operation)
    del block.ops[:]
    block.ops.extend(kept)
    return program.SerializeToString()


def _remove_unread_copies(program: Any, values: Collection[str]) -> None:
    """Remove the operations that copy a value to one that nothing reads; keep `values`.

    A loop hands on what every name of its source stood for, used or not. Of a name that is a list
    in one case and a tensor in another, Paddle fails to make that copy.
    """
    before = -1
    while before != (before := sum(len(block.ops) for block in program.blocks)):
        read = {value.encode() for value in values}
        for op in (op for block in program.blocks for op in block.ops):
            owns_block = any(map(_sub_blocks, op.attrs))  # it lists all that is read inside, too
            for slot in op.inputs:
                if not owns_block or slot.parameter in _CONDITIONS:
                    read.update(slot.arguments)
        for block in program.blocks:
            kept = [
                op
                for op in block.ops
                if op.type not in _COPIES or any(read & {*slot.arguments} for slot in op.outputs)
            ]
            if len(kept) < len(block.ops):
                del block.ops[:]
                block.ops.extend(kept)


def with_integers(content: bytes, changed: Mapping[int, int]) -> bytes:
    """Write `content` again with other values of integer constants, of all that have the value."""
    program = _message(content, "the program")
    program.DiscardUnknownFields()
    constants = (op for block in program.blocks for op in block.ops if op.type in _CONSTANTS)
    for op in constants:
        stated = {text(attribute.name): attribute for attribute in op.attrs}
        if "dtype" not in stated or schema.DTYPES.get(stated["dtype"].i) not in ("int32", "int64"):
            continue
        if "value" in stated:  # of fill_constant, which also holds it as a text
            value = stated["value"]
            value.f = changed.get(value.f, value.f)
            written = stated.get("str_value")
            if written is not None and text(written.s).isdecimal():
                written.s = str(changed.get(int(written.s), int(written.s))).encode()
        for name in ("int32_values", "int64_values", "values"):
            if name in stated:
                _change(stated[name], changed)
    return program.SerializeToString()


def _change(values: Any, changed: Mapping[int, int]) -> None:
    """Change the integers of a list among the attributes of an operation."""
    for numbers in (values.ints, values.longs):
        numbers[:] = [changed.get(number, number) for number in numbers]
    for scalar in values.scalars:
        scalar.i = changed.get(scalar.i, scalar.i)


def text(raw: bytes) -> str:
    """Decode a name; bytes that are not UTF-8 are kept as surrogates, so names stay distinct."""
    return raw.decode("utf-8", "surrogateescape")


def _message(content: bytes, name: str) -> Any:
    from google.protobuf.message import DecodeError

    if (counted := _count_messages(content)) > _MOST_MESSAGES:
        raise SourceError(
            f"{name} has more than {counted} entries, where released programs have at most some "
            "hundred thousand; it is damaged, or made to exhaust the memory."
        )
    try:
        program = schema.message("ProgramDesc").FromString(content)
    except DecodeError:
        program = None
    if program is None or not program.blocks:
        raise SourceError(
            f"{name} is truncated or corrupt: found no complete ProgramDesc. "
            "Export or download it again."
        )
    return program


@lru_cache(maxsize=1)  # a program is parsed, checked and written again
def _count_messages(content: bytes) -> int:
    """Count the messages of the first three levels (blocks, operations, attributes) and strings."""
    return count_entries(content, _MOST_MESSAGES, 0, _level_inside)


def _level_inside(level: int, _field: int) -> int | None:
    return level + 1 if level < _LEVELS else None


def _spec(variable: Any, *, known: bool = False) -> TensorSpec:
    tensor = variable.type.dense_tensor.tensor
    dtype = schema.DTYPES.get(tensor.data_type, f"dtype {tensor.data_type}")
    return spec(text(variable.name), list(tensor.dims), dtype, known=known)


def _column(operation: Operation) -> int:
    return operation.attributes["col"]


def _operations(program: Any, block: int, entered: set[int]) -> Iterator[Operation]:
    """Yield the operations of a block with the blocks inside them, each of which has one owner."""
    for op in program.blocks[block].ops:
        operation, blocks = _operation(op), []
        for attribute in op.attrs:
            for inner in _sub_blocks(attribute):
                if inner not in entered:
                    entered.add(inner)
                    blocks.append(tuple(_operations(program, inner, entered)))
        yield _enclosing(operation, blocks) if blocks else operation


def _enclosing(operation: Operation, blocks: Sequence[tuple[Operation, ...]]) -> Operation:
    """Return an operation with its blocks, which write its outputs under the names outside."""
    written = {name for block in blocks for op in block for name in op.outputs}
    results = tuple(name for name in operation.outputs if name in written)
    inputs = dict(operation.inputs)
    if operation.kind == "while":
        inputs = {"condition": inputs["condition"], "carried": results}
    arguments = inputs.get("carried", ())
    return replace(
        operation,
        inputs=MappingProxyType(inputs),
        outputs=results,
        blocks=tuple(Block(block, arguments, results) for block in blocks),
    )


def _unwritten(operation: Operation, parameters: Collection[str]) -> Operation:
    """Leave out parameters among the outputs: a BatchNorm names its statistics there."""
    return replace(
        operation,
        outputs=tuple(name for name in operation.outputs if name not in parameters),
        blocks=tuple(
            replace(block, operations=tuple(_unwritten(op, parameters) for op in block.operations))
            for block in operation.blocks
        ),
    )


def _sub_blocks(attribute: Any) -> Sequence[int]:
    if attribute.type == schema.BLOCK:
        return [attribute.block_idx]
    return list(attribute.blocks_idx) if attribute.type == schema.BLOCKS else []


def _operation(op: Any) -> Operation:
    kind = kinds.of_desc(text(op.type))
    slots = {text(v.parameter): tuple(map(text, v.arguments)) for v in op.inputs if v.arguments}
    inputs = {}
    for role in kind.roles:
        for slot in role.slots:
            if slot in slots:
                inputs[role.name] = slots.pop(slot)
    inputs |= {str(i): names for i, names in enumerate(slots.values(), len(inputs))}
    results = {text(v.parameter): tuple(map(text, v.arguments)) for v in op.outputs}
    main = [slot for slot in kinds.MAIN_OUTPUTS if slot in results]
    ordered = dict.fromkeys([*main, *results])
    attributes = dict(kind.defaults)
    for attribute in op.attrs:
        key = text(attribute.name)
        if key not in kinds.IGNORED_ATTRIBUTES:
            attributes[kind.attribute(key)] = _value(attribute)
    return Operation(
        kind.name,
        MappingProxyType(inputs),
        tuple(name for slot in ordered for name in results[slot]),
        MappingProxyType(attributes),
    )


def _value(attribute: Any) -> Any:
    value = getattr(attribute, schema.ATTRIBUTE_FIELDS[attribute.type])
    match attribute.name, value:
        case (b"dtype" | b"in_dtype" | b"out_dtype", int()):
            return schema.DTYPES.get(value, value)
        case _, bytes():
            return text(value)
        case _, bool() | int() | float():
            return value
    if attribute.type == 16:
        return _scalar(value)
    if attribute.type == 17:
        return tuple(map(_scalar, value))
    return tuple(text(item) if isinstance(item, bytes) else item for item in value)


def _scalar(scalar: Any) -> Any:
    return getattr(scalar, schema.SCALAR_FIELDS[scalar.type])
