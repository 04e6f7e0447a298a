"""The recognisers' backbones: sizes, options, traps. The recorded references prove their values."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from architectures.backbones._resnet_vd import BottleneckBlock, Shortcut
from architectures.backbones.rec_mv1_enhance import MobileNetV1Enhance
from architectures.backbones.rec_resnet_vd import ResNet
from architectures.layers.conv import ConvBatchNorm
from architectures.layers.pooling import AvgPool2d, MaxPool2d
from architectures.layers.squeeze_excite import SqueezeExcite


def size(backbone: nn.Module, height: int, width: int) -> tuple[int, ...]:
    """Channels, height and width of the map of an image of that size."""
    with torch.no_grad():
        return tuple(backbone.eval()(torch.zeros(1, 3, height, width)).shape[1:])


def test_a_batch_norm_that_holds_its_activation():
    block = ConvBatchNorm(3, 4, 3, act="hardswish").eval()
    x = torch.randn(1, 3, 5, 5)
    names = [name for name, _ in block.named_parameters()]
    assert names == ["_conv.weight", "_batch_norm.weight", "_batch_norm.bias"]
    plain = F.conv2d(x, block.get_parameter("_conv.weight"), padding=1) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(block(x), F.hardswish(plain))


class TestMobileNetV1Enhance:
    @pytest.mark.parametrize(
        ("options", "height", "expected"),
        [
            pytest.param({}, 32, (512, 1, 40), id="PP-OCRv2"),
            pytest.param({"scale": 0.25}, 32, (256, 1, 40), id="scale"),
            pytest.param(
                {
                    "last_conv_stride": [1, 2],
                    "last_pool_type": "avg",
                    "last_pool_kernel_size": [2, 2],
                },
                48,
                (512, 1, 20),
                id="PP-OCRv3",
            ),
            pytest.param({"last_pool_type": "avg"}, 48, (512, 1, 40), id="windows of 3x2"),
        ],
    )
    def test_size_of_the_map(self, options, height, expected):
        backbone = MobileNetV1Enhance(**options)
        assert size(backbone, height, 160) == expected
        assert backbone.out_channels == expected[0]

    def test_the_last_pooling(self):
        assert isinstance(MobileNetV1Enhance().pool, MaxPool2d)
        assert isinstance(MobileNetV1Enhance(last_pool_type="avg").pool, AvgPool2d)

    def test_channels_are_weighed_in_the_last_two_blocks_by_a_slope_of_a_sixth(self):
        slopes = {
            name: module.slope
            for name, module in MobileNetV1Enhance().named_modules()
            if isinstance(module, SqueezeExcite)
        }
        assert slopes == {"block_list.11._se": 1 / 6, "block_list.12._se": 1 / 6}

    def test_norms_have_paddles_eps(self):
        found = {m.eps for m in MobileNetV1Enhance().modules() if isinstance(m, nn.BatchNorm2d)}
        assert found == {1e-5}


class TestResNet:
    @pytest.mark.parametrize(
        ("layers", "units", "channels"),
        [
            (18, 8, 512),
            (34, 16, 512),
            (50, 16, 2048),
            (101, 33, 2048),
            (152, 50, 2048),
            (200, 66, 2048),
        ],
    )
    def test_depths(self, layers, units, channels):
        with torch.device("meta"):
            backbone = ResNet(layers=layers)
        assert (len(backbone.block_names), backbone.out_channels) == (units, channels)

    @pytest.mark.parametrize("layers", [18, 50])
    def test_only_the_height_shrinks_from_stage_to_stage(self, layers):
        assert size(ResNet(layers=layers), 32, 64)[1:] == (1, 16)

    def test_a_bottleneck_strides_in_its_middle(self):
        block = BottleneckBlock(64, 32, (2, 1), first=True)
        strides = [m.stride for m in block.modules() if isinstance(m, nn.Conv2d)]
        assert strides == [(1, 1), (2, 1), (1, 1), (1, 1)]
        assert block.eval()(torch.zeros(1, 64, 4, 4)).shape == (1, 128, 2, 4)

    @pytest.mark.parametrize(
        ("stride", "pooled"),
        [
            (1, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]),
            ((1, 1), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]),
            ((2, 1), [[2.5, 3.5, 4.5], [7.0, 8.0, 9.0]]),
            (2, [[3.0, 4.5], [7.5, 9.0]]),
        ],
    )
    def test_a_shortcut_takes_means_of_what_is_there(self, stride, pooled):
        short = Shortcut(1, 1, stride).eval()
        nn.init.ones_(short.get_parameter("_conv.weight"))
        found = short(torch.arange(1.0, 10.0).reshape(1, 1, 3, 3))
        torch.testing.assert_close(found[0, 0], torch.tensor(pooled) / (1 + 1e-5) ** 0.5)

    def test_norms_have_paddles_eps(self):
        found = {m.eps for m in ResNet(layers=18).modules() if isinstance(m, nn.BatchNorm2d)}
        assert found == {1e-5}

    def test_unknown_depth(self):
        with pytest.raises(ValueError, match="no 99 layers; known: 18, 34, 50, 101, 152, 200"):
            ResNet(layers=99)
