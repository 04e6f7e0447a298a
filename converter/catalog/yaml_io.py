"""Reading YAML, the project's own and a user's: safely, and within bounds of size and depth."""

from __future__ import annotations

import stat
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from converter.errors import ConfigError

# The C loader is ten times as fast where PyYAML was built with libyaml.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_BYTES = 2**26
"""The largest YAML file or dictionary that is read."""
MAX_DEPTH = 50
"""The deepest nesting; the loader recurses without a guard and would overflow the stack."""
MAX_NODES = 1_000_000
"""The most values of a document, those that its aliases repeat included."""
MAX_DIGITS = 40
"""The longest number, in characters."""


class _Loader(_SafeLoader):  # type: ignore[misc]  # one of two classes, known at run time
    """A safe loader that refuses numbers of very many digits.

    Those would take long to convert, overflow, or fail where a message prints them.
    """

    def construct_yaml_int(self, node: Any) -> int:
        number: int = super().construct_yaml_int(_short_number(node))
        return number

    def construct_yaml_float(self, node: Any) -> float:
        number: float = super().construct_yaml_float(_short_number(node))
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def _short_number(node: Any) -> Any:
    if len(node.value) > MAX_DIGITS:
        raise yaml.constructor.ConstructorError(
            None, None, f"a number has more than {MAX_DIGITS} digits", node.start_mark
        )
    return node


class _TrainingLoader(_Loader):
    """A loader that reads a value of a class, as PaddleDetection's `!ImageFolder`, as plain."""

    def construct_of_class(self, _: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return self.construct_sequence(node, deep=True)
        return self.construct_scalar(node)


_TrainingLoader.add_multi_constructor("!", _TrainingLoader.construct_of_class)


class _StrictLoader(_Loader):
    """A loader that also refuses a mapping in which a key occurs twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} occurs twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def read_training(file: Path) -> dict[str, Any]:
    """Read a training YAML; as in PaddleOCR, the last of two equal keys counts.

    Raises:
        ConfigError: the file cannot be read, or is not plain YAML of bounded size.
    """
    return read_yaml(file, _TrainingLoader)


def read_yaml(file: Path, loader: Any = _StrictLoader) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Args:
        file: the file.
        loader: the class that constructs the values.

    Raises:
        ConfigError: the file cannot be read, or is not plain YAML of bounded size.
    """
    data = read_file(file, "")
    try:
        text = data.decode("utf-8")
        _check_size(text)
        content = yaml.load(text, loader)
    # The last three come from `!!int x` and the like, or from a date such as 2020-99-99.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{file} is not plain YAML: {reason}") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ConfigError(f"{file} should hold a mapping of keys to values, it holds a {kind}")
    return content


def read_file(file: Path, kind: str) -> bytes:
    """Read a small file whole.

    Args:
        file: the file.
        kind: what it is, for messages: "the dictionary ", or nothing.

    Raises:
        ConfigError: it cannot be read, is not a regular file, or is too large.
    """
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"cannot read {kind}{file}: it is not a regular file")
        if status.st_size > MAX_BYTES:
            raise ConfigError(f"cannot read {kind}{file}: it has more than {MAX_BYTES} bytes")
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {kind}{file}: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise ConfigError(f"cannot read {kind}{str(file)!r}: {error}") from error


@dataclass
class _Size:
    """The size of a node once its aliases are replaced by what they refer to.

    Attributes:
        anchor: the name by which aliases refer to the node.
        nodes: how many values it has, itself included.
        depth: how many collections are nested in one another, itself included.
    """

    anchor: str | None = None
    nodes: int = 1
    depth: int = 0

    def add(self, child: _Size) -> None:
        self.nodes += child.nodes
        self.depth = max(self.depth, child.depth + 1)


def _check_size(text: str) -> None:
    """Raise YAMLError where a document is too large or too deep once its aliases are replaced.

    Aliases that refer to lists of aliases multiply: ten lines can stand for 10 ** 10 values.
    """
    complete: dict[str, _Size] = {}
    nested = [_Size()]  # the document, and the collections that are not yet closed
    for event in yaml.parse(text, _SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            nested.append(_Size(event.anchor, depth=1))
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in complete:
                raise yaml.YAMLError(f"the alias {event.anchor!r} does not follow a whole value")
            nested[-1].add(complete[event.anchor])
        elif isinstance(event, (yaml.ScalarEvent, yaml.CollectionEndEvent)):
            size = _Size(event.anchor) if isinstance(event, yaml.ScalarEvent) else nested.pop()
            if size.anchor is not None:
                complete[size.anchor] = size
            nested[-1].add(size)
        if len(nested) - 2 + nested[-1].depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} deep")
        if nested[-1].nodes > MAX_NODES:
            raise yaml.YAMLError(f"it has more than {MAX_NODES} values")


def check_keys(content: dict[str, Any], known: Collection[str], where: str) -> None:
    """Raise ConfigError for a key of a mapping that is not among the known ones."""
    if unknown := sorted(set(map(str, content)) - set(known)):
        raise ConfigError(
            f"{where}: unknown key {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
