"""ONNX files as programs: operations, parameters and inputs as in Paddle's own formats."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from converter.errors import SourceError
from converter.sources import mapped_files as files
from converter.sources.ir import MALFORMED, Block, Operation, Program, TensorSpec, spec
from converter.sources.onnx.graph import Body, Constants, Node, read_graph
from converter.sources.onnx.model import OnnxModel, read_model
from converter.sources.onnx.operators import OPERANDS, OWNERS, ROLES, VECTORS, attributes_of
from converter.sources.onnx.patterns import put_together
from converter.sources.onnx.recurrent import recurrent_layers
from converter.sources.onnx.tensors import DTYPES
from converter.sources.pdiparams import Export

# Names that exporters give to constants which no layer owns: the factors of written-out
# activations, epsilons, scalings. Paddle2ONNX from 0.x on, PyTorch's two exporters.
_MADE = re.compile(
    r"p2o\.|helper\.|auto\.|Constant[@_.]|.*/Constant(_\d+)?(_output_0)?$|fill_constant|full_"
    r"|onnx::|val_\d+$|_?(scalar_tensor|lift_fresh)"
)


def read_onnx(file: Path) -> Export:
    """Read an ONNX file: its program and its weights.

    Raises:
        SourceError: the file is truncated, corrupt, of another format, or quantised.
        UnsafeSource: it has operators that are none of ONNX's own, or data outside of its folder.
        ReferenceUnavailable: the package `onnx` is not installed.
    """
    model = read_model(file)
    try:
        graph = read_graph(model)
        nodes = put_together(graph.nodes, graph.constants, graph.outputs)
        nodes = recurrent_layers(nodes, graph.constants, graph.outputs)
        builder = _Builder(graph.constants)
        operations = tuple(map(builder.operation, nodes))
        program = Program(
            format="onnx",
            operations=operations,
            parameters=MappingProxyType(builder.parameters),
            inputs=tuple(_inputs(model)),
            outputs=graph.outputs,
            content=b"",
            source=str(file),
        )
    except MALFORMED as fault:
        raise SourceError(
            f"{file} is no network that can be followed ({type(fault).__name__}: {fault}); it is "
            "corrupt. Export or download it again."
        ) from None
    tensors, notes = files.in_float32(builder.tensors)
    return Export(
        program_file=file,
        weights_file=file,
        program=program,
        tensors=tensors,
        structured_names=MappingProxyType({}),
        external=model.external,
        metadata=MappingProxyType(model.metadata),
        notes=(*model.notes, *notes),
    )


def _inputs(model: OnnxModel) -> Iterator[TensorSpec]:
    """Yield the tensors that the network is fed with; older files list weights, too."""
    weights = {tensor.name for tensor in model.proto.graph.initializer}
    for value in model.proto.graph.input:
        if value.name not in weights:
            tensor = value.type.tensor_type
            lengths = [dim.dim_value if dim.dim_value > 0 else -1 for dim in tensor.shape.dim]
            yield spec(value.name, lengths, DTYPES[tensor.elem_type])


class _Builder:
    """Converts operations, and finds out which constants are weights.

    Attributes:
        parameters: the weights, by name.
        tensors: their arrays.
    """

    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self.parameters: dict[str, TensorSpec] = {}
        self.tensors: dict[str, np.ndarray] = {}

    def block(self, body: Body) -> Block:
        """Convert the body of a loop or a branch."""
        return Block(tuple(map(self.operation, body.nodes)), body.arguments, body.results)

    def operation(self, node: Node) -> Operation:
        """Convert an operation with the blocks inside it."""
        kind, names = OPERANDS.get(node.kind, (node.kind.lower(), ""))
        attributes = dict(node.attributes)
        roles = names.split()
        operands = {role: value for role, value in zip(roles, node.inputs, strict=False) if value}
        extra = [value for value in node.inputs[len(roles) :] if value]
        weight = self.constants.arrays.get(operands.get("weight", ""))
        if weight is not None:
            attributes["kernel_shape"] = weight.shape[2:]
        if kind == "gather" and self.is_table(operands, attributes):
            kind, operands = "embedding", {"x": operands["index"], "weight": operands["x"]}
        if node.kind == "Gemm" and not _is_linear(attributes):
            kind = "gemm"
        attributes = attributes_of(kind, attributes)
        if kind == "matmul" and (matrix := self.constants.transposed.get(operands["y"])):
            operands["y"] = matrix
            attributes["transpose_y"] = not attributes["transpose_y"]
        owned = OWNERS.get(kind, ())
        inputs: dict[str, tuple[str, ...]] = {}
        for role in sorted(operands, key=ROLES.index):
            value = operands[role]
            owns = role in owned and self.is_weight(kind, value)
            inputs[role] = (self.parameter(role, value) if owns else value,)
        outputs = tuple(value for value in node.outputs if value)
        if kind == "while":
            inputs["carried"] = tuple(extra)
            outputs = outputs[: len(extra)]
        elif kind == "rnn":
            inputs["weights"] = tuple(self.parameter("weights", value) for value in extra)
        else:
            inputs |= {str(i): (value,) for i, value in enumerate(extra, len(inputs))}
        return Operation(
            kind,
            MappingProxyType(inputs),
            outputs,
            MappingProxyType(attributes),
            tuple(map(self.block, node.blocks)),
        )

    def is_table(self, operands: Mapping[str, str], attributes: Mapping[str, Any]) -> bool:
        """Return whether rows of a matrix of weights are taken, as an embedding does."""
        table = self.constants.arrays.get(operands["x"])
        rows = attributes.get("axis", 0) == 0 and operands["index"] not in self.constants
        return rows and table is not None and table.ndim == 2 and table.dtype == np.float32

    def is_weight(self, kind: str, value: str) -> bool:
        """Return whether a constant operand is a weight and no number of the exporter's."""
        array = self.constants.arrays.get(value)
        if array is None or not np.issubdtype(array.dtype, np.floating):
            return False
        simple = kind in ("add", "multiply") and array.size == 1
        return not (simple and _MADE.match(self.constants.origins[value]))

    def parameter(self, role: str, value: str) -> str:
        """Return the name of a weight, which is added to the parameters."""
        array = self.constants.arrays[value]
        if role in VECTORS and array.size == max(array.shape, default=1):
            array = array.reshape(-1)
        name = self.constants.origins[value]
        if name in self.tensors and self.tensors[name].shape != array.shape:
            name = value  # the same numbers in two shapes
        self.tensors[name] = array
        self.parameters[name] = spec(name, array.shape, str(array.dtype), known=True)
        return name


def _is_linear(attributes: Mapping[str, Any]) -> bool:
    """Return whether a Gemm is a matrix product with a bias and nothing else."""
    factors = (attributes.get("alpha", 1.0), attributes.get("beta", 1.0))
    return factors == (1.0, 1.0) and not attributes.get("transA", 0)
