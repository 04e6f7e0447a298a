"""Small ONNX files in the way of Paddle2ONNX, and the real ones that a package carries."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from converter.alignment.layer_graph import LayerGraph, program_graph
from converter.sources.onnx.program import read_onnx

FLOAT = TensorProto.FLOAT
node = helper.make_node


def carried() -> Path:
    """The folder of the ONNX files that the package `rapidocr` carries."""
    spec = importlib.util.find_spec("rapidocr")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "models"


def constant(name: str, array: np.ndarray) -> onnx.NodeProto:
    """A constant as Paddle2ONNX writes it."""
    return node("Constant", [], [name], value=numpy_helper.from_array(array, name))


def model(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    shape: Sequence[int | str] = ("n", 3, "h", "w"),
    output: str = "y",
    opset: int = 11,
) -> onnx.ModelProto:
    """A network from `x` to `output`, whose weights are Constant operations."""
    constants = [constant(name, array) for name, array in (weights or {}).items()]
    graph = helper.make_graph(
        [*constants, *nodes],
        "paddle-onnx",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(output, FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def save(file: Path, proto: onnx.ModelProto) -> Path:
    """Write a model without any check."""
    file.write_bytes(proto.SerializeToString())
    return file


def layers(file: Path, proto: onnx.ModelProto) -> LayerGraph:
    """Write a model, read it, and reduce it to layers."""
    return program_graph(read_onnx(save(file, proto)).program)


def recogniser() -> onnx.ModelProto:
    """A small network of most kinds of layers, a loop among them."""
    floats = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("state", "next")]
    flags = [helper.make_tensor_value_info(name, TensorProto.BOOL, None) for name in ("go", "on")]
    counter = helper.make_tensor_value_info("step", TensorProto.INT64, None)
    step = [
        node("MatMul", ["state", "linear_0.w_0"], ["next"]),
        node("Identity", ["go"], ["on"]),
    ]
    body = helper.make_graph(step, "body", [counter, flags[0], floats[0]], [flags[1], floats[1]])
    nodes = [
        node("Conv", ["x", "conv2d_0.w_0"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Add", ["a", "conv2d_0.b_0"], ["b"]),
        node("Relu", ["b"], ["c"]),
        node("ReduceMean", ["c"], ["d"], axes=[2], keepdims=0),
        node("Transpose", ["d"], ["e"], perm=[2, 0, 1]),
        node("Unsqueeze", ["w_ih"], ["w"], axes=[0]),
        node("GRU", ["e", "w", "r", "gates"], ["f"], hidden_size=4, linear_before_reset=1),
        node("Squeeze", ["f"], ["g"], axes=[1]),
        node("Loop", ["count", "true", "g"], ["h"], body=body),
        node("Identity", ["h"], ["y"]),
    ]
    weights = {
        "conv2d_0.w_0": weight(4, 3, 3, 3), "conv2d_0.b_0": weight(1, 4, 1, 1),
        "w_ih": weight(12, 4), "r": weight(1, 12, 4), "gates": weight(1, 24),
        "linear_0.w_0": weight(4, 4), "count": np.array(3), "true": np.array(True),
    }  # fmt: skip
    return model(nodes, weights)


def weight(*shape: int, seed: int = 0) -> np.ndarray:
    """Random numbers of float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def export(
    network: nn.Module, file: Path, image: torch.Tensor, opset: int = 14, *, folded: bool = False
) -> Path:
    """Export a network by PyTorch, with the names of the weights replaced by meaningless ones.

    Args:
        network: in eval mode.
        file: the file to write.
        image: a batch that it takes; all axes but that of the channels become dynamic.
        opset: the version of the operators.
        folded: whether each BatchNorm is folded into the convolution before it.
    """
    mode = torch.onnx.TrainingMode
    torch.onnx.export(
        network,
        (image,),
        file,
        dynamo=False,
        opset_version=opset,
        input_names=["x"],
        dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}},
        do_constant_folding=folded,
        training=mode.EVAL if folded else mode.PRESERVE,
    )
    proto = onnx.load(file)
    names = {t.name: f"parameter_{i}.w_0" for i, t in enumerate(proto.graph.initializer)}
    for tensor in proto.graph.initializer:
        tensor.name = names[tensor.name]
    for single in proto.graph.node:
        single.input[:] = [names.get(name, name) for name in single.input]
    return save(file, proto)
