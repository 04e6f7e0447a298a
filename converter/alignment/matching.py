"""Matching an exported program with a network by their data flow.

An export has no names that can be trusted: PIR programs have none, older ones those of the code of
their day. Both sides compute the same, so layers are matched by kind, shapes and connections. Each
layer gets a color from its own properties, then from the colors of the layers before and after it,
until no color splits any more (color refinement by Weisfeiler and Leman). Layers of one color are
interchangeable as far as data flow goes; their pairings are tried one by one, and only a live check
can choose among them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from converter.alignment.layer_graph import INPUT, SAME, Layer, LayerGraph
from converter.errors import AlignmentError
from converter.mapping import ops
from converter.mapping.plan import Move, Plan, Target

_Node = tuple[str, int]  # side, index of the layer
_LIMIT = 24  # pairings tried for interchangeable layers before giving up


@dataclass(frozen=True)
class Alignment:
    """A pairing of every layer of the program with a layer of the network.

    `interchangeable` groups the network's layers that data flow cannot tell apart, by name; if
    there are any, only a live check shows whether this pairing is right. `unread` are the tensors
    of the program that none of its layers reads.
    """

    pairs: tuple[tuple[Layer, Layer], ...]
    interchangeable: tuple[tuple[str, ...], ...]
    unread: tuple[str, ...]

    def plan(self, targets: Mapping[str, Target], fills: Mapping[str, float]) -> Plan:
        """Plan where each tensor of the program goes.

        Args:
            targets: the tensors of the network.
            fills: those that only PyTorch has, with their values.

        Raises:
            AlignmentError: a tensor of the network that no layer of the program fills.
        """
        moves: dict[str, Move] = {}
        for ours, theirs in ((network, program) for program, network in self.pairs):
            sources = {tensor.role: tensor for tensor in theirs.tensors}
            for tensor in ours.tensors:
                source = sources[tensor.role]
                steps = (ops.Transpose(),) if source.transposed != tensor.transposed else ()
                move = Move(tensor.name, (source.name,), steps)
                if moves.setdefault(tensor.name, move) != move:
                    raise AlignmentError(
                        f"the network uses {tensor.name} twice, the program {source.name} and "
                        f"{moves[tensor.name].sources[0]} in its place; these may differ"
                    )
        owners = {targets[name].storage: name for name in moves if name in targets}
        ties = {
            name: owners[target.storage]
            for name, target in targets.items()
            if name not in moves and target.storage in owners
        }
        filled = {*moves, *fills, *ties}
        if missing := [name for name in targets if name not in filled]:
            raise AlignmentError(
                f"the network has {len(missing)} tensors that its forward pass does not use, so "
                f"the program cannot fill them: {', '.join(missing[:5])}"
            )
        return Plan(
            moves=tuple(moves.values()),
            drops=dict.fromkeys(self.unread, "no operation of the program reads it"),
            fills={name: value for name, value in fills.items() if name in targets},
            ties=ties,
        )


def align(program: LayerGraph, network: LayerGraph) -> Iterator[Alignment]:
    """Yield the pairings of the two graphs' layers: one, unless layers are interchangeable.

    Raises:
        AlignmentError: a layer without a counterpart, or one with other settings.
    """
    colors = ColorRefinement(program, network)
    colors.check()
    for pairing, groups in islice(colors.pairings(), _LIMIT):
        pairs = tuple((program.layers[a], network.layers[b]) for a, b in pairing)
        _check_settings(pairs)
        names = tuple(tuple(network.layers[i].name for i in group) for group in groups)
        yield Alignment(pairs, names, program.unread)


def _check_settings(pairs: tuple[tuple[Layer, Layer], ...]) -> None:
    faults = [
        f"  {ours.name}: {key} is {_shown(theirs.settings[key])} in the program "
        f"({theirs.name}), {_shown(value)} in the network"
        for theirs, ours in pairs
        for key, value in ours.settings.items()
        if not _agree(key, theirs, ours)
    ]
    if faults:
        raise AlignmentError(
            f"program and network have the same layers, but {len(faults)} settings differ\n"
            + "\n".join(faults)
            + "\nThe architecture in the config is not the one that was exported."
        )


def _agree(key: str, theirs: Layer, ours: Layer) -> bool:
    if key == "paddings" and theirs.settings.get(key) == SAME:
        return ours.pads_as_same
    return _same(theirs.settings.get(key), ours.settings[key])


def _same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-5)  # Paddle keeps its settings in single precision
    return a == b


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class ColorRefinement:
    """The colors of all layers of both graphs, as numbers that mean the same on both sides."""

    def __init__(self, program: LayerGraph, network: LayerGraph) -> None:
        self.graphs = {"program": program, "network": network}
        self.nodes: list[_Node] = [
            (side, index)
            for side, graph in self.graphs.items()
            for index in range(len(graph.layers))
        ]
        self.before: dict[_Node, list[tuple[tuple[str, ...], _Node]]] = {}
        self.after: dict[_Node, list[tuple[tuple[str, ...], _Node]]] = defaultdict(list)
        for side, index in self.nodes:
            sources = self.graphs[side].layers[index].sources
            self.before[side, index] = [(marks, (side, source)) for source, marks in sources]
            for source, marks in sources:
                self.after[side, source].append((marks, (side, index)))
        for side, graph in self.graphs.items():
            for source, marks in graph.results:
                self.after[side, source].append((marks, (side, len(graph.layers))))
        self.start = {node: self.own(node) for node in self.nodes}

    def own(self, node: _Node) -> tuple[object, ...]:
        """Return the first color of a layer: its kind, and the roles and shapes of its tensors."""
        side, index = node
        layer = self.graphs[side].layers[index]
        return (layer.kind, *((tensor.role, tensor.shape) for tensor in layer.tensors))

    def check(self) -> None:
        """Raise AlignmentError where the two graphs differ, naming the first such layer."""
        # From the input on, a difference stays behind the layer that causes it.
        for colors in (self.refine(dict(self.start), both_ways=False), self.final):
            if self.differ(colors):
                self.fail(colors)

    @cached_property
    def final(self) -> dict[_Node, object]:
        """The colors when refinement splits none of them any more."""
        return self.refine(dict(self.start))

    def differ(self, colors: Mapping[_Node, object]) -> bool:
        """Return whether some color occurs more often on one side than on the other."""
        sides = [Counter(colors[node] for node in self.nodes if node[0] == s) for s in self.graphs]
        return sides[0] != sides[1]

    def fail(self, colors: Mapping[_Node, object]) -> None:
        """Raise AlignmentError with every layer whose color the other side lacks."""
        lines: list[str] = []
        unmatched: list[str] = []
        for side, other in (("program", "network"), ("network", "program")):
            before = len(unmatched)
            left = Counter(colors[node] for node in self.nodes if node[0] == other)
            for index, layer in enumerate(self.graphs[side].layers):
                color = colors[side, index]
                if left[color]:
                    left[color] -= 1
                    continue
                unmatched.append(
                    f"  {side}, layer {index + 1}: {layer}, fed by {self.feeders(side, index)}"
                )
            lines += unmatched[before : before + 1]
        theirs, ours = (len(graph.layers) for graph in self.graphs.values())
        raise AlignmentError(
            f"program and network are different networks ({theirs} layers in the program, {ours} "
            "in the network); the first layer without a counterpart is\n" + "\n".join(lines) + "\n"
            "Check that the files belong to this model (--list), or name the training YAML they "
            "were made with (--config).",
            unmatched,
        )

    def feeders(self, side: str, index: int) -> str:
        """Name the layers that feed a layer, for an error message."""
        layers = self.graphs[side].layers
        sources = sorted({source for source, _ in layers[index].sources})
        return ", ".join("the input" if i == INPUT else layers[i].name for i in sources)

    def refine(self, colors: dict[_Node, object], both_ways: bool = True) -> dict[_Node, object]:
        """Let colors flow along the edges, both ways or with the data, until none is new."""
        classes = 0
        for side, graph in self.graphs.items():
            colors[side, INPUT] = "input"
            colors[side, len(graph.layers)] = "result"
        while classes != (classes := len(set(colors.values()))):
            numbers: dict[object, int] = {}
            fresh: dict[_Node, object] = {}
            for node, color in colors.items():
                around = tuple(
                    tuple(sorted((marks, repr(colors[other])) for marks, other in edges))
                    for edges in (
                        self.before.get(node, ()),
                        self.after.get(node, ()) if both_ways else (),
                    )
                )
                fresh[node] = numbers.setdefault((color, around), len(numbers))
            colors = fresh
        return colors

    def pairings(
        self,
    ) -> Iterator[tuple[list[tuple[int, int]], list[list[int]]]]:
        """Yield the pairings (program, network) that keep every edge, and the open groups."""
        groups = [mine for _, mine in self.classes(self.final).values() if len(mine) > 1]
        for pairing in self.choose(self.final):
            yield pairing, groups

    def classes(self, colors: Mapping[_Node, object]) -> dict[object, tuple[list[int], list[int]]]:
        """Return for each color the layers of the program and of the network that have it."""
        classes: dict[object, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for side, index in self.nodes:
            classes[colors[side, index]][side == "network"].append(index)
        return classes

    def choose(self, colors: dict[_Node, object]) -> Iterator[list[tuple[int, int]]]:
        """Yield every pairing that data flow allows, breaking ties one layer at a time."""
        classes = self.classes(colors)
        if any(len(theirs) != len(ours) for theirs, ours in classes.values()):
            return
        open_classes = [group for group in classes.values() if len(group[0]) > 1]
        if not open_classes:
            yield sorted((theirs[0], ours[0]) for theirs, ours in classes.values())
            return
        theirs, ours = min(open_classes)
        for candidate in ours:
            marked = {**colors, ("program", theirs[0]): "chosen", ("network", candidate): "chosen"}
            yield from self.choose(self.refine(marked))
