"""Operations reduced to a graph of layers: the operations that own tensors, and the data flow.

Operations without tensors (activations, pooling, reshapes, residual sums) are passed through,
because the two frameworks write them in different ways. The position of an operand in a
concatenation or a product matters, so it is kept as a mark on the edge.

A decoder runs its layers once for each character, in a loop or written out step by step. There
(`merged`) a layer is one node however often it runs, with the edges of all of its runs: what a step
hands on to the next becomes an edge from the layer that made it. So it does not matter how often a
loop runs, whether it is written out, or whether earlier steps are computed anew or kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from converter.alignment.stacked_items import take_items
from converter.alignment.trace import Trace
from converter.alignment.written_norms import put_norms_together
from converter.errors import AlignmentError, SourceError
from converter.sources.ir import MALFORMED, Operation, Program

INPUT = -1
Key = tuple[str, int]
Sides = tuple[int, int, int, int]  # rows above and below, columns left and right
Edge = tuple[int, tuple[str, ...]]  # the layer it comes from (or INPUT), marks on the way


@dataclass(frozen=True)
class LayerTensor:
    """A tensor of a layer: its role there, its name, its shape as PyTorch has it."""

    role: str
    name: str
    shape: tuple[int, ...]
    transposed: bool = False


@dataclass(frozen=True)
class Layer:
    """An operation that owns tensors.

    `sources` are the layers that its input comes from; `output` is the value that it gives, its
    bias included. `call` counts the layers before it that own the same tensors. `pads_as_same`, of
    a traced convolution, says that the zeros around its input are those of Paddle's SAME.
    `looped` says that it runs more than once, or in a loop or branch: it has no single output then.
    """

    kind: str
    tensors: tuple[LayerTensor, ...]
    sources: frozenset[Edge]
    output: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    call: int = 0
    pads_as_same: bool = False
    looped: bool = False

    @property
    def name(self) -> str:
        """The name of the first tensor, for messages."""
        return self.tensors[0].name

    @property
    def key(self) -> Key:
        """A key that is unique in its graph."""
        return self.name, self.call

    def __str__(self) -> str:
        shapes = ", ".join(f"{tensor.role} {tensor.shape}" for tensor in self.tensors)
        return f"{self.kind} {self.name} ({shapes})"


@dataclass(frozen=True)
class LayerGraph:
    """The layers in the order in which they run, the edges to the results, and unread tensors."""

    layers: tuple[Layer, ...]
    results: frozenset[Edge]
    unread: tuple[str, ...]


_CONVOLUTIONS = {
    "conv2d": "conv",
    "depthwise_conv2d": "conv",
    "conv2d_transpose": "conv_transpose",
    "depthwise_conv2d_transpose": "conv_transpose",
    "deformable_conv": "deformable_conv",
}
SAME = "SAME"
"""The paddings of a program's convolution that follow from the size of the map."""
_NORMS = {"batch_norm", "layer_norm", "instance_norm"}
_ORDERED = {"concat", "stack", "matmul", "bilinear", "subtract", "divide", "deformable_conv"}
_ALIKE = {"bmm": "matmul", "stack": "concat"}
_SAME_VALUES = {
    "reshape", "view", "flatten", "squeeze", "unsqueeze", "cast", "to", "assign", "tile", "expand",
}  # fmt: skip
# Of learned positions, some are taken; of a table of relative ones, the row of each pair of places.
_ROWS = {"getitem", "gather", "index_select", "gather_nd"}
_PARTS = {"slice", "strided_slice", "dropout", *_ROWS}
# Rows become a bias of attention, to which a mask of windows may be added.
_BIASES = {"transpose", "permute", "repeat", "add"}
_FED_BY_CONSTANTS = {"embedding", "matmul"}
# In a decoder's first step, they may get a state of zeros, or learned positions alone.
_LAYERS_OF_STATES = {"rnn", *_CONVOLUTIONS, *_NORMS}
_NO_FLOW = {
    "shape", "numel", "size", "full", "full_like", "fill_any_like", "full_int_array", "new_zeros",
    "new_ones", "zeros_like", "ones_like", "feed", "data", "fetch",
    "ne",  # of ours; says which vectors are no padding, where Paddle's embedding knows
}  # fmt: skip


_MOST_PATHS = 20_000  # into one operation; released networks have some hundred
_MOST_FOLLOWED = 20_000_000
_MOST_ROUNDS = 8  # of a loop, until its data flow does not change any more; released ones need 3


def layer_graph(
    operations: Sequence[Operation],
    parameters: Mapping[str, tuple[int, ...]],
    inputs: Iterable[str],
    outputs: Sequence[str],
    merged: bool = False,
) -> LayerGraph:
    """Reduce operations to layers.

    Args:
        operations: in the order in which they run.
        parameters: the shape of every tensor that the network owns.
        inputs: the values that are fed.
        outputs: the values that are returned.
        merged: whether operations that own the same tensors are one layer.

    Raises:
        AlignmentError: a tensor goes into an operation in a way that no layer knows.
    """
    walk = _Walk(parameters, merged)
    for value in inputs:
        walk.origin[value] = frozenset({(INPUT, ())})
    walk.uses.update(_used(operations))
    walk.uses.update(outputs)
    walk.run(operations)
    results = frozenset(
        (layer, (*marks, f"output:{place}") if len(outputs) > 1 else marks)
        for place, value in enumerate(outputs)
        for layer, marks in walk.origin.get(value, ())
    )
    read = {tensor.name for layer in walk.layers for tensor in layer.tensors}
    unread = tuple(name for name in parameters if name not in read)
    return LayerGraph(tuple(walk.layers), results, unread)


def _used(operations: Sequence[Operation]) -> Iterator[str]:
    """Yield the values that operations use, as often as they are used."""
    for operation in operations:
        for values in operation.inputs.values():
            yield from values
        for block in operation.blocks:
            yield from _used(block.operations)
            yield from block.results


def program_graph(
    program: Program, constant: Collection[str] = (), merged: bool = False
) -> LayerGraph:
    """Return the layers of an exported program, of whose inputs some are `constant`.

    Raises:
        AlignmentError: a tensor goes into an operation in a way that no layer knows.
        SourceError: an operation lacks an operand, a result or an attribute that it has to have.
    """
    shapes = {name: spec.shape for name, spec in program.parameters.items()}
    inputs = [spec.name for spec in program.inputs if spec.name not in constant]
    try:
        operations = put_norms_together(take_items(program.operations), shapes)
        return layer_graph(operations, shapes, inputs, program.outputs, merged)
    except (*MALFORMED, StopIteration) as fault:
        raise SourceError(
            f"{program.source} has an operation without one of its operands, results or "
            f"attributes ({type(fault).__name__}: {fault}); it is corrupt. Export or download it "
            "again."
        ) from None


@dataclass(frozen=True)
class TracedLayers:
    """The layers of a traced network, and its operations, whose values the layers name.

    Values have the same names whenever the network runs the same operations, whatever the image.
    """

    operations: tuple[Operation, ...]
    outputs: Mapping[str, str]
    graph: LayerGraph

    @classmethod
    def of(
        cls, traced: Trace, constant: Collection[str] = (), merged: bool = False
    ) -> TracedLayers:
        """Reduce a trace, of whose inputs some are `constant`, to layers."""
        return cls(traced.operations, traced.outputs, network_graph(traced, constant, merged))

    def fit(self, traced: Trace) -> bool:
        """Return whether another run named its values as this one did."""
        flows = [
            [(operation.kind, operation.inputs, operation.outputs) for operation in operations]
            for operations in (self.operations, traced.operations)
        ]
        return flows[0] == flows[1] and self.outputs == traced.outputs


def network_graph(
    traced: Trace, constant: Collection[str] = (), merged: bool = False
) -> LayerGraph:
    """Return the layers of a traced network, of whose inputs by keyword some are `constant`."""
    given = (value for name, value in traced.given.items() if name not in constant)
    inputs, outputs = (*traced.inputs, *given), tuple(traced.outputs.values())
    return layer_graph(traced.operations, traced.parameters, inputs, outputs, merged)


class _Walk:
    def __init__(self, parameters: Mapping[str, tuple[int, ...]], merged: bool) -> None:
        self.parameters = parameters
        self.merged = merged
        self.depth = 0  # of loops and branches
        self.made: dict[str, int] = {}  # value -> the layer that gives it
        self.known: dict[tuple[object, ...], int] = {}  # kind and tensors -> the layer, if merged
        self.layers: list[Layer] = []
        self.origin: dict[str, frozenset[Edge]] = {}
        self.held = {name: name for name in parameters}  # value -> the tensor that it is
        self.done: dict[tuple[object, ...], tuple[str, ...]] = {}  # operation -> what it gave
        self.same: dict[str, str] = {}  # value -> an earlier one that is the same
        self.parts: dict[str, str] = {}  # value -> which part of its tensor it is
        self.rows = set[str]()  # values that are rows of a tensor
        self.borders: dict[str, Sides] = {}  # value -> the zeros around it
        self.uses: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.followed = 0

    def run(self, operations: Sequence[Operation]) -> None:
        """Follow operations in their order."""
        for operation in operations:
            self.followed += 1
            if operation.blocks:
                self.enter(operation)
            else:
                self.step(operation)

    def enter(self, operation: Operation) -> None:
        """Follow the body of a loop until its data flow does not change, or all branches."""
        self.depth += 1
        if operation.kind == "while":
            self.loop(operation)
        else:
            # In old programs a branch overwrites values, or leaves them as they were.
            given = [self.origin.get(value, frozenset()) for value in operation.outputs]
            for block in operation.blocks:
                self.run(block.operations)
                flows = (self.origin.get(value, frozenset()) for value in block.results)
                given = [a | b for a, b in zip(given, flows, strict=True)]
            self.origin.update(zip(operation.outputs, given, strict=True))
        self.depth -= 1

    def loop(self, operation: Operation) -> None:
        (body,) = operation.blocks
        entering = operation.inputs["carried"]
        for _ in range(_MOST_ROUNDS):
            self.carry(entering, body.arguments)
            before = [layer.sources for layer in self.layers]
            flows = [self.origin.get(value) for value in body.arguments]
            self.run(body.operations)
            entering = body.results
            after = [self.origin.get(value) for value in entering]
            if flows == after and before == [layer.sources for layer in self.layers]:
                break
        else:
            raise AlignmentError(
                f"the data flow of a loop still changes after {_MOST_ROUNDS} iterations, which "
                "that of no decoder does; it cannot be followed"
            )
        self.carry(entering, operation.outputs)

    def carry(self, values: Sequence[str], names: Sequence[str]) -> None:
        """Let `names` be what `values` are."""
        moved = [(self.origin.get(value), self.held.get(value)) for value in values]
        for name, (flow, tensor) in zip(names, moved, strict=True):
            self.origin[name] = flow or frozenset()
            self.held.pop(name, None)
            if tensor is not None:
                self.held[name] = tensor

    def step(self, operation: Operation) -> None:
        if operation.kind in _NO_FLOW:
            return
        inputs = {r: tuple(self.same.get(v, v) for v in vs) for r, vs in operation.inputs.items()}
        operation = replace(operation, inputs=inputs)
        owned = {
            role: [self.held[value] for value in values if value in self.held]
            for role, values in operation.inputs.items()
        }
        names = [name for values in owned.values() for name in values]
        if operation.kind == "pad" and "sides" in operation.attributes:
            self.borders[operation.outputs[0]] = operation.attributes["sides"]
        flow = self.flow(operation)
        if names and not self.merged and self.repeated(operation):
            return
        if not names:
            self.give(operation, flow)
        elif not flow and not self.fed_by_constants(operation):
            self.hold(operation, names)
        elif operation.kind == "add" and len(names) == 1 and self.bias(operation, names[0]):
            return
        else:
            self.add_layer(operation, owned, flow)

    def repeated(self, operation: Operation) -> bool:
        """Return whether an earlier layer computes the very same, as in loops without a cache."""
        operands = tuple(operation.inputs.items())
        key = (operation.kind, operands, repr(sorted(operation.attributes.items())))
        first = self.done.setdefault(key, operation.outputs)
        if first == operation.outputs:
            return False
        for value, other in zip(operation.outputs, first, strict=True):
            self.same[value] = other
            self.origin[value] = self.origin.get(other, frozenset())
        return True

    def flow(self, operation: Operation) -> frozenset[Edge]:
        """Return the layers that the operands come from, marked where their order matters."""
        places = [value for values in operation.inputs.values() for value in values]
        moving = [value for value in places if self.origin.get(value)]
        kind = _ALIKE.get(operation.kind, operation.kind)
        marked = kind in _ORDERED and len(moving) > 1
        paths = [self.origin[value] for value in moving]
        if marked and self.merged:  # what one set of layers made has no known order
            marked = len({frozenset(layer for layer, _ in path) for path in paths}) > 1
        elif marked:  # parts of one value: their places would mark all of its paths alike
            marked = len(set(paths)) > 1
        self.followed += sum(map(len, paths)) + max(
            (len(m) for p in paths for _, m in p), default=0
        )
        if sum(map(len, paths)) > _MOST_PATHS or self.followed > _MOST_FOLLOWED:
            raise AlignmentError(
                f"the data flow branches and joins over more than {_MOST_PATHS} paths without a "
                "layer on them, which no network does; it cannot be followed"
            )
        return frozenset(
            (layer, self.marked(marks, f"{kind}:{place}") if marked else marks)
            for place, value in enumerate(places)
            for layer, marks in self.origin.get(value, ())
        )

    def marked(self, marks: tuple[str, ...], mark: str) -> tuple[str, ...]:
        """Return marks with one more; of a state that each step changes alike, one is enough."""
        return marks if self.merged and marks[-1:] == (mark,) else (*marks, mark)

    def give(self, operation: Operation, origin: frozenset[Edge]) -> None:
        for value in operation.outputs:
            self.origin[value] = origin

    def fed_by_constants(self, operation: Operation) -> bool:
        """Return whether this is a layer whose input is the same for every image: positions."""
        values = [value for values in operation.inputs.values() for value in values]
        if self.merged and operation.kind in _LAYERS_OF_STATES:
            return True
        return operation.kind in _FED_BY_CONSTANTS and any(v not in self.held for v in values)

    def hold(self, operation: Operation, names: list[str]) -> None:
        """Follow a tensor through a reshape or a cast to the operation that uses it."""
        parts = [] if self.merged else self.thirds(operation, names[0])
        known = _SAME_VALUES | _PARTS if self.merged else _SAME_VALUES
        are_rows = any(v in self.rows for vs in operation.inputs.values() for v in vs)
        known = known | _BIASES if are_rows else known
        if len(names) > 1 or (operation.kind not in known and not parts):
            raise AlignmentError(
                f"the operation {operation.kind} makes other weights of {', '.join(names)}, which "
                "no layer does; is the program quantised? Export the float32 model."
            )
        self.held.update(dict.fromkeys(operation.outputs, names[0]))
        if are_rows or operation.kind in _ROWS:
            self.rows.update(operation.outputs)
        self.parts.update(zip(operation.outputs, parts, strict=False))

    def thirds(self, operation: Operation, name: str) -> list[str]:
        """Name which thirds of a tensor an operation gives: those of queries, keys and values.

        Source: PaddleDetection's `MultiHeadAttention`. Nothing for any other part.
        """
        shape, attributes = self.parameters[name], operation.attributes
        if operation.kind == "chunk" and len(operation.outputs) == 3:  # of the first axis
            return ["[0]", "[1]", "[2]"]
        ranges = [attributes.get(key, ()) for key in ("axes", "starts", "ends")]
        if operation.kind != "slice" or any(len(values) != 1 for values in ranges):
            return []
        (axis,), (start,), (end,) = ranges
        third = shape[axis] // 3
        whole = shape[axis] == 3 * third and start % third == 0
        return [f"[{start // third}]"] if whole and min(end, shape[axis]) == start + third else []

    def bias(self, operation: Operation, name: str) -> bool:
        """Take an addition right after a convolution or a matrix product into that layer."""
        value = next(v for vs in operation.inputs.values() for v in vs if v not in self.held)
        last = self.made.get(value)
        if last is None or self.uses[value] != 1:
            return False
        layer, result = self.layers[last], operation.outputs[0]
        bias = LayerTensor(f"bias{self.part(operation, name)}", name, self.parameters[name])
        if layer.looped and bias in layer.tensors:  # it was taken in at the first run
            self.made[result] = last
            self.origin[result] = self.origin[value]
            return True
        width = layer.settings.get("width")
        if math.prod(self.parameters[name]) != width or len(layer.tensors) != 1:
            return False
        self.layers[last] = replace(layer, tensors=(*layer.tensors, bias), output=result)
        self.made[result] = last
        self.origin[result] = self.origin[value]
        return True

    def add_layer(
        self, operation: Operation, owned: Mapping[str, list[str]], flow: frozenset[Edge]
    ) -> None:
        kind, settings, pads_as_same = operation.kind, dict[str, Any](), False
        attributes = operation.attributes
        tensors = [
            LayerTensor(role if len(names) == 1 else f"{role}.{i}", name, self.parameters[name])
            for role, names in owned.items()
            for i, name in enumerate(names)
        ]
        if kind in _CONVOLUTIONS:
            kind = _CONVOLUTIONS[kind]
            keys = ["strides", "paddings", "dilations", "groups"]
            keys += ["deformable_groups"] if kind == "deformable_conv" else []
            settings = {key: attributes[key] for key in keys} | _by_algorithm(attributes)
            weight = self.parameters[owned["weight"][0]]
            if kind == "conv" and "input_size" in attributes:
                border = self.borders.get(operation.inputs["x"][0])
                pads_as_same = _pads_as_same(attributes, (1, *weight[2:])[-2:], border)
            transposed = kind == "conv_transpose"
            settings["width"] = weight[1] * settings["groups"] if transposed else weight[0]
        elif kind in _NORMS:
            settings = {"epsilon": attributes["epsilon"]}
        elif kind == "matmul" and len(owned.get("y", ())) == 1:
            (matrix,) = (tensor for tensor in tensors if tensor.role == "y")
            transposed = not attributes["transpose_y"]
            shape = matrix.shape[::-1] if transposed else matrix.shape
            tensors.remove(matrix)
            tensors.append(LayerTensor("weight", matrix.name, shape, transposed))
            kind, settings = "linear", {"width": shape[0]}
        elif kind == "rnn":
            settings = {"mode": attributes["mode"]}
        elif kind == "einsum" and len(tensors) == 1:
            axis = _shared_axis(attributes["equation"])
            tensors = [replace(tensors[0], role=f"table{axis}")]
        elif kind in ("add", "multiply"):
            tensors = [replace(tensor, role="operand") for tensor in tensors]
        elif kind == "concat":
            places = [value for values in operation.inputs.values() for value in values]
            place = {self.held[value]: i for i, value in enumerate(places) if value in self.held}
            tensors = [replace(tensor, role=f"operand.{place[tensor.name]}") for tensor in tensors]
        tensors = [
            replace(tensor, role=f"{tensor.role}{self.part(operation, tensor.name)}")
            for tensor in tensors
        ]
        tensors.sort(key=lambda t: (not t.role.startswith(("weight", "scale")), t.role))
        if self.merged and self.run_again((kind, *tensors), operation, flow):
            return
        call = self.calls[tensors[0].name]
        self.calls[tensors[0].name] += 1
        output = operation.outputs[0]
        looped = self.depth > 0
        layer = Layer(kind, tuple(tensors), flow, output, settings, call, pads_as_same, looped)
        self.layers.append(layer)
        self.made[output] = len(self.layers) - 1
        self.give(operation, frozenset({(len(self.layers) - 1, ())}))

    def part(self, operation: Operation, name: str) -> str:
        """Name the part of a tensor that goes into an operation; nothing for all of it."""
        values = (value for values in operation.inputs.values() for value in values)
        return next(
            (self.parts[v] for v in values if self.held.get(v) == name and v in self.parts), ""
        )

    def run_again(
        self, key: tuple[object, ...], operation: Operation, flow: frozenset[Edge]
    ) -> bool:
        """Return whether a layer is run once more; then its sources are those of all runs."""
        index = self.known.setdefault(key, len(self.layers))
        if index == len(self.layers):
            return False
        layer = self.layers[index]
        self.layers[index] = replace(layer, sources=layer.sources | flow, looped=True)
        self.made[operation.outputs[0]] = index
        self.give(operation, frozenset({(index, ())}))
        return True


def _by_algorithm(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a program's convolution that its padding algorithm replaces.

    Paddle: `UpdatePaddingAndDilation` in `paddle/phi/kernels/cpu/conv_util.h`.
    """
    algorithm = attributes.get("padding_algorithm", "EXPLICIT")
    if algorithm == "VALID":
        return {"paddings": (0, 0)}
    return {"paddings": SAME, "dilations": (1, 1)} if algorithm == SAME else {}


def _shared_axis(equation: str) -> int:
    """Return which axis of queries a table of relative positions follows, from the last, -1.

    In "bhwc,hkc->bhwk" it is -3, in "bhwc,wkc->bhwk" -2.
    """
    queries, _, table = equation.partition("->")[0].replace(" ", "").partition(",")
    return queries.find(table[:1]) - len(queries)


def _pads_as_same(
    attributes: Mapping[str, Any], kernel: Sequence[int], border: Sides | None
) -> bool:
    """Return whether a traced convolution pads its input as Paddle's SAME does.

    Args:
        attributes: of the convolution; `input_size` is the size of its input, border included.
        kernel: height and width of its windows.
        border: the zeros put around the map before, which may depend on its size; None for none.
    """
    for axis in (0, 1):
        stride, own = attributes["strides"][axis], attributes["paddings"][axis]
        before, after = (border or (0, 0, 0, 0))[2 * axis : 2 * axis + 2]
        size = attributes["input_size"][axis] - before - after
        # Paddings that do not follow the size have to be right for every size.
        for length in (size,) if border else range(size, size + stride):
            missing = max((math.ceil(length / stride) - 1) * stride + kernel[axis] - length, 0)
            if (before + own, after + own) != (missing // 2, missing - missing // 2):
                return False
    return True
