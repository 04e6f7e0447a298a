"""Tokenizers of formulas: what each of a network's tokens stands for.

They come as the `tokenizer.json` of the library `tokenizers`, which PaddleOCR keeps in a folder of
the tokenizer's name and PaddleOCR 3 writes into the `inference.yml` of an export.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter.errors import ConfigError

FILE = "tokenizer.json"
DECODERS = ("LaTeXOCRDecode", "UniMERNetDecode")
"""What reads tokens, by PaddleOCR's names."""
# What only making tokens of a text takes: how pieces are joined, how long a text may be.
_NOT_FOR_READING: Mapping[str, Any] = {"truncation": None, "padding": None}


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer, of which only what turns tokens into text is kept."""

    file: str
    sha256: str
    content: Mapping[str, Any]

    def said(self, decoder: str) -> str:  # noqa: ARG002
        """Return in words how many tokens there are."""
        return f"{len(self.content['model']['vocab'])} tokens"

    def to_dict(self) -> dict[str, Any]:
        """Return the tokenizer as it stands in the artefact's JSON."""
        return {"file": self.file, "sha256": self.sha256, "tokenizer": dict(self.content)}


def read_tokenizer(file: Path) -> Tokenizer:
    """Read a `tokenizer.json`.

    Raises:
        ConfigError: the file cannot be read, or is no tokenizer.
    """
    try:
        data = file.read_bytes()
        content = json.loads(data)
    except OSError as error:
        raise ConfigError(f"cannot read the tokenizer {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the tokenizer {file} is no JSON: {error}") from error
    return tokenizer_of(content, file.name, hashlib.sha256(data).hexdigest())


def is_tokenizer(content: Any) -> bool:
    """Whether an export's `character_dict` holds a tokenizer, alone or with its settings."""
    return isinstance(content, dict) and ("model" in content or "fast_tokenizer_file" in content)


def tokenizer_of(content: Any, file: str, sha256: str) -> Tokenizer:
    """Return the tokenizer that a file holds; ConfigError if it holds none."""
    if isinstance(content, dict) and "fast_tokenizer_file" in content:
        content = content["fast_tokenizer_file"]
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise ConfigError(f"{file} is no tokenizer: it has no model with a vocab")
    kept = {**content, **_NOT_FOR_READING, "model": {**model, "merges": []}}
    return Tokenizer(file, sha256, kept)
