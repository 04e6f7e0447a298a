"""The operations of an ONNX file, and the constants among their operands.

Identity and Constant operations disappear, and what is computed from constants alone becomes a
constant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from converter.errors import SourceError
from converter.sources.onnx.model import OnnxModel
from converter.sources.onnx.tensors import FLOAT, TensorData

# Operations whose result takes no more memory than their operands, apart from Cast.
SHAPE = "Shape"  # the only operation that does not depend on the numbers of its operand
_RESHAPED = {"Reshape", "Squeeze", "Unsqueeze", "Flatten"}
_COMPUTED = {"Cast", "Concat", "Slice", "Split", "Transpose", *_RESHAPED}
# Operations whose result is of another type than their first operand.
_OF_OTHER_TYPES = {
    "And", "ArgMax", "ArgMin", "Cast", "ConstantOfShape", "Equal", "Greater", "GreaterOrEqual",
    "If", "IsInf", "IsNaN", "Less", "LessOrEqual", "Loop", "NonZero", "Not", "OneHot", "Or", "Scan",
    "Shape", "Size", "Where", "Xor",
}  # fmt: skip
_WIDENING = 8  # a truth value becomes a number of 64 bits
_MOST_COMPUTED = 16  # times the size of all constants in the file
_ALLOWANCE = 1 << 20  # bytes


@dataclass(frozen=True)
class Node:
    """One operation of an ONNX file.

    Args:
        kind: ONNX's name of it.
        inputs: value names; "" for an operand that is left out.
        outputs: value names.
        attributes: numbers, strings and lists of them.
        blocks: the body of a loop, the branches of a condition.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    blocks: tuple[Body, ...] = ()

    def operand(self, place: int) -> str:
        """Return the name of an operand; "" if there is none at this place."""
        return self.inputs[place] if place < len(self.inputs) else ""


@dataclass(frozen=True)
class Body:
    """The operations of a loop or branch; the other fields are those of `ir.Block`."""

    nodes: tuple[Node, ...]
    arguments: tuple[str, ...]
    results: tuple[str, ...]


def uses(nodes: Sequence[Node], outputs: Iterable[str]) -> Counter[str]:
    """Count how often the numbers of each value are used, in loops and branches too.

    Args:
        nodes: the operations.
        outputs: the values that they are run for.
    """
    counts = Counter(outputs)
    for node in nodes:
        counts.update(() if node.kind == SHAPE else node.inputs)
        for body in node.blocks:
            counts.update(uses(body.nodes, body.results))
    return counts


def users(nodes: Sequence[Node]) -> dict[str, int]:
    """Return the place of an operation that uses the numbers of a value, by the value."""
    places = enumerate(nodes)
    return {value: i for i, node in places if node.kind != SHAPE for value in node.inputs}


@dataclass
class Constants:
    """The values that are the same for every image.

    Args:
        arrays: by the names of the values.
        origins: the tensor of the file that a value is, reshaped or not, by the value's name.
        transposed: the matrix of which a value is the transpose, by the value's name.
        halved: whether they were of half precision.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    transposed: dict[str, str] = field(default_factory=dict)
    halved: bool = False

    def __contains__(self, value: str) -> bool:
        return value in self.arrays

    def add(self, value: str, array: np.ndarray, origin: str = "") -> None:
        """Note a constant, which is the tensor `origin` of the file or one of its own."""
        self.arrays[value] = array
        self.origins[value] = origin or value

    def scalar(self, value: str) -> float | None:
        """Return the number that a value of one element is; None for any other value."""
        array = self.arrays.get(value)
        return float(array.reshape(())) if array is not None and array.size == 1 else None

    def setting(self, value: str) -> float | None:
        """Return a number that someone chose, such as an epsilon; None as of `scalar`.

        In half precision it is the number of one digit that was rounded to the stored one, up or
        down.
        """
        number = self.scalar(value)
        if number is None or not self.halved:
            return number
        chosen = float(f"{number:.0e}")
        return chosen if abs(chosen - number) <= np.spacing(np.float16(number)) else number


@dataclass(frozen=True)
class Graph:
    """The operations of an ONNX file in order.

    Args:
        nodes: the operations.
        constants: what is known before an image is.
        outputs: the values that the network returns.
    """

    nodes: tuple[Node, ...]
    constants: Constants
    outputs: tuple[str, ...]


def read_graph(model: OnnxModel) -> Graph:
    """Return the operations of an ONNX file.

    Raises:
        SourceError: an operand is made nowhere, or constants do not fit the operation on them.
    """
    reader = _Reader(model)
    nodes = tuple(reader.nodes(model.proto.graph))
    outputs = tuple(reader.name(value.name) for value in model.proto.graph.output)
    return Graph(nodes, reader.constants, outputs)


class _Reader:
    def __init__(self, model: OnnxModel) -> None:
        self.file = model.file
        self.data = TensorData(model.file)
        self.version = model.proto.opset_import[0].version
        self.constants = Constants(halved=bool(model.notes))
        self.same: dict[str, str] = {}  # value -> the value that it is
        inputs = model.proto.graph.input
        self.known = {value.name for value in inputs}
        self.floats = {v.name for v in inputs if v.type.tensor_type.elem_type == FLOAT}
        self.left = _ALLOWANCE  # bytes that may be computed

    def nodes(self, graph: Any) -> Iterator[Node]:
        """Yield the operations of a graph that are not computed from constants alone."""
        for tensor in graph.initializer:
            self.constant(tensor.name, self.data.array(tensor))
        for proto in graph.node:
            node = self.node(proto)
            if node.kind == "Constant":
                self.constant(node.outputs[0], self.value_of(proto))
            elif node.kind == "Identity" or self.keeps_type(node):
                self.same[node.outputs[0]] = node.inputs[0]
            elif not self.compute(proto, node):
                yield replace(node, blocks=tuple(self.blocks(proto, node)))
            self.known.update(node.outputs)
            if self.gives_floats(node):
                self.floats.add(node.outputs[0])
        if unknown := [v.name for v in graph.output if v.name not in self.known]:
            raise self.corrupt(f"no operation gives its result {unknown[0][:200]!r}")

    def name(self, value: str) -> str:
        """Return the first name of a value, which Identity operations may have given others."""
        while value in self.same:
            value = self.same[value]
        return value

    def keeps_type(self, node: Node) -> bool:
        """Return whether a node casts float32 to float32, as where half precision was widened."""
        to_float = node.kind == "Cast" and node.attributes.get("to") == FLOAT
        return to_float and node.inputs[0] in self.floats and node.inputs[0] not in self.constants

    def gives_floats(self, node: Node) -> bool:
        """Return whether the first result of a node is of float32 for sure."""
        if node.kind == "Cast":
            return bool(node.attributes.get("to") == FLOAT)
        of_first = node.kind not in _OF_OTHER_TYPES and node.operand(0)
        return bool(of_first) and (of_first in self.floats or self.is_float(node.inputs[0]))

    def is_float(self, value: str) -> bool:
        """Return whether a value is a constant of float32."""
        return value in self.constants and self.constants.arrays[value].dtype == np.float32

    def corrupt(self, fault: str) -> SourceError:
        return SourceError(f"{self.file}: {fault}; the file is corrupt. Export it again.")

    def constant(self, value: str, array: np.ndarray) -> None:
        self.known.add(value)
        self.constants.add(value, array)
        self.left += _MOST_COMPUTED * array.nbytes

    def node(self, proto: Any) -> Node:
        place = f"the operation {proto.op_type} {proto.name[:200]!r}"
        for value in proto.input:
            if value and value not in self.known:
                raise self.corrupt(f"{place} takes {value[:200]!r}, which nothing before it gives")
        if again := [value for value in proto.output if value and value in self.known]:
            raise self.corrupt(f"{place} gives {again[0][:200]!r}, which is there before")
        needed = {"Constant": 0, "Loop": 2}.get(proto.op_type, 1)
        if len(proto.input) < needed or not proto.output or not proto.output[0]:
            raise self.corrupt(f"{place} has no operand or no result")
        attributes = {a.name: _value(a) for a in proto.attribute}
        inputs = tuple(map(self.name, proto.input))
        return Node(proto.op_type, inputs, tuple(proto.output), attributes)

    def value_of(self, proto: Any) -> np.ndarray:
        """Return the array of a Constant operation."""
        for attribute in proto.attribute:
            match attribute.name:
                case "value":
                    return self.data.array(attribute.t)
                case "value_float" | "value_floats":
                    return np.array(_value(attribute), np.float32)
                case "value_int" | "value_ints":
                    return np.array(_value(attribute), np.int64)
        raise self.corrupt(f"the constant {proto.output[0][:200]!r} holds no numbers")

    def compute(self, proto: Any, node: Node) -> bool:
        """Return whether the results of a node are constants, and note them.

        The new shape of a constant may depend on the image; then it is noted in its own.
        """
        constants = self.constants
        operands = [value for value in node.inputs if value]
        if node.kind not in _COMPUTED or operands[0] not in constants:
            return False
        first = operands[0]
        if not all(value in constants for value in operands):
            if node.kind in _RESHAPED:
                constants.add(node.outputs[0], constants.arrays[first], constants.origins[first])
            return node.kind in _RESHAPED
        arrays = {value: constants.arrays[value] for value in operands}
        bound = sum(constants.arrays[value].nbytes for value in operands)
        if bound * (_WIDENING if node.kind == "Cast" else 1) > self.left:
            raise self.corrupt("more is computed from its constants than networks do")
        for value, result in zip(node.outputs, self.run(proto, node, arrays), strict=True):
            self.left -= result.nbytes
            cast = node.kind == "Cast" and result.dtype == arrays[first].dtype
            same = cast or node.kind in _RESHAPED
            constants.add(value, result, constants.origins[first] if same else "")
            if node.kind == "Transpose" and result.ndim == 2:
                constants.transposed[value] = first
        return True

    def run(self, proto: Any, node: Node, arrays: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        """Compute an operation by ONNX's own reference implementation."""
        from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto
        from onnx.reference import ReferenceEvaluator

        single = NodeProto(
            op_type=node.kind, input=node.inputs, output=node.outputs, attribute=proto.attribute
        )
        graph = GraphProto(
            node=[single],
            input=[ValueInfoProto(name=value) for value in arrays],
            output=[ValueInfoProto(name=value) for value in node.outputs],
        )
        model = ModelProto(graph=graph)
        model.opset_import.add(version=self.version)
        try:
            results = ReferenceEvaluator(model).run(None, dict(arrays))
            return [np.asarray(result) for result in results]
        except Exception as fault:  # whatever an operation on wrong operands ends in
            raise self.corrupt(
                f"{node.kind} {node.outputs[0][:200]!r} cannot be computed "
                f"({type(fault).__name__}: {str(fault)[:200]})"
            ) from None

    def blocks(self, proto: Any, node: Node) -> Iterator[Body]:
        """Yield the body of a loop, or the branches of a condition.

        A loop's body begins with its counter and condition and gives the next condition first;
        behind the carried values it may give others, which it collects.
        """
        for attribute in proto.attribute:
            if attribute.HasField("g"):
                graph = attribute.g
                inside = [value.name for value in graph.input]
                self.known.update(inside)
                nodes = tuple(self.nodes(graph))
                results = [self.name(value.name) for value in graph.output]
                if node.kind != "Loop":
                    yield Body(nodes, (), tuple(results[: len(node.outputs)]))
                    continue
                carried = len(node.inputs) - 2
                if len(inside) != carried + 2 or len(results) <= carried:
                    raise self.corrupt(f"a loop of {carried} values does not give as many")
                yield Body(nodes, tuple(inside[2:]), tuple(results[1 : carried + 1]))


def _value(attribute: Any) -> Any:
    """Return the value of an attribute, None for tensors and graphs."""
    match attribute.type:
        case 1:
            return attribute.f
        case 2:
            return attribute.i
        case 3:
            return attribute.s.decode("utf-8", "surrogateescape")
        case 6:
            return tuple(attribute.floats)
        case 7:
            return tuple(attribute.ints)
        case 8:
            return tuple(item.decode("utf-8", "surrogateescape") for item in attribute.strings)
    return None
