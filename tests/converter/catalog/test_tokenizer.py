"""Tokenizers: where they are read from, and which networks take them."""

from __future__ import annotations

import json

import pytest
import yaml

from converter.catalog.dictionary import (
    Dictionary,
    dictionary_of_export,
    fit_to_classes,
    read_dictionary,
)
from converter.errors import ConfigError

CONTENT = {
    "version": "1.0", "truncation": {"max_length": 9}, "padding": None,
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
}  # fmt: skip
TABLE = Dictionary("table.txt", "", ("a", "b"), space=False)


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "some_tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(CONTENT))
    return folder / "tokenizer.json"


def test_what_is_kept(file):
    tokenizer = read_dictionary(file)
    assert read_dictionary(file.parent) == tokenizer
    described = tokenizer.entry().to_dict()
    assert described["file"] == "tokenizer.json"
    assert described["tokenizer"]["model"] == {**CONTENT["model"], "merges": []}
    assert described["tokenizer"]["truncation"] is None


@pytest.mark.parametrize("content", [CONTENT, {"fast_tokenizer_file": CONTENT, "other": {}}])
def test_a_tokenizer_of_an_export(tmp_path, file, content):
    settings = tmp_path / "inference.yml"
    settings.write_text(yaml.safe_dump({"PostProcess": {"character_dict": content}}))
    assert dictionary_of_export(settings).content == read_dictionary(file).content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not a tokenizer: it has no model with a vocab"),
        ('{"model": {"vocab": ["a"]}}', "is not a tokenizer"),
    ],
)
def test_files_that_are_none(file, text, message):
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_dictionary(file)


def test_which_networks_take_one(file):
    tokenizer = read_dictionary(file)
    assert fit_to_classes(tokenizer, {}, "UniMERNetDecode") is tokenizer
    assert fit_to_classes(TABLE, {"ctc": 3}, "CTCLabelDecode").characters == ("a", "b")
    assert fit_to_classes(TABLE, {}, "CANLabelDecode") is TABLE
    with pytest.raises(ConfigError, match="a tokenizer, but the network's decoder CTCLabelDecode"):
        fit_to_classes(tokenizer, {"ctc": 3}, "CTCLabelDecode")
    with pytest.raises(ConfigError, match=r"table.txt is a table .* needs a tokenizer"):
        fit_to_classes(TABLE, {}, "LaTeXOCRDecode")
