"""The part of our network that computes one layer's output, to be run again with a change.

It begins at layers whose outputs equal the reference's, so its inputs are the reference's, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from converter.parity.layerwise import Pair, SideBySide

Function = Callable[..., Any]


@dataclass(frozen=True)
class Call:
    """One call of a PyTorch function, and what it returned."""

    function: Function
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any

    @property
    def name(self) -> str:
        """Name of the function without the underscores of operators: `add` for `__radd__`."""
        bare = self.function.__name__.strip("_")
        return bare[1:] if self.function.__name__.startswith("__r") else bare

    def operands(self) -> list[Tensor]:
        """The tensors among the arguments, in order."""
        return list(_tensors((self.args, dict(self.kwargs))))


@dataclass(frozen=True)
class Change:
    """One experiment: a change to parameters, calls or the output of a subgraph.

    Attributes:
        cause: the mistake that is proved if the change removes the difference.
        remedy: the change in words, to follow "with".
        tensors: replacements of parameters, by name.
        calls: replacements of functions, by the index of the call whose arguments they take.
        output: function applied to the output.
    """

    cause: str
    remedy: str
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    calls: Mapping[int, Function] = field(default_factory=dict)
    output: Function | None = None


class Subgraph:
    """The calls that lead from layers with equal outputs to the output of one that differs.

    Attributes:
        calls: in the order of execution.
        tensors: the network's parameters and buffers that they read, by name.
        by_time: whether the output has the time axis first, (T, N, C), unlike the layer's.
    """

    def __init__(self, calls: list[Call], tensors: Mapping[str, Tensor], output: Tensor) -> None:
        self.calls, self.tensors, self._output = calls, tensors, output
        self.by_time = False

    def run(self, change: Change) -> np.ndarray:
        """Compute the layer's output with a change.

        Raises:
            RuntimeError, ValueError, TypeError, IndexError: the change does not apply.
        """
        values = {id(self.tensors[name]): tensor for name, tensor in change.tensors.items()}
        for place, call in enumerate(self.calls):
            other = change.calls.get(place)
            if other is None and not any(id(tensor) in values for tensor in call.operands()):
                continue
            args, kwargs = _replaced(call.args, values), _replaced(dict(call.kwargs), values)
            fresh = (other or call.function)(*args, **kwargs)
            kept = zip(_tensors(call.result), _tensors(fresh), strict=True)
            values |= {id(old): new for old, new in kept}
        output = values.get(id(self._output), self._output)
        if change.output is not None:
            output = change.output(output)
        return (output.transpose(0, 1) if self.by_time else output).numpy()


def find_subgraph(sides: SideBySide, pair: Pair) -> Subgraph | None:
    """Run the network to find the subgraph that ends in a layer; None if it cannot be isolated."""
    settled = _tensors_before(sides, pair)
    network = sides.network
    recorder = _Recorder()
    module = dict(network.named_modules()).get(pair.name)
    hook = nullcontext() if pair.tensors or module is None else _Watch(module)
    with torch.inference_mode(), hook as watched, recorder:
        sides.run(network, torch.from_numpy(sides.batch))
    owned = dict(network.named_parameters()) | dict(network.named_buffers())
    names = {id(tensor): name for name, tensor in owned.items()}
    if watched is not None:
        ends = [watched.output]
    else:
        ends = [t for call in recorder.calls for t in _tensors(call.result)]
    for end in ends:
        if end is None or not (orders := _orders(end, pair.actual)):
            continue
        calls = list(_leading_to(end, recorder.calls, names, settled))
        used = [t for call in calls for t in call.operands() if id(t) in names]
        if pair.tensors and not {names[id(t)] for t in used} & set(pair.tensors):
            continue
        found = Subgraph(calls, {names[id(tensor)]: tensor for tensor in used}, end)
        found.by_time = orders[0]
        return found
    return None


def _tensors_before(sides: SideBySide, pair: Pair) -> set[str]:
    """Return the parameters of all layers before the first that differs."""
    tensors: set[str] = set()
    modules = dict(sides.network.named_modules())
    for before in sides.pairs:
        if before is pair:
            break
        if before.tensors:
            tensors.update(before.tensors)
        elif before.name in modules and before.actual is not None:
            module = modules[before.name]
            tensors.update(f"{before.name}.{name}" for name, _ in module.named_parameters())
            tensors.update(f"{before.name}.{name}" for name, _ in module.named_buffers())
    return tensors


def _orders(tensor: Tensor, actual: np.ndarray | None) -> list[bool]:
    """Return in which orders a tensor equals an output: as it is (False), time first (True)."""
    if actual is None:
        return []
    array = tensor.detach().numpy()
    turned = [array] if array.ndim < 2 else [array, array.swapaxes(0, 1)]
    return [
        place == 1
        for place, view in enumerate(turned)
        if view.shape == actual.shape and np.array_equal(view, actual, equal_nan=True)
    ]


def _leading_to(
    end: Tensor, calls: list[Call], names: Mapping[int, str], settled: Collection[str]
) -> Iterator[Call]:
    """Yield the calls that `end` depends on, back to layers with equal outputs, in order."""
    wanted, found = {id(end)}, []
    for call in reversed(calls):
        if not any(id(tensor) in wanted for tensor in _tensors(call.result)):
            continue
        if any(names.get(id(tensor)) in settled for tensor in call.operands()):
            continue
        found.append(call)
        wanted.update(id(tensor) for tensor in call.operands())
    yield from reversed(found)


class _Watch:
    """Record the first output of a module within a `with` block."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.output: Tensor | None = None

    def __enter__(self) -> _Watch:
        self.hook = self.module.register_forward_hook(self.note)
        return self

    def __exit__(self, *_: object) -> None:
        self.hook.remove()

    def note(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if self.output is None:
            self.output = next(_tensors(output), None)


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if next(_tensors(result), None) is not None:
            self.calls.append(Call(func, args, kwargs or {}, result))
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def _replaced(value: Any, values: Mapping[int, Tensor]) -> Any:
    """Replace the tensors, by id, that have changed in nested arguments."""
    if isinstance(value, Tensor):
        return values.get(id(value), value)
    if isinstance(value, (tuple, list)):
        return type(value)(_replaced(item, values) for item in value)
    if isinstance(value, dict):
        return {key: _replaced(item, values) for key, item in value.items()}
    return value
