"""Experiments that replace operations and their settings by others, to find mistakes in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import permutations, product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from converter.diagnosis.subgraph import Call, Change, Function, Subgraph

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "no activation": lambda x: x,
    "ReLU": F.relu,
    "ReLU6": F.relu6,
    "hard swish": F.hardswish,
    "hard sigmoid of slope 1/6": F.hardsigmoid,
    "hard sigmoid of slope 0.2": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "sigmoid": torch.sigmoid,
    "swish": F.silu,
    "exact GELU": F.gelu,
    "GELU by tanh": partial(F.gelu, approximate="tanh"),
    "tanh": torch.tanh,
    "leaky ReLU": partial(F.leaky_relu, negative_slope=0.01),
    "ELU": F.elu,
    "softmax": partial(torch.softmax, dim=-1),
    "softmax over channels": partial(torch.softmax, dim=1),
}
# Functions of one operand that are pointwise or a softmax.
_POINTWISE = {
    "relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "silu", "gelu", "tanh", "leaky_relu",
    "elu", "mish", "softmax", "clamp", "hardtanh", "add", "mul", "sub", "div", "truediv",
}  # fmt: skip
_EPSILONS = (1e-3, 1e-5, 1e-6, 1e-12)
_STEPS = ((1, 1), (2, 2), (2, 1), (1, 2))


def changes(subgraph: Subgraph, settings: Mapping[str, Any]) -> Iterator[Change]:
    """Yield every experiment with operations: on one call, then on all calls where it applies.

    Args:
        subgraph: the calls that compute the layer, and the parameters they read.
        settings: settings of the layer that the reference states, such as `epsilon`.
    """
    alike: dict[tuple[str, str], dict[int, Function]] = defaultdict(dict)
    for change in _single(subgraph, settings):
        alike[change.cause, change.remedy].update(change.calls)
        yield change
    for (cause, remedy), calls in alike.items():
        if len(calls) > 1:
            yield Change(cause, f"{remedy}, {len(calls)} times", calls=calls)


def _single(subgraph: Subgraph, settings: Mapping[str, Any]) -> Iterator[Change]:
    owned = {id(tensor) for tensor in subgraph.tensors.values()}
    for place, call in enumerate(subgraph.calls):
        vary = _VARIANTS.get(call.name)
        for cause, remedy, function in vary(call, settings) if vary else ():
            yield Change(cause, remedy, calls={place: function})
    yield from _activations(subgraph.calls, owned)


Variants = Iterator[tuple[str, str, Function]]


def _activations(calls: list[Call], owned: set[int]) -> Iterator[Change]:
    """Yield experiments that replace activations, and that add one before a call or at the end.

    An activation written as several calls (scale, shift, clamp) is replaced as a whole first.
    """
    begins: dict[int, Tensor] = {}  # what came out of an activation -> what went into it
    places: dict[int, int] = {}
    for place, call in enumerate(calls):
        operands = call.operands()
        if call.name in _POINTWISE and len(operands) == 1 and id(operands[0]) not in owned:
            begins[id(call.result)] = begins.get(id(operands[0]), operands[0])
            places[id(call.result)] = place
    parts = {id(t) for place in places.values() for t in calls[place].operands()} & begins.keys()
    for result in sorted(begins, key=lambda result: result in parts):
        place = places[result]
        for name, activation in ACTIVATIONS.items():
            cause = f"the activation ({calls[place].name}) is another one in Paddle"
            run = partial(_instead, activation, begins[result])
            yield Change(cause, f"{name} in its place", calls={place: run})
    missing = list(ACTIVATIONS.items())[1:]
    for place, call in enumerate(calls):
        for operand in call.operands():
            if id(operand) in owned or id(operand) in begins or not operand.is_floating_point():
                continue
            for name, activation in missing:
                run = partial(_with_operand, call.function, operand, activation)
                cause = f"an activation is missing before {call.name}"
                yield Change(cause, f"{name} there", calls={place: run})
    for name, activation in missing:
        yield Change("an activation is missing at the end", f"{name} there", output=activation)


def _instead(activation: Function, start: Tensor, *_: Any, **__: Any) -> Tensor:
    return activation(start)


def _with_operand(
    function: Function, operand: Tensor, activation: Function, *args: Any, **kwargs: Any
) -> Any:
    changed = [activation(operand) if arg is operand else arg for arg in args]
    return function(*changed, **kwargs)


def _set(function: Function, names: tuple[str, ...], **settings: Any) -> Function:
    """Return the function with other settings; `names` are those of its positional arguments."""

    def run(*args: Any, **kwargs: Any) -> Any:
        arguments = dict(zip(names, args, strict=False)) | kwargs | settings
        return function(**arguments)

    return run


def _normalisation(call: Call, settings: Mapping[str, Any], names: tuple[str, ...]) -> Variants:
    arguments = dict(zip(names, call.args, strict=False)) | dict(call.kwargs)
    now = arguments.get("eps", 1e-5)
    stated = [float(settings["epsilon"])] if "epsilon" in settings else []
    for epsilon in dict.fromkeys([*stated, *_EPSILONS]):
        if epsilon != now:
            cause = f"epsilon is {epsilon:.3g} in Paddle, {now:.3g} in PyTorch"
            yield cause, f"an epsilon of {epsilon:.3g}", _set(call.function, names, eps=epsilon)


_BATCH_NORM = (
    "input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps",
)  # fmt: skip


def _batch_norm(call: Call, settings: Mapping[str, Any]) -> Variants:
    yield from _normalisation(call, settings, _BATCH_NORM)
    of_the_batch = _set(
        F.batch_norm, _BATCH_NORM, running_mean=None, running_var=None, training=True
    )
    cause = "Paddle normalises by the statistics of the batch, PyTorch by the running ones"
    yield cause, "those of the batch", of_the_batch


def _layer_norm(call: Call, settings: Mapping[str, Any]) -> Variants:
    names = ("input", "normalized_shape", "weight", "bias", "eps")
    yield from _normalisation(call, settings, names)


_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


def _conv2d(call: Call, _settings: Mapping[str, Any]) -> Variants:
    arguments = dict(zip(_CONV, call.args, strict=False)) | dict(call.kwargs)
    kernel = tuple(arguments["weight"].shape[2:])
    now = {
        key: _pair(arguments.get(key, default))
        for key, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    }
    half = tuple(size // 2 for size in kernel)
    paddings = dict.fromkeys([now["padding"], (0, 0), half, (half[0], 0), (0, half[1]), (1, 1)])
    steps = dict.fromkeys([now["stride"], *_STEPS])
    for stride, padding in product(steps, paddings):
        settings = {"stride": stride, "padding": padding}
        if any(now[key] != value for key, value in settings.items()):
            yield _setting(call, now, settings)
    for dilation in ((1, 1), (2, 2), (3, 3)):
        if dilation != now["dilation"]:
            grown = tuple(d * (size // 2) for d, size in zip(dilation, kernel, strict=True))
            for padding in dict.fromkeys([now["padding"], grown]):
                yield _setting(call, now, {"dilation": dilation, "padding": padding})
    for stride in steps:
        remedy = f"the odd row and column of padding at the end, and a stride of {stride}"
        run = partial(_padded_at_the_end, call.function, stride)
        yield "Paddle pads more at the end than at the beginning (SAME)", remedy, run


def _setting(
    call: Call, now: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[str, str, Function]:
    other = {key: value for key, value in settings.items() if now[key] != value}
    cause = ", ".join(
        f"{key} is {value} in Paddle, {now[key]} in PyTorch" for key, value in other.items()
    )
    remedy = " and ".join(f"a {key} of {value}" for key, value in other.items())
    return cause, remedy, _set(call.function, _CONV, **settings)


def _padded_at_the_end(
    function: Function, stride: tuple[int, ...], /, *args: Any, **kwargs: Any
) -> Tensor:
    arguments = dict(zip(_CONV, args, strict=False)) | kwargs | {"stride": stride, "padding": 0}
    image, weight = arguments["input"], arguments["weight"]
    lengths: list[int] = []
    for size, kernel, step in zip(image.shape[2:], weight.shape[2:], stride, strict=True):
        total = max((-(-size // step) - 1) * step + kernel - size, 0)
        lengths = [total // 2, total - total // 2, *lengths]
    return function(**{**arguments, "input": F.pad(image, lengths)})


def _pair(value: Any) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _pool(call: Call, _settings: Mapping[str, Any]) -> Variants:
    average = call.name.startswith("avg")
    names = ("input", "kernel_size", "stride", "padding")
    arguments = dict(zip(names, call.args, strict=False)) | dict(call.kwargs)
    kernel = _pair(arguments["kernel_size"])
    stride, padding = arguments.get("stride") or kernel, arguments.get("padding", 0)
    kinds = {
        "the mean": F.avg_pool2d,
        "the mean without padding": partial(F.avg_pool2d, count_include_pad=False),
        "the maximum": F.max_pool2d,
    }
    halves = tuple(size // 2 for size in kernel)
    for (kind, pool), step, edge, ceil in product(
        kinds.items(),
        dict.fromkeys([_pair(stride), kernel, *_STEPS]),
        dict.fromkeys([_pair(padding), (0, 0), halves]),
        (False, True),
    ):
        run = partial(_pooled, pool, kernel, step, edge, ceil)
        remedy = f"{kind}, stride {step}, padding {edge}{', rounded up' if ceil else ''}"
        now = f"{'mean' if average else 'maximum'}, stride {stride}, padding {padding}"
        yield f"pooling has other settings in Paddle ({now} in PyTorch)", remedy, run


def _pooled(
    pool: Function, kernel: Any, step: Any, edge: Any, ceil: bool, x: Tensor, *_: Any, **__: Any
) -> Tensor:
    return pool(x, kernel, step, edge, ceil_mode=ceil)


def _adaptive(call: Call, _settings: Mapping[str, Any]) -> Variants:
    other = F.adaptive_max_pool2d if "avg" in call.name else F.adaptive_avg_pool2d
    yield f"Paddle pools by another rule than {call.name}", other.__name__, other


def _interpolate(call: Call, _settings: Mapping[str, Any]) -> Variants:
    arguments = dict(zip(("input", "size", "scale_factor"), call.args, strict=False))
    arguments |= call.kwargs
    now = f"{arguments.get('mode', 'nearest')}, align_corners {arguments.get('align_corners')}"
    for mode, corners in (
        ("nearest", None),
        ("nearest-exact", None),
        ("bilinear", False),
        ("bilinear", True),
        ("bicubic", False),
        ("bicubic", True),
    ):
        remedy = f"{mode}, align_corners {corners}"
        if remedy != now:
            names = ("input", "size", "scale_factor", "mode", "align_corners")
            run = _set(call.function, names, mode=mode, align_corners=corners)
            yield f"Paddle interpolates in another way ({now} in PyTorch)", remedy, run


def _softmax(call: Call, _settings: Mapping[str, Any]) -> Variants:
    (operand,) = call.operands()
    for axis in range(operand.dim()):
        run = partial(_softmax_of, axis)
        yield "Paddle's softmax runs over another axis", f"axis {axis}", run


def _softmax_of(axis: int, x: Tensor, *_: Any, **__: Any) -> Tensor:
    return torch.softmax(x, axis)


def _concat(call: Call, _settings: Mapping[str, Any]) -> Variants:
    parts = call.operands()
    axis = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else 0)
    if len(parts) > 4:
        return
    for order in list(permutations(range(len(parts))))[1:]:
        remedy = f"them as {', '.join(str(place) for place in order)}"
        yield (
            "what is concatenated stands in another order",
            remedy,
            partial(_joined, order, axis),
        )


def _joined(order: tuple[int, ...], axis: int, parts: Any, *_: Any, **__: Any) -> Tensor:
    return torch.cat([parts[place] for place in order], axis)


def _attention(call: Call, _settings: Mapping[str, Any]) -> Variants:
    heads, size = call.args[0].shape[1], call.args[0].shape[-1]
    for order in list(permutations(range(3)))[1:]:
        remedy = f"them as {', '.join('qkv'[place] for place in order)}"
        run = partial(_reordered, call.function, order)
        yield "query, key and value are in another order", remedy, run
    for layout in ("h3d", "hd3", "3dh", "d3h", "dh3"):
        remedy = f"the channels as {' x '.join(_AXES[axis] for axis in layout)}"
        run = partial(_split_again, call.function, layout, heads)
        yield "the heads of the attention are split differently", remedy, run
    for scale in (1.0, (heads * size) ** -0.5):
        run = partial(_scaled, call.function, scale)
        yield "the attention has another scale in Paddle", f"a scale of {scale:.4g}", run


_AXES = {"3": "(q, k, v)", "h": "heads", "d": "size"}


def _reordered(function: Function, order: tuple[int, ...], *qkv: Tensor, **kwargs: Any) -> Tensor:
    return function(*(qkv[place] for place in order), **kwargs)


def _scaled(function: Function, scale: float, /, *qkv: Tensor, **kwargs: Any) -> Tensor:
    return function(*qkv, **{**kwargs, "scale": scale})


def _split_again(
    function: Function, layout: str, heads: int, *qkv: Tensor, **kwargs: Any
) -> Tensor:
    """Run attention on the channels of q, k and v, (N, heads, T, size) each, split by `layout`."""
    joined = torch.stack(qkv, 2)  # (N, heads, 3, T, size)
    flat = joined.permute(0, 3, 2, 1, 4).flatten(2)  # (N, T, 3 * heads * size), as one Linear gave
    lengths = {"3": 3, "h": heads, "d": qkv[0].shape[-1]}
    split = flat.unflatten(2, [lengths[axis] for axis in layout])
    places = [2 + layout.index(axis) for axis in "3hd"]
    q, k, v = split.permute(places[0], 0, places[1], 1, places[2]).unbind()
    return function(q, k, v, **kwargs)


_VARIANTS: dict[str, Callable[[Call, Mapping[str, Any]], Variants]] = {
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "conv2d": _conv2d,
    "max_pool2d": _pool,
    "avg_pool2d": _pool,
    "adaptive_avg_pool2d": _adaptive,
    "interpolate": _interpolate,
    "softmax": _softmax,
    "cat": _concat,
    "scaled_dot_product_attention": _attention,
}
