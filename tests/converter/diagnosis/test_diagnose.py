"""`diagnose` with the three references, on files, and what it prints."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converter.conversion import examine as examining
from converter.conversion.steps import live_reference, plan, proof_batches, state_dict
from converter.diagnosis import records
from converter.diagnosis.check import check
from converter.diagnosis.examination import Examination
from converter.diagnosis.explain import Diagnosis, Row, diagnose
from converter.diagnosis.table import lines, shortened
from converter.parity.comparison import LIMIT, Comparison
from converter.parity.layerwise import Statistics
from converter.parity.report import ParityReport
from converter.references.network import NetworkReference
from converter.references.paddle.session import PaddleSession
from converter.references.recorded.network import build_recorded
from converter.references.recorded.record import read_record
from converter.references.recorded.reference import subjects
from tests.support.checkpoints import CLS, EXPORTS
from tests.support.diagnosed_toys import evidence, first
from tests.support.mistakes import (
    default_epsilon_of_another_framework,
    gates_exchanged,
    mistaken,
    no_bias,
    swapped,
    turned_kernel,
    untransposed,
    wrong_sign,
)
from tests.support.opened import opened
from tests.support.paths import RECORDS
from tests.support.small_checkout import ARCHITECTURE, WEIGHTS, mirror, write_checkout


@pytest.fixture(scope="module")
def session() -> Iterator[PaddleSession]:
    with PaddleSession() as session:
        yield session


SVTR = "head.ctc_encoder.encoder"
REC, CRNN = "rec__PP-OCRv4__PP-OCRv4_mobile_rec", "rec__multi_language__rec_en_number_lite_train"


@pytest.mark.parametrize(
    ("name", "layer", "mistake", "told"),
    [
        (REC, f"{SVTR}.svtr_block.1.mixer.proj", untransposed, "proj.weight is transposed"),
        (CLS, "backbone.blocks.2.linear_conv.bn", default_epsilon_of_another_framework,
         "epsilon is 1e-05"),
        (CRNN, "neck.encoder.lstm", gates_exchanged, "the LSTM's layer 0 are in another order"),
        (CLS, "backbone.blocks.4.bottleneck_conv.conv", "backbone.blocks.5.bottleneck_conv.conv",
         "with backbone.blocks.5.bottleneck_conv.conv.weight"),
    ],
)  # fmt: skip
def test_a_record(monkeypatch, name, layer, mistake, told):
    record = read_record(RECORDS / name)
    ((reference, network, plan),) = subjects(record)
    wrong = mistaken(network, layer, mistake)
    diagnosis = diagnose(reference.layers(wrong, reference.image), LIMIT)
    assert first(diagnosis) == layer
    assert told in diagnosis.cause
    assert evidence(diagnosis.cause) < 1e-5
    monkeypatch.setattr(
        "converter.references.recorded.reference.build_recorded", lambda *_: (wrong, plan)
    )
    assert records.prove(record).likely_cause == diagnosis.cause


def test_an_activation_of_a_record():
    """The gates of PaddleOCR's MobileNetV3 have a hard sigmoid of slope 0.2."""
    ((reference, network, _),) = subjects(read_record(RECORDS / CLS))
    gated = [m for m in network.modules() if hasattr(m, "slope")]
    assert {m.slope for m in gated} == {0.2}
    for module in gated:
        module.slope = 1 / 6
    diagnosis = diagnose(reference.layers(network, reference.image), LIMIT)
    assert "(clamp) is another one in Paddle: with hard sigmoid of slope 0.2" in diagnosis.cause
    assert evidence(diagnosis.cause) < 1e-5


@pytest.mark.parametrize(
    ("layer", "mistake", "told"),
    [
        ("backbone.bn", default_epsilon_of_another_framework, "epsilon is 1e-05 in Paddle"),
        ("backbone.conv", turned_kernel, "backbone.conv.weight is turned by 180 degrees"),
        ("head.fc", no_bias, "a bias is missing"),
    ],
)
def test_a_checkout(session, tmp_path, layer, mistake, told):
    checkout = write_checkout(tmp_path)
    reference = NetworkReference(session, checkout, ARCHITECTURE, WEIGHTS, "cls")
    batch = np.random.default_rng(0).uniform(-1, 1, (2, 3, 8, 8)).astype(np.float32)
    assert diagnose(reference.layers(mirror(), batch), LIMIT).first is None
    report = check(reference, mistaken(mirror(), layer, mistake), [batch])
    assert report.first_difference.startswith(f"{layer}: ")
    assert told in report.likely_cause


@pytest.fixture(scope="module")
def live(session, real_models) -> Callable[[str], tuple[Any, Any, np.ndarray]]:
    """Convert a released model and return its reference, its network and a small input."""

    def live(name: str) -> tuple[Any, Any, np.ndarray]:
        model = opened(name, real_models / EXPORTS[name])
        (only,) = plan(model)
        network = only.load(state_dict(model, only))
        reference = live_reference(model, only, network, session)
        return reference, network, proof_batches(model.card)[0][:1]

    return live


def test_a_program(live):
    reference, network, batch = live("ch_PP-OCRv4_rec")
    assert diagnose(reference.layers(network, batch), LIMIT).first is None
    for layer, mistake, told in (
        (f"{SVTR}.svtr_block.1.mixer.proj", untransposed, "proj.weight is transposed"),
        (f"{SVTR}.svtr_block.1.mlp.fc1", no_bias, "a bias is missing"),
    ):
        diagnosis = diagnose(reference.layers(mistaken(network, layer, mistake), batch), LIMIT)
        assert first(diagnosis) == layer
        assert f" {layer} (" in diagnosis.difference
        assert told in diagnosis.cause


def test_a_program_and_a_fused_network(live):
    """A convolution that a normalisation was folded into gives what that gave."""
    from architectures import fuse

    reference, network, batch = live("ch_ppocr_mobile_v2.0_cls")
    fused = fuse(network)
    sides = reference.layers(fused, batch)
    assert sides.network is fused
    assert diagnose(sides, LIMIT).first is None
    assert len(sides.pairs) == sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in fused.modules())
    layer = "backbone.blocks.4.bottleneck_conv.conv"
    wrong = mistaken(fused, layer, wrong_sign)
    diagnosis = diagnose(reference.layers(wrong, batch), LIMIT)
    assert first(diagnosis) == layer
    assert "bottleneck_conv.conv.weight has the wrong sign" in diagnosis.cause


# The command.

MODEL = "ch_ppocr_mobile_v2.0_cls"


@pytest.fixture(scope="module")
def artefact(tmp_path_factory, real_models) -> Path:
    """The classifier as it was converted once."""
    from converter.cli.main import main

    out = tmp_path_factory.mktemp("artefact") / "cls.pth"
    export = real_models / EXPORTS[MODEL]
    assert main([MODEL, "--paddle-dir", str(export), "--out", str(out), "--reference", "none"]) == 0
    return out


@pytest.fixture
def edited(artefact, tmp_path) -> Callable[[Callable[[dict[str, Tensor]], None]], Path]:
    """Return a copy of the artefact whose weights were edited."""

    def edited(edit: Callable[[dict[str, Tensor]], None]) -> Path:
        state = torch.load(artefact)
        edit(state)
        torch.save(state, tmp_path / "edited.pth")
        shutil.copy(artefact.with_suffix(".json"), tmp_path / "edited.json")
        return tmp_path / "edited.pth"

    return edited


@pytest.fixture
def convert(convert, session, monkeypatch) -> Callable[..., Any]:
    """Run the command line with the session that is there."""
    from contextlib import nullcontext

    monkeypatch.setattr(
        examining,
        "live_session",
        partial(examining.live_session, sessions=lambda: nullcontext(session)),
    )
    return convert


def negate(name: str, state: dict[str, Tensor]) -> None:
    state[name] = -state[name]


LAYER = "backbone.blocks.4.bottleneck_conv.conv"


def test_an_honest_conversion(convert, export, tmp_path):
    file = tmp_path / "all.json"
    done = convert("diagnose", MODEL, "--paddle-dir", export, "--json", file)
    assert (done.code, done.err) == (0, "")
    head, line = done.out.splitlines()
    assert head.startswith(f"{MODEL} against its program reference, an input of (2, 3, 48, ")
    assert re.match(r"\d+ layers agree \(worst \d\.\de-0[5-9] of the maximum, ", line)
    written = json.loads(file.read_text())
    assert (written["agrees"], written["first"], written["likely_cause"]) == (True, None, None)
    assert len(written["layers"]) == int(line.split()[0])
    assert written["check"]["status"] == "passed"
    everything = convert("diagnose", MODEL, "--paddle-dir", export, "--all")
    assert len(everything.out.splitlines()) == 3 + len(written["layers"])


def test_an_artefact_that_was_edited(convert, export, edited, tmp_path):
    file = tmp_path / "all.json"
    weights = edited(partial(negate, f"{LAYER}.weight"))
    done = convert("diagnose", MODEL, "--paddle-dir", export, "--weights", weights, "--json", file)
    assert done.code == 5
    (marked,) = [line for line in done.out.splitlines() if line.startswith(">")]
    assert marked.split()[1] == LAYER
    assert " layers agree (worst " in done.out
    assert f"likely cause: {LAYER}.weight has the wrong sign: with what the source" in done.out
    written = json.loads(file.read_text())
    assert written["first"] == LAYER
    assert written["check"]["status"] == "failed"


def test_an_artefact_and_a_record(convert, classifier, tmp_path):
    """The record proves the network, the new conversion shows what was changed."""
    out = tmp_path / "cls.pth"
    call = [MODEL, "--paddle-dir", classifier]
    assert convert(*call, "--out", out).code == 0
    assert convert("diagnose", *call).code == 0
    whole = convert("diagnose", *call, "--weights", out)
    assert whole.code == 0
    assert "against its converted reference" in whole.out
    state = torch.load(out)
    negate(f"{LAYER}.weight", state)
    torch.save(state, out)
    done = convert("diagnose", *call, "--weights", out)
    assert done.code == 5
    assert f"likely cause: {LAYER}.weight has the wrong sign" in done.out


def test_a_conversion_that_fails_names_the_cause(convert, classifier, monkeypatch, tmp_path):
    build = build_recorded

    def wrong(*arguments: Any) -> Any:
        network, plan = build(*arguments)
        with torch.no_grad():
            swapped(network, LAYER, LAYER.replace("4", "5"))
        return network, plan

    monkeypatch.setattr("converter.references.recorded.reference.build_recorded", wrong)
    report = tmp_path / "report.json"
    call = [MODEL, "--paddle-dir", classifier]
    done = convert(*call, "--out", tmp_path / "x.pth", "--report", report)
    assert done.code == 5
    assert f"likely cause: {LAYER}.weight belongs to another layer: with " in done.err
    assert "`python -m converter diagnose`, with the same options, shows more" in done.err
    assert json.loads(report.read_text())["likely_cause"].startswith(f"{LAYER}.weight belongs to")
    again = convert("diagnose", *call)
    assert again.code == 5
    assert f"likely cause: {LAYER}.weight belongs to another layer: with " in again.out


def test_an_export_of_another_network(convert, real_models):
    """Every layer without a counterpart is listed."""
    export = real_models / EXPORTS["ch_PP-OCRv4_det"]
    done = convert("diagnose", "ch_PP-OCRv2_det", "--paddle-dir", export)
    assert done.code == 4
    assert "the first layer without a counterpart is" in done.err
    listed = done.out.splitlines()
    assert len(listed) > 100
    assert {line.split(",")[0] for line in listed} == {"  program", "  network"}
    assert listed[0] in done.err


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--reference", "none"], 2, "choose another than none"),
        (["--weights", "{tmp}/none.pth"], 3, "none.json is missing"),
        (["--weights", "{tmp}/foreign.pth"], 2, "is of another network than the model"),
        (["--json", "{tmp}/none/all.json"], 2, "does not exist; create it"),
    ],
)
def test_what_cannot_be_diagnosed(convert, export, artefact, tmp_path, options, code, told):
    card = json.loads(artefact.with_suffix(".json").read_text())
    card["architecture"]["Backbone"]["small_stride"] = [1, 2, 2, 2]
    shutil.copy(artefact, tmp_path / "foreign.pth")
    (tmp_path / "foreign.json").write_text(json.dumps(card))
    arguments = [option.format(tmp=tmp_path) for option in options]
    done = convert("diagnose", MODEL, "--paddle-dir", export, *arguments)
    assert done.code == code, done.err
    assert told in done.err
    assert done.err.startswith("converter diagnose: ")


# The table.


def rows(count: int, faulty: set[int]) -> tuple[Row, ...]:
    name = "backbone.stages.{}.blocks.with.a.very.long.name.that.goes.on.and.on.convolution"
    statistics = Statistics(0.5, 1.25, 3.0)
    return tuple(
        Row(name.format(i), "", (2, 8, 4, 4), statistics, statistics, 0.5 if i in faulty else 1e-6,
            1e-3, "wrong" if i in faulty else "")
        for i in range(count)
    )  # fmt: skip


def table(count: int, place: int | None, **options: bool) -> list[str]:
    faulty = set() if place is None else {*range(place, count, 2)}
    found = Diagnosis(rows(count, faulty), place, "told", "cause" if faulty else "")
    shape = (1, 3, 8, 8)
    report = ParityReport("program", (Comparison("logits", shape, (1,), 1.0, 1.0, 1e-4),))
    return "\n".join(lines(Examination("x", report, found), **options)).splitlines()


def test_of_five_hundred_layers_those_around_the_first_are_shown():
    text = table(500, 300)
    assert len(text) < 20
    assert text[1].startswith("296 layers agree (worst 1.0e-06 of the maximum, ")
    assert text[1].endswith(", then:")
    assert [line[0] for line in text[3:14]] == [" "] * 4 + [">", " ", "!", " ", "!", " ", "!"]
    assert len({len(line) for line in text[2:14]}) == 1
    assert max(map(len, text[2:14])) < 160
    assert text[14] == "193 more layers, of which 96 differ, being fed by these"
    assert text[-1] == "likely cause: cause"


def test_all_layers_are_shown_if_wanted():
    assert len(table(500, 300, everything=True)) == 500 + 5
    assert len(table(500, None, everything=True)) == 500 + 3
    assert len(table(500, None)) == 2


def test_a_check_that_fails_where_no_layer_differs():
    report = ParityReport(
        "network", (Comparison("epsilons", (1,), (1,), 1.0, 1.0, 1e-4, (), "other epsilon"),)
    )
    text = list(lines(Examination("x", report, Diagnosis(rows(3, set())))))
    assert text[-1] == "but the check fails at epsilons: other epsilon"


def test_names_are_shortened_in_the_middle():
    assert shortened("backbone.conv", 20) == "backbone.conv"
    assert shortened("head.ctc_encoder.encoder.conv3.norm", 15) == "head.ct…v3.norm"
    assert len(shortened("x" * 80, 24)) == 24
