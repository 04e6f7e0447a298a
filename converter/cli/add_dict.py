"""`python -m converter add-dict X.pth DICT`: add a dictionary to a converted recogniser."""

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


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Write a dictionary into the JSON file of a converted recogniser."
    )
    add = parser.add_argument
    add(
        "weights",
        type=Path,
        metavar="X.pth",
        help="weights of the recogniser; X.json is in the same folder",
    )
    add(
        "dictionary",
        type=Path,
        metavar="DICT",
        help="text file with one character per line, a tokenizer.json or an inference.yml",
    )
    add("--replace", action="store_true", help="replace the dictionary that X.json has already")
    return parser


def run(options: argparse.Namespace) -> int:
    """Check the dictionary against the number of classes and write it."""
    weights, card_file = options.weights, options.weights.with_suffix(".json")
    card = _read_card(weights, card_file)
    if card.get("task") not in READING:
        raise UsageError(f"{weights} does not recognise text, so it takes no dictionary")
    if card.get("dictionary") and not options.replace:
        raise UsageError(
            f"{weights} has the dictionary {card['dictionary'].get('file')} already; give "
            "--replace to replace it"
        )
    decoder = (card.get("pipeline") or {}).get("decoder", "CTCLabelDecode")
    dictionary = fit_to_classes(read_dictionary(options.dictionary), card["class_counts"], decoder)
    write_json(card_file, {**card, "dictionary": dictionary.to_dict()})
    print(f"wrote {card_file}: {dictionary.said(decoder)}")
    return 0


def _read_card(weights: Path, card_file: Path) -> dict[str, Any]:
    """Read the JSON of an artefact.

    Raises:
        SourceError: a file cannot be read, or the two files are not of one artefact.
    """
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"))
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        matches = card["weights"]["sha256"] == digest
    except OSError as error:
        raise SourceError(f"cannot read {error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{card_file} does not describe a converted model: {error!r}") from error
    if not matches:
        raise SourceError(f"{card_file} describes other weights than {weights}; convert again")
    if not isinstance(card.get("class_counts"), dict):
        raise SourceError(f"{card_file} does not state the number of classes; convert again")
    return card
