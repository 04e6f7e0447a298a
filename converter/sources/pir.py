"""Parse PIR, the format of `inference.json` since Paddle 3, and replace its outputs.

A value is a number (`%`), an operation has inputs (`I`), outputs (`O`) with types (`TT`) and named
attributes (`A`); `p` defines a parameter. A list of tensors is one value, made by `builtin.combine`
and taken apart by `builtin.split`; both are removed. So are constants that become attributes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from converter.errors import SourceError, UnsafeSource
from converter.sources import op_table as kinds
from converter.sources.computing_operators import (
    OPERATORS,
    PIR_STRUCTURE,
    REMOTE_ATTRIBUTES,
    refusal,
)
from converter.sources.ir import (
    MALFORMED,
    MOST_OPERATIONS,
    Block,
    Operation,
    Program,
    TensorSpec,
    spec,
)

_DIALECTS = {"0": "builtin.", "1": "", "2": "cf.", "3": "custom.", "4": "dist."}

_DTYPES = {
    "bool": "bool", "ui8": "uint8", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
    "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64",
    "c64": "complex64", "c128": "complex128",
}  # fmt: skip

_NUMBERS = {"INF": float("inf"), "-INF": float("-inf"), "NAN": float("nan")}

_MOST_VALUES = 3_000_000  # lists and tables of a document, each a hundred bytes of memory
_LONGEST_LIST = 10_000  # tensors that one list of the program holds

_CONSTANTS = {"1.full", "1.assign_value", "1.assign_value_"}

_NONE = 0  # the number of an absent operand or result


def parse(content: bytes, name: str) -> Program:
    """Parse the content of a PIR file; `name` is the file for messages."""
    reader = _Reader()
    try:
        operations = tuple(reader.operations(_main_block(content)["ops"]))
        outputs = [op for op in operations if op.kind == "fetch"]
        return Program(
            format="pir",
            operations=operations,
            parameters=MappingProxyType(reader.parameters),
            inputs=tuple(reader.inputs),
            outputs=tuple(op.inputs["x"][0] for op in sorted(outputs, key=_column)),
            content=content,
            source=name,
        )
    except (*MALFORMED, RecursionError) as fault:
        raise SourceError(
            f"{name} is truncated or corrupt: found no complete PIR program "
            f"({type(fault).__name__}: {fault}). Export or download it again."
        ) from None


def check_operators(content: bytes, name: str) -> None:
    """Raise `UnsafeSource` unless every operation of every region only computes."""
    try:
        for block, op in _all_operations(json.loads(content)["program"]):
            if operator := _unsafe(op):
                raise UnsafeSource(refusal(name, operator, block))
    except (*MALFORMED, RecursionError) as fault:
        raise SourceError(
            f"{name} has a region that cannot be followed ({type(fault).__name__}: {fault}); it is "
            "corrupt. Export or download it again."
        ) from None


def _unsafe(op: Any) -> str:
    """Return the name of an operator that does more than compute; nothing for any other."""
    kind = op["#"]
    if kind in PIR_STRUCTURE:
        return ""
    dialect, _, stem = str(kind).partition(".")
    if dialect != "1" or stem.rstrip("_") not in OPERATORS:
        return _DIALECTS.get(dialect, f"{dialect}.") + stem
    remote = [e["N"] for e in op["A"] if e["N"] in REMOTE_ATTRIBUTES and e["AT"].get("D")]
    return f"{stem} ({remote[0]})" if remote else ""


def _all_operations(program: Any) -> Iterator[tuple[str, Any]]:
    """Yield every operation of a program with the name of its block, whatever holds the block."""
    waiting = [("the program", program)]
    while waiting:
        place, holder = waiting.pop()
        for region in holder.get("regions", ()):
            for block in region["blocks"]:
                name = f"{block.get('#', 'a block')} of {place}"
                for op in block["ops"]:
                    yield name, op
                    waiting.append((f"the {op['#']} operation"[:60], op))


def fetch(content: bytes, values: Sequence[str]) -> bytes:
    """Write `content` again with its fetch operations replaced by those of `values`.

    Only the program and the description of the format are written.
    """
    document = json.loads(content)
    document = {key: document[key] for key in ("base_code", "program")}
    block = document["program"]["regions"][0]["blocks"][0]
    reader = _Reader()
    list(reader.operations(block["ops"]))
    kept = [op for op in block["ops"] if op["#"] != "1.fetch"]
    results = [result for op in kept for result in _results(op)]
    types = {
        name: (result["%"], result["TT"])
        for result in results
        if _is_tensor(result.get("TT"))
        for name in reader.names[result["%"]]
    }
    for column, value in enumerate(values):
        if value not in types:
            raise ValueError(f"the program has no tensor {value!r} in its main block")
        number, kind = types[value]
        kept.append(_fetch(column, number, reader.highest + 1 + column, kind))
    block["ops"] = kept
    return json.dumps(document, separators=(",", ":")).encode()


def with_integers(content: bytes, changed: Mapping[int, int]) -> bytes:
    """Write `content` again with other values of integer constants, of all that have the value."""
    document = json.loads(content)
    for _, op in _all_operations(document["program"]):
        stated = {entry["N"]: entry["AT"] for entry in op["A"]} if op["#"] in _CONSTANTS else {}
        if stated.get("dtype", {}).get("D") not in ("int32", "int64"):
            continue
        value, values = stated.get("value"), stated.get("values", {}).get("D", ())
        for held in (value, *values) if value else values:
            held["D"] = changed.get(held["D"], held["D"])
    return json.dumps(document, separators=(",", ":")).encode()


def _main_block(content: bytes) -> Any:
    if content.count(b"{") + content.count(b"[") > _MOST_VALUES:
        raise ValueError(f"more than {_MOST_VALUES} lists and tables")
    document = json.loads(content)
    if document["base_code"]["magic"] != "pir":
        raise ValueError("not marked as PIR")
    return document["program"]["regions"][0]["blocks"][0]


def _fetch(column: int, number: int, fresh: int, kind: Any) -> dict[str, Any]:
    def flags(name: str, value: bool) -> dict[str, Any]:
        array = {"#": "0.a_array", "D": [{"#": "0.a_bool", "D": value}]}
        return {"AT": array, "N": name}

    return {
        "#": "1.fetch",
        "A": [
            {"AT": {"#": "0.a_str", "D": f"fetch_name_{column}"}, "N": "name"},
            {"AT": {"#": "0.a_i32", "D": column}, "N": "col"},
        ],
        "I": [{"%": number}],
        "O": [{"%": fresh, "TT": kind}],
        "OA": [flags("persistable", True), flags("stop_gradient", True)],
    }


def _column(operation: Operation) -> int:
    return operation.attributes["col"]


def _results(op: Any) -> list[Any]:
    return [op["O"]] if op["#"] == "p" else op["O"]


class _Reader:
    """Converts operations in order, and keeps the names and constants of values."""

    def __init__(self) -> None:
        self.names: dict[int, tuple[str, ...]] = {_NONE: ()}  # several for a list of tensors
        self.constants: dict[str, Any] = {}
        self.parameters: dict[str, TensorSpec] = {}
        self.inputs: list[TensorSpec] = []
        self.highest = 0
        self.seen = 0
        self.loops = 0

    def operations(self, ops: list[Any]) -> Iterator[Operation]:
        """Yield the operations of a block with the blocks inside them."""
        self._name_results(ops)
        for op in ops:
            kind, attributes = op["#"], _attributes(op)
            if kind == "p":
                self._parameter(op)
            elif kind in ("1.data", "1.feed"):
                dtype, shape = _type(op["O"][0]["TT"])
                self.inputs.append(spec(attributes["name"], shape, dtype))
            elif kind not in ("0.combine", "0.split"):
                blocks = [block for region in op.get("regions", ()) for block in region["blocks"]]
                if blocks:
                    yield self._enclosing(op, kind, attributes, blocks)
                else:
                    yield self._operation(op, kind, attributes)

    def _enclosing(
        self, op: Any, name: str, attributes: dict[str, Any], blocks: Sequence[Any]
    ) -> Operation:
        """Return an operation with its blocks; the first operand is its condition."""
        operation = self._operation(op, name, attributes)
        (condition, *carried) = (self.names[operand["%"]] for operand in op["I"])
        inputs = {"condition": condition}
        is_loop = operation.kind == "while"
        if is_loop:
            inputs["carried"] = tuple(name for names in carried for name in names)
        return replace(
            operation,
            inputs=MappingProxyType(inputs),
            blocks=tuple(self._block(block, carried, is_loop) for block in blocks),
        )

    def _block(self, block: Any, carried: Sequence[tuple[str, ...]], is_loop: bool) -> Block:
        """Read a block, whose arguments have names of their own while it is read."""
        outside = dict(self.names)
        self.loops += is_loop
        numbers = [argument["#"] for argument in block["args"]] if is_loop else []
        arguments: list[str] = []
        for number, names in zip(numbers, carried, strict=True) if is_loop else ():
            self.names[number] = tuple(f"%{self.loops}.{number}.{i}" for i in range(len(names)))
            arguments += self.names[number]
        *operations, end = self.operations(block["ops"])
        results = tuple(name for names in end.inputs.values() for name in names)
        if is_loop:
            self.names |= {number: outside.get(number, ()) for number in numbers}
            results = results[1:]  # the first is the condition of the next iteration
        if end.kind != "cf.yield" or (is_loop and len(results) != len(arguments)):
            raise ValueError("a block that does not give its results")
        return Block(tuple(operations), tuple(arguments), results)

    def _name_results(self, ops: list[Any]) -> None:
        """Name the values of a block; elements of a list are named by the `split` of the list."""
        self.seen += len(ops)
        if self.seen > MOST_OPERATIONS:
            raise ValueError(f"more than {MOST_OPERATIONS} operations")
        for op in ops:
            kind = op["#"]
            numbers = [result["%"] for result in _results(op)]
            self.highest = max(self.highest, *numbers, 0)
            for number in numbers:
                self.names.setdefault(number, (f"%{number}",))
            if kind == "p":
                self.names[numbers[0]] = (op["A"][3],)
            elif kind in ("1.data", "1.feed"):
                self.names[numbers[0]] = (_attributes(op)["name"],)
            elif kind == "0.combine":
                operands = [self.names[operand["%"]] for operand in op["I"]]
                if sum(map(len, operands)) > _LONGEST_LIST:
                    raise ValueError(f"a list of more than {_LONGEST_LIST} tensors")
                self.names[numbers[0]] = tuple(name for names in operands for name in names)
            elif kind == "0.split":
                whole = op["I"][0]["%"]
                if self.names[whole] == (f"%{whole}",):
                    self.names[whole] = tuple(f"%{number}" for number in numbers)
                else:
                    parts = zip(numbers, self.names[whole], strict=True)
                    self.names |= {number: (name,) for number, name in parts}

    def _parameter(self, op: Any) -> None:
        *_, name = op["A"]
        persistable = op["OA"][0]
        dtype, shape = _type(op["O"]["TT"])
        if persistable:
            self.parameters[name] = spec(name, shape, dtype, known=True)

    def _operation(self, op: Any, name: str, attributes: dict[str, Any]) -> Operation:
        dialect, _, stem = name.partition(".")
        kind = kinds.of_pir(_DIALECTS[dialect] + stem)
        renamed = {**kind.defaults, **{kind.attribute(k): v for k, v in attributes.items()}}
        inputs = {}
        for position, operand in enumerate(op["I"]):
            listed = position < len(kind.roles)
            role = kind.roles[position] if listed else kinds.Role(str(position))
            names = self.names[operand["%"]]
            if role.foldable and len(names) == 1 and names[0] in self.constants:
                renamed[role.name] = self.constants[names[0]]
            elif names:
                inputs[role.name] = names
        outputs = tuple(n for result in op["O"] for n in self.names[result["%"]])
        if not inputs:
            self._constant(kind.name, outputs, renamed)
        return Operation(kind.name, MappingProxyType(inputs), outputs, MappingProxyType(renamed))

    def _constant(self, kind: str, outputs: tuple[str, ...], attributes: dict[str, Any]) -> None:
        if kind == "full_int_array":
            self.constants[outputs[0]] = attributes["value"]
        elif kind == "full" and attributes["shape"] in ((), (1,)):
            value = attributes["value"]
            whole = attributes["dtype"].startswith("int")
            self.constants[outputs[0]] = int(value) if whole else value


def _is_tensor(kind: Any) -> bool:
    return isinstance(kind, dict) and kind.get("#") == "0.t_dtensor"


def _type(kind: Any) -> tuple[str, list[object]]:
    """Return the dtype and shape of a tensor type."""
    dtype, shape, *_ = kind["D"]
    return _DTYPES[dtype["#"].removeprefix("0.t_")], shape


def _attributes(op: Any) -> dict[str, Any]:
    if op["#"] == "p":
        return {}
    pairs = {entry["N"]: entry["AT"] for entry in op["A"]}
    return {k: _value(v) for k, v in pairs.items() if k not in kinds.IGNORED_ATTRIBUTES}


def _value(attribute: Any) -> Any:
    if "VD" in attribute:
        return _NUMBERS[attribute["VD"]]
    value = attribute.get("D")
    if isinstance(value, list):
        return tuple(_value(item) if isinstance(item, dict) else item for item in value)
    return value
