"""The tokenizer of a formula network for Transformers, compared with ours before it stays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from architectures.heads._mbart import END, PAD, START
from converter.errors import ExportError, UsageError
from converter.exporting.artefact import Artefact

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
CLASS = "NougatTokenizer"
SPECIAL: Mapping[str, int] = {"bos_token": START, "pad_token": PAD, "eos_token": END}
COMPARED = 64
"""Tokens that are decoded together."""


def write_tokenizer(artefact: Artefact, folder: Path, longest: int) -> tuple[str, ...]:
    """Write the tokenizer of an artefact beside its `config.json`; return the names of the files.

    Args:
        artefact: a network that writes tokens; nothing is written where it has no tokenizer.
        folder: where to write.
        longest: the most tokens of a text.

    Raises:
        UsageError: the tokenizer lacks a special token.
        ExportError: Transformers does not decode the tokens as the tokenizer does.
    """
    entry = artefact.card.dictionary
    if entry is None or entry.tokenizer is None:
        return ()
    content = entry.tokenizer
    names = {number: token for token, number in content["model"]["vocab"].items()}
    names |= {each["id"]: each["content"] for each in content.get("added_tokens", ())}
    if missing := [f"{role} {number}" for role, number in SPECIAL.items() if number not in names]:
        raise UsageError(f"the tokenizer of {artefact.path} has no {', no '.join(missing)}")
    settings = {
        "tokenizer_class": CLASS,
        **{role: names[number] for role, number in SPECIAL.items()},
        "model_max_length": longest,
    }
    for name, written in ((TOKENIZER, content), (SETTINGS, settings)):
        text = json.dumps(written, ensure_ascii=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    _prove(artefact, content, folder)
    return TOKENIZER, SETTINGS


def _prove(artefact: Artefact, content: Mapping[str, Any], folder: Path) -> None:
    """Compare what all tokens become, in the order of their numbers."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    ours = Tokenizer.from_str(json.dumps(content))
    try:
        theirs = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the library raises many kinds
        raise ExportError(
            f"Transformers does not load the tokenizer of {artefact.path}; nothing was written: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    for first in range(0, ours.get_vocab_size(), COMPARED):
        tokens = list(range(first, min(first + COMPARED, ours.get_vocab_size())))
        if ours.decode(tokens) != theirs.decode(tokens, skip_special_tokens=True):
            raise ExportError(
                f"Transformers decodes tokens {tokens[0]} to {tokens[-1]} of {artefact.path} "
                "otherwise; nothing was written"
            )
