"""The sweep over options: what counts as agreement, and results that Paddle computed.

`option_values.json` was written by `scripts/sweep_options.py --values`, of networks of PaddleOCR.
"""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from architectures.layers.svtr_blocks import Mlp
from converter.mapping import apply as convert
from converter.mapping.plan import Signature, resolve, targets_of
from converter.references import seeded
from converter.references.hooks import observe
from tests.scripts.test_scripts import script
from tests.support.paths import ROOT

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
    ("rec ResNet31  Backbone.layers=[1, 1, 1, 1]", 86),
    ("det PPLCNetV3 DBFPN DBHead  Backbone.conv_kxk_num=1", 453),
    ("det ResNet_SAST  Backbone.layers=152", 785),
    ("e2e ResNet  Backbone.layers=101", 520),
]


VALUES = json.loads((ROOT / "tests/data/option_values.json").read_text())


def architecture_of(row):
    """Return the network of a row of the table."""
    found = [a for a, path, value in sweep.cases() if sweep.row_name(a, path, value) == row]
    return found[0]


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row[0])
def test_networks_have_as_many_tensors_as_in_paddle(row):
    """The counts are those that Paddle's networks had in a run of the script."""
    name, count = row
    with torch.device("meta"):
        state = sweep.build(architecture_of(name)).state_dict()
    assert len([key for key in state if not key.endswith("num_batches_tracked")]) == count


def shapes_of(architecture):
    """Return the tensors as Paddle names them, for a network whose layers are not renamed."""
    with torch.device("meta"):
        state = sweep.build(architecture).state_dict()
    words = {"running_mean": "_mean", "running_var": "_variance"}
    shapes = {}
    for name, tensor in state.items():
        layer, _, leaf = name.rpartition(".")
        if leaf != "num_batches_tracked":
            shape = list(tensor.shape)
            shapes[f"{layer}.{words.get(leaf, leaf)}"] = shape[::-1] if len(shape) == 2 else shape
    return shapes


def paddle_side(tensors, results=(), error=""):
    """Return what Paddle makes of a case whose tensors have these values."""
    return sweep.PaddleSide(error, tensors, {}, results)


def test_outcomes():
    architecture = sweep.classifier(sweep.SMALL)
    tensors = {
        name: seeded.seeded_weight(0, name, tuple(shape))
        for name, shape in shapes_of(architecture).items()
    }
    network = sweep.build(architecture)
    targets = targets_of(network)
    source = {name: Signature(array.shape) for name, array in tensors.items()}
    plan = resolve(sweep.mapping_of(architecture), source, targets)
    network.load_state_dict(convert.apply(plan, tensors, targets))
    results = [observe(network, image, []) for image in sweep.images_of(architecture)]
    assert sweep.compare(architecture, paddle_side(tensors, results)) == "equal, 0.0e+00"
    wrong = [results[0], {"output": results[1]["output"][:, ::-1]}]
    assert sweep.compare(architecture, paddle_side(tensors, wrong)).startswith("results differ by")
    short = [{"output": results[0]["output"][:, :1]}, results[1]]
    assert "(1, 1) in Paddle" in sweep.compare(architecture, paddle_side(tensors, short))
    flat = [{"output": np.ones((1, 2), np.float32)}] * 2
    assert "constant in Paddle" in sweep.compare(architecture, paddle_side(tensors, flat))
    bias = {**tensors, "head.fc.bias": np.zeros(3, np.float32)}
    assert "head.fc.bias" in sweep.compare(architecture, paddle_side(bias))
    more = {**tensors, "no_such.weight": np.zeros(1, np.float32)}
    assert "no_such" in sweep.compare(architecture, paddle_side(more))
    refused = paddle_side({}, error="ValueError: x")
    assert sweep.compare(architecture, refused).startswith("only the toolkit runs it; Paddle: Val")
    unknown = sweep.classifier({**sweep.SMALL, "scale": 0.6})
    assert sweep.compare(unknown, paddle_side(tensors, results)).startswith("only Paddle runs it")
    assert sweep.compare(unknown, refused) == sweep.BOTH_REFUSE


def test_a_network_that_is_built_and_cannot_run_is_refused():
    """An SVTRNet that returns the text's length, too, and a neck that does not read it."""
    row = "rec SVTRNet SequenceEncoder CTCHead  Backbone.use_lenhead=true"
    refused = paddle_side({}, error="AttributeError: 'tuple' object has no attribute 'shape'")
    assert sweep.compare(architecture_of(row), refused) == sweep.BOTH_REFUSE


@pytest.fixture(scope="module", params=VALUES)
def row(request):
    """A row of the table of which Paddle's results are there."""
    return request.param


@pytest.fixture(scope="module")
def network(row):
    """Our network of the row, with the seeded weights that Paddle's had."""
    architecture, expected = architecture_of(row), VALUES[row]
    tensors = {
        name: seeded.seeded_weight(
            sweep.SALT, name, tuple(shape), expected["exponents"].get(name, 0)
        )
        for name, shape in expected["shapes"].items()
    }
    network = sweep.build(architecture)
    targets = targets_of(network)
    source = {name: Signature(array.shape) for name, array in tensors.items()}
    plan = resolve(sweep.mapping_of(architecture), source, targets)
    for second, first in plan.aliases.items():  # of recurrent layers; the first name makes values
        tensors[first] = tensors[second] = tensors[min(first, second, key=list(tensors).index)]
    network.load_state_dict(convert.apply(plan, tensors, targets), strict=True)
    return network


def gap_to_paddle(row, network):
    """Return how far a network's results are from Paddle's at the sampled values.

    Returns:
        The largest difference, relative to the largest value of the result.
    """
    gaps = []
    results = zip(sweep.images_of(architecture_of(row)), VALUES[row]["results"], strict=True)
    for image, expected in results:
        ours = observe(network, image, [])
        for name, (largest, *values) in sweep.by_our_names(expected, ours).items():
            _, *actual = sweep.sample(ours[name])
            gaps.append(np.abs(np.array(actual) - values).max() / largest)
    return max(gaps)


def test_results_are_those_that_paddle_computed(row, network):
    assert gap_to_paddle(row, network) <= sweep.LIMIT


def without_pooling(network):
    network.backbone.pools.pop(5)


def with_gelu(network):
    for module in network.modules():
        if isinstance(module, Mlp):
            module.act = torch.nn.GELU()


def smaller_length(network):
    network.backbone.len_conv.register_forward_hook(lambda _module, _inputs, output: output * 0.9)


def forwards_only(network):
    decoder = network.head.decoder
    decoder.rnn_decoder.weight_hh_l1_reverse.data.zero_()


def without_bias(network):
    network.neck.encoder.fc.bias.data.zero_()


def smaller_shortcut(network):
    network.backbone.bb_1_0.short.register_forward_pre_hook(lambda _module, inputs: inputs[0] * 0.9)


MISTAKES = {
    "last_stage_pool": without_pooling,
    "Swish": with_gelu,
    "use_lenhead": smaller_length,
    "dec_bi_rnn": forwards_only,
    '"fc"': without_bias,
    "ResNet_SAST": smaller_shortcut,
}


def test_a_mistake_is_seen(row, network):
    (mutate,) = (MISTAKES[part] for part in MISTAKES if part in row)
    mistaken = copy.deepcopy(network)
    mutate(mistaken)
    assert gap_to_paddle(row, mistaken) > 10 * sweep.LIMIT
