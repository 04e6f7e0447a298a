"""Mappings: YAML files that say how the names of a checkpoint become those of the network.

A mapping is data: the names that stay, those that change, and those that are dropped, with the
reason. The files lie in `mappings/`; `_base.yaml` holds the rules of every network. `plan.resolve`
applies a mapping to a checkpoint and a network.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from converter.catalog.yaml_io import check_keys, read_yaml
from converter.errors import ConfigError
from converter.mapping import ops
from converter.mapping.pattern import Pattern, captures_of, expand_over

FOLDER = Path(__file__).parents[2] / "mappings"


@dataclass(frozen=True)
class Rename:
    """One source tensor becomes one target tensor; without `target` the name stays.

    Where `operations` is None, the type of the target's module determines the layout.
    """

    source: Pattern
    target: str | None
    operations: tuple[ops.Operation, ...] | None = None


@dataclass(frozen=True)
class DropRule:
    """Source tensors that the network does not have, and the reason."""

    source: Pattern
    reason: str


@dataclass(frozen=True)
class Concat:
    """Several source tensors, each after `each`, joined along `axis`, become one target tensor.

    Where `each` is None, the type of the target's module determines the layout.
    """

    target: str
    sources: tuple[Pattern, ...]
    each: tuple[ops.Operation, ...] | None
    axis: int


@dataclass(frozen=True)
class Split:
    """One source tensor, after its layout, cut along `axis`, becomes several target tensors."""

    source: Pattern
    targets: tuple[str, ...]
    axis: int


Rule = Rename | DropRule | Concat | Split


@dataclass(frozen=True)
class Select:
    """The part of a distillation checkpoint that is converted.

    Where any name starts with `prefix`, those names lose it and take part, and the others need a
    reason in `siblings`. Where none does, all names take part, if `bare` allows it.
    """

    prefix: str
    bare: bool
    siblings: tuple[DropRule, ...]

    def of_submodel(self, submodel: str) -> Select:
        """Return the selection of another network of the checkpoint, which drops this one.

        Raises:
            ConfigError: no such checkpoint has it.
        """
        others = {rule.source.text: rule for rule in self.siblings}
        others[f"{self.prefix}**"] = DropRule(Pattern(f"{self.prefix}**"), "the student")
        if others.pop(f"{submodel}.**", None) is None:
            known = ", ".join(sorted(text.removesuffix(".**") for text in others))
            raise ConfigError(f"there is no submodel {submodel!r}; there are {known}")
        return Select(f"{submodel}.", False, tuple(others.values()))


@dataclass(frozen=True)
class Mapping:
    """One resolved mapping file: its own rules and those of the files that it extends.

    `state_of` is the prefix of the module whose state alone some checkpoints hold, without it.
    """

    name: str
    own: tuple[Rule, ...]
    inherited: tuple[Rule, ...] = ()
    select: Select | None = None
    state_of: str = ""
    layouts: MappingType[str, tuple[ops.Operation, ...]] = field(default_factory=dict)
    leaves: MappingType[str, MappingType[str, str]] = field(default_factory=dict)
    aliases: MappingType[str, MappingType[str, str]] = field(default_factory=dict)
    fill: MappingType[str, float] = field(default_factory=dict)
    tie: MappingType[str, str] = field(default_factory=dict)

    def of_submodel(self, submodel: str) -> Mapping:
        """Return the same rules for another network of a distillation checkpoint.

        Raises:
            ConfigError: these checkpoints hold one network, or no such one.
        """
        if self.select is None:
            raise ConfigError(f"{submodel!r}: checkpoints of this kind hold one network")
        return replace(self, select=self.select.of_submodel(submodel))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule, own ones first; their order has no meaning."""
        return self.own + self.inherited

    def names_prefix(self, prefix: str) -> bool:
        """Return whether the source of any rule begins with a text."""
        sources = (
            pattern
            for rule in self.rules
            for pattern in (rule.sources if isinstance(rule, Concat) else (rule.source,))
        )
        return any(pattern.text.startswith(prefix) for pattern in sources)


_BY_TYPE = ("layouts", "leaves", "aliases", "fill", "tie")
_KEYS = (
    *("extends", "select", "state_of", "same_name", "words", "rename", "drop", "concat", "split"),
    *_BY_TYPE,
)


def load_mapping(name: str, folder: Path = FOLDER) -> Mapping:
    """Read `folder/name.yaml` and what it extends.

    Raises:
        ConfigError: no such mapping, an unknown key, a rule that cannot be understood, a circle.
    """
    return _load(name, folder, ())


def _load(name: str, folder: Path, parents: tuple[str, ...]) -> Mapping:
    file = folder / f"{name}.yaml"
    if name in parents:
        raise ConfigError(f"mapping {name} extends itself: {' -> '.join((*parents, name))}")
    if not file.is_file():
        known = sorted(path.stem for path in folder.glob("*.yaml"))
        raise ConfigError(f"there is no mapping {name!r} in {folder}; there are {', '.join(known)}")
    content = read_yaml(file)
    check_keys(content, _KEYS, f"mapping {name}")
    try:
        bases = [_load(base, folder, (*parents, name)) for base in _names(content, "extends")]
        own = tuple(_rules(content))
        select = _select(content["select"]) if "select" in content else None
        tables = _tables(content)
    except KeyError as error:
        raise ConfigError(f"mapping {name}: a rule lacks {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"mapping {name}: {error}") from error
    inherited_select = next((base.select for base in bases if base.select), None)
    state_of = content.get("state_of") or next((b.state_of for b in bases if b.state_of), "")
    merged: dict[str, dict[str, Any]] = {
        key: {k: v for base in bases for k, v in getattr(base, key).items()} | tables[key]
        for key in _BY_TYPE
    }
    return Mapping(
        name=name,
        own=own,
        inherited=tuple(dict.fromkeys(rule for base in bases for rule in base.rules)),
        select=select or inherited_select,
        state_of=state_of,
        **merged,
    )


def _names(content: dict[str, Any], key: str) -> list[str]:
    names = content.get(key, [])
    if not isinstance(names, list):
        raise ValueError(f"{key} is a list of names, not {names!r}")
    return names


def _rules(content: dict[str, Any]) -> list[Rule]:
    rules: list[Rule] = [Rename(Pattern(text), None) for text in _names(content, "same_name")]
    words = _words(content)
    for text, target in content.get("rename", {}).items():
        body = target if isinstance(target, dict) else {"to": target}
        check_keys(body, ("to", "ops"), f"rename {text}")
        source = Pattern(text, tuple(words[name] for name in words if name in captures_of(text)))
        rules.append(Rename(source, _known(text, body["to"]), _steps(body, "ops")))
    for text, reason in content.get("drop", {}).items():
        rules.append(_drop(text, reason))
    for target, body in content.get("concat", {}).items():
        check_keys(body, ("from", "over", "each", "axis"), f"concat {target}")
        sources = tuple(map(Pattern, expand_over(body["from"], body["over"])))
        for source in sources:
            _known(source.text, target)
        rules.append(Concat(target, sources, _steps(body, "each"), _axis(body)))
    for text, body in content.get("split", {}).items():
        check_keys(body, ("into", "over", "axis"), f"split {text}")
        targets = [out for into in body["into"] for out in expand_over(into, body["over"])]
        for target in targets:
            _known(text, target)
        rules.append(Split(Pattern(text), tuple(targets), _axis(body)))
    return rules


def _words(content: dict[str, Any]) -> dict[str, tuple[str, tuple[tuple[str, str], ...]]]:
    words = {}
    for name, table in content.get("words", {}).items():
        if not isinstance(table, dict):
            raise ValueError(f"words are given as {{theirs: ours}}, not as {table!r}")
        if not any(name in captures_of(text) for text in content.get("rename", {})):
            raise ValueError(f"no rename captures {name!r}, for which there are words")
        words[name] = (name, tuple((str(theirs), str(ours)) for theirs, ours in table.items()))
    return words


def _steps(body: dict[str, Any], key: str) -> tuple[ops.Operation, ...] | None:
    return tuple(map(ops.parse, body[key])) if key in body else None


def _axis(body: dict[str, Any]) -> int:
    if type(body["axis"]) is not int or body["axis"] < 0:
        raise ValueError(f"an axis is counted from 0, it is not {body['axis']!r}")
    return body["axis"]


def _known(source: str, target: str) -> str:
    if missing := captures_of(target) - captures_of(source):
        raise ValueError(f"{target!r} uses {', '.join(sorted(missing))}, not in {source!r}")
    return target


def _drop(text: str, reason: Any) -> DropRule:
    if not isinstance(reason, str) or not reason.strip():
        raise ValueError(f"drop {text!r} needs a reason in words")
    return DropRule(Pattern(text), reason)


def _select(body: dict[str, Any]) -> Select:
    check_keys(body, ("prefix", "bare", "siblings"), "select")
    if not str(body["prefix"]).endswith("."):
        raise ValueError(f"the prefix {body['prefix']!r} should end with a dot")
    if body.get("bare", "refused") not in ("allowed", "refused"):
        raise ValueError(f"bare is `allowed` or `refused`, not {body['bare']!r}")
    siblings = tuple(_drop(text, why) for text, why in body.get("siblings", {}).items())
    return Select(body["prefix"], body.get("bare") == "allowed", siblings)


def _tables(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {key: dict(content.get(key, {})) for key in _BY_TYPE}
    tables["layouts"] = {
        leaf: tuple(map(ops.parse, steps)) for leaf, steps in tables["layouts"].items()
    }
    for leaf in (*tables["layouts"], *tables["fill"]):
        if leaf.count(".") != 1:
            raise ValueError(f"{leaf!r} should read ModuleType.tensor")
    for key, value in tables["fill"].items():
        if not isinstance(value, int | float):
            raise ValueError(f"{key} is filled with a number, not {value!r}")
    for words in tables["leaves"].values():
        if not isinstance(words, dict):
            raise ValueError(f"leaves are given as {{theirs: ours}}, not as {words!r}")
    for patterns in tables["aliases"].values():
        for text, target in patterns.items():
            _known(Pattern(text).text, target)
    return tables
