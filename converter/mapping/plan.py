"""Plans for tensors: a mapping applied to the names and shapes of a checkpoint and a network.

`resolve` returns a `Plan` in which every source tensor is used, dropped for a reason or a second
name of another, and every target tensor is filled exactly once; or it raises `MappingError` with
all faults in one table. No array moves before that.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

import numpy as np
import torch
from torch import nn

from converter.errors import MappingError
from converter.mapping import ops, rules
from converter.mapping.name_ranges import summarize_names
from converter.mapping.pattern import Pattern, expand


@dataclass(frozen=True)
class Signature:
    """Shape and numpy dtype name of one tensor."""

    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Target:
    """One tensor of the network: its signature and the types of the module that owns it."""

    signature: Signature
    owner_types: tuple[str, ...]
    storage: int


@dataclass(frozen=True)
class Move:
    """`target` is the join along `axis` of `sources`, each after `operations`.

    A plain move has one source. With `part`, the target is that piece of `parts` equal ones.
    """

    target: str
    sources: tuple[str, ...]
    operations: tuple[ops.Operation, ...] = ()
    axis: int = 0
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Plan:
    """Where every tensor goes; each name of both sides occurs exactly once.

    Ties are the exception: of two names that share one tensor the source may hold both, which then
    have to be equal. `prefix` begins the chosen network's names in a distillation checkpoint.
    """

    moves: tuple[Move, ...] = ()
    drops: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    fills: Mapping[str, float] = field(default_factory=dict)
    ties: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""

    def counts(self) -> dict[str, int | dict[str, int]]:
        """Return how many tensors are used, second names, filled, tied, and dropped by reason."""
        used = {source for move in self.moves for source in move.sources}
        return {
            "used": len(used),
            "second_names": len(self.aliases),
            "filled": len(self.fills),
            "tied": len(self.ties),
            "dropped": dict(Counter(self.drops.values())),
        }

    def table(self) -> str:
        """Return the plan as text: one line per group of names that differ in numbers alone."""
        lines = [
            *summarize_names(
                (_arrow(move), ", ".join(map(str, move.operations))) for move in self.moves
            ),
            *summarize_names((f"{name}  dropped", why) for name, why in self.drops.items()),
            *summarize_names(
                (f"{name}  second name", f"of {of}") for name, of in self.aliases.items()
            ),
            *summarize_names(
                (f"{name}  filled", f"with {value}") for name, value in self.fills.items()
            ),
            *summarize_names((f"{name}  tied", f"to {of}") for name, of in self.ties.items()),
        ]
        return "\n".join(lines)


def targets_of(network: nn.Module) -> dict[str, Target]:
    """Return every tensor of the network's `state_dict` with the types of its owner."""
    modules = dict(network.named_modules(remove_duplicate=False))
    targets = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        owner = modules[name.rpartition(".")[0]]
        types = tuple(cls.__name__ for cls in type(owner).__mro__)
        targets[name] = Target(signature_of(tensor), types, id(tensor))
    return targets


def fills_of(mapping: rules.Mapping, targets: Mapping[str, Target]) -> dict[str, float]:
    """Return the tensors that exist only in PyTorch, with the values that the mapping gives."""
    fills = {}
    for name, target in targets.items():
        leaf = name.rpartition(".")[2]
        for owner_type in target.owner_types:
            if (key := f"{owner_type}.{leaf}") in mapping.fill:
                fills[name] = mapping.fill[key]
                break
    return fills


def signature_of(tensor: torch.Tensor | np.ndarray) -> Signature:
    """Return the signature of an array or a tensor."""
    return Signature(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def resolve(
    mapping: rules.Mapping, source: Mapping[str, Signature], targets: Mapping[str, Target]
) -> Plan:
    """Plan where each tensor of a checkpoint goes, by names and shapes.

    Args:
        mapping: the rules.
        source: the tensors of the checkpoint.
        targets: the tensors of the network (`targets_of`).

    Raises:
        MappingError: names unclaimed or claimed twice, targets unfilled or filled twice, shapes
            that do not fit, own rules that claim nothing: all of them, in one table.
    """
    return _Resolution(mapping, source, targets).run()


NETWORK = "Model"
"""The type under which `aliases` has second names that are relative to no module."""

# For each join and target: which source name was found at which position.
_Joins = dict[tuple[rules.Concat, str], dict[int, str]]


def destinations(
    mapping: rules.Mapping, names: Iterable[str], targets: Mapping[str, Target]
) -> dict[str, str]:
    """Return the target name of each source name that no rule renames, present or not."""
    resolution = _Resolution(mapping, {}, targets)
    return {name: resolution.leaf(resolution.alias(name) or name) for name in names}


class _Resolution:
    def __init__(
        self,
        mapping: rules.Mapping,
        source: Mapping[str, Signature],
        targets: Mapping[str, Target],
    ) -> None:
        self.mapping, self.source, self.targets = mapping, source, targets
        self.prefix = ""
        self.owners = {"": (NETWORK,), **_owners(targets)}
        self.second_names_of = _aliases(self.owners, mapping)
        self.moves: list[Move] = []
        self.drops: dict[str, str] = {}
        self.second_names: dict[str, str] = {}
        self.faults: list[tuple[str, str]] = []

    def run(self) -> Plan:
        names = self.select()
        claims: dict[str, list[rules.Rule]] = {name: [] for name in names}
        joined: _Joins = defaultdict(dict)
        candidates = _Candidates(names)
        for rule in self.mapping.rules:
            claimed = [name for name in candidates(rule) if self.claim(rule, name, joined)]
            for name in claimed:
                claims[name].append(rule)
            if not claimed and rule in self.mapping.own:
                self.faults.append((f"rule {_describe(rule)}", "claims nothing"))
        for stripped, claimers in claims.items():
            name = self.prefix + stripped
            if not claimers:
                self.faults.append((name, f"unclaimed, shape {self.source[name].shape}"))
            elif len(claimers) > 1:
                by = " and ".join(_describe(rule) for rule in claimers)
                self.faults.append((name, f"claimed twice: by {by}"))
        self.finish_joins(joined)
        aliases = self.finish_aliases()
        moved = {move.target for move in self.moves}
        fills = {n: v for n, v in fills_of(self.mapping, self.targets).items() if n not in moved}
        ties = self.tie()
        self.check_targets(fills, ties)
        if self.faults:
            raise MappingError(self.message())
        return Plan(tuple(self.moves), self.drops, aliases, fills, ties, self.prefix)

    # Step 1: select the names that take part

    def select(self) -> list[str]:
        select = self.mapping.select
        if select is None:
            return list(self.source)
        chosen = [name for name in self.source if name.startswith(select.prefix)]
        if not chosen:
            if not select.bare:
                self.faults.append((f"{select.prefix}**", "no name has this prefix"))
            return list(self.source)
        self.prefix = select.prefix
        for name in self.source:
            if name.startswith(select.prefix):
                continue
            siblings = [rule for rule in select.siblings if rule.source.match(name) is not None]
            if not siblings:
                self.faults.append((name, f"neither {select.prefix}** nor a sibling of it"))
            elif len(siblings) > 1:
                by = " and ".join(rule.source.text for rule in siblings)
                self.faults.append((name, f"claimed twice: by the siblings {by}"))
            else:
                self.drops[name] = siblings[0].reason
        return [name[len(select.prefix) :] for name in chosen]

    # Step 2: apply each rule to each name

    def claim(self, rule: rules.Rule, name: str, joined: _Joins) -> bool:
        if isinstance(rule, rules.Concat):
            for position, pattern in enumerate(rule.sources):
                if (captures := pattern.match(name)) is not None:
                    target = self.leaf(expand(rule.target, captures))
                    other = joined[rule, target].setdefault(position, name)
                    if other != name:
                        self.faults.append((target, f"filled twice: by {other} and {name}"))
                    return True
            return False
        captures = rule.source.match(name)
        if captures is None:
            return False
        if isinstance(rule, rules.DropRule):
            self.drops[self.prefix + name] = rule.reason
        elif isinstance(rule, rules.Split):
            for part, template in enumerate(rule.targets):
                target = self.leaf(expand(template, captures))
                steps = self.layout(target)
                self.move(Move(target, (name,), steps, rule.axis, part, len(rule.targets)))
        else:
            wanted = name if rule.target is None else expand(rule.target, captures)
            if primary := self.alias(wanted):
                self.second_names[name] = primary
            else:
                target = self.leaf(wanted)
                self.move(Move(target, (name,), self.steps(rule.operations, target)))
        return True

    def leaf(self, name: str) -> str:
        """Return `name` with its last segment in PyTorch's words, by the type of its module."""
        owner, _, leaf = name.rpartition(".")
        for owner_type in self.owners.get(owner, ()):
            if leaf in (table := self.mapping.leaves.get(owner_type, {})):
                return f"{owner}.{table[leaf]}"
        return name

    def layout(self, target: str) -> tuple[ops.Operation, ...]:
        """Return the operations that the type of the target's module asks for."""
        owner, _, leaf = target.rpartition(".")
        for owner_type in self.owners.get(owner, ()):
            if (key := f"{owner_type}.{leaf}") in self.mapping.layouts:
                return self.mapping.layouts[key]
        return ()

    def steps(
        self, stated: tuple[ops.Operation, ...] | None, target: str
    ) -> tuple[ops.Operation, ...]:
        return self.layout(target) if stated is None else stated

    def alias(self, name: str) -> str | None:
        """Return the first name of the tensor of which `name` is a second one, or None."""
        if not self.second_names_of:
            return None
        segments = name.split(".")
        for cut in range(len(segments)):
            owner = ".".join(segments[:cut])
            for pattern, template in self.second_names_of.get(owner, ()):
                if (captures := pattern.match(".".join(segments[cut:]))) is not None:
                    return ".".join(filter(None, (owner, expand(template, captures))))
        return None

    def finish_joins(self, joined: _Joins) -> None:
        for (rule, target), parts in joined.items():
            if missing := [i for i in range(len(rule.sources)) if i not in parts]:
                lacking = ", ".join(rule.sources[i].text for i in missing)
                self.faults.append((target, f"cannot be joined without {lacking}"))
                continue
            sources = tuple(parts[i] for i in range(len(rule.sources)))
            self.move(Move(target, sources, self.steps(rule.each, target), rule.axis))

    def finish_aliases(self) -> dict[str, str]:
        """Tie each second name to the first; one whose first name is absent is a plain move."""
        first_names = {move.target: move.sources[0] for move in self.moves}
        aliases = {}
        for name, target in self.second_names.items():
            if target in first_names:
                second, first = self.prefix + name, first_names[target]
                if self.source[second] != self.source[first]:
                    shapes = f"{self.source[second].shape}, {first} {self.source[first].shape}"
                    self.faults.append((second, f"is no second name: has shape {shapes}"))
                aliases[second] = first
            else:
                self.move(Move(target, (name,), self.layout(target)))
        return aliases

    def move(self, move: Move) -> None:
        """Take a move into the plan, or a fault where shape or dtype do not fit."""
        names = tuple(self.prefix + source for source in move.sources)
        signatures = [self.source[name] for name in names]
        self.moves.append(
            Move(move.target, names, move.operations, move.axis, move.part, move.parts)
        )
        if move.target not in self.targets:
            return
        wanted = self.targets[move.target].signature
        for signature in signatures:
            if not _fits(signature.dtype, wanted.dtype):
                self.faults.append(
                    (move.target, f"is {wanted.dtype}, the source is {signature.dtype}")
                )
        try:
            shapes = [ops.shape_after(move.operations, s.shape) for s in signatures]
            shape = ops.concat_shape(shapes, move.axis) if len(shapes) > 1 else shapes[0]
            if move.parts > 1:
                shape = ops.split_shape(shape, move.parts, move.axis)
        except ValueError as error:
            self.faults.append((move.target, str(error)))
            return
        if shape != wanted.shape:
            shapes_of_sources = " + ".join(str(signature.shape) for signature in signatures)
            became = f" (as {shape})" if move.operations or len(signatures) > 1 else ""
            self.faults.append(
                (move.target, f"has shape {wanted.shape}, the source {shapes_of_sources}{became}")
            )

    # Step 3: fill what the source does not have

    def tie(self) -> dict[str, str]:
        ties = {}
        for name, of in self.mapping.tie.items():
            if name not in self.targets or of not in self.targets:
                self.faults.append((f"tie {name}", f"the network lacks it or {of}"))
            elif self.targets[name].storage != self.targets[of].storage:
                self.faults.append((f"tie {name}", f"does not share its storage with {of}"))
            elif of in self.mapping.tie:
                self.faults.append((f"tie {name}", f"{of} is tied itself"))
            else:
                ties[name] = of
        return ties

    def check_targets(self, fills: Mapping[str, float], ties: Mapping[str, str]) -> None:
        filled = Counter(move.target for move in self.moves)
        sources: dict[str, list[str]] = defaultdict(list)
        for move in self.moves:
            sources[move.target] += move.sources
        for name, times in filled.items():
            if name not in self.targets:
                fillers = ", ".join(sources[name])
                self.faults.append((name, f"is not in the network; {fillers} would go there"))
            elif times > 1:
                self.faults.append((name, f"filled twice: by {' and '.join(sources[name])}"))
        owners: dict[int, str] = {}
        for name, target in self.targets.items():
            first = owners.setdefault(target.storage, name)
            if first != name and name not in ties and first not in ties:
                self.faults.append((name, f"shares its storage with {first}, but no tie says so"))
            if name not in filled and name not in fills and name not in ties:
                self.faults.append((name, f"unfilled, shape {target.signature.shape}"))

    def message(self) -> str:
        table = "\n".join(summarize_names(self.faults))
        return (
            f"mapping {self.mapping.name} does not fit: {len(self.faults)} faults in "
            f"{len(self.source)} source and {len(self.targets)} target tensors\n{table}\n"
            "Check that the weights belong to this model (--list), or name the training YAML "
            "they were made with (--config)."
        )


class _Candidates:
    """Finds the names that begin as the patterns of a rule do, without a look at all the others."""

    def __init__(self, names: Sequence[str]) -> None:
        self.places = {name: place for place, name in enumerate(names)}
        self.ordered = sorted(names)

    def __call__(self, rule: rules.Rule) -> list[str]:
        """Return the names that `rule` may claim, in the order of the source."""
        found: set[str] = set()
        for pattern in rule.sources if isinstance(rule, rules.Concat) else (rule.source,):
            found.update(self.beginning(pattern.start))
        return sorted(found, key=self.places.__getitem__)

    def beginning(self, start: str) -> Iterator[str]:
        begin = bisect_left(self.ordered, start)
        return takewhile(lambda name: name.startswith(start), islice(self.ordered, begin, None))


def _aliases(
    owners: Mapping[str, Sequence[str]], mapping: rules.Mapping
) -> dict[str, list[tuple[Pattern, str]]]:
    """Return the patterns of second names, each with its first name, for modules that have any."""
    of_type = {
        owner_type: [(Pattern(pattern), template) for pattern, template in table.items()]
        for owner_type, table in mapping.aliases.items()
    }
    found = {}
    for owner, types in owners.items():
        if patterns := [pair for owner_type in types for pair in of_type.get(owner_type, ())]:
            found[owner] = patterns
    return found


def _owners(targets: Mapping[str, Target]) -> dict[str, tuple[str, ...]]:
    return {name.rpartition(".")[0]: target.owner_types for name, target in targets.items()}


def _fits(source: str, target: str) -> bool:
    """Return whether numbers of the one dtype are numbers of the other, none of them changed."""
    same_kind = np.dtype(source).kind == np.dtype(target).kind
    return same_kind and np.can_cast(source, target, "safe")


def _describe(rule: rules.Rule) -> str:
    if isinstance(rule, rules.Concat):
        return f"concat {rule.target}"
    kind = {rules.DropRule: "drop", rules.Split: "split"}.get(type(rule), "name")
    return f"{kind} {rule.source.text}"


def _arrow(move: Move) -> str:
    piece = f" (part {move.part + 1} of {move.parts})" if move.parts > 1 else ""
    return f"{' + '.join(move.sources)}{piece} -> {move.target}"
