"""The sweep over options: networks of the toolkit have as many tensors as Paddle counted."""

from __future__ import annotations

import pytest
import torch

import architectures
from tests.scripts.test_scripts import script

sweep = script("sweep_options")

# Rows of the table and the number of tensors in Paddle. (Paddle lists those of an LSTM twice.)
COUNTED = [
    ("det ResNet_vd DBFPN DBHead  Backbone.layers=34", 229),
    ("det ResNet_vd DBFPN DBHead  Backbone.layers=101", 564),
    ("det ResNet_vd DBFPN DBHead  Backbone.layers=200", 1059),
    ("det MobileNetV3 DBFPN DBHead  Backbone.scale=1.25", 301),
    ('det PPLCNetV4 DBFPN DBHead  Backbone.model_size="medium"', 324),
    ("det MobileNetV3 DBFPN DBHead  Neck.use_asf=true", 306),
    ('det MobileNetV3 LKPAN DBHead  Neck.mode="lite"', 392),
    ("det MobileNetV3 RepLKFPN DBHead  Neck.dilated_kernel_size=9", 433),
    ('rec SVTRNet SequenceEncoder CTCHead  Backbone.patch_merging="Pool"', 60),
    ("rec SVTRNet SequenceEncoder CTCHead  Backbone.prenorm=false", 62),
    ("rec ResNet31 SequenceEncoder CTCHead  Backbone.layers=[1, 1, 1, 1]", 88),
    ("det PPLCNetV3 DBFPN DBHead  Backbone.conv_kxk_num=1", 453),
]


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row[0])
def test_networks_have_as_many_tensors_as_in_paddle(row):
    """The counts are those that Paddle's networks had in a run of the script."""
    name, count = row
    (architecture,) = (
        a for a, path, value in sweep.cases() if sweep.row_name(a, path, value) == name
    )
    with torch.device("meta"):
        state = architectures.build(architecture).state_dict()
    assert len([key for key in state if not key.endswith("num_batches_tracked")]) == count


def shapes_of(architecture):
    """Return the tensors as Paddle names them, for a network whose layers are not renamed."""
    with torch.device("meta"):
        state = architectures.build(architecture).state_dict()
    words = {"running_mean": "_mean", "running_var": "_variance"}
    shapes = {}
    for name, tensor in state.items():
        layer, _, leaf = name.rpartition(".")
        if leaf != "num_batches_tracked":
            shape = list(tensor.shape)
            shapes[f"{layer}.{words.get(leaf, leaf)}"] = shape[::-1] if len(shape) == 2 else shape
    return shapes


def test_outcomes():
    architecture = sweep.classifier(sweep.SMALL)
    theirs = shapes_of(architecture)
    assert sweep.compare(architecture, theirs) == sweep.EQUAL
    wrong = {**theirs, "head.fc.bias": [3]}
    assert "head.fc.bias" in sweep.compare(architecture, wrong)
    assert "no_such" in sweep.compare(architecture, {**theirs, "no_such.weight": [1]})
    assert sweep.compare(architecture, "ValueError: x").startswith("only the toolkit builds it")
    unknown = sweep.classifier({**sweep.SMALL, "scale": 0.6})
    assert sweep.compare(unknown, theirs) == sweep.UNSUPPORTED
    assert sweep.compare(unknown, "ValueError: x") == sweep.BOTH_REFUSE
