"""The proof goes red: every kind of mistake, in a network that is honest without it.

Each mistake is made after an honest conversion, and must fail the check and be named as the first
layer that differs; so a check that passes is one that could have failed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from architectures import Model
from converter.alignment.layer_graph import network_graph, program_graph
from converter.alignment.matching import align
from converter.alignment.trace import trace
from converter.conversion.steps import live_reference, plan, proof_batches, state_dict
from converter.diagnosis import records
from converter.diagnosis.check import check
from converter.errors import AlignmentError, ParityError
from converter.mapping.plan import Plan
from converter.parity.comparison import LIMIT
from converter.parity.report import ParityReport, require
from converter.references.paddle.session import PaddleSession
from converter.references.program import ProgramReference
from converter.references.recorded.network import build_recorded, networks
from converter.references.recorded.record import Record, read_record
from tests.support.checkpoints import EXPORTS
from tests.support.mistakes import (
    default_epsilon_of_another_framework,
    gates_exchanged,
    larger_epsilon,
    mean_and_variance_exchanged,
    mistaken,
    neighbours_first,
    no_bias,
    one_element_off,
    one_nan,
    reset_and_update_exchanged,
    untransposed,
)
from tests.support.opened import opened
from tests.support.paths import RECORDS

# Paddle, live.


@dataclass
class Live:
    """An honest network, what it is compared with, and on what."""

    network: Model
    reference: ProgramReference
    batches: list[np.ndarray]

    def check(self, network: Model) -> ParityReport:
        return check(self.reference, network, self.batches)


@pytest.fixture(scope="module")
def session() -> Iterator[PaddleSession]:
    with PaddleSession() as session:
        yield session


@pytest.fixture(scope="module")
def live(session, real_models) -> Callable[[str], Live]:
    """Convert a model once and return it; the session runs the model asked for last."""
    made: dict[str, Live] = {}

    def live(name: str) -> Live:
        if name not in made:
            model = opened(name, real_models / EXPORTS[name])
            (only,) = plan(model)
            network = only.load(state_dict(model, only))
            reference = live_reference(model, only, network, session)
            made[name] = Live(network, reference, [proof_batches(model.card)[0][:1]])
        return made[name]

    return live


SVTR = "head.ctc_encoder.encoder"
LIVE = {
    "ch_PP-OCRv4_rec": [
        ("backbone.blocks5.1.dw_conv.reparam_conv", "backbone.blocks5.2.dw_conv.reparam_conv"),
        (f"{SVTR}.svtr_block.0.mixer.proj", f"{SVTR}.svtr_block.1.mixer.proj"),
        (f"{SVTR}.svtr_block.1.mixer.proj", untransposed),
        (f"{SVTR}.conv3.norm", mean_and_variance_exchanged),
        (f"{SVTR}.svtr_block.1.mlp.fc1", no_bias),
        ("head.ctc_head.fc", no_bias),
        ("backbone.blocks4.1.pw_conv.reparam_conv", one_nan),
        ("backbone.blocks6.0.pw_conv.reparam_conv", one_element_off),
    ],
    "ch_PP-OCRv4_det": [
        ("neck.inp_conv.2.in_conv", "neck.inp_conv.1.in_conv"),
        ("backbone.conv1.bn", mean_and_variance_exchanged),
        ("head.binarize.conv2", no_bias),
        ("head.binarize.conv3", one_nan),
    ],
    "ch_ppocr_mobile_v2.0_cls": [
        ("backbone.conv1.bn", mean_and_variance_exchanged),
        ("head.fc", no_bias),
    ],
}


@pytest.mark.parametrize("name", EXPORTS)
def test_an_honest_network_passes(live, name):
    subject = live(name)
    report = subject.check(copy.deepcopy(subject.network))
    assert report.passed, report.worst
    assert report.worst.difference < LIMIT
    (batch,) = subject.batches
    assert subject.reference.layers(subject.network, batch).first(LIMIT) is None


@pytest.mark.parametrize(
    ("name", "layer", "mistake"), [(name, *row) for name, rows in LIVE.items() for row in rows]
)
def test_a_mistake_is_seen_by_paddle(live, name, layer, mistake):
    subject = live(name)
    report = subject.check(mistaken(subject.network, layer, mistake))
    assert not report.passed
    assert f" {layer} (" in report.first_difference
    with pytest.raises(ParityError) as caught:
        require(report)
    assert layer in str(caught.value)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("ch_PP-OCRv4_rec", f"{SVTR}.conv3.norm"),
        ("ch_PP-OCRv4_rec", f"{SVTR}.svtr_block.0.norm1"),
        ("ch_PP-OCRv4_det", "head.binarize.conv_bn1"),
        ("ch_ppocr_mobile_v2.0_cls", "backbone.blocks.0.linear_conv.bn"),
    ],
)
def test_another_epsilon_is_seen_by_structure(live, name, layer):
    """With trained weights it may hide in the rounding, but the program states it."""
    subject = live(name)
    wrong = mistaken(subject.network, layer, larger_epsilon)
    example = torch.from_numpy(subject.batches[0])
    theirs = program_graph(subject.reference.program)
    with pytest.raises(AlignmentError, match=rf"{re.escape(layer)}\.weight: epsilon"):
        next(align(theirs, network_graph(trace(wrong, example))))


# Paddle, on record.


@cache
def honest(name: str) -> tuple[Record, Model]:
    record = read_record(RECORDS / name)
    ((prefix, architecture),) = networks(record.facts.architecture)
    return record, build_recorded(record, prefix, architecture)[0]


def prove(monkeypatch, name: str, change: Callable[[Model], Model]) -> ParityReport:
    """Prove a record with a network that is not quite what it should be."""
    record, network = honest(name)
    changed = change(network)
    monkeypatch.setattr(
        "converter.references.recorded.reference.build_recorded", lambda *_: (changed, Plan())
    )
    return records.prove(record)


CLS, CRNN = "cls__cls_mv3", "rec__multi_language__rec_en_number_lite_train"
REC = "rec__PP-OCRv4__PP-OCRv4_mobile_rec"
DET, DET2 = "det__PP-OCRv4__PP-OCRv4_mobile_det", "det__ch_PP-OCRv2__ch_PP-OCRv2_det_student"
DRRG = "det__det_r50_drrg_ctw"
RARE, STN = "rec__rec_mv3_tps_bilstm_att", "rec__rec_svtrnet"
REPSVTR = "rec__SVTRv2__ch_RepSVTR_rec"
RECORDED = [
    (CLS, "backbone.blocks.4.bottleneck_conv.conv", "backbone.blocks.5.bottleneck_conv.conv"),
    (CLS, "backbone.conv1.bn", mean_and_variance_exchanged),
    (CLS, "backbone.blocks.2.linear_conv.bn", default_epsilon_of_another_framework),
    (CLS, "backbone.blocks.2.linear_conv.conv", one_element_off),
    (CLS, "head.fc", no_bias),
    (CLS, "head.fc", one_nan),
    (CRNN, "neck.encoder.lstm", gates_exchanged),
    (CRNN, "backbone.conv2.bn", default_epsilon_of_another_framework),
    (CRNN, "head.fc", no_bias),
    (REC, f"{SVTR}.svtr_block.0.mixer.proj", f"{SVTR}.svtr_block.1.mixer.proj"),
    (REC, f"{SVTR}.svtr_block.1.mixer.proj", untransposed),
    (REC, f"{SVTR}.conv3.norm", default_epsilon_of_another_framework),
    (REC, f"{SVTR}.svtr_block.0.mlp.fc2", no_bias),
    (REC, f"{SVTR}.conv1x1.norm", mean_and_variance_exchanged),
    (DET, "neck.inp_conv.2.in_conv", "neck.inp_conv.1.in_conv"),
    (DET, "head.binarize.conv_bn1", default_epsilon_of_another_framework),
    (DET2, "head.binarize.conv2", no_bias),
    (DET2, "backbone.conv.bn", mean_and_variance_exchanged),
    (DRRG, "head.gcn.conv2", neighbours_first),
    (DRRG, "head.gcn.bn0", mean_and_variance_exchanged),
    (RARE, "transform.loc_net.loc_conv1.bn", default_epsilon_of_another_framework),
    (RARE, "transform.loc_net.fc2", no_bias),
    (RARE, "transform.grid_generator.fc", no_bias),
    (RARE, "head.attention_cell.rnn", reset_and_update_exchanged),
    (STN, "transform.stn_head.stn_fc1.1", mean_and_variance_exchanged),
    (STN, "transform.stn_head.stn_fc2", no_bias),
    (REPSVTR, "backbone.features.2.token_mixer.0.conv1", no_bias),
]


@pytest.mark.parametrize("name", [CLS, CRNN, REC, DET, DET2])
def test_an_honest_network_passes_the_record(monkeypatch, name):
    report = prove(monkeypatch, name, copy.deepcopy)
    assert report.passed, report.worst
    assert report.first_difference == ""


def test_a_layer_under_another_name_is_seen_in_the_record(monkeypatch):
    """It computes the same, but what it gives can no longer be compared."""

    def renamed(network: Model) -> Model:
        copied = copy.deepcopy(network)
        copied.backbone.blocks[3] = nn.Sequential(copied.backbone.blocks[3])
        return copied

    report = prove(monkeypatch, CLS, renamed)
    assert not report.passed
    assert report.first_difference.endswith(": our network has no such layer")


def test_logits_that_the_record_does_not_have(monkeypatch):
    def other_logits(network: Model) -> Model:
        copied = copy.deepcopy(network)
        copied.head.logits_layers = ("projection",)
        return copied

    report = prove(monkeypatch, CLS, other_logits)
    assert not report.passed
    assert report.worst.fault == "the record has no such layer"


@pytest.mark.parametrize(("name", "layer", "mistake"), RECORDED)
def test_a_mistake_is_seen_in_the_record(monkeypatch, name, layer, mistake):
    report = prove(monkeypatch, name, lambda network: mistaken(network, layer, mistake))
    assert not report.passed
    assert report.first_difference.startswith(f"{layer}: ")


@pytest.mark.parametrize(
    ("name", "layer"),
    [(REC, f"{SVTR}.svtr_block.0.norm1"), (REC, f"{SVTR}.conv3.norm"), (CRNN, "backbone.conv2.bn")],
)
def test_a_slightly_larger_epsilon_does_not_show(monkeypatch, name, layer):
    """Why settings are also compared by structure: this mistake passes for rounding."""
    assert prove(monkeypatch, name, lambda net: mistaken(net, layer, larger_epsilon)).passed


@pytest.mark.parametrize("name", [CLS, CRNN, REC, DET, DET2])
def test_epsilons_are_those_of_paddle(name):
    """Paddle's default, but 1e-6 in the last norm of SVTR: the records could not tell."""
    _, network = honest(name)
    kinds = (nn.BatchNorm2d, nn.LayerNorm)
    norms = {key: m.eps for key, m in network.named_modules() if isinstance(m, kinds)}
    assert norms
    others = {key: eps for key, eps in norms.items() if eps != 1e-5}
    assert others == ({f"{SVTR}.norm": 1e-6} if name == REC else {})
