"""PP-LCNet: sizes, traps, errors, and a checkpoint in PaddleClas' names.

The recorded references prove its values, in PaddleX's names.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from architectures import build, load
from architectures.backbones.det_pp_lcnet import PPLCNet
from architectures.layers.squeeze_excite import SqueezeExcite
from converter.references.recorded.network import build_recorded
from converter.references.recorded.record import read_record
from tests.support.checkpoints import RECORDS, save, weights
from tests.support.paths import NAMES

NAME = "PP-LCNet_x0_25_textline_ori"
RECORD = f"paddlex__{NAME}"
LINES = [2, [2, 1], [2, 1], [2, 1], [2, 1]]
# PaddleX's names in the words of PaddleClas.
WORDS = {
    "encoder.convolution": "conv1",
    "depthwise_convolution": "dw_conv",
    "pointwise_convolution": "pw_conv",
    "squeeze_excitation_module.convolutions.0": "se.conv1",
    "squeeze_excitation_module.convolutions.2": "se.conv2",
    "last_convolution": "last_conv",
    "convolution": "conv",
    "normalization": "bn",
    "head": "fc",
}


def of_paddleclas(name: str) -> str:
    """PaddleClas' name of a tensor of PaddleX's network."""
    name = re.sub(
        r"encoder\.blocks\.(\d)\.layers", lambda found: f"blocks{int(found[1]) + 2}", name
    )
    for theirs, ours in WORDS.items():
        name = re.sub(rf"\b{re.escape(theirs)}\b", ours, name)
    return name


def checkpoint() -> dict[str, np.ndarray]:
    return {of_paddleclas(name): array for name, array in weights(RECORD).items()}


def small(**options: Any) -> PPLCNet:
    torch.manual_seed(0)
    return PPLCNet(**{"scale": 0.25, "class_expand": 8} | options).eval()


class TestCheckpoint:
    def test_names_are_those_of_the_list(self):
        listed = (NAMES / f"{NAME}.txt").read_text().splitlines()
        shapes = {row.split("\t")[0]: row.split("\t")[1] for row in listed}
        assert shapes == {
            name: ",".join(map(str, array.shape)) for name, array in checkpoint().items()
        }

    def test_each_tensor_comes_where_paddlexs_comes(self, convert, tmp_path):
        file = save(tmp_path / f"{NAME}_pretrained.pdparams", checkpoint())
        out = tmp_path / "x.pth"
        done = convert(NAME, "--paddle-dir", file, "--out", out)
        assert done.code == 0, done
        assert "recorded reference" in done.out
        record = read_record(RECORDS / RECORD)
        expected, _ = build_recorded(record, "", record.facts.architecture)
        found = load(out).state_dict()
        assert list(found) == list(expected.state_dict())
        assert all(torch.equal(found[n], tensor) for n, tensor in expected.state_dict().items())
        card = json.loads(out.with_suffix(".json").read_text())
        assert card["input"]["color"] == "RGB"
        assert card["labels"] == ["0_degree", "180_degree"]

    def test_a_record_is_not_of_another_variant(self, convert, tmp_path):
        tensors = checkpoint()
        for name, array in tensors.items():
            if name.startswith("last_conv"):
                tensors[name] = np.concatenate([array, array])
        file = save(tmp_path / "other.pdparams", tensors)
        done = convert(NAME, "--paddle-dir", file, "--out", tmp_path / "x.pth")
        assert done.code == 4
        assert "last_conv.weight" in done.err


class TestNetwork:
    @torch.no_grad()
    @pytest.mark.parametrize(
        ("options", "size", "last"),
        [
            ({}, (64, 64), (2, 2)),
            ({"stride_list": LINES}, (80, 160), (3, 80)),
            ({"stride_list": LINES, "scale": 0.5, "class_expand": 24}, (64, 32), (2, 16)),
        ],
    )
    def test_sizes(self, options, size, last):
        backbone = small(**options)
        maps: list[torch.Tensor] = []
        backbone.blocks6.register_forward_hook(lambda *call: maps.append(call[2]))
        assert backbone(torch.zeros(2, 3, *size)).shape == (2, backbone.out_channels, 1, 1)
        assert maps[0].shape[2:] == last

    @torch.no_grad()
    def test_inference_scales_what_training_drops(self):
        x = torch.rand(1, 3, 32, 32)
        torch.testing.assert_close(small()(x), 0.8 * small(dropout_prob=0.0)(x))

    @torch.no_grad()
    def test_the_last_convolution_sees_means(self):
        backbone = small(dropout_prob=0.0)
        seen: list[torch.Tensor] = []
        backbone.blocks6.register_forward_hook(lambda *call: seen.append(call[2]))
        found = backbone(torch.rand(1, 3, 64, 64))
        mean = seen[0].mean((2, 3), keepdim=True)
        torch.testing.assert_close(found, F.hardswish(backbone.last_conv(mean)))

    def test_norms_have_paddles_eps_and_gates_a_slope_of_a_sixth(self):
        modules = list(small().modules())
        assert {m.eps for m in modules if isinstance(m, nn.BatchNorm2d)} == {1e-5}
        assert [m.slope for m in modules if isinstance(m, SqueezeExcite)] == [1 / 6] * 2

    def test_it_is_built_by_name(self):
        architecture = {
            "model_type": "cls",
            "Backbone": {"name": "PPLCNet", "scale": 0.25, "use_ssld": True},
            "Head": {"name": "ClsHead"},
        }
        model = build(architecture, class_counts={"cls": 4})
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 4)

    def test_five_strides(self):
        with pytest.raises(ValueError, match=r"PPLCNet takes five strides, not \[2, 2\]"):
            small(stride_list=[2, 2])
