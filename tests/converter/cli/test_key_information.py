"""Key information from end to end: checkpoint folders, class lists, tokenisers, entities."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
import yaml

import architectures
from converter.references.recorded.record import read_record
from pipelines.cli import main as cli
from tests.conftest import Run
from tests.support.checkpoints import save, weights
from tests.support.paths import RECORDS

SER = "kie__vi_layoutxlm__ser_vi_layoutxlm_xfund_zh"
RE = "kie__vi_layoutxlm__re_vi_layoutxlm_xfund_zh"
PREFIX = "backbone.model."
CLASSES = "OTHER\nQUESTION\nANSWER\nHEADER\n"
WORDS = [
    {"text": "Name:", "box": [[40, 100], [120, 100], [120, 125], [40, 125]]},
    {"text": "Anna Muller", "box": [150, 100, 300, 125]},
    {"transcription": "City:", "points": [[40, 150], [110, 150], [110, 175], [40, 175]]},
    {"text": "", "box": [0, 0, 5, 5]},
    {"text": "Basel am Rhein, 4051", "box": [150, 152, 330, 175]},
]


def training(folder, record, *, classes="train_data/forms/classes.txt", most=24):
    """The YAML of a run, with the record's network."""
    architecture = read_record(RECORDS / record).facts.architecture
    encode = {"order_method": "tb-yx", "class_path": classes}
    steps = [{"VQATokenLabelEncode": encode}, {"VQATokenPad": {"max_seq_len": most}}]
    content = {"Architecture": architecture, "Eval": {"dataset": {"transforms": steps}}}
    file = folder / f"{record}.yml"
    file.write_text(yaml.safe_dump(content))
    return file


def model_folder(folder, record):
    """A run's folder as PaddleOCR and PaddleNLP write it."""
    tensors = {name.removeprefix(PREFIX): array for name, array in weights(record).items()}
    for name in ("best_accuracy", "latest"):
        (folder / name).mkdir(parents=True)
        (folder / name / "model_config.json").write_text('{"init_class": "any"}')
        save(folder / name / "model_state.pdparams", tensors)
    return folder


@pytest.fixture
def vocabulary(tmp_path):
    letters = [chr(code) for code in range(33, 127)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(tokens))
    return file


@pytest.fixture
def run(capsys):
    """Run `python -m pipelines` in this process."""

    def run(*words):
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        return Run(code, *capsys.readouterr())

    return run


@pytest.fixture
def page(tmp_path):
    (tmp_path / "words.json").write_text(json.dumps(WORDS))
    cv2.imwrite(str(tmp_path / "form.png"), np.full((300, 400, 3), 255, np.uint8))
    return tmp_path


def test_from_a_run_to_entities(convert, run, vocabulary, page):
    (page / "classes.txt").write_text(CLASSES)
    for record in (SER, RE):
        run_folder = model_folder(page / record, record)
        config = training(page, record)
        out = page / f"{record}.pth"
        done = convert("forms", "--config", config, "--paddle-dir", run_folder, "--out", out)
        assert (done.code, done.err) == (0, "")
        network, expected = architectures.load(out).state_dict(), weights(record)
        name = f"{PREFIX}layoutxlm.encoder.layer.1.output.dense.weight"
        assert torch.equal(network[name], torch.from_numpy(expected[name].T))
    ser, re = page / f"{SER}.pth", page / f"{RE}.pth"
    card = json.loads(ser.with_suffix(".json").read_text())
    assert card["labels"][:3] == ["O", "B-QUESTION", "I-QUESTION"]
    assert card["pipeline"] == {"order_method": "tb-yx", "max_seq_len": 24}

    given = ("--ser", ser, "--words", page / "words.json")
    missing = run("kie", page / "form.png", *given)
    assert missing.code == 2
    assert "sentencepiece.bpe.model, XLM-RoBERTa's (MIT licence)" in missing.err
    assert "python -m converter add-tokenizer" in missing.err

    added = convert("add-tokenizer", ser, vocabulary)
    assert (added.code, added.out.endswith("192 tokens\n")) == (0, True)
    again = convert("add-tokenizer", ser, vocabulary)
    assert "give --replace" in again.err

    read = run("kie", page / "form.png", *given, "--re", re)
    assert (read.code, read.err) == (0, "")
    entities = json.loads(read.out)["pages"][0]["entities"]
    assert entities
    assert {entity["label"] for entity in entities} <= {"QUESTION", "ANSWER", "HEADER"}
    assert {entity["text"] for entity in entities} <= {
        word.get("text") or word.get("transcription") for word in WORDS
    }
    numbers = {entity["number"]: entity["label"] for entity in entities}
    for entity in entities:
        if entity["question"]:
            assert (numbers[entity["question"]], entity["label"]) == ("QUESTION", "ANSWER")
    table = run("kie", page / "form.png", *given, "--format", "tsv").out.splitlines()
    assert len(table) == 1 + len(entities)
    cut = run("kie", page / "form.png", *given, "--first-tokens", "--format", "tsv").out
    assert len(cut.splitlines()) < len(table)  # the second address is behind the 24th token


def test_the_student_of_a_distillation(convert, tmp_path):
    tensors = weights(SER)
    both = {f"Student.{name}": array for name, array in tensors.items()}
    both |= {f"Teacher.{name}": -array for name, array in tensors.items()}
    file, out = save(tmp_path / "best_accuracy.pdparams", both), tmp_path / "x.pth"
    (tmp_path / "classes.txt").write_text(CLASSES)
    config = training(tmp_path, SER)
    done = convert("forms", "--config", config, "--paddle-dir", file, "--out", out)
    assert (done.code, done.err) == (0, "")
    dropped = json.loads(out.with_suffix(".json").read_text())["counts"]["dropped"]
    assert dropped["teacher of the distillation"] == len(tensors)


def test_class_lists_that_do_not_fit(convert, tmp_path):
    folder, config = model_folder(tmp_path / "run", SER), training(tmp_path, SER)
    options = ("forms", "--config", config, "--paddle-dir", folder, "--out", tmp_path / "x.pth")
    missing = convert(*options)
    assert missing.code == 2
    assert "names the class list 'train_data/forms/classes.txt'" in missing.err
    assert "give it with --labels" in missing.err
    other = tmp_path / "other.txt"
    other.write_text("OTHER\nTOTAL\n")
    wrong = convert(*options, "--labels", other)
    assert wrong.code == 2
    assert "has 3 labels, the weights 7 classes" in wrong.err
    assert not (tmp_path / "x.pth").exists()


def test_tokenisers_that_do_not_fit(convert, tmp_path, vocabulary):
    (tmp_path / "classes.txt").write_text(CLASSES)
    folder, config = model_folder(tmp_path / "run", SER), training(tmp_path, SER)
    out = tmp_path / "x.pth"
    convert("forms", "--config", config, "--paddle-dir", folder, "--out", out)
    vocabulary.write_text("\n".join(["[UNK]", *map(str, range(400))]))
    large = convert("add-tokenizer", out, vocabulary)
    assert large.code == 2
    assert "has 401 tokens, the network knows 400" in large.err
    vocabulary.write_text("no such token\n")
    assert "is no tokeniser" in convert("add-tokenizer", out, vocabulary).err
    damaged = tmp_path / "sentencepiece.bpe.model"
    damaged.write_bytes(b"\x0a\x03abc")
    assert "is no tokeniser" in convert("add-tokenizer", out, damaged).err
