"""The networks: structure, traps, options, errors. The recorded references prove their values."""

from __future__ import annotations

import copy
import inspect
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures import Model, build
from architectures.backbones._mobilenet_v3 import ResidualUnit, Row
from architectures.backbones.rec_lcnetv3 import LearnableRepLayer
from architectures.layers.affine import LearnableAffine
from architectures.layers.conv import BatchNormAct, make_divisible
from architectures.layers.squeeze_excite import SqueezeExcite
from architectures.registry import TABLE, UnknownArchitecture, make

DET_V4 = {
    "model_type": "det",
    "algorithm": "DB",
    "Transform": None,
    "Backbone": {"name": "PPLCNetV3", "scale": 0.75, "det": True, "pretrained": False},
    "Neck": {"name": "RSEFPN", "out_channels": 96, "shortcut": True},
    "Head": {"name": "DBHead", "k": 50, "fix_nan": True},
}
REC_V4 = {
    "model_type": "rec",
    "algorithm": "SVTR_LCNet",
    "Transform": None,
    "Backbone": {"name": "PPLCNetV3", "scale": 0.95},
    "Head": {
        "name": "MultiHead",
        "head_list": [
            {
                "CTCHead": {
                    "Neck": {
                        "name": "svtr",
                        "dims": 120,
                        "depth": 2,
                        "hidden_dims": 120,
                        "kernel_size": [1, 3],
                        "use_guide": True,
                    },
                    "Head": {"fc_decay": 1e-05},
                }
            },
            {"NRTRHead": {"nrtr_dim": 384, "max_text_length": 25}},
        ],
        "out_channels_list": {"CTCLabelDecode": 37, "NRTRLabelDecode": 40},
    },
}
CLS = {
    "model_type": "cls",
    "algorithm": "CLS",
    "Transform": None,
    "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
    "Neck": None,
    "Head": {"name": "ClsHead", "class_dim": 2},
}
DET_V2 = {
    "model_type": "det",
    "algorithm": "DB",
    "Backbone": {
        "name": "MobileNetV3",
        "scale": 0.5,
        "model_name": "large",
        "disable_se": True,
    },
    "Neck": {"name": "DBFPN", "out_channels": 96},
    "Head": {"name": "DBHead", "k": 50},
}
CRNN = {
    "model_type": "rec",
    "algorithm": "CRNN",
    "Transform": None,
    "Backbone": {
        "name": "MobileNetV3",
        "scale": 0.5,
        "model_name": "small",
        "small_stride": [1, 2, 2, 2],
    },
    "Neck": {"name": "SequenceEncoder", "encoder_type": "rnn", "hidden_size": 48},
    "Head": {"name": "CTCHead", "fc_decay": 1e-05, "out_channels": 97},
}
# name: configuration, input, output, tensors that PaddleOCR's checkpoint has for it
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...], int]] = {
    "det v4": (DET_V4, (1, 3, 64, 96), (1, 1, 64, 96), 905),
    "rec v4": (REC_V4, (2, 3, 48, 160), (2, 20, 37), 884),
    "cls": (CLS, (2, 3, 48, 192), (2, 2), 213),
    "det v2": (DET_V2, (1, 3, 64, 96), (1, 1, 64, 96), 269),
    "crnn": (CRNN, (2, 3, 32, 160), (2, 40, 97), 229),
}


@pytest.fixture(scope="module", params=NETWORKS)
def case(request: pytest.FixtureRequest) -> tuple[Model, Tensor, tuple[int, ...], int]:
    architecture, size, result, tensors = NETWORKS[request.param]
    torch.manual_seed(0)
    return build(architecture), torch.rand(size) * 2 - 1, result, tensors


def changed(architecture: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the configuration with one entry set."""
    result = copy.deepcopy(architecture)
    *sections, key = path.split(".")
    place = result
    for section in sections:
        place = place[section]
    place[key] = value
    return result


def logits(model: Model, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the layer named by `logits_layers` gives, and the network's result."""
    seen: list[Tensor] = []
    (name,) = model.logits_layers
    layer = model.get_submodule(name)
    handle = layer.register_forward_hook(lambda _module, _input, output: seen.append(output))
    with torch.no_grad():
        result = model(x)
    handle.remove()
    (output,) = seen
    return output, result


class TestNetworks:
    def test_output_has_the_documented_shape(self, case):
        model, x, shape, _ = case
        with torch.no_grad():
            assert model(x).shape == shape

    def test_result_is_one_activation_of_the_logits(self, case):
        model, x, _, _ = case
        before, result = logits(model, x)
        is_det = model.architecture["model_type"] == "det"
        expected = before.sigmoid() if is_det else before.softmax(-1)
        torch.testing.assert_close(result, expected)

    def test_it_has_the_tensors_of_the_checkpoint(self, case):
        model, _, _, tensors = case
        names = [name for name in model.state_dict() if not name.endswith("num_batches_tracked")]
        assert len(names) == tensors

    def test_it_is_built_in_eval_mode_and_train_form(self, case):
        model, *_ = case
        assert not model.training
        assert model.form == "train"
        assert model.card is None

    def test_images_of_a_batch_do_not_mix(self, case):
        model, x, _, _ = case
        with torch.no_grad():
            both = model(torch.cat([x, x.flip(3)]))
            torch.testing.assert_close(both[: len(x)], model(x), rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize(
        ("network", "name", "shape"),
        [
            ("det v4", "backbone.blocks3.0.dw_conv.act.lab.scale", (1,)),
            ("det v4", "backbone.blocks6.3.pw_conv.identity.running_mean", (384,)),
            ("det v4", "backbone.layer_list.3.weight", (360, 384, 1, 1)),
            ("det v4", "head.thresh.conv_bn2.running_var", (24,)),
            ("rec v4", "head.ctc_encoder.encoder.conv4.conv.weight", (60, 960, 1, 3)),
            ("rec v4", "head.ctc_encoder.encoder.svtr_block.1.mixer.qkv.weight", (360, 120)),
            ("rec v4", "head.ctc_head.fc.bias", (37,)),
            ("cls", "backbone.blocks.0.mid_se.conv2.weight", (8, 2, 1, 1)),
            ("det v2", "backbone.stage3.3.conv.weight", (480, 80, 1, 1)),
            ("det v2", "neck.p5_conv.weight", (24, 96, 3, 3)),
            ("crnn", "neck.encoder.lstm.weight_hh_l1_reverse", (192, 48)),
        ],
    )
    def test_names_are_those_of_paddleocr(self, network, name, shape):
        with torch.device("meta"):
            state = build(NETWORKS[network][0]).state_dict()
        assert state[name].shape == shape


class TestTraps:
    @pytest.mark.parametrize(("slope", "edge"), [(0.2, 2.5), (1 / 6, 3.0)])
    def test_squeeze_excite_saturates_where_its_slope_says(self, slope, edge):
        layer = SqueezeExcite(4, slope)
        nn.init.zeros_(layer.conv2.weight)
        x = torch.ones(1, 4, 2, 2)
        with torch.no_grad():
            for gate, expected in ((0.0, 0.5), (1.0, 0.5 + slope), (edge, 1.0), (-edge, 0.0)):
                layer.conv2.bias.fill_(gate)
                torch.testing.assert_close(layer(x), x * expected)

    def test_slopes_are_those_of_paddleocr(self):
        backbone = [m.slope for m in build(DET_V4).backbone.modules() if type(m) is SqueezeExcite]
        neck = [m.slope for m in build(DET_V4).neck.modules() if type(m) is SqueezeExcite]
        mobile = [m.slope for m in build(CLS).modules() if type(m) is SqueezeExcite]
        assert backbone == [1 / 6] * 2
        assert neck == [0.2] * 8
        assert mobile == [0.2] * 9

    def test_norms_have_paddles_eps(self, case):
        model, *_ = case
        for name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.eps == 1e-5
            if isinstance(module, nn.LayerNorm):
                assert module.eps == (1e-6 if name.endswith("encoder.norm") else 1e-5)

    def test_only_the_number_two_skips_the_activation(self):
        assert not LearnableRepLayer(16, 16, 3, stride=2).activated
        assert LearnableRepLayer(16, 16, 3, stride=(2, 1)).activated
        assert LearnableRepLayer(16, 16, 3).activated

    def test_identity_branch_needs_equal_shapes(self):
        assert LearnableRepLayer(16, 16, 3).identity is not None
        assert LearnableRepLayer(16, 16, 3, stride=(1, 2)).identity is None
        assert LearnableRepLayer(16, 32, 3).identity is None
        assert LearnableRepLayer(16, 16, 1).conv_1x1 is None

    @pytest.mark.parametrize(
        ("stride", "channels", "shortcut"),
        [(1, 16, True), (1, 8, False), (2, 16, False), ((1, 1), 16, False)],
    )
    def test_residual_unit_adds_its_input_only_at_stride_one(self, stride, channels, shortcut):
        unit = ResidualUnit(channels, Row(3, 16, 16, True, "relu"), 1.0, stride, disable_se=False)
        nn.init.zeros_(unit.linear_conv.conv.weight)
        x = torch.randn(1, channels, 4, 4)
        result = unit.eval()(x)
        assert torch.equal(result, x if shortcut else torch.zeros_like(result))

    def test_batch_norm_with_an_activation_shows_the_activated_output(self):
        x = torch.randn(2, 3, 4, 5)
        layer, plain = BatchNormAct(3, "relu").eval(), nn.BatchNorm2d(3).eval()
        torch.testing.assert_close(layer(x), F.relu(plain(x)))
        assert layer(x).min() == 0

    def test_learnable_affine(self):
        layer = LearnableAffine()
        with torch.no_grad():
            layer.scale.fill_(2.0)
            layer.bias.fill_(-1.0)
            assert layer(torch.tensor([3.0])).item() == 5.0

    @pytest.mark.parametrize(
        ("value", "divisor", "expected"),
        [(5.6, 8, 8), (25.2, 8, 24), (44, 8, 48), (18.9, 8, 24), (15.2, 16, 16), (243.2, 16, 240)],
    )
    def test_make_divisible(self, value, divisor, expected):
        assert make_divisible(value, divisor) == expected

    def test_first_large_stride_halves_both_sides_the_others_the_height(self):
        options = {"name": "MobileNetV3", "model_name": "large", "large_stride": [2, 2, 2, 1]}
        backbone = make("Backbone", "rec", options, 3)
        assert backbone(torch.zeros(1, 3, 64, 64)).shape[2:] == (2, 8)


class TestOptions:
    def test_the_configuration_is_not_changed(self):
        before = copy.deepcopy(REC_V4)
        build(REC_V4)
        assert before == REC_V4

    def test_class_count_may_be_given_apart(self):
        architecture = changed(CRNN, "Head", {"name": "CTCHead"})
        model = build(architecture, class_counts={"ctc": 11})
        assert model.class_counts == {"ctc": 11}
        assert model.architecture["Head"] == {"name": "CTCHead", "out_channels": 11}
        assert architecture["Head"] == {"name": "CTCHead"}

    def test_class_count_is_written_into_a_section_that_is_not_there(self):
        architecture = copy.deepcopy(REC_V4)
        del architecture["Head"]["out_channels_list"]
        model = build(architecture, class_counts={"ctc": 11})
        assert model.architecture["Head"]["out_channels_list"] == {"CTCLabelDecode": 11}

    def test_a_detector_has_no_class_counts(self):
        assert build(DET_V2).class_counts == {}

    def test_two_linear_layers(self):
        model = build(changed(CRNN, "Head.mid_channels", 8))
        assert model.logits_layers == ("head.fc2",)
        before, result = logits(model, torch.zeros(1, 3, 32, 32))
        torch.testing.assert_close(result, before.softmax(2))

    def test_reshape_is_no_encoder(self):
        model = build(changed(CRNN, "Neck", {"name": "SequenceEncoder", "encoder_type": "reshape"}))
        assert list(model.neck.state_dict()) == []
        assert model(torch.zeros(1, 3, 32, 64)).shape == (1, 16, 97)

    def test_shortcut_of_the_pyramid(self):
        features = [torch.rand(1, c, s, s) for c, s in ((4, 8), (4, 4), (4, 2), (4, 1))]
        results = []
        for shortcut in (True, False):
            torch.manual_seed(0)
            options = {"name": "RSEFPN", "out_channels": 16, "shortcut": shortcut}
            results.append(make("Neck", "det", options, [4, 4, 4, 4])(features))
        assert not torch.allclose(*results)

    def test_one_network_imports_one_file(self):
        code = (
            "import sys, architectures\n"
            f"architectures.build({DET_V2!r})\n"
            "print(*(m for m in sys.modules if m.startswith('architectures.')"
            " and m.count('.') == 2\n"
            "  and not m.startswith('architectures.layers.')))\n"
            "foreign = {'paddle', 'safetensors', 'converter', 'cv2'} & set(sys.modules)\n"
            "assert not foreign, foreign\n"
        )
        found = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        assert set(found.stdout.split()) == {
            "architectures.backbones._mobilenet_v3",
            "architectures.backbones.det_mobilenet_v3",
            "architectures.necks.db_fpn",
            "architectures.heads.det_db_head",
        }

    def test_every_row_of_the_table_names_a_class(self):
        for row in (row for rows in TABLE.values() for row in rows):
            module, name = row.target.split(":")
            network = getattr(import_module(f"architectures.{module}"), name)
            assert issubclass(network, nn.Module)
            first, *options = inspect.signature(network).parameters
            assert first == "in_channels"
            assert not set(options) & set(row.training.split())


class TestErrors:
    @pytest.mark.parametrize(
        ("architecture", "path", "value", "message"),
        [
            (
                DET_V2,
                "Backbone.name",
                "VGG",
                "unknown Backbone 'VGG'.*MobileNetV3, PPLCNetV3",
            ),
            (DET_V2, "model_type", "rec", "unknown Head 'DBHead' for model_type 'rec'.*CTCHead"),
            (CRNN, "Transform", {"name": "Tilt"}, "unknown Transform 'Tilt'.*known: TPS, STN_ON"),
            (DET_V2, "Neck.use_xyz", True, "DBFPN does not take use_xyz; it takes out_channels"),
            (
                DET_V4,
                "Backbone.scales",
                1,
                "does not take scales.*it takes scale, conv_kxk_num, det",
            ),
            (DET_V4, "Backbone.in_channels", 3, "does not take in_channels"),
            (DET_V2, "Neck", {"name": "DBFPN"}, "DBFPN needs out_channels"),
            (DET_V2, "Head", None, "the architecture lacks Head"),
            (DET_V2, "model_type", None, "the architecture lacks model_type"),
            (DET_V2, "Models", {}, "unknown keys Models.*distillation"),
            (DET_V2, "Neck", "DBFPN", "Neck is 'DBFPN', not a name and its options"),
            (REC_V4, "Head.use_pools", True, "MultiHead does not take use_pools"),
            (REC_V4, "Head.head_list", [{"SARHead": {}}], "MultiHead has the heads SARHead"),
            (REC_V4, "Head.head_list", [{"CTCHead": {"Neck": {}}}], "needs a Neck with a name"),
            (
                REC_V4,
                "Head.head_list",
                [{"CTCHead": {}}, {"XHead": {}}],
                "the heads CTCHead, XHead",
            ),
        ],
    )
    def test_unknown_architecture(self, architecture, path, value, message):
        with pytest.raises(UnknownArchitecture, match=message):
            build(changed(architecture, path, value))

    @pytest.mark.parametrize(
        ("architecture", "path", "value", "message"),
        [
            (CRNN, "Neck.encoder_type", "gru", "no encoder_type 'gru'; known: reshape, fc, rnn"),
            (CRNN, "Backbone.model_name", "tiny", "no model_name 'tiny'; known: large, small"),
            (CRNN, "Backbone.small_stride", [2, 2], r"takes four strides, not \[2, 2\]"),
            (CRNN, "Head.out_channels", None, r"needs a class count: class_counts=\{'ctc'"),
            (CRNN, "Head.out_channels", "97", "the class count 'ctc' is '97'"),
            (CRNN, "Head.out_channels", 0, "the class count 'ctc' is 0"),
        ],
    )
    def test_values(self, architecture, path, value, message):
        with pytest.raises(ValueError, match=message):
            build(changed(architecture, path, value))

    def test_class_count_stated_twice(self):
        with pytest.raises(ValueError, match=r"Head.class_dim states 2 classes, .*'cls'\] 4"):
            build(CLS, class_counts={"cls": 4})

    def test_foreign_class_count(self):
        with pytest.raises(ValueError, match="ClsHead has no class count ctc; it has cls"):
            build(CLS, class_counts={"ctc": 4})

    def test_unknown_form(self):
        with pytest.raises(ValueError, match="unknown form 'export'; known: train, deploy, fused"):
            build(CLS, form="export")

    def test_an_image_too_high_is_an_error(self):
        with pytest.raises(AssertionError, match="height 1"):
            build(CRNN)(torch.zeros(1, 3, 64, 64))
