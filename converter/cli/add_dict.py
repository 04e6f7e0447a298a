"""`python -m converter add-dict X.pth DICT`: add a dictionary to a converted recogniser."""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import replace
from pathlib import Path

from converter.catalog.cards import READING
from converter.catalog.dictionary import Dictionary, fit_to_classes, read_dictionary
from converter.catalog.tokenizer import Tokenizer
from converter.cli.options import add_strip_option
from converter.conversion.artefact import write_json
from converter.errors import ConfigError, SourceError, UsageError
from schemas.artefact import ArtefactCard, CardError, read_card


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Write a dictionary into the JSON file of a converted recogniser, or of SDMGR.",
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
    add_strip_option(parser)
    add("--replace", action="store_true", help="replace the dictionary that X.json has already")
    return parser


def run(options: argparse.Namespace) -> int:
    """Check the dictionary against the number of classes and write it."""
    weights, card_file = options.weights, options.weights.with_suffix(".json")
    card = read_artefact_card(weights, card_file)
    graph = card.architecture.get("algorithm") == "SDMGR"
    if card.task not in READING and not graph:
        raise UsageError(f"{weights} does not recognise text, so it takes no dictionary")
    if card.dictionary is not None and not options.replace:
        raise UsageError(
            f"{weights} has the dictionary {card.dictionary.file} already; give "
            "--replace to replace it"
        )
    decoder = card.pipeline.get("decoder", "CTCLabelDecode")
    table = read_dictionary(options.dictionary)
    if options.strip_dict:
        if not isinstance(table, Dictionary):
            raise UsageError(f"{options.dictionary} is no table of characters for --strip-dict")
        table = table.stripped()
    if graph:
        dictionary, described = table, _describe_characters(table, card)
    else:
        dictionary = fit_to_classes(table, card.class_counts, decoder)
        described = dictionary.describe_classes(decoder)
    write_json(card_file, replace(card, dictionary=dictionary.entry()).to_dict())
    for note in dictionary.notes:
        print(f"converter: warning: dictionary {dictionary.file}: {note}", file=sys.stderr)
    print(f"wrote {card_file}: {described}")
    return 0


def _describe_characters(table: Dictionary | Tokenizer, card: ArtefactCard) -> str:
    """Return in words how many characters SDMGR gets, which has no class for them.

    Raises:
        ConfigError: it does not know as many, or the dictionary is no table of characters.
    """
    from architectures.heads.kie_sdmgr_head import CHARACTERS

    if not isinstance(table, Dictionary):
        raise ConfigError(f"{table.file} is a tokenizer, but SDMGR needs a table of characters")
    known = int((card.architecture.get("Head") or {}).get("num_chars", CHARACTERS)) - 1
    if len(table.characters) > known:
        raise ConfigError(
            f"the dictionary {table.file} has {len(table.characters)} characters, but the network "
            f"knows {known}; give the one that it was trained with"
        )
    return f"{len(table.characters)} characters"


def read_artefact_card(weights: Path, card_file: Path) -> ArtefactCard:
    """Read the JSON of an artefact.

    Raises:
        SourceError: a file cannot be read, or the two files are not of one artefact.
    """
    try:
        card = read_card(card_file, ("class_counts", "weights"))
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as error:
        raise SourceError(f"cannot read {error.filename}: {error.strerror}") from error
    except CardError as error:
        raise SourceError(str(error)) from error
    if card.weights.sha256 != digest:
        raise SourceError(f"{card_file} describes other weights than {weights}; convert again")
    return card
