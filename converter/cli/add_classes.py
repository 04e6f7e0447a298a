"""`python -m converter add-classes X.pth DICT --out Y.pth`: let a recogniser know more classes."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from converter.catalog.dictionary import Dictionary, read_dictionary
from converter.cli.options import add_strip_option
from converter.conversion.artefact import output_errors, output_path
from converter.errors import UsageError
from schemas.checks import shorten

SHOWN = 10
"""How many characters a message lists."""


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Write a recogniser by CTC whose dictionary has more characters, for training "
        "it further. The old characters keep their weights, and are read as before; the new ones "
        "are not read until the network is trained.",
    )
    add = parser.add_argument
    add("weights", type=Path, metavar="X.pth", help="converted recogniser, with its dictionary")
    add(
        "dictionary",
        type=Path,
        metavar="DICT",
        help="text file with one character per line: all old ones, and new ones",
    )
    add("--out", type=Path, metavar="Y.pth", help="the file to write, X.pth or X.safetensors")
    add_strip_option(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Widen the network, compare it with the old one, and write it."""
    import architectures
    from converter.exporting.artefact import read_artefact
    from converter.exporting.widening import widen

    sources = (options.weights, options.weights.with_suffix(".json"), options.dictionary)
    out, _ = output_path(options.out, None, sources)
    artefact = read_artefact(options.weights)
    entry = artefact.card.dictionary
    if entry is None or not entry.characters:
        raise UsageError(
            f"{options.weights} has no dictionary of characters; if it is a recogniser by CTC, add "
            f"it first: python -m converter add-dict {options.weights} DICT"
        )
    table = _read_table(options.dictionary, options.strip_dict)
    if entry.characters[-1] == " " and " " not in table.characters:
        table = replace(table, characters=(*table.characters, " "))
    places = class_places(entry.characters, table)
    widened, proof = widen(artefact, [0, *places])
    card = replace(artefact.card, dictionary=table.entry())
    with output_errors():
        architectures.save(widened, out, card=card)
    for note in table.notes:
        print(f"converter: warning: dictionary {table.file}: {note}", file=sys.stderr)
    new = [c for c, place in zip(table.characters, places, strict=True) if place is None]
    print(f"wrote {out}: {len(places) + 1} classes, {len(new)} of them new: {_listed(new)}")
    print(f"{proof.describe()}; the old characters are read as before")
    return 0


def class_places(characters: tuple[str, ...], table: Dictionary) -> list[int | None]:
    """Return, for each character of a table, the old class of it, or None where it is new.

    A character that occurs several times has several classes, in their order.

    Args:
        characters: the old table; their classes count from 1, after the blank.
        table: the new one.

    Raises:
        UsageError: the table lacks an old character, or has no new one.
    """
    old: dict[str, list[int]] = defaultdict(list)
    for number, character in enumerate(characters, 1):
        old[character].append(number)
    places = [old[c].pop(0) if old[c] else None for c in table.characters]
    if missing := [character for character, numbers in old.items() if numbers]:
        raise UsageError(
            f"the dictionary {table.file} lacks {len(missing)} characters that the network has "
            f"classes for: {_listed(missing)}. Give all old ones and the new ones"
        )
    if None not in places:
        raise UsageError(f"the dictionary {table.file} has no character that the network lacks")
    return places


def _read_table(file: Path, strip: bool) -> Dictionary:
    table = read_dictionary(file)
    if not isinstance(table, Dictionary):
        raise UsageError(f"{file} is a tokenizer; a CTC head needs a table of characters")
    return table.stripped() if strip else table


def _listed(characters: list[str]) -> str:
    more = f" and {len(characters) - SHOWN} more" if len(characters) > SHOWN else ""
    return ", ".join(shorten(character) for character in characters[:SHOWN]) + more
