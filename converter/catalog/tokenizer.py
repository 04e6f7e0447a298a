"""The tokenizers of networks that read formulas.

PaddleOCR keeps the `tokenizer.json` of the library `tokenizers` in a folder of the tokenizer's
name; PaddleOCR 3 copies its content into the `inference.yml` of an export.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter.catalog.yaml_io import read_file
from converter.errors import ConfigError
from schemas.artefact import DictionaryEntry

FILE = "tokenizer.json"
_ENCODING_ONLY: Mapping[str, Any] = {"truncation": None, "padding": None}
"""Options that only encoding a text needs."""


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer, reduced to what decoding needs.

    Attributes:
        file: the name of the file it was read from.
        sha256: the hash of that file.
        content: the content of its `tokenizer.json`.
        notes: sentences about where it was found, for messages and the artefact.
    """

    file: str
    sha256: str
    content: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def describe_classes(self, decoder: str) -> str:  # noqa: ARG002
        """Return in words how many tokens there are."""
        return f"{len(self.content['model']['vocab'])} tokens"

    def entry(self) -> DictionaryEntry:
        """Return the section `dictionary` of an artefact."""
        return DictionaryEntry(self.file, self.sha256, tokenizer=self.content, notes=self.notes)


def read_tokenizer(file: Path) -> Tokenizer:
    """Read a `tokenizer.json`.

    Raises:
        ConfigError: the file cannot be read, or is not a tokenizer.
    """
    data = read_file(file, "the tokenizer ")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the tokenizer {file} is not JSON: {error}") from error
    return tokenizer_of(content, file.name, hashlib.sha256(data).hexdigest())


def is_tokenizer(content: object) -> bool:
    """Return whether an export's `character_dict` holds a tokenizer instead of characters."""
    return isinstance(content, dict) and ("model" in content or "fast_tokenizer_file" in content)


def tokenizer_of(content: Any, file: str, sha256: str) -> Tokenizer:
    """Check a tokenizer and reduce it to what decoding needs.

    Args:
        content: the content of a `tokenizer.json`, or a mapping that holds it.
        file: the name of the file it was read from.
        sha256: the hash of that file.

    Raises:
        ConfigError: it is not a tokenizer.
    """
    if isinstance(content, dict) and "fast_tokenizer_file" in content:
        content = content["fast_tokenizer_file"]
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise ConfigError(f"{file} is not a tokenizer: it has no model with a vocab")
    kept = {**content, **_ENCODING_ONLY, "model": {**model, "merges": []}}
    return Tokenizer(file, sha256, kept)
