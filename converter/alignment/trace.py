"""Tracing a PyTorch module into the operations of `sources/ir.py`.

The module runs once while every call of a PyTorch function is recorded; nothing is compiled, and no
module is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from converter.sources.ir import Operation

OUTPUT = "output"

Names = tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """The operations of one forward pass, and the tensors that the module owns.

    `inputs` names the values of the positional inputs, `given` those of the inputs by keyword.
    `outputs` maps the name of each result (`named_tensors`) to the name of its value.
    """

    operations: tuple[Operation, ...]
    parameters: Mapping[str, tuple[int, ...]]
    inputs: tuple[str, ...]
    given: Mapping[str, str]
    outputs: Mapping[str, str]
    values: Mapping[str, Tensor]


def trace(
    network: nn.Module,
    *inputs: Tensor,
    given: Mapping[str, Tensor] = MappingProxyType({}),
    keep: Collection[str] | None = None,
    run: Callable[..., Any] | None = None,
    replaced: Mapping[str, Tensor] = MappingProxyType({}),
) -> Trace:
    """Run `network` once and record its operations.

    Args:
        network: the module, in eval mode.
        inputs: its positional inputs.
        given: its inputs by keyword.
        keep: the names of the intermediate values to keep, so that a layer's output can be looked
            up afterwards; by default all. Names do not depend on the inputs. Results are kept.
        run: computes the result from the same inputs with the network's modules; by default the
            network itself.
        replaced: values that the run takes from here instead of those that it computes, by name;
            of the same shapes.
    """
    fed = (*inputs, *given.values())
    recorder = _Recorder(network, fed, keep, replaced)
    with torch.inference_mode(), recorder:
        result = (run or network)(*inputs, **given)
    results = dict(named_tensors(OUTPUT, result))
    outputs = {name: recorder.name(tensor) for name, tensor in results.items()}
    recorder.values.update(zip(outputs.values(), results.values(), strict=True))
    return Trace(
        tuple(recorder.operations),
        {name: tuple(tensor.shape) for name, tensor in recorder.owned.items()},
        tuple(recorder.name(tensor) for tensor in inputs),
        {name: recorder.name(tensor) for name, tensor in given.items()},
        outputs,
        recorder.values,
    )


def named_tensors(name: str, result: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a module's result: one as `name`, several as `NAME.0` or `NAME.KEY`.

    Those with keys keep their order, which for a `Model` is that of the exported program's results.
    """
    if isinstance(result, Tensor):
        yield name, result
    elif isinstance(result, (list, tuple)):
        for place, item in enumerate(result):
            yield from named_tensors(f"{name}.{place}", item)
    elif isinstance(result, dict):
        for key, item in result.items():
            yield from named_tensors(f"{name}.{key}", item)


class _Recorder(TorchFunctionMode):
    def __init__(
        self,
        network: nn.Module,
        inputs: tuple[Tensor, ...],
        keep: Collection[str] | None,
        replaced: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.owned = dict(network.named_parameters()) | dict(network.named_buffers())
        self.names = WeakTensorKeyDictionary({tensor: name for name, tensor in self.owned.items()})
        self.keep = keep
        self.replaced = replaced
        self.values: dict[str, Tensor] = {}
        self.count = 0
        for tensor in inputs:
            self.new_name(tensor)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        before = {id(tensor): self.names.get(tensor) for tensor in _tensors((args, kwargs))}
        result = func(*args, **kwargs)
        outputs = list(_tensors(result))
        if func.__name__ == "__setitem__":  # it returns nothing: the first operand is the result
            outputs = [args[0]]
        if func.__name__ in _CELLS:
            self.cell(func.__name__, args, outputs)
        elif outputs:
            kind, inputs, attributes = _describe(_plain(func.__name__), args, kwargs)
            named = {
                role: tuple(before[id(tensor)] or self.name(tensor) for tensor in tensors)
                for role, tensors in inputs.items()
            }
            if kind == "attention":  # two products, as Paddle's programs write it
                scores = (f"{named['q'][0]}·{named['k'][0]}",)
                pair = {"x": named["q"], "y": named["k"]}
                self.operations.append(Operation("matmul", pair, scores, {"transpose_y": True}))
                if "mask" in named:
                    masked = (f"{scores[0]}+{named['mask'][0]}",)
                    operands = {"x": scores, "y": named["mask"]}
                    self.operations.append(Operation("add", operands, masked, {}))
                    scores = masked
                kind, named, attributes = "matmul", {"x": scores, "y": named["v"]}, _PLAIN_PRODUCT
            if attributes.pop("batch_first", False):  # Paddle's operation has time first
                by_time = (self.new_name(outputs[0].transpose(0, 1)),)
                self.operations.append(Operation(kind, named, by_time, attributes))
                kind, named, attributes = "transpose", {"x": by_time}, {}
            fresh = tuple(self.new_name(tensor) for tensor in outputs)
            self.operations.append(Operation(kind, named, fresh, attributes))
        return result

    def cell(self, kind: str, args: tuple[Any, ...], outputs: list[Tensor]) -> None:
        """Record a step of an LSTM or a GRU as Paddle writes it: two products and their sum.

        An LSTM's second bias is added to that sum. The products are computed once more, so that
        their values are known.
        """
        step_input, state, *owned = args
        fed = [step_input, *_tensors(state)]
        names = [self.name(tensor) for tensor in fed]
        w_input, w_state, b_input, b_state = ((self.name(tensor),) for tensor in owned)
        operands: Mapping[str, Names]
        of_gru = kind == "gru_cell"

        def note(kind: str, operands: Mapping[str, Names], value: str) -> Names:
            settings = {"transpose_y": True} if kind == "matmul" else {}
            self.operations.append(Operation(kind, operands, (value,), settings))
            return (value,)

        by_input = F.linear(step_input, owned[0], owned[2])
        by_state = F.linear(fed[1], owned[1], owned[3] if of_gru else None)
        operands = {"x": (names[0],), "y": w_input, "bias": b_input}
        first = note("matmul", operands, self.new_name(by_input))
        operands = {"x": (names[1],), "y": w_state} | ({"bias": b_state} if of_gru else {})
        second = note("matmul", operands, self.new_name(by_state))
        gates = note("add", {"x": first, "y": second}, f"{first[0]}·{second[0]}")
        if of_gru:  # (state - candidate) * update + candidate
            rest = note("subtract", {"x": (names[1],), "y": gates}, f"{names[1]}·{gates[0]}")
        else:
            biased = self.new_name(by_input + by_state + owned[3])
            rest, gates = note("add", {"x": gates, "y": b_state}, biased), tuple(names[2:])
        fresh = tuple(self.new_name(tensor) for tensor in outputs)
        self.operations.append(Operation("add", {"x": rest, "y": gates}, fresh, {}))

    def name(self, tensor: Tensor) -> str:
        """Return the name of a value; one that no operation made is a constant."""
        return self.names.get(tensor) or self.new_name(tensor)

    def new_name(self, tensor: Tensor) -> str:
        name = f"%{self.count}"
        self.count += 1
        self.names[tensor] = name
        if name in self.replaced:
            tensor.copy_(self.replaced[name])
        if self.keep is None or name in self.keep:
            self.values[name] = tensor
        return name


Inputs = dict[str, list[Tensor]]


def _plain(name: str) -> str:
    """Return `add` for `add`, `add_`, `__add__`, `__radd__` and `__iadd__`."""
    bare = name.strip("_")
    if name.startswith("__") and bare[1:] in _OPERATORS and bare not in _OPERATORS:
        return bare[1:]
    return bare


_OPERATORS = {"add", "sub", "mul", "truediv", "matmul"}
_SAME = {"mul": "multiply", "sub": "subtract", "div": "divide", "truediv": "divide"}
_SAME |= {"bmm": "matmul", "cat": "concat"}
_PLAIN_PRODUCT = {"transpose_y": False}
_CELLS = ("lstm_cell", "gru_cell")


def _describe(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str, Inputs, dict[str, Any]]:
    """Return the canonical kind, the operands by role and the settings of a call."""
    describe = _LAYERS.get(name)
    if describe:
        return describe(*args, **kwargs)
    operands = list(_tensors((args, kwargs)))
    if name in ("matmul", "bmm") and len(operands) == 2:
        return "matmul", {"x": operands[:1], "y": operands[1:]}, _PLAIN_PRODUCT
    return _SAME.get(name, name), {str(i): [t] for i, t in enumerate(operands)}, {}


def _given(**roles: Tensor | None) -> Inputs:
    return {role: [tensor] for role, tensor in roles.items() if tensor is not None}


def _pair(value: Any) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[str, Inputs, dict[str, Any]]:
    return (
        "conv2d",
        _given(x=input, weight=weight, bias=bias),
        {
            "input_size": (1, *input.shape[2:])[-2:],
            "strides": _pair(stride),
            "paddings": _pair(padding),
            "dilations": _pair(dilation),
            "groups": groups,
        },
    )


def _conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[str, Inputs, dict[str, Any]]:
    """Describe it as a conv2d over a map of height 1, as Paddle writes it."""
    stride, padding, dilation = (
        (least, *((value,) if isinstance(value, int) else value))
        for least, value in ((1, stride), (0, padding), (1, dilation))
    )
    return _conv2d(input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> tuple[str, Inputs, dict[str, Any]]:
    _, inputs, settings = _conv2d(input, weight, bias, stride, padding, dilation, groups)
    return "conv2d_transpose", inputs, settings


def _deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    mask: Tensor | None,
) -> tuple[str, Inputs, dict[str, Any]]:
    groups = input.shape[1] // weight.shape[1]
    _, _, settings = _conv2d(input, weight, None, stride, padding, dilation, groups)
    settings["deformable_groups"] = offset.shape[1] // (2 * weight.shape[2] * weight.shape[3])
    inputs = _given(x=input, offset=offset, weight=weight, mask=mask, bias=bias)
    return "deformable_conv", inputs, settings


def _batch_norm(
    input: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[str, Inputs, dict[str, Any]]:
    inputs = _given(x=input, scale=weight, bias=bias, mean=running_mean, variance=running_var)
    return "batch_norm", inputs, {"epsilon": eps}


def _layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[str, Inputs, dict[str, Any]]:
    return "layer_norm", _given(x=input, scale=weight, bias=bias), {"epsilon": eps}


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> tuple[str, Inputs, dict[str, Any]]:
    inputs = _given(x=input, scale=weight, bias=bias, mean=running_mean, variance=running_var)
    return "instance_norm", inputs, {"epsilon": eps}


def _linear(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[str, Inputs, dict[str, Any]]:
    return "matmul", _given(x=input, y=weight, bias=bias), {"transpose_y": True}


def _pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> tuple[str, Inputs, dict[str, Any]]:
    """Zeros around a map are noted as `sides`: rows above and below, columns left and right."""
    is_border = mode == "constant" and not value and len(pad) == 4
    return "pad", {"0": [input]}, {"sides": (*pad[2:], *pad[:2])} if is_border else {}


def _bilinear(
    input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[str, Inputs, dict[str, Any]]:
    return "bilinear", _given(x=input1, y=input2, weight=weight, bias=bias), {}


def _prelu(input: Tensor, weight: Tensor) -> tuple[str, Inputs, dict[str, Any]]:
    return "prelu", _given(x=input, alpha=weight), {}


def _embedding(input: Tensor, weight: Tensor, *_: Any, **__: Any) -> Any:
    return "embedding", _given(x=input, weight=weight), {}


def _einsum(equation: str, *operands: Tensor) -> tuple[str, Inputs, dict[str, Any]]:
    return "einsum", {"x": list(operands)}, {"equation": equation}


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **_: Any
) -> Any:
    return "attention", _given(q=query, k=key, v=value, mask=attn_mask), {}


def _recurrent(mode: str) -> Callable[..., tuple[str, Inputs, dict[str, Any]]]:
    def describe(
        input: Tensor, _state: Any, weights: list[Tensor], *options: Any
    ) -> tuple[str, Inputs, dict[str, Any]]:
        # Paddle lists the matrices of all layers and directions, then the biases.
        matrices = [tensor for tensor in weights if tensor.dim() == 2]
        biases = [tensor for tensor in weights if tensor.dim() == 1]
        inputs = {"x": [input], "weights": [*matrices, *biases]}
        return "rnn", inputs, {"mode": mode, "batch_first": options[-1]}

    return describe


_LAYERS: dict[str, Callable[..., tuple[str, Inputs, dict[str, Any]]]] = {
    "conv1d": _conv1d,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "deform_conv2d": _deform_conv2d,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "instance_norm": _instance_norm,
    "linear": _linear,
    "bilinear": _bilinear,
    "pad": _pad,
    "prelu": _prelu,
    "embedding": _embedding,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    "lstm": _recurrent("LSTM"),
    "gru": _recurrent("GRU"),
}


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
