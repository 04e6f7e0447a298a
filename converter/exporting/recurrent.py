"""Recurrent layers in graphs, for sequences of any length.

While a graph is made, PyTorch runs the steps of an LSTM or a GRU to learn the shape of its result,
and so fixes their number. The shape follows from those of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table


def _lstm(
    x: Tensor,
    states: Sequence[Tensor],
    _params: Sequence[Tensor],
    _biases: bool,
    _layers: int,
    _dropout: float,
    _train: bool,
    bidirectional: bool,
    _batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    hidden, cell = states
    return _output(x, hidden, bidirectional), torch.empty_like(hidden), torch.empty_like(cell)


def _gru(
    x: Tensor,
    hidden: Tensor,
    _params: Sequence[Tensor],
    _biases: bool,
    _layers: int,
    _dropout: float,
    _train: bool,
    bidirectional: bool,
    _batch_first: bool,
) -> tuple[Tensor, Tensor]:
    return _output(x, hidden, bidirectional), torch.empty_like(hidden)


def _output(x: Tensor, hidden: Tensor, bidirectional: bool) -> Tensor:
    return x.new_empty(*x.shape[:2], hidden.shape[2] * (2 if bidirectional else 1))


SHAPES: Mapping[Any, Callable[..., tuple[Tensor, ...]]] = {
    torch.ops.aten.lstm.input: _lstm,
    torch.ops.aten.gru.input: _gru,
}


@contextmanager
def any_length() -> Iterator[None]:
    """Let graphs of recurrent layers be made, and decomposed, of the shapes alone."""
    kernels = {operator: dict(operator.py_kernels) for operator in SHAPES}
    steps = {operator: decomposition_table[operator] for operator in SHAPES}
    for operator, shapes in SHAPES.items():
        _replace(operator, dict.fromkeys(operator.py_kernels, shapes))
    decomposition_table.update(SHAPES)
    try:
        yield
    finally:
        decomposition_table.update(steps)
        for operator, before in kernels.items():
            _replace(operator, before)


def _replace(operator: Any, kernels: Mapping[Any, Any]) -> None:
    operator.py_kernels.update(kernels)
    operator._dispatch_cache.clear()
