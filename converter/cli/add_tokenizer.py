"""`python -m converter add-tokenizer X.pth FILE`: add a tokeniser to a converted network."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from converter.catalog.kie import check_encoder, read_encoder
from converter.cli.add_dict import read_artefact_card
from converter.conversion.artefact import write_json
from converter.errors import UsageError


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Write a tokeniser into the JSON file of a converted network that extracts key "
        "information.",
    )
    add = parser.add_argument
    add("weights", type=Path, metavar="X.pth", help="weights; X.json is in the same folder")
    add(
        "tokenizer",
        type=Path,
        metavar="FILE",
        help="sentencepiece.bpe.model or tokenizer.json of XLM-RoBERTa for LayoutXLM, vocab.txt of "
        "BERT (uncased) for LayoutLM and LayoutLMv2",
    )
    add("--replace", action="store_true", help="replace the tokeniser that X.json has already")
    return parser


def run(options: argparse.Namespace) -> int:
    """Check the tokeniser against the network and write it."""
    weights, card_file = options.weights, options.weights.with_suffix(".json")
    card = read_artefact_card(weights, card_file)
    if card.task != "kie":
        raise UsageError(
            f"{weights} extracts no key information; add-dict adds the tokeniser of formulas"
        )
    if card.dictionary is not None and not options.replace:
        raise UsageError(
            f"{weights} has the tokeniser {card.dictionary.file} already; give --replace to "
            "replace it"
        )
    tokenizer = read_encoder(options.tokenizer)
    count = check_encoder(tokenizer, card.architecture)
    write_json(card_file, replace(card, dictionary=tokenizer.entry()).to_dict())
    print(f"wrote {card_file}: {count} tokens")
    return 0
