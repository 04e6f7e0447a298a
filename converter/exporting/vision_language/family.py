"""The vision-language networks that HF Transformers has, and their configurations."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from converter.catalog.yaml_io import read_yaml
from converter.errors import SourceError

TABLE = Path(__file__).with_name("families.yaml")
AUTO = "AutoModelForImageTextToText"
"""Transformers' class that loads all of them."""

_LARGEST = 2**31
_LAYERS = ("num_hidden_layers", "depth")
_END = "eos_token_id"  # the only one of which there may be several
_WORDS = ("bos_token_id", _END, "pad_token_id")  # not what the network computes
_TYPE = "model_type"
_TIED = "tie_word_embeddings"


@dataclass(frozen=True)
class Network:
    """A network of a family: the mapping of its tensors' names, and its record."""

    mapping: str
    record: str


@dataclass(frozen=True)
class Family:
    """A vision-language network that Transformers has.

    Attributes:
        name: Transformers' `model_type`.
        kind: the name of its class.
        top, text, vision: the entries of its configuration, each with the value that PaddleX takes
            where it is missing; None where it has to be there.
        tied, untied: the network whose last layer is the embedding, and the other; None where
            nothing was released and recorded.
        positions: `mrope` where the text has three kinds of positions.
        renamed: entries of `top` that the source has under another name.
        auto_map: the classes that Transformers lacks, by what loads them.
    """

    name: str
    kind: str
    top: Mapping[str, Any]
    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    tied: Network | None = None
    untied: Network | None = None
    positions: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)
    auto_map: Mapping[str, str] = field(default_factory=dict)

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules, without `.py`, that lie beside the weights."""
        return tuple(sorted({place.partition(".")[0] for place in self.auto_map.values()}))

    def config(self, source: Mapping[str, object], where: str) -> dict[str, Any]:
        """Return Transformers' configuration, in which no entry is left to a default.

        Args:
            source: the content of PaddleX's `config.json`.
            where: that file, for messages.

        Raises:
            SourceError: an entry is missing, or has a value of another type.
        """
        vision = source.get("vision_config") or {}
        if not isinstance(vision, dict):
            raise SourceError(f"{where}: vision_config is no object")
        text = _entries(self.text, source, where)
        text |= _words(source, where)
        if self.positions:
            text["rope_scaling"] = _mrope(source.get("rope_scaling"), text, where)
        given = {name: source[old] for name, old in self.renamed.items() if old in source}
        return {
            _TYPE: self.name,
            **_entries(self.top, {**source, **given}, where),
            "text_config": text,
            "vision_config": _entries(self.vision, vision, f"{where}, vision_config"),
        }

    def network(self, config: Mapping[str, Any], where: str) -> Network:
        """Return the network of a configuration.

        Raises:
            SourceError: there is no record of one whose last layer is, or is not, the embedding.
        """
        found = self.tied if config[_TIED] else self.untied
        if found is None:
            raise SourceError(
                f"{where}: {_TIED} is {config[_TIED]}; of {self.kind} only the other network was "
                "released and is known here"
            )
        return found

    def build(self, config: Mapping[str, Any]) -> Any:
        """Build Transformers' network; of a torch device "meta" it has no values."""
        import transformers

        # Transformers adds entries to what it gets.
        entries = copy.deepcopy({name: value for name, value in config.items() if name != _TYPE})
        if self.auto_map:
            module = import_module(f"{__package__}.{self.modules[0]}")
            configured = getattr(module, self.auto_map["AutoConfig"].partition(".")[2])(**entries)
            return getattr(module, self.kind)(configured)
        configured = transformers.AutoConfig.for_model(self.name, **entries)
        return getattr(transformers, self.kind)(configured)


@cache
def families() -> Mapping[str, Family]:
    """Return the networks by Transformers' `model_type`."""
    return {name: _family(name, row) for name, row in read_yaml(TABLE)["families"].items()}


def _family(name: str, row: dict[str, Any]) -> Family:
    row["kind"] = row.pop("class")
    for key in ("tied", "untied"):
        if key in row:
            row[key] = Network(**row[key])
    return Family(name, **row)


def layers_of(config: Mapping[str, Any]) -> int:
    """Return how many layers a configuration announces."""
    parts = (config["text_config"], config["vision_config"])
    return sum(part.get(name, 0) for part in parts for name in _LAYERS)


def _entries(
    defaults: Mapping[str, Any], source: Mapping[str, object], where: str
) -> dict[str, Any]:
    return {
        name: default if name == _TYPE else _entry(name, default, source, where)
        for name, default in defaults.items()
    }


def _entry(name: str, default: Any, source: Mapping[str, object], where: str) -> Any:
    value = source.get(name)
    if value is None:
        if default is None:
            raise SourceError(f"{where} lacks {name}, which the network needs")
        return default
    if not _is_like(default, value):
        kind = "a whole number" if default is None else f"a value like {default!r}"
        raise SourceError(f"{where}: {name} is {ascii(value)[:60]}, expected {kind}")
    return float(cast("float", value)) if isinstance(default, float) else value


def _words(source: Mapping[str, object], where: str) -> dict[str, Any]:
    """Return the tokens that begin, end and fill texts, as far as the source names them."""
    found = {name: source[name] for name in _WORDS if source.get(name) is not None}
    for name, value in found.items():
        several = name == _END and _is_like([], value)
        if not (several or _is_like(None, value)):
            raise SourceError(f"{where}: {name} is {ascii(value)[:60]}, expected a whole number")
    return found


def _is_like(default: object, value: object) -> bool:
    """Return whether a value is of the type of a default, and no impossible number."""
    if isinstance(default, list):
        return isinstance(value, list) and all(_is_like(None, item) for item in value)
    if isinstance(default, float):
        return type(value) in (int, float) and 0 < value < _LARGEST  # type: ignore[operator]
    if isinstance(default, bool | str):
        return type(value) is type(default)
    return type(value) is int and 0 <= value < _LARGEST


def _mrope(value: object, text: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return how channels are shared out among time, rows and columns, as Qwen2-VL states it.

    Args:
        value: the entry `rope_scaling` of the source.
        text: the other entries of the text's network.
        where: the source, for messages.
    """
    match value:
        case {"mrope_section": [int(), int(), int()] as section, **rest} if rest.get(
            "type", rest.get("rope_type", "mrope")
        ) in ("mrope", "default"):
            if 2 * sum(section) * text["num_attention_heads"] == text["hidden_size"]:
                return {"type": "mrope", "mrope_section": section}
    raise SourceError(
        f"{where}: rope_scaling is {ascii(value)[:80]}, expected the type mrope and mrope_section, "
        "three numbers whose sum is half the width of an attention head"
    )
