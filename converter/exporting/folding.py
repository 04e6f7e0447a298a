"""Inverse matrices in graphs, computed once where they do not depend on the inputs.

ONNX has no operator that inverts a matrix. A thin-plate spline inverts one that its control points
alone determine.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

INVERSE = torch.ops.aten.linalg_inv.default


def has_inverses(program: torch.export.ExportedProgram) -> bool:
    """Return whether a graph inverts a matrix."""
    return any(node.target is INVERSE for node in program.graph.nodes)


def fold_inverses(module: fx.GraphModule) -> fx.GraphModule:
    """Replace inverses of constant matrices by their values; others stay."""
    found: dict[fx.Node, Any] = {}
    for number, node in enumerate(list(module.graph.nodes)):
        if node.target is not INVERSE or not _is_constant(node):
            continue
        name = f"inverse_{number}"
        module.register_buffer(name, _value(node, module, found), persistent=False)
        with module.graph.inserting_before(node):
            node.replace_all_uses_with(module.graph.get_attr(name))
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _is_constant(node: fx.Node) -> bool:
    """Return whether no input of the graph is needed to compute a node."""
    return node.op != "placeholder" and all(map(_is_constant, node.all_input_nodes))


def _value(node: fx.Node, module: fx.GraphModule, found: dict[fx.Node, Any]) -> Any:
    """Compute a node that depends on no input."""
    if node not in found:
        if node.op == "get_attr":
            found[node] = _attribute(module, str(node.target))
        else:
            arguments, options = fx.map_arg(
                (node.args, node.kwargs), lambda each: _value(each, module, found)
            )
            assert callable(node.target)
            found[node] = node.target(*arguments, **options)
    return found[node]


def _attribute(module: fx.GraphModule, path: str) -> Tensor:
    owner, _, name = path.rpartition(".")
    tensor: Tensor = getattr(module.get_submodule(owner), name)
    return tensor
