"""Tokenisers of key information: XLM-RoBERTa's sentencepiece model, BERT's vocabulary."""

from __future__ import annotations

import json
import struct

import pytest

from converter.catalog.kie import _message, check_encoder, read_encoder, vocabulary_size
from converter.errors import ConfigError
from pipelines.kie.tokens import Encoder

PIECES = ["<unk>", "<s>", "</s>", "\u2581", "\u2581hello", "hel", "lo", *"helo!"]
SCORES = [0.0, 0.0, 0.0, -3.0, -1.0, -2.0, -2.5, *[-9.0] * 4, -3.0]


def sentencepiece(file, units=256):
    """A small model; its table of characters changes none."""
    model = _message()()
    for piece, score in zip(PIECES, SCORES, strict=True):
        model.pieces.add(piece=piece, score=score)
    model.normalizer.precompiled_charsmap = struct.pack("<I", 4 * units) + bytes(4 * units)
    file.write_bytes(model.SerializeToString())
    return file


def test_numbers_of_pieces_are_xlm_robertas(tmp_path):
    tokenizer = read_encoder(sentencepiece(tmp_path / "sentencepiece.bpe.model"))
    encode = Encoder(tokenizer.content)
    assert encode.padding == 1
    # One more than in the model, whose first three become <s>, <pad>, </s>, <unk>.
    assert encode("hello") == [5]
    assert encode("hello  hello!") == [5, 5, 12]
    assert encode("hello x") == [5, 4, 3]
    assert len(tokenizer.content["model"]["vocab"]) == len(PIECES) + 2
    again = tmp_path / "tokenizer.json"
    again.write_text(json.dumps(tokenizer.content))
    assert Encoder(read_encoder(again).content)("hello!") == [5, 12]


def test_words_of_bert(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(["[PAD]", "[UNK]", "date", "##s", ":", "\u5408", "e"]))
    encode = Encoder(read_encoder(file).content)
    assert encode.padding == 0
    assert encode("Dates:\u5408 \u00e9 xyz") == [2, 3, 4, 5, 6, 1]


def test_a_damaged_table_of_characters(tmp_path):
    file = sentencepiece(tmp_path / "sentencepiece.bpe.model", units=1)
    with pytest.raises(ConfigError, match="is no tokeniser"):
        read_encoder(file)


def test_a_tokeniser_of_another_network(tmp_path):
    tokenizer = read_encoder(sentencepiece(tmp_path / "sentencepiece.bpe.model"))
    large = {"Backbone": {"name": "LayoutXLMForSer"}}
    small = {"Backbone": {"name": "LayoutXLMForSer", "sizes": {"vocab_size": 9}}}
    assert vocabulary_size(large) == 250002
    assert check_encoder(tokenizer, large) == 14
    with pytest.raises(ConfigError, match="has 14 tokens, the network knows 9"):
        check_encoder(tokenizer, small)
    with pytest.raises(ConfigError, match="reads no tokens"):
        check_encoder(tokenizer, {"Backbone": {"name": "Kie_backbone"}})
