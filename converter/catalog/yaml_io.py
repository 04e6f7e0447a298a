"""Reading the project's own YAML files and a user's: safely, whole, and with no unknown key."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from pathlib import Path
from typing import Any

import yaml

from converter.errors import ConfigError

# The C loader is ten times as fast where PyYAML was built with libyaml.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# It recurses without a guard: a file of brackets alone would overflow the stack.
_DEPTH = 50


class _StrictLoader(_SafeLoader):
    """A safe loader that also refuses a key that stands twice in one mapping."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} stands twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def read_training(file: Path) -> dict[str, Any]:
    """Return PaddleOCR's training YAML; as there, of a key that stands twice the last counts."""
    return read_yaml(file, _SafeLoader)


def read_yaml(file: Path, loader: Any = _StrictLoader) -> dict[str, Any]:
    """Return the mapping in `file`; ConfigError for anything but plain, safe YAML."""
    try:
        text = file.read_text(encoding="utf-8")
        _check_depth(text)
        content = yaml.load(text, loader)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    # The last three come from `!!int x` and the like, or from a date such as 2020-99-99.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{file} is not plain YAML: {reason}") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ConfigError(f"{file} should hold a mapping of keys to values, it holds a {kind}")
    return content


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, _SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEPTH:
            raise yaml.YAMLError(f"it is nested more than {_DEPTH} deep")


def check_keys(content: dict[str, Any], known: Collection[str], where: str) -> None:
    """Raise ConfigError for a key of `content` that is not among the `known` ones."""
    if unknown := sorted(set(map(str, content)) - set(known)):
        raise ConfigError(
            f"{where}: unknown key {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
