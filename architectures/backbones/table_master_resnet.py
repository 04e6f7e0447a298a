"""TableMASTER's backbone: a ResNet whose stages mix in a global context.

TableMASTER, https://arxiv.org/abs/2105.01848; GCNet, https://arxiv.org/abs/1904.11492; PaddleOCR:
`ppocr/modeling/backbones/table_master_resnet.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (256, 256, 512, 512)
FUSIONS = ("channel_add", "channel_mul")


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a map of one pixel."""

    def forward(self, input: Tensor) -> Tensor:
        """`(N, C, 1, 1)` to the same shape."""
        return super().forward(input.flatten(1))[..., None, None]


class GlobalContext(nn.Module):
    """Attention pooling of the whole map, added to or multiplied with every pixel.

    PaddleOCR's `MultiAspectGCAttention`; its `att_scale` has no effect there.
    """

    def __init__(self, channels: int, ratio: float, headers: int, fusion_type: str) -> None:
        super().__init__()
        if fusion_type not in FUSIONS:
            raise ValueError(f"fusion_type is {fusion_type!r}; known: {', '.join(FUSIONS)}")
        self.headers, self.fusion_type = headers, fusion_type
        self.conv_mask = nn.Conv2d(channels // headers, 1, 1)
        inner = int(channels * ratio)
        transform = nn.Sequential(
            nn.Conv2d(channels, inner, 1),
            ChannelNorm(inner),
            nn.ReLU(),
            nn.Conv2d(inner, channels, 1),
        )
        self.add_module(f"{fusion_type}_conv", transform)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        count, channels = x.shape[:2]
        grouped = x.reshape(count * self.headers, channels // self.headers, *x.shape[2:])
        weights = self.conv_mask(grouped).flatten(2).softmax(2).unsqueeze(-1)
        context = torch.matmul(grouped.flatten(2).unsqueeze(1), weights)
        context = context.reshape(count, channels, 1, 1)
        context = self.get_submodule(f"{self.fusion_type}_conv")(context)
        return x + context if self.fusion_type == "channel_add" else x * context.sigmoid()


class BasicBlock(nn.Module):
    """Residual unit of two 3x3 convolutions, with a global context in the first of some stages."""

    folds: ClassVar = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, in_channels: int, channels: int, context: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.context_block = context
        self.downsample: nn.Module = nn.Identity()
        if in_channels != channels:
            self.downsample = Downsample(
                nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, channels, H, W)`."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.context_block(self.bn2(self.conv2(y)))
        return F.relu(y + self.downsample(x))


class Downsample(nn.Sequential):
    """1x1 convolution and BatchNorm of a shortcut."""

    folds: ClassVar = (("0", "1"),)


class TableResNetExtra(nn.Module):
    """Three maps, at 1/2, 1/4 and 1/8 of the image.

    Args:
        in_channels: of the image.
        layers: number of units of the four stages.
        gcb_config: options of the global context, and under `layers` the stages that have it.
    """

    folds: ClassVar = tuple((f"conv{n}", f"bn{n}") for n in range(1, 7))

    def __init__(
        self,
        in_channels: int = 3,
        layers: Sequence[int] = (1, 2, 5, 3),
        gcb_config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if len(layers) != 4:
            raise ValueError(f"TableResNetExtra takes four stages, not {list(layers)}")
        first, second, third, last = WIDTHS
        widths = (
            (in_channels, 64),
            (64, 128),
            (first,) * 2,
            (second,) * 2,
            (third,) * 2,
            (last,) * 2,
        )
        for number, (before, after) in enumerate(widths, 1):
            self.add_module(f"conv{number}", nn.Conv2d(before, after, 3, padding=1, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(after))
        channels = 128
        for number, (width, depth) in enumerate(zip(WIDTHS, layers, strict=True), 1):
            contexts = [
                _context(gcb_config, number - 1, width),
                *(nn.Identity() for _ in range(1, depth)),
            ]
            units = []
            for context in contexts:
                units.append(BasicBlock(channels, width, context))
                channels = width
            self.add_module(f"layer{number}", nn.Sequential(*units))
        self.out_channels = [first, second, last]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(N, 3, H, W)` to maps of 256, 256 and 512 channels at 1/2, 1/4 and 1/8 of the size."""
        x = self._convolve(2, self._convolve(1, x))
        c2 = self._convolve(3, self._stage(1, F.max_pool2d(x, 2)))
        c3 = self._convolve(4, self._stage(2, F.max_pool2d(c2, 2)))
        x = self._convolve(5, self._stage(3, F.max_pool2d(c3, 2)))
        return c2, c3, self._convolve(6, self._stage(4, x))

    def _convolve(self, number: int, x: Tensor) -> Tensor:
        convolved: Tensor = self.get_submodule(f"conv{number}")(x)
        return F.relu(self.get_submodule(f"bn{number}")(convolved))

    def _stage(self, number: int, x: Tensor) -> Tensor:
        result: Tensor = self.get_submodule(f"layer{number}")(x)
        return result


def _context(config: Mapping[str, Any] | None, stage: int, channels: int) -> nn.Module:
    if config is None or not config["layers"][stage]:
        return nn.Identity()
    return GlobalContext(channels, config["ratio"], config["headers"], config["fusion_type"])
