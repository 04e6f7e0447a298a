"""A small VI-LayoutXLM and Paddle's programs of it: exports alone, a run's folder, a drawn form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import architectures
from converter.cli.main import main as convert
from converter.conversion import planning
from converter.conversion.request import Request
from converter.conversion.steps import card_of, check, plan, read, run
from converter.errors import AlignmentError
from converter.references.paddle.session import PaddleSession
from converter.sources.pdiparams import read_export
from pipelines import KeyInformation
from pipelines.kie.decoding import NO_ENTITY, line_classes, related_pairs, relation_inputs
from pipelines.kie.tokens import encode_page, network_inputs
from pipelines.kie.words import read_words
from tests.support.layoutxlm_programs import (
    LABELS,
    TOKENS,
    write_export,
    write_run,
    write_training,
)

EXPORTS = {"ser.json": ".json", "re.pdmodel": ".pdmodel"}


@pytest.fixture(scope="module")
def session() -> Iterator[PaddleSession]:
    with PaddleSession() as session:
        yield session


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The exports, and the training YAMLs."""
    folder = tmp_path_factory.mktemp("layoutxlm")
    for name, suffix in EXPORTS.items():
        write_export(folder / name, name[: -len(suffix)], suffix)
    for kind in ("ser", "re"):
        write_training(folder, kind)
    return folder


Converted = Callable[..., dict]


@pytest.fixture(scope="module")
def converted(session, folder) -> Converted:
    """Convert a source with Paddle's proof and return what the JSON says."""

    def converted(kind: str, source: Path, out: str, program: Path | None = None) -> dict:
        config, file = folder / f"{kind}.yml", folder / f"{out}.pth"
        request = Request("forms", source, program, out=file, config=config)
        run(request, sessions=lambda: nullcontext(session))
        return json.loads(file.with_suffix(".json").read_text())

    return converted


@pytest.fixture(scope="module")
def alone(converted, folder) -> dict[str, dict]:
    """Every export, converted without anything else."""
    return {name: converted(name.partition(".")[0], folder / name, name) for name in EXPORTS}


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_alone(alone, name):
    parity = alone[name]["parity"]
    assert (parity["status"], parity["reference"]) == ("passed", "program")
    assert {tuple(row["input_shape"]) for row in parity["comparisons"]} == {(1, 52), (2, 52)}
    compared = {row["probe"] for row in parity["comparisons"]}
    if name.startswith("re"):
        classifier = "logits (backbone.model.extractor.rel_classifier"
        assert {f"{classifier}.bilinear)", f"{classifier}.linear)", "output.loss"} <= compared
        assert "decisions (classes)" in compared
    else:
        assert "logits (backbone.model.classifier)" in compared


@pytest.mark.usefixtures("alone")
def test_the_folder_of_a_run_beside_its_export(converted, folder):
    source = write_run(folder / "re_run", folder / "re.pdmodel.pth")
    card = converted("re", source, "re_run", program=folder / "re.pdmodel")
    assert (card["parity"]["status"], card["parity"]["reference"]) == ("passed", "program")
    same = torch.load(folder / "re.pdmodel.pth", weights_only=True)
    state = torch.load(folder / "re_run.pth", weights_only=True)
    assert all(torch.equal(tensor, same[key]) for key, tensor in state.items())


@pytest.fixture(scope="module")
def related(folder):
    """The export of relations, opened, with its plan and our network."""
    request = Request("forms", folder / "re.pdmodel", config=folder / "re.yml")
    model = read(request, card_of(request))
    (chosen,) = plan(model)
    return model, chosen


@pytest.mark.usefixtures("alone")
def test_exchanged_sides_are_seen_by_paddle(related, session, folder):
    model, chosen = related
    network = architectures.load(folder / "re.pdmodel.pth")
    decoder = network.get_submodule("backbone.model.extractor")
    decoder.ffnn_head, decoder.ffnn_tail = decoder.ffnn_tail, decoder.ffnn_head
    report = check(model, chosen, network, session, locate=False)
    faulty = {row.probe for row in report.comparisons if row.fault}
    assert "logits (backbone.model.extractor.rel_classifier.linear)" in faulty


def test_a_biaffine_layer_of_answers_and_questions_is_another_network(monkeypatch, related):
    model, _ = related
    export = model.source.export
    monkeypatch.setattr(
        "architectures.backbones._relation_decoder.BiaffineAttention.forward",
        lambda self, first, second: (
            self.bilinear(second, first) + self.linear(torch.cat([first, second], -1))
        ),
    )
    with pytest.raises(AlignmentError, match="different networks"):
        next(planning.plan_export(model.card, export.program, model.computed))


# A form, read by our networks and by Paddle's programs.

FORM = {
    "Registration": (250, 30, 560, 60),
    "Name:": (40, 100, 120, 125),
    "Anna": (150, 100, 230, 125),
    "City:": (40, 150, 110, 175),
    "Basel": (150, 152, 230, 175),
    "Date": (420, 100, 480, 125),
    "28.11.": (500, 98, 640, 125),
    "Total": (40, 500, 110, 530),
    "12.50": (150, 500, 240, 530),
}


@pytest.fixture
def form(tmp_path) -> Path:
    page = np.full((600, 800, 3), 255, np.uint8)
    for text, (left, _, _, bottom) in FORM.items():
        cv2.putText(page, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 2)
    cv2.imwrite(str(tmp_path / "form.png"), page)
    words = [{"text": text, "box": box} for text, box in FORM.items()]
    (tmp_path / "words.json").write_text(json.dumps(words))
    letters = [chr(code) for code in range(33, 127)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens))
    return tmp_path


@pytest.mark.usefixtures("alone")
def test_a_drawn_form_is_read_as_by_paddles_programs(session, folder, form):
    assert convert(["add-tokenizer", str(folder / "ser.json.pth"), str(form / "vocab.txt")]) == 0
    page = cv2.imread(str(form / "form.png"))
    (lines,) = read_words(form / "words.json")
    extract = KeyInformation(folder / "ser.json.pth", folder / "re.pdmodel.pth")
    ours = extract(page, lines)

    def program(name: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        (file,) = (f for f in (folder / name).glob("inference.*") if f.suffix != ".pdiparams")
        weights = folder / name / "inference.pdiparams"
        names = session.load_program(read_export(file, weights).program, weights)
        return list(session.run(dict(zip(names, inputs.values(), strict=True))).values())

    tokens = encode_page(lines, page.shape[:2], extract.encode, extract.ser.settings)
    inputs = network_inputs(tokens, 0, len(tokens.ids), extract.encode.padding, TOKENS)
    (scores,) = program("ser.json", inputs)
    classes = line_classes(scores[0], tokens.ends, LABELS)
    chosen = [n for n, (label, _) in enumerate(classes) if label != NO_ENTITY]
    assert [(e.label, e.text) for e in ours] == [
        (classes[n][0], tokens.lines[n].text) for n in chosen
    ]
    spans, labels = [tokens.spans[n] for n in chosen], [classes[n][0] for n in chosen]
    _, _, found = program("re.pdmodel", inputs | relation_inputs(spans, labels, TOKENS + 1))
    questions = {answer: question + 1 for question, answer in related_pairs(found[0])}
    assert len(set(questions.values())) > 1
    assert [e.question for e in ours] == [questions.get(place, 0) for place in range(len(ours))]
