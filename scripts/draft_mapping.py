"""Draft the mapping of a new network: names of a checkpoint against those of the network here.

    python scripts/draft_mapping.py NAMES --config YAML > mappings/NAME.yaml

NAMES is a .pdparams file, or a text of lines `name<TAB>32,3,3,3<TAB>float32`. YAML is a config of
this project, or PaddleOCR's training YAML. What has the same name on both sides is written as
patterns; every other name of the checkpoint as a drop without a reason, which is refused until a
person gives one, or makes a rename of it. What does not fit yet follows as comments.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import architectures
from converter.catalog.yaml_io import read_training
from converter.errors import ConfigError, ConverterError, MappingError, SourceError
from converter.mapping.pattern import Pattern
from converter.mapping.plan import (
    Signature,
    Target,
    destinations,
    resolve,
    signature_of,
    targets_of,
)
from converter.mapping.rules import DropRule, Rename, Select, load_mapping
from converter.mapping.rules import Mapping as Rules
from converter.sources.pdparams import read_pdparams

OPEN = '""  # TODO: why'


def main(argv: Sequence[str] | None = None) -> int:
    """Print a draft and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", type=Path, metavar="NAMES", help="names.txt or a .pdparams")
    parser.add_argument("--config", type=Path, required=True, metavar="YAML")
    options = parser.parse_args(argv)
    try:
        source = read_names(options.names)
        network = build(options.config, source)
        print(draft(source, targets_of(network), load_mapping("_base")))
    except ConverterError as error:
        print(f"draft_mapping: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def read_names(file: Path) -> dict[str, Signature]:
    """Return the tensors of a checkpoint, or of a text that lists them; SourceError for neither."""
    if file.suffix == ".pdparams":
        return {name: signature_of(array) for name, array in read_pdparams(file).tensors.items()}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return {
            name: Signature(tuple(map(int, filter(None, shape.split(",")))), dtype)
            for name, shape, dtype in (line.split("\t") for line in lines)
        }
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{file} is no list of names ({error}); a line reads name<TAB>32,3,3,3<TAB>float32"
        ) from error


def build(config: Path, source: Mapping[str, Signature]) -> architectures.Model:
    """Return the network of a config; it knows which names of `source` state the class counts.

    Raises:
        ConfigError: the YAML has no architecture, or one that is not known here.
    """
    content = read_training(config)
    architecture = content.get("architecture", content.get("Architecture"))
    if not isinstance(architecture, dict):
        raise ConfigError(f"{config} has no section `architecture` or `Architecture`")
    counts = {
        count: signature.shape[0]
        for count, wanted in content.get("class_counts", {}).items()
        for name, signature in source.items()
        if name == wanted or name == f"Student.{wanted}"
    }
    try:
        return architectures.build(architecture, class_counts=counts)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{config}: {error}") from error


def draft(source: Mapping[str, Signature], targets: Mapping[str, Target], base: Rules) -> str:
    """Return the YAML of a mapping that extends `base`."""
    prefix = best_prefix(source, targets, base)
    names = [name.removeprefix(prefix) for name in source if name.startswith(prefix)]
    going = destinations(base, names, targets)
    same = {name for name in names if going[name] in targets}
    kept, left = list(patterns(names, same)), list(patterns(names, set(names) - same))
    siblings = sorted({name.split(".")[0] for name in source if not name.startswith(prefix)})
    lines = ["extends: [_base]"]
    if prefix:
        lines += ["select:", f'  prefix: "{prefix}"', "  bare: allowed"]
        lines += ["  siblings:"] * bool(siblings)
        lines += [f'    "{sibling}.**": {OPEN}' for sibling in siblings]
    lines += [f"same_name: {json.dumps(kept)}"]
    lines += ["drop:"] * bool(left)
    lines += [f'  "{pattern}": {OPEN}' for pattern in left]
    others = tuple(DropRule(Pattern(f"{sibling}.**"), OPEN) for sibling in siblings)
    rules = replace(
        base,
        own=tuple(Rename(Pattern(pattern), None) for pattern in kept),
        select=Select(prefix, True, others) if prefix else None,
    )
    try:
        resolve(rules, source, targets)
    except MappingError as error:
        faults = [line for line in str(error).splitlines() if line.startswith("  ")]
        lines += ["", "# What does not fit yet:", *(f"# {line}" for line in faults)]
    return "\n".join(lines)


def best_prefix(source: Collection[str], targets: Mapping[str, Target], base: Rules) -> str:
    """Return the prefix, `Student.` or none, under which most names are those of the network."""

    def fitting(prefix: str) -> int:
        names = [name.removeprefix(prefix) for name in source if name.startswith(prefix)]
        return sum(target in targets for target in destinations(base, names, targets).values())

    tops = {name.split(".")[0] + "." for name in source if "." in name}
    return max(["", *sorted(tops)], key=fitting)


def patterns(names: Collection[str], chosen: Collection[str]) -> Iterator[str]:
    """Yield patterns that match the chosen ones of some names: few, and none of the others.

    Those that differ in the number of a layer alone become one with a star, where that still holds.
    """
    starred: dict[str, list[str]] = defaultdict(list)
    for pattern in _cover(names, set(chosen), ""):
        starred[re.sub(r"(?<=\.)\d+(?=\.)", "*", pattern)].append(pattern)
    for star, plain in starred.items():
        matched = [name for name in names if Pattern(star).match(name) is not None]
        exact = all(any(Pattern(p).match(name) is not None for p in plain) for name in matched)
        yield from [star] if exact else plain


def _cover(names: Collection[str], chosen: set[str], above: str) -> Iterator[str]:
    """Yield `part.**` for each part whose names are all chosen, and look inside the others."""
    parts: dict[str, list[str]] = defaultdict(list)
    for name in names:
        parts[name.removeprefix(above).partition(".")[0]].append(name)
    for part, members in parts.items():
        path = above + part
        if path in chosen:
            yield path
        inside = [name for name in members if name != path]
        if inside and chosen.issuperset(inside):
            yield f"{path}.**"
        elif inside:
            yield from _cover(inside, chosen, f"{path}.")


if __name__ == "__main__":
    sys.exit(main())
