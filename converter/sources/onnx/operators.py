"""The table of ONNX's operators: their kinds, operands and attributes in a program.

Kinds and roles are those of `op_table.py`. An operator without a row has its own name in lower case
as its kind, and its operands are numbered. Source: https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from converter.sources.onnx.recurrent import KIND as RECURRENT

# Per kind of operation: ONNX's order of the operands. The order in a program is that of ROLES.
OPERANDS: Mapping[str, tuple[str, str]] = {
    "Conv": ("conv2d", "x weight bias"),
    "ConvTranspose": ("conv2d_transpose", "x weight bias"),
    "DeformConv": ("deformable_conv", "x weight offset bias mask"),
    "BatchNormalization": ("batch_norm", "x scale bias mean variance"),
    "LayerNormalization": ("layer_norm", "x scale bias"),
    "InstanceNormalization": ("instance_norm", "x scale bias"),
    "MatMul": ("matmul", "x y"),
    "Gemm": ("matmul", "x y bias"),
    "PRelu": ("prelu", "x alpha"),
    "Gather": ("gather", "x index"),
    "Add": ("add", "x y"),
    "Sub": ("subtract", "x y"),
    "Mul": ("multiply", "x y"),
    "Div": ("divide", "x y"),
    "Loop": ("while", "trips condition"),
    "If": ("if", "condition"),
    "ConstantOfShape": ("full", ""),
    RECURRENT: ("rnn", "x"),
}

ROLES = (
    "x", "offset", "y", "index", "weight", "mask", "mean", "variance", "scale", "bias", "alpha",
    "trips", "condition",
)  # fmt: skip
"""The order of operands in a program, as in Paddle's; the position of some of them matters."""

OWNERS: Mapping[str, tuple[str, ...]] = {
    "conv2d": ("weight", "bias"),
    "conv2d_transpose": ("weight", "bias"),
    "deformable_conv": ("weight", "bias"),
    "batch_norm": ("scale", "bias", "mean", "variance"),
    "layer_norm": ("scale", "bias"),
    "instance_norm": ("scale", "bias"),
    "matmul": ("x", "y", "bias"),
    "prelu": ("alpha",),
    "embedding": ("weight",),
    "add": ("x", "y"),
    "multiply": ("x", "y"),
    "rnn": ("weights",),
}
"""The operands by which an operation may own a tensor; other constants are no weights."""

VECTORS = ("bias", "scale", "mean", "variance", "alpha")
"""The operands that have one number per channel, however many axes of length 1 there are."""


def attributes_of(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an operation in a program's names, with ONNX's defaults.

    Args:
        kind: the canonical kind.
        given: the attributes in the file.
    """
    convert = _ATTRIBUTES.get(kind)
    return convert(given) if convert else dict(given)


def _convolution(given: Mapping[str, Any]) -> dict[str, Any]:
    kernel = tuple(given["kernel_shape"])
    axes = len(kernel)
    strides = tuple(given.get("strides") or (1,) * axes)
    dilations = tuple(given.get("dilations") or (1,) * axes)
    pads = tuple(given.get("pads") or (0,) * (2 * axes))
    before, after = pads[:axes], pads[axes:]
    missing = [(size - 1) * step for size, step in zip(kernel, dilations, strict=True)]
    same = (tuple(n // 2 for n in missing), tuple(n - n // 2 for n in missing))
    algorithm = {"SAME_UPPER": "SAME", "VALID": "VALID"}.get(given.get("auto_pad", ""), "EXPLICIT")
    if before == after:
        paddings = before
    elif (before, after) == same and {*strides, *dilations} == {1}:
        paddings, algorithm = before, "SAME"  # a simplifier wrote it out
    else:
        paddings = tuple(n for pair in zip(before, after, strict=True) for n in pair)
    if given.get("auto_pad") == "SAME_LOWER" or "output_shape" in given:
        paddings = ("by the size of the map",)
    return {
        "strides": strides,
        "paddings": paddings,
        "dilations": dilations,
        "groups": given.get("group", 1),
        "padding_algorithm": algorithm,
    }


def _deformable(given: Mapping[str, Any]) -> dict[str, Any]:
    return _convolution(given) | {"deformable_groups": given.get("offset_group", 1)}


def _epsilon(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"epsilon": given.get("epsilon", 1e-5)}


def _product(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"transpose_x": False, "transpose_y": bool(given.get("transB", 0))}


_ATTRIBUTES: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "conv2d": _convolution,
    "conv2d_transpose": _convolution,
    "deformable_conv": _deformable,
    "batch_norm": _epsilon,
    "layer_norm": _epsilon,
    "instance_norm": _epsilon,
    "matmul": _product,
}
