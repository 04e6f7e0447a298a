"""A network of a checkout that takes more than the image: recorded, and proved live."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from architectures import Model
from architectures.interfaces import OutputPart
from converter.adapters.base import HeadAdapter
from converter.adapters.registry import adapter_for
from converter.adapters.sar import SARAdapter
from converter.errors import ReferenceUnavailable
from converter.parity.comparison import LIMIT
from converter.references import seeded
from converter.references.network import NetworkReference
from converter.references.paddle.session import PaddleSession
from converter.references.program import ProgramReference
from converter.references.recorded.record import read_record
from converter.sources.ir import Program, TensorSpec
from converter.sources.pdparams import read_pdparams
from converter.sources.reader import read_program
from tests.support.paths import ROOT

BASE_MODEL = """
from paddle import nn

class SARHead(nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 5)

    def forward(self, x, targets=None):
        scores = self.fc(x.mean(2).transpose([0, 2, 1])) * targets[-1].reshape([-1, 1, 1])
        return scores.argmax(-1), scores

class CANHead(SARHead):
    def forward(self, x, targets=None):
        x, mask, label = x
        shown = (x * mask)[..., : label.shape[1]] * label.unsqueeze([1, 2]).astype("float32")
        return super().forward(shown, [mask.mean([1, 2, 3])])

class Backbone(nn.Layer):
    def __init__(self, in_channels=1):
        super().__init__()
        self.conv = nn.Conv2D(in_channels, 4, 3, padding=1)

    def forward(self, x):
        return [self.conv(x[0]), *x[1:]] if isinstance(x, list) else self.conv(x)

class BaseModel(nn.Layer):
    def __init__(self, config):
        super().__init__()
        self.backbone = Backbone(**config["Backbone"])
        self.head = {"SARHead": SARHead, "CANHead": CANHead}[config["Head"]["name"]]()

    def forward(self, x, data=None):
        return self.head(self.backbone(x), targets=data)
"""
SAR = {"model_type": "rec", "Backbone": {}, "Head": {"name": "SARHead"}}
CAN = {**SAR, "Head": {"name": "CANHead", "max_text_length": 6}}


class Head(OutputPart):
    extra_inputs = ("valid_ratio",)
    results = ("text", "scores")
    logits_layers = ("fc",)

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor, valid_ratio: Tensor) -> dict[str, Tensor]:
        scores = self.fc(x.mean(2).transpose(1, 2)) * valid_ratio[:, None, None]
        return {"text": scores.argmax(-1), "scores": scores}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    source = folder / "ppocr" / "modeling" / "architectures" / "base_model.py"
    source.parent.mkdir(parents=True)
    source.write_text(BASE_MODEL)
    return folder


def recorded(checkout: Path, out: Path, architecture: dict, *more: str):
    config = out / "toy.yml"
    config.write_text(json.dumps({"Architecture": architecture}))
    arguments = [config, "--paddleocr", checkout, "--out", out, "--input", "2x1x6x8", *more]
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/record_reference.py", *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return read_record(out / "toy")


def test_further_inputs_and_integers_are_recorded(checkout, tmp_path):
    record = recorded(checkout, tmp_path, SAR, "--waves")
    assert [row.rule for row in record.facts.inputs] == ["waves", "stored: from 1.0 to 0.55"]
    assert [row[:3] for row in record.facts.outputs] == [
        ("0", (2, 8), "int64"),
        ("1", (2, 8, 5), "float32"),
    ]
    inputs, weights = record.inputs(), record.weights()
    assert list(inputs) == ["image", "valid_ratio"]
    w = {name: torch.from_numpy(array) for name, array in weights.items()}
    image = torch.from_numpy(inputs["image"])
    x = torch.conv2d(image, w["backbone.conv.weight"], w["backbone.conv.bias"], padding=1).mean(2)
    scores = x.transpose(1, 2) @ w["head.fc.weight"] + w["head.fc.bias"]
    scores *= torch.tensor([1.0, 0.55])[:, None, None]
    np.testing.assert_allclose(record.arrays["1"], scores.ravel(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(record.arrays["0"], scores.argmax(-1).ravel())
    assert list(record.arrays) == ["0", "1", "1@argmax", "input:valid_ratio", "trace"]


def test_inputs_in_one_list_with_the_image_are_recorded(checkout, tmp_path):
    record = recorded(checkout, tmp_path, CAN)
    mask = record.inputs()["image_mask"]
    assert mask.mean((1, 2, 3)).tolist() == [1, 0.75]
    assert record.facts.outputs[1].shape == (2, 6, 5)


def test_a_network_of_a_checkout_gets_its_extra_inputs(checkout, monkeypatch):
    monkeypatch.setattr(SARAdapter, "prime", HeadAdapter.prime)  # this head has no decoder
    weights = {
        name: seeded.seeded_weight(0, name, shape)
        for name, shape in {
            "backbone.conv.weight": (4, 1, 3, 3),
            "backbone.conv.bias": (4,),
            "head.fc.weight": (4, 5),
            "head.fc.bias": (5,),
        }.items()
    }
    backbone = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 4, 3, padding=1)))
    network = Model({"Backbone": backbone, "Head": Head()}, SAR, {}).eval()
    ours = {name: torch.from_numpy(array) for name, array in weights.items()}
    network.load_state_dict(ours | {"head.fc.weight": ours["head.fc.weight"].T})
    batch = seeded.uniform(0, "image", (2, 1, 6, 8))
    with PaddleSession() as session:
        reference = NetworkReference(session, checkout, SAR, weights, "rec")
        found = {each.probe: each.fault for each in reference.compare(network, batch, LIMIT)}
        assert list(found) == [
            "backbone", "logits (head.fc)", "output.text", "output.scores", "decisions (text)",
            "epsilons",
        ]  # fmt: skip
        assert not any(found.values())
        network.head.extra_inputs = ()  # as if the ratio had been forgotten
        network.head.forward = lambda x: Head.forward(network.head, x, torch.tensor([1, 0.9]))
        found = {each.probe: each.fault for each in reference.compare(network, batch, LIMIT)}
        assert [probe for probe, fault in found.items() if fault] == ["output.scores"]


@pytest.mark.parametrize(
    ("architecture", "channels"), [(SAR, 3), (CAN, 1)], ids=["data", "one list"]
)
def test_an_exported_program_gets_its_extra_inputs(checkout, tmp_path, architecture, channels):
    config = tmp_path / "toy.yml"
    algorithm = architecture["Head"]["name"].removesuffix("Head")
    backbone = {"in_channels": channels}
    architecture = {**architecture, "algorithm": algorithm, "Backbone": backbone}
    config.write_text(json.dumps({"Architecture": architecture}))
    arguments = [config, "--paddleocr", checkout, "--out", tmp_path, "--train"]
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/export_seeded.py", *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    weights = read_pdparams(tmp_path / "train" / "best_accuracy.pdparams").tensors
    file = tmp_path / "json" / "inference.json"
    batch = seeded.uniform(0, "image", (2, channels, 48, 160))
    with PaddleSession() as session:
        live = NetworkReference(session, checkout, architecture, weights, "rec")
        fed = adapter_for(architecture).paddle_inputs(batch)
        expected = live.session.run(fed, ["head.fc"])
        program = read_program(file)
        reference = ProgramReference(session, program, file.with_suffix(".pdiparams"), {}, "rec")
        text, scores = reference.run(fed, [])
    np.testing.assert_allclose(scores, expected["output.1"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(text, expected["output.0"])
    assert scores.shape == (2, 160 if algorithm == "SAR" else 6, 5)


def test_a_program_is_fed_in_its_own_order_and_types():
    specs = (TensorSpec("x", (-1, 1, 4, 8), "float32"), TensorSpec("_jst.0", (-1,), "float64"))
    program = Program("pir", (), {}, specs, (), b"")
    reference = ProgramReference(None, program, Path(), {}, "rec")
    fed = {"x": np.zeros((1, 1, 4, 8), np.float32), "valid_ratio": np.ones(1, np.float32)}
    found = reference.inputs(fed)
    assert {name: array.dtype.name for name, array in found.items()} == {
        "x": "float32",
        "_jst.0": "float64",
    }
    with pytest.raises(ReferenceUnavailable, match=r"takes x, _jst\.0, where its network takes x"):
        reference.inputs({"x": fed["x"]})
