"""`python -m converter add-dict X.pth DICT`: give a converted recogniser its characters."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from converter.catalog.cards import READING
from converter.catalog.dictionary import fit_to_classes, read_dictionary
from converter.conversion.artefact import write_json
from converter.errors import SourceError, UsageError


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m converter add-dict",
        description="Write a dictionary into the JSON beside a converted recogniser.",
    )
    parser.set_defaults(prog="converter add-dict")
    add = parser.add_argument
    add("weights", type=Path, metavar="X.pth", help="the recogniser; X.json lies beside it")
    add("dictionary", type=Path, metavar="DICT",
        help="one character a line, a tokenizer.json, or an inference.yml")  # fmt: skip
    add("--replace", action="store_true", help="take the place of the dictionary that it has")
    return parser


def run(options: argparse.Namespace) -> int:
    """Check the dictionary against the classes, write it, and return the exit code."""
    weights, described = options.weights, options.weights.with_suffix(".json")
    card = _card_of(weights, described)
    if card.get("task") not in READING:
        raise UsageError(f"{weights} reads no text, so it takes no dictionary")
    if card.get("dictionary") and not options.replace:
        raise UsageError(
            f"{weights} has the dictionary {card['dictionary'].get('file')} already; give "
            "--replace to put another in its place"
        )
    decoder = (card.get("pipeline") or {}).get("decoder", "CTCLabelDecode")
    dictionary = fit_to_classes(read_dictionary(options.dictionary), card["class_counts"], decoder)
    write_json(described, {**card, "dictionary": dictionary.to_dict()})
    print(f"wrote {described}: {dictionary.said(decoder)}")
    return 0


def _card_of(weights: Path, described: Path) -> dict[str, Any]:
    """Return the JSON beside the weights; SourceError where the two are no converted model."""
    try:
        card = json.loads(described.read_text(encoding="utf-8"))
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
        belongs = card["weights"]["sha256"] == found
    except OSError as error:
        raise SourceError(f"cannot read {error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{described} does not describe a converted model: {error!r}") from error
    if not belongs:
        raise SourceError(f"{described} describes other weights than {weights}; convert again")
    if not isinstance(card.get("class_counts"), dict):
        raise SourceError(f"{described} does not tell how many classes there are")
    return card
