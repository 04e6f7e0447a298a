"""Records of PaddleX's own networks: other names, the deploy form, class counts of their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.diagnosis.records import prove, verify
from converter.errors import ConverterError
from converter.parity.report import ParityReport
from converter.references.recorded.network import build_recorded
from converter.references.recorded.record import read_record
from tests.support.paths import RECORDS

TINY = "paddlex__PP-OCRv6_tiny_rec"


@pytest.fixture
def record(tmp_path) -> Path:
    return Path(shutil.copytree(RECORDS / TINY, tmp_path / TINY))


def change(record: Path, **facts: Any) -> None:
    file = record / "reference.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


def outcome(record: Path) -> ParityReport | ConverterError:
    (verified,) = verify([record])
    return verified.result


def test_the_network_is_ours_in_the_form_and_with_the_classes_of_the_record():
    record = read_record(RECORDS / TINY)
    network, plan = build_recorded(record, "", record.facts.architecture)
    assert network.form == "deploy"
    assert network.class_counts == {"ctc": 7180}
    assert not plan.drops
    moved = {source: move.target for move in plan.moves for source in move.sources}
    assert moved["head.norm2._variance"] == "head.ctc_head.guide_layer.4.running_var"
    assert moved["model.backbone.encoder.blocks.3.blocks.0.token_conv.convolution.weight"] == (
        "backbone.blocks5.0.token_mixer.dw_conv.conv.weight"
    )


def test_layers_go_by_the_names_of_the_record():
    probes = [found.probe for found in prove(read_record(RECORDS / TINY)).comparisons]
    assert probes[:3] == ["0", "0, classes", "head.fc2"]


@pytest.mark.parametrize("layer", ["head.conv1", "head.fc1", "head.fc2"])
def test_a_layer_that_was_altered_is_named(record, layer):
    trace = json.loads((record / "reference.json").read_text())["trace"]
    row = next(i for i, entry in enumerate(trace) if entry[0] == layer)
    with np.load(record / "outputs.npz") as archive:
        arrays = dict(archive)
    arrays["trace"][row, 5] += 0.01 * arrays["trace"][row, 2]
    np.savez(record / "outputs.npz", **arrays)
    report = outcome(record)
    assert isinstance(report, ParityReport)
    assert report.first_difference.startswith(f"{layer}: ")


@pytest.mark.parametrize("form", ["train", "deploy"])
def test_a_layer_without_a_counterpart_is_a_fault(record, form):
    trace = json.loads((record / "reference.json").read_text())["trace"]
    trace[-2][0] = "head.fc3"
    change(record, trace=trace)
    report = prove(read_record(record), form)
    assert report.first_difference == "head.fc3: our network has no such layer"


def test_a_record_without_the_logits_is_a_fault(record):
    trace = json.loads((record / "reference.json").read_text())["trace"]
    change(record, trace=trace[:-1])
    with np.load(record / "outputs.npz") as archive:
        arrays = dict(archive)
    np.savez(record / "outputs.npz", **{**arrays, "trace": arrays["trace"][:-1]})
    report = outcome(record)
    assert isinstance(report, ParityReport)
    assert report.worst.fault == "the record has no such layer"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("PP-OCRv6_tinny_rec", "there is no model 'PP-OCRv6_tinny_rec'"),
        ("PP-OCRv4_mobile_det", "does not say how PaddleX's network becomes ours"),
        ("PP-OCRv6_small_rec", "PaddleX's PP-OCRv6_small_rec has no head.head.bias"),
        ("PP-OCRv6_tiny_det", "mapping paddlex_rep_lkfpn does not fit"),
    ],
)
def test_a_network_that_is_not_known(record, name, message):
    architecture = json.loads((record / "reference.json").read_text())["architecture"]
    change(record, architecture=architecture | {"algorithm": name})
    result = outcome(record)
    assert isinstance(result, ConverterError)
    assert message in str(result)
