"""Experiments that replace the parameters of a layer, to find mistakes in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, permutations

import torch
from torch import Tensor

from converter.diagnosis.subgraph import Change, Subgraph

_WORDS = {
    frozenset({"running_mean", "running_var"}): "mean and variance",
    frozenset({"weight", "bias"}): "scale and bias",
}
_GATES = {"lstm": ("input", "forget", "cell", "output"), "gru": ("reset", "update", "new")}
_MOST = 200  # layers whose tensors are tried in place of one layer's
_SHOWN = 3  # tensors listed in one message


def unusable(subgraph: Subgraph) -> str:
    """Describe the first tensor that holds NaN or infinity; "" if none does."""
    for name, tensor in subgraph.tensors.items():
        if tensor.is_floating_point() and (count := int((~torch.isfinite(tensor)).sum())):
            return f"{name} holds NaN or infinity: {count} of its {tensor.numel()} values"
    return ""


def from_source(subgraph: Subgraph, source: Mapping[str, Tensor]) -> Iterator[Change]:
    """Yield the experiment that puts the source's tensors in place of all that differ from them.

    Args:
        subgraph: the calls that compute the layer, and the parameters they read.
        source: the tensors that the network should have, by name.
    """
    others = {
        name: source[name]
        for name, tensor in subgraph.tensors.items()
        if name in source and not torch.equal(source[name], tensor)
    }
    if others:
        how = [f"{name} {_relation(name, subgraph.tensors[name], source)}" for name in others]
        more = f"; and {len(how) - _SHOWN} more tensors differ" if len(how) > _SHOWN else ""
        cause = "; ".join(how[:_SHOWN]) + more
        yield Change(cause, "what the source holds in their place", others)


def notable(subgraph: Subgraph) -> str:
    """Describe suspicious tensors (zeros, half precision), which prove nothing; "" if none is."""
    odd = []
    for name, tensor in subgraph.tensors.items():
        if tensor.is_floating_point() and tensor.numel() > 1:
            if not tensor.any():
                odd.append(f"{name} holds only zeros")
            elif torch.equal(tensor, tensor.half().float()):
                odd.append(f"{name} holds only values of half precision")
    return "; ".join(odd)


def changes(subgraph: Subgraph, network: Mapping[str, Tensor]) -> Iterator[Change]:
    """Yield every experiment with parameters.

    Args:
        subgraph: the calls that compute the layer, and the parameters they read.
        network: all parameters and buffers of the network, by name.
    """
    own = {name: t for name, t in subgraph.tensors.items() if t.is_floating_point()}
    for (first, a), (second, b) in combinations(own.items(), 2):
        if a.shape == b.shape and _owner(first) == _owner(second):
            what = _WORDS.get(frozenset({_leaf(first), _leaf(second)}))
            what = f"{what} of {_owner(first)}" if what else f"{first} and {second}"
            yield Change(f"{what} are exchanged", "them exchanged back", {first: b, second: a})
    for name, tensor in own.items():
        for cause, remedy, change in _SINGLE:
            if (other := change(tensor)) is not None and not torch.equal(other, tensor):
                yield Change(f"{name} {cause}", remedy, {name: other})
        if _leaf(name) == "bias":
            doubled, none = 2 * tensor, torch.zeros_like(tensor)
            yield Change(
                f"{name} is added once, in Paddle twice", "it added twice", {name: doubled}
            )
            yield Change(f"{name} has no counterpart in Paddle", "it left out", {name: none})
    yield from _gates(subgraph)
    yield from _other_layers(own, network)


def _transposed(tensor: Tensor) -> Tensor | None:
    square = tensor.dim() == 2 and tensor.shape[0] == tensor.shape[1]
    return tensor.T.clone() if square else None


def _channels(tensor: Tensor) -> Tensor | None:
    square = tensor.dim() == 4 and tensor.shape[0] == tensor.shape[1] > 1
    return tensor.transpose(0, 1).contiguous() if square else None


def _kernel(tensor: Tensor) -> Tensor | None:
    square = tensor.dim() == 4 and tensor.shape[2] == tensor.shape[3] > 1
    return tensor.transpose(2, 3).contiguous() if square else None


def _turned(tensor: Tensor) -> Tensor | None:
    return tensor.flip(2, 3) if tensor.dim() == 4 and tensor.shape[2:].numel() > 1 else None


# The mistake in our tensor, its remedy in words, and the remedy as a function (None: no fit).
_SINGLE: tuple[tuple[str, str, Callable[[Tensor], Tensor | None]], ...] = (
    ("is transposed", "it transposed", _transposed),
    ("has its channel axes exchanged", "them exchanged back", _channels),
    ("has height and width exchanged", "them exchanged back", _kernel),
    ("is turned by 180 degrees", "it turned back", _turned),
    ("has the wrong sign", "the other sign", torch.neg),
    (
        "is in single precision, in Paddle in half",
        "it rounded to half precision",
        lambda tensor: tensor.half().float(),
    ),
)


def _gates(subgraph: Subgraph) -> Iterator[Change]:
    """Yield experiments on recurrent layers: other orders of the gates, directions exchanged."""
    kinds = {call.name for call in subgraph.calls} & _GATES.keys()
    for kind in kinds:
        gates = _GATES[kind]
        tensors = {n: t for n, t in subgraph.tensors.items() if "_ih_l" in n or "_hh_l" in n}
        for order in list(permutations(range(len(gates))))[1:]:
            reordered = {
                name: torch.cat([tensor.chunk(len(gates))[gate] for gate in order])
                for name, tensor in tensors.items()
            }
            remedy = f"them as {', '.join(gates[gate] for gate in order)}"
            yield Change(f"the gates of the {kind.upper()} are in another order", remedy, reordered)
            for layer in {name.rpartition("_l")[2] for name in tensors}:
                part = {n: t for n, t in reordered.items() if n.rpartition("_l")[2] == layer}
                cause = f"the gates of the {kind.upper()}'s layer {layer} are in another order"
                yield Change(cause, remedy, part)
        turned = {
            name: tensors[back]
            for name in tensors
            if (back := _other_direction(name)) in tensors
            and tensors[back].shape == tensors[name].shape
        }
        if turned:
            cause = f"the directions of the {kind.upper()} are exchanged"
            yield Change(cause, "them exchanged back", turned)


def _other_direction(name: str) -> str:
    return name.removesuffix("_reverse") if name.endswith("_reverse") else f"{name}_reverse"


def _other_layers(own: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> Iterator[Change]:
    """Yield the tensors of other layers of the same shapes, all at once or one by one."""
    for owner in dict.fromkeys(map(_owner, own)):
        mine = {_leaf(name): name for name in own if _owner(name) == owner}
        tried = 0
        for weight in network:
            other = _owner(weight)
            if _leaf(weight) not in mine or other == owner or tried == _MOST:
                continue
            pairs = {
                name: network[f"{other}.{leaf}"]
                for leaf, name in mine.items()
                if f"{other}.{leaf}" in network
                and network[f"{other}.{leaf}"].shape == own[name].shape
            }
            name = mine[_leaf(weight)]
            if name not in pairs:
                continue
            tried += 1
            remedy = f"those of {other}"
            if len(pairs) > 1 and name == next(iter(pairs)):
                yield Change(f"{owner} has the tensors of another layer", remedy, pairs)
            yield Change(f"{name} belongs to another layer", f"{weight}", {name: pairs[name]})


def _relation(name: str, ours: Tensor, source: Mapping[str, Tensor]) -> str:
    """Describe how a tensor differs from the one in the source."""
    honest = source[name]
    if not torch.isfinite(ours).all():
        return f"holds NaN or infinity: {int((~torch.isfinite(ours)).sum())} of {ours.numel()}"
    for other, tensor in source.items():
        if other != name and tensor.shape == ours.shape and torch.equal(tensor, ours):
            return f"holds what belongs to {other}"
    if not ours.any():
        return "holds only zeros"
    for cause, _, change in _SINGLE[:-1]:
        if (changed := change(honest)) is not None and torch.equal(changed, ours):
            return cause
    if torch.equal(ours, honest.half().float()):
        return "is rounded to half precision"
    if torch.allclose(ours, 2 * honest):
        return "is doubled"
    for gates in (3, 4):
        if ours.shape[0] % gates == 0 and any(
            torch.equal(torch.cat([honest.chunk(gates)[gate] for gate in order]), ours)
            for order in permutations(range(gates))
        ):
            return "has its gates in another order"
    count = int((ours != honest).sum())
    further = ", as after further training" if count == ours.numel() > 1 else ""
    return f"holds other values than the source: {count} of {ours.numel()}{further}"


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
