"""Folding changes the form of a network, never what it computes; all comparisons in float64."""

from __future__ import annotations

import sys
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures import Model, build, fuse
from architectures.backbones.rec_lcnetv3 import DeployedRepLayer, LearnableRepLayer
from architectures.layers.affine import LearnableAffine
from architectures.reparameterize import BATCH_NORMS, channel_affine, folded, set_convolution
from architectures.unfuse import unfuse
from tests.support.small_networks import NETWORKS


def randomised(module: nn.Module) -> nn.Module:
    """Give all that folding reads values other than the initial 0 and 1."""
    generator = torch.Generator().manual_seed(1)

    def draw(tensor: Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, BATCH_NORMS):
                draw(part.weight, 0.5, 1.5)
                draw(part.bias, -0.5, 0.5)
                draw(part.get_buffer("running_mean"), -0.5, 0.5)
                draw(part.get_buffer("running_var"), 0.3, 2.0)
            elif isinstance(part, LearnableAffine):
                draw(part.scale, 0.5, 1.5)
                draw(part.bias, -0.5, 0.5)
    return module.double().eval()


def calibrated(model: Model, x: Tensor) -> Model:
    """Take the statistics of each BatchNorm from `x`: a faded or exploded signal hides errors."""
    for part in model.modules():
        if isinstance(part, BATCH_NORMS):
            part.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
    return model.eval()


def outputs(model: Model, x: Tensor) -> list[Tensor]:
    """Logits and results."""
    seen: list[Tensor] = []
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda _module, _input, output: seen.append(output)
        )
        for name in model.logits_layers
    ]
    with torch.no_grad():
        result = model(x)
    for handle in handles:
        handle.remove()
    return [*seen, *(result.values() if isinstance(result, dict) else [result])]


def difference(expected: list[Tensor], found: list[Tensor]) -> float:
    """The largest max|difference| / max|expected|."""
    return max(
        ((a - b).abs().max() / a.abs().max()).item() for a, b in zip(expected, found, strict=True)
    )


class Case:
    """A network, an image, and what several tests need of them, computed once.

    Attributes:
        architecture: the network's.
        model: in the training form. Tests leave it, and the other forms, as they find them.
        x: the image, (N, 3, H, W) float64.
        merged: returns the model in the form `deploy` or `fused`.
        outputs: returns the outputs in a form.
    """

    def __init__(self, architecture: dict[str, Any], model: Model, x: Tensor) -> None:
        self.architecture, self.model, self.x = architecture, model, x
        self.merged = cache(partial(fuse, model))
        self.outputs = cache(
            lambda form: outputs(model if form == "train" else self.merged(form), x)
        )


@pytest.fixture(scope="module", params=NETWORKS)
def case(request: pytest.FixtureRequest) -> Case:
    architecture, (height, width) = NETWORKS[request.param]
    torch.manual_seed(0)
    model = randomised(build(architecture))
    assert isinstance(model, Model)
    x = torch.rand(2, 3, height, width, dtype=torch.float64) * 2 - 1
    return Case(architecture, calibrated(model, x), x)


class TestEquality:
    @pytest.mark.parametrize("form", ["deploy", "fused"])
    def test_every_form_computes_the_same(self, case, form):
        assert difference(case.outputs("train"), case.outputs(form)) < 1e-11

    def test_two_steps_are_one(self, case):
        once = case.merged("fused").state_dict()
        twice = fuse(case.merged("deploy"), "fused").state_dict()
        assert list(once) == list(twice)
        assert all(torch.equal(once[name], twice[name]) for name in once)

    def test_single_precision(self, case):
        single, x = fuse(case.model, "train").float(), case.x.float()
        expected = outputs(single, x)
        bent = any(hasattr(module, "rounding") for module in single.modules())
        limit = 1e-3 if bent else 1e-4
        assert difference(expected, outputs(fuse(single), x)) < limit

    @pytest.mark.parametrize(
        ("channels", "kernel", "stride", "groups"),
        [
            pytest.param((8, 8), 3, 1, 8, id="depthwise with identity"),
            pytest.param((8, 8), 5, 1, 8, id="5x5"),
            pytest.param((8, 8), 3, 2, 8, id="stride 2: no activation"),
            pytest.param((8, 8), 3, (2, 1), 8, id="vertical stride: activation"),
            pytest.param((8, 8), 5, (1, 2), 8, id="horizontal stride"),
            pytest.param((8, 16), 1, 1, 1, id="pointwise"),
            pytest.param((8, 8), 1, 1, 1, id="pointwise with identity"),
            pytest.param((8, 8), 3, 1, 2, id="grouped with identity"),
        ],
    )
    def test_layer(self, channels, kernel, stride, groups):
        torch.manual_seed(0)
        layer = randomised(LearnableRepLayer(*channels, kernel, stride, groups, 3))
        x = torch.randn(2, channels[0], 7, 9, dtype=torch.float64)
        with torch.no_grad():
            expected = layer(x)
            deployed = layer.deployed()
            assert isinstance(deployed, DeployedRepLayer)
            torch.testing.assert_close(deployed(x), expected, rtol=1e-12, atol=1e-12)
            weight, bias = folded(deployed.reparam_conv, deployed.lab)
            set_convolution(deployed.reparam_conv, lambda: (weight, bias))
            deployed.lab = nn.Identity()
            torch.testing.assert_close(deployed(x), expected, rtol=1e-12, atol=1e-12)

    def test_transposed_convolution(self):
        torch.manual_seed(0)
        conv, norm = nn.ConvTranspose2d(3, 5, 2, stride=2).double(), randomised(nn.BatchNorm2d(5))
        x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
        with torch.no_grad():
            expected = norm(conv(x))
            weight, bias = folded(conv, norm)
            set_convolution(conv, lambda: (weight, bias))
            torch.testing.assert_close(conv(x), expected, rtol=1e-12, atol=1e-12)


class TestUnfusing:
    def test_the_training_form_computes_the_same(self, case):
        merged = case.merged("fused")
        restored = unfuse(merged)
        assert {name: t.shape for name, t in restored.state_dict().items()} == {
            name: t.shape for name, t in case.model.state_dict().items()
        }
        assert difference(case.outputs("fused"), outputs(restored, case.x)) < 1e-11
        again = fuse(restored).state_dict()
        for name, tensor in merged.state_dict().items():
            torch.testing.assert_close(again[name], tensor, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("case", ["det v4"], indirect=True)
    def test_the_form_of_exports(self, case):
        restored = unfuse(case.merged("deploy"))
        assert difference(case.outputs("deploy"), outputs(restored, case.x)) < 1e-11

    def test_a_tensor_of_another_shape_is_an_error(self):
        merged = fuse(build(NETWORKS["cls"][0]))
        merged.head.fc.weight = nn.Parameter(torch.zeros(3, 3))
        with pytest.raises(ValueError, match=r"needs the tensor weight of \(2, 200\)"):
            unfuse(merged)


class TestForms:
    def test_deploy_has_no_branches_and_keeps_the_norms_elsewhere(self):
        model = fuse(build(NETWORKS["det v4"][0]), "deploy")
        names = list(model.state_dict())
        assert not [n for n in names if "conv_kxk" in n or "identity" in n or "thresh" in n]
        assert "backbone.blocks2.0.dw_conv.reparam_conv.bias" in names
        assert "backbone.blocks2.0.dw_conv.lab.scale" in names
        assert "backbone.conv1.bn.running_mean" in names
        assert "head.binarize.conv_bn1.running_mean" in names

    def test_deploy_drops_the_affine_that_no_input_reaches(self):
        train = build(NETWORKS["det v4"][0])
        deploy = fuse(train, "deploy")
        name = "backbone.blocks3.0.dw_conv.act.lab.scale"
        assert name in train.state_dict()
        assert name not in deploy.state_dict()

    def test_fused_has_no_norm_and_only_affines_after_activations(self, case):
        model = case.merged("fused")
        assert not [m for m in model.modules() if isinstance(m, BATCH_NORMS)]
        affines = [n for n, m in model.named_modules() if isinstance(m, LearnableAffine)]
        assert all(name.endswith("act.lab") for name in affines)

    def test_folded_relu_stays_a_layer(self):
        head = fuse(build(NETWORKS["det v2"][0])).head
        assert isinstance(head.binarize.conv_bn1, nn.ReLU)

    def test_build_gives_the_structure_that_fuse_gives(self, case):
        for form in ("train", "deploy", "fused"):
            with torch.device("meta"):
                direct = build(case.architecture, form=form)
            converted = case.model if form == "train" else case.merged(form)
            assert direct.form == converted.form == form
            shapes = [{n: t.shape for n, t in m.state_dict().items()} for m in (direct, converted)]
            assert shapes[0] == shapes[1]

    @pytest.mark.parametrize("form", ["train", "deploy", "fused"])
    def test_build_gives_tensors_with_numbers(self, form):
        network = build(NETWORKS["rec v4"][0], form=form)
        assert all(t.is_cpu and t.isfinite().all() for t in network.state_dict().values())

    def test_the_argument_is_left_alone(self, case):
        model, expected = case.model, case.outputs("train")
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        result = fuse(model.train())
        assert model.training
        assert not result.training
        assert model.form == "train"
        after = model.eval().state_dict()
        assert list(before) == list(after)
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert difference(expected, outputs(model, case.x)) == 0

    def test_precision_is_kept(self):
        model = build(NETWORKS["cls"][0]).to(torch.bfloat16)
        assert {p.dtype for p in fuse(model).parameters()} == {torch.bfloat16}

    @pytest.mark.parametrize(
        ("have", "want"), [("deploy", "train"), ("fused", "train"), ("fused", "deploy")]
    )
    def test_no_way_back(self, have, want):
        model = build(NETWORKS["cls"][0], form=have)
        with pytest.raises(ValueError, match=f"form '{have}' cannot go back to '{want}'"):
            fuse(model, want)

    def test_unknown_form(self):
        with pytest.raises(ValueError, match="unknown form 'quick'; known: train, deploy, fused"):
            fuse(build(NETWORKS["cls"][0]), "quick")

    def test_only_affine_maps_fold(self):
        with pytest.raises(TypeError, match="ReLU is not known to be an affine map"):
            channel_affine(nn.ReLU())


class TestTheCheckCanFail:
    def test_folded_convolutions_matter(self, case):
        """Four of them, spread over the network."""
        fused, expected = case.merged("fused"), case.outputs("train")
        pairs = [
            module.get_submodule(conv)
            for module in fused.modules()
            for conv, _ in getattr(module, "folds", ())
        ]
        assert len(pairs) > 5
        for place, conv in enumerate(pairs[:: max(1, len(pairs) // 4)]):
            tensor = (conv.weight, conv.bias)[place % 2]
            with torch.no_grad():
                kept = tensor.clone()
                tensor.mul_(1.01)
                assert difference(expected, outputs(fused, case.x)) > 1e-9
                tensor.copy_(kept)
        assert difference(expected, outputs(fused, case.x)) < 1e-11

    @pytest.mark.parametrize("form", ["deploy", "fused"])
    def test_a_wrong_shift_is_seen(self, case, form, monkeypatch):
        def wrong(module: nn.Module) -> tuple[Tensor, Tensor]:
            scale, shift = channel_affine(module)
            return scale, shift * 1.001

        monkeypatch.setattr(sys.modules["architectures.reparameterize"], "channel_affine", wrong)
        model = case.model
        found = difference(case.outputs("train"), outputs(fuse(model, form), case.x))
        has_branches = any(hasattr(m, "deployed") and m is not model.head for m in model.modules())
        assert (found > 1e-9) == (form == "fused" or has_branches)


def test_the_fused_form_has_no_weights_too_small_to_add_anything():
    model = build(NETWORKS["rec v4"][0])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.view(-1)[::2] = 1e-39
    fused = fuse(model)
    again = fuse(fused)  # such as one that was an export
    for network in (fused, again):
        sizes = torch.cat([parameter.detach().abs().ravel() for parameter in network.parameters()])
        assert (sizes == 0).any()
        assert not ((sizes > 0) & (sizes < 1e-30)).any()
    assert all((parameter.detach() == 1e-39).any() for parameter in model.parameters())
    with torch.no_grad():
        next(fused.parameters()).view(-1)[0] = 1e-39
    assert next(fuse(fused).parameters()).view(-1)[0] == 0
