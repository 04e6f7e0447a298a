"""Deformable convolution: against a direct computation, and which implementation is taken."""

from __future__ import annotations

import itertools
import math
import sys
import types

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.backbones.det_resnet import ResNet
from architectures.backbones.det_resnet_vd import ResNet_vd
from architectures.layers import deformable
from architectures.layers.deformable import DeformableConvBatchNorm, DeformableConvV2, deform_conv2d
from architectures.reparameterize import fold_
from tests.architectures.test_reparameterize import calibrated, difference, randomised

# channels in and out, groups, groups that move, kernel, stride, padding, dilation
CASES = {
    "3x3": (3, 4, 1, 1, (3, 3), (1, 1), (1, 1), (1, 1)),
    "stride": (2, 2, 1, 2, (3, 3), (2, 2), (1, 1), (1, 1)),
    "uneven": (4, 8, 2, 4, (3, 2), (2, 1), (1, 0), (1, 2)),
    "groups": (8, 4, 4, 2, (1, 3), (1, 2), (2, 3), (2, 1)),
}


def case(name: str, masked: bool) -> tuple[Tensor, ...]:
    channels, out, groups, moved, kernel, stride, padding, dilation = CASES[name]
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x = draw(2, channels, 5, 6)
    weight, bias = draw(out, channels // groups, *kernel), draw(out)
    size = F.conv2d(x, weight, None, stride, padding, dilation, groups).shape[2:]
    elements = moved * math.prod(kernel)
    # Some places lie far outside, some exactly on a pixel, some on the edge.
    offset = 2 * draw(2, 2 * elements, *size)
    offset[0, :, 0] = offset[0, :, 0].round()
    mask = draw(2, elements, *size).sigmoid() if masked else None
    return x, offset, weight, bias, stride, padding, dilation, mask


def pixel(plane: Tensor, y: int, x: int) -> float:
    inside = 0 <= y < plane.shape[0] and 0 <= x < plane.shape[1]
    return plane[y, x].item() if inside else 0.0


def between(plane: Tensor, y: float, x: float) -> float:
    top, left = math.floor(y), math.floor(x)
    return sum(
        (1 - abs(y - row)) * (1 - abs(x - column)) * pixel(plane, row, column)
        for row, column in itertools.product((top, top + 1), (left, left + 1))
    )


def direct(x, offset, weight, bias, stride, padding, dilation, mask) -> Tensor:
    """One number after the other, as the paper writes it."""
    out, depth, *kernel = weight.shape
    elements = math.prod(kernel)
    moved, groups = offset.shape[1] // (2 * elements), x.shape[1] // depth
    result = bias.reshape(1, -1, 1, 1).repeat(len(x), 1, *offset.shape[2:])
    for n, d, p, q in itertools.product(*map(range, result.shape)):
        for c, k, l in itertools.product(range(depth), *map(range, kernel)):  # noqa: E741
            channel = d // (out // groups) * depth + c
            element = channel // (x.shape[1] // moved) * elements + k * kernel[1] + l
            y = p * stride[0] - padding[0] + k * dilation[0] + offset[n, 2 * element, p, q]
            at = q * stride[1] - padding[1] + l * dilation[1] + offset[n, 2 * element + 1, p, q]
            value = between(x[n, channel], y.item(), at.item())
            share = 1.0 if mask is None else mask[n, element, p, q]
            result[n, d, p, q] += weight[d, c, k, l] * value * share
    return result


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_every_number_is_that_of_the_direct_computation(name, masked):
    arguments = case(name, masked)
    found = deformable.gathered(*arguments)
    torch.testing.assert_close(found, direct(*arguments), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_without_offsets_it_is_a_convolution(name):
    x, offset, weight, bias, *rest, mask = case(name, True)
    found = deformable.gathered(
        x, torch.zeros_like(offset), weight, bias, *rest, torch.ones_like(mask)
    )
    expected = F.conv2d(x, weight, bias, *rest, CASES[name][2])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.fixture
def fresh():
    """What was found to be installed is forgotten before and after."""
    deformable.implementation.cache_clear()
    yield
    deformable.implementation.cache_clear()


def installed(monkeypatch, operator) -> None:
    """Put a stand-in in the place of torchvision."""
    ops = types.ModuleType("torchvision.ops")
    if operator is not None:
        ops.deform_conv2d = operator
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.ops", ops)


@pytest.mark.usefixtures("fresh")
class TestImplementation:
    def test_torchvisions_is_taken_where_it_is_installed(self, monkeypatch):
        seen = []

        # The parameters of torchvision 0.13 and later, in their order.
        def operator(
            input, offset, weight, bias=None, stride=1, padding=0, dilation=1, mask=None
        ):  # fmt: skip
            seen.append((stride, padding, dilation))
            return direct(input, offset, weight, bias, stride, padding, dilation, mask)

        installed(monkeypatch, operator)
        arguments = case("stride", True)
        found = deform_conv2d(*arguments)
        assert seen == [((2, 2), (1, 1), (1, 1))]
        expected = deformable.gathered(*arguments)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)

    def test_ours_is_taken_without_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "torchvision.ops", None)  # import raises ImportError
        assert deformable.implementation() is deformable.gathered

    def test_ours_is_taken_where_it_does_not_have_the_operator(self, monkeypatch):
        installed(monkeypatch, None)
        assert deformable.implementation() is deformable.gathered


def test_offsets_come_first_and_the_mask_passes_a_sigmoid():
    torch.manual_seed(0)
    layer = DeformableConvV2(4, 6, 3, stride=2, groups=2).double().eval()
    x = torch.randn(1, 4, 7, 8, dtype=torch.float64)
    with torch.no_grad():
        both = layer.conv_offset(x)
        mask = 1 / (1 + (-both[:, 36:]).exp())
        bias = torch.zeros(6, dtype=torch.float64)
        weight = layer.conv_dcn.weight
        expected = direct(x, both[:, :36], weight, bias, (2, 2), (1, 1), (1, 1), mask)
        torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_folding_changes_nothing():
    torch.manual_seed(0)
    layer = randomised(DeformableConvBatchNorm(4, 6, 3, 1, 1, "relu"))
    x = torch.randn(2, 4, 7, 8, dtype=torch.float64)
    expected = calibrated(layer, x)(x)
    fold_(layer)
    assert isinstance(layer._batch_norm, torch.nn.ReLU)
    assert difference([expected], [layer(x)]) < 1e-12


@pytest.mark.parametrize(("network", "groups"), [(ResNet, 1), (ResNet_vd, 2)])
def test_groups_that_move_in_the_stages_asked_for(network, groups):
    with torch.device("meta"):
        backbone = network(layers=50, dcn_stage=[False, True, False, True], out_indices=[1, 3])
    moving = [n for n, m in backbone.named_modules() if isinstance(m, DeformableConvV2)]
    names = [backbone.stage_names[stage] for stage in (1, 3)]
    assert moving == [f"{unit}.conv1._conv" for stage in names for unit in stage]
    assert backbone.get_submodule(moving[0]).sizes == [18 * groups, 9 * groups]
    assert backbone.out_channels == [512, 2048]


def test_basic_units_never_move():
    with torch.device("meta"):
        backbone = ResNet_vd(layers=18, dcn_stage=[False, True, True, True])
    assert not [m for m in backbone.modules() if isinstance(m, DeformableConvV2)]


def test_units_of_resnet_are_lettered_then_numbered():
    with torch.device("meta"):
        names = ResNet(layers=101).stage_names
    assert names[1] == ["res3a", "res3b", "res3c", "res3d"]
    assert (names[2][:3], names[2][-1]) == (["res4a", "res4b1", "res4b2"], "res4b22")
