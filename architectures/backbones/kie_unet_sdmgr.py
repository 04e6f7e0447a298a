"""SDMGR's backbone: a U-Net, and of its map the strongest features inside each box.

Spatial Dual-Modality Graph Reasoning for Key Information Extraction,
https://arxiv.org/abs/2103.14470; PaddleOCR: `ppocr/modeling/backbones/kie_unet_sdmgr.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.compiler import is_exporting

from architectures.interfaces import Part
from architectures.layers.conv import BatchNormAct
from architectures.layers.roi_align import roi_align_rotated, roi_align_upright

WIDTHS = (16, 32, 64, 128, 256)
GRID = (7, 7)  # cells of a box, of which the strongest counts


def _conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)


class Encoder(nn.Module):
    """Two convolutions."""

    folds = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, 3)
        self.bn1 = BatchNormAct(out_channels, "relu")
        self.conv2 = _conv(out_channels, out_channels, 3)
        self.bn2 = BatchNormAct(out_channels, "relu")

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H, W)`."""
        return self.bn2(self.conv2(self.bn1(self.conv1(x))))


class Decoder(nn.Module):
    """Doubles the size of a map and joins it with the one that an encoder made of that size."""

    folds = (("conv0", "bn0"), ("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, 3)
        self.bn1 = BatchNormAct(out_channels, "relu")
        self.conv2 = _conv(out_channels, out_channels, 3)
        self.bn2 = BatchNormAct(out_channels, "relu")
        self.conv0 = _conv(in_channels, out_channels, 1)
        self.bn0 = BatchNormAct(out_channels, "relu")

    def forward(self, finer: Tensor, coarser: Tensor) -> Tensor:
        """`(N, C / 2, 2 * H, 2 * W)` and `(N, C, H, W)` to `(N, C / 2, 2 * H, 2 * W)`."""
        grown = F.interpolate(self.bn0(self.conv0(coarser)), scale_factor=2.0, mode="bilinear")
        x = torch.cat([finer, grown], 1)
        return self.bn2(self.conv2(self.bn1(self.conv1(x))))


class UNet(nn.Module):
    """Five encoders; from the second on, the map that the next one gets has half the size."""

    def __init__(self) -> None:
        super().__init__()
        before = 3
        for level, width in enumerate(WIDTHS, start=1):
            self.add_module(f"down{level}", Encoder(before, width))
            before = width
        for level, width in enumerate(WIDTHS[:-1], start=1):
            self.add_module(f"up{level}", Decoder(2 * width, width))

    def forward(self, image: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 16, H, W)`; sides are multiples of 16."""
        maps = [self.get_submodule("down1")(image)]
        for level in range(2, len(WIDTHS) + 1):
            x = self.get_submodule(f"down{level}")(maps[-1])
            maps.append(F.max_pool2d(x, 3, 2, 1))
        x = maps.pop()
        for level in range(len(maps), 0, -1):
            x = self.get_submodule(f"up{level}")(maps[level - 1], x)
        return x


class Kie_backbone(Part):  # noqa: N801, PaddleOCR's name
    """Features of the boxes of all pages, `(boxes, 16)`."""

    extra_inputs = ("boxes", "tag", "image_size")
    out_channels = WIDTHS[0]

    def __init__(self, in_channels: int) -> None:  # noqa: ARG002
        super().__init__()
        self.img_feat = UNet()

    def forward(self, image: Tensor, boxes: Tensor, tag: Tensor, image_size: Tensor) -> Tensor:
        """Return the features of the boxes, page after page, `(boxes, 16)`.

        Args:
            image: (N, 3, H, W) float32; what lies right of and below all pages is cut off.
            boxes: (N, B, 4) float32: left, top, right, bottom, in pixels.
            tag: (N, 2) int64: how many boxes a page has, and the length of its longest text.
            image_size: (N, 2) int64: height and width of a page, multiples of 16.
        """
        height, width = (int(side) for side in image_size.amax(0))
        features = self.img_feat(image[:, :, :height, :width])
        return torch.cat(
            [
                self.pool(features[page : page + 1], placed[:count])
                for page, (placed, count) in enumerate(zip(boxes, tag[:, 0].tolist(), strict=True))
            ]
        )

    def pool(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Return the strongest features inside each box of a page, `(boxes, 16)`.

        Args:
            features: the map of the page, (1, 16, H, W).
            boxes: (boxes, 4) float32: left, top, right, bottom, in pixels.
        """
        if is_exporting():  # the faster way takes boxes by their sizes, which no graph knows
            return roi_align_upright(features, boxes, GRID).amax((2, 3))
        return roi_align_rotated(features, _upright(boxes), GRID, 1.0).amax((2, 3))


def _upright(boxes: Tensor) -> Tensor:
    """Return boxes `(B, 4)` as rectangles `(B, 5)`: centre, width, height, angle 0."""
    start, end = boxes[:, :2], boxes[:, 2:]
    return torch.cat([(start + end) / 2, end - start, boxes.new_zeros(len(boxes), 1)], 1)
