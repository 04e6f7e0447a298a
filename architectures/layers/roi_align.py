"""Mean values of a map over the cells of rectangles.

RoI align, https://arxiv.org/abs/1703.06870, for rectangles that are turned. PaddleOCR compiles an
operator for it: `ppocr/ext_op/roi_align_rotated`. Here all places that it looks at are computed at
once and read by PyTorch's `grid_sample`. For upright rectangles there is a second way, which is
slower but the same for all sizes, so that a graph can hold it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def roi_align_rotated(x: Tensor, rois: Tensor, size: tuple[int, int], scale: float) -> Tensor:
    """Sum up each rectangle in `size` cells, rows and columns: `(R, C, *size)`.

    Args:
        x: one map, `(1, C, H, W)`.
        rois: `(R, 5)`, the centre's x and y, width, height, and the angle in radians, from the
            x axis towards the negative y axis, of the rectangle's width.
        size: cells along the height and along the width.
        scale: pixels of the map for one of the rectangles' unit.

    A cell is the mean of as many places as it has pixels along its height and its width, rounded
    up, interpolated between the centres of pixels. Places up to one pixel outside of the map have
    the value of its edge, those farther away are zero.
    """
    result = x.new_zeros(len(rois), x.shape[1], *size)
    sides = rois[:, [3, 2]] * scale
    cells = torch.tensor(size, device=x.device)
    counts = (sides / cells).ceil().long()
    # Rectangles whose cells have the same number of places are read together.
    for count in counts.unique(dim=0).tolist():
        chosen = (counts == torch.tensor(count, device=x.device)).all(1)
        if min(count) > 0:
            result[chosen] = _means(x, rois[chosen], size, count, scale)
    return result


def _means(
    x: Tensor, rois: Tensor, size: tuple[int, int], count: list[int], scale: float
) -> Tensor:
    """The means of rectangles whose cells have `count` places each way."""
    height, width = x.shape[2:]
    centre_x, centre_y = (rois[:, :2].T * scale - 0.5)[..., None, None]
    down, right = (
        (_middles(cells * places, rois) * (side * scale)[:, None])
        for cells, places, side in zip(size, count, (rois[:, 3], rois[:, 2]), strict=True)
    )
    down, right = down[:, :, None], right[:, None, :]
    cos, sin = rois[:, 4].cos()[:, None, None], rois[:, 4].sin()[:, None, None]
    places_y = down * cos - right * sin + centre_y
    places_x = down * sin + right * cos + centre_x
    # grid_sample counts from -1 to 1, between the centres of the first and the last pixel.
    grid = torch.stack(
        [places_x * (2 / max(width - 1, 1)) - 1, places_y * (2 / max(height - 1, 1)) - 1], 3
    )
    rows, columns = grid.shape[1:3]
    grid = grid.reshape(1, -1, columns, 2).to(x.dtype)
    values = F.grid_sample(x, grid, padding_mode="border", align_corners=True)
    there = (places_y >= -1) & (places_y <= height) & (places_x >= -1) & (places_x <= width)
    values = values[0].reshape(-1, len(rois), rows, columns) * there
    return F.avg_pool2d(values.transpose(0, 1), tuple(count))


def _middles(places: int, like: Tensor) -> Tensor:
    """The middles of so many equal pieces of a length of 1 around 0, `(1, places)`."""
    steps = torch.arange(places, device=like.device, dtype=like.dtype)
    return ((steps + 0.5) / places - 0.5)[None]


def roi_align_upright(x: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Sum up each box in `size` cells, as `roi_align_rotated` does: `(R, C, *size)`.

    The pixels of rows and of columns are weighted one after the other.

    Args:
        x: one map, `(1, C, H, W)`.
        boxes: `(R, 4)`, at least one: left, top, right, bottom, in pixels of the map.
        size: cells along the height and along the width.
    """
    left, top, right, bottom = boxes.unbind(1)
    rows = _cell_weights(top, bottom, size[0], x.shape[2])
    columns = _cell_weights(left, right, size[1], x.shape[3])
    return torch.einsum("rciw,rjw->rcij", torch.einsum("rih,chw->rciw", rows, x[0]), columns)


def _cell_weights(start: Tensor, end: Tensor, cells: int, size: int) -> Tensor:
    """Return how much each pixel of an axis counts in each cell, `(R, cells, size)`.

    Args:
        start, end: of each box along the axis, `(R,)`.
        cells: of each box.
        size: of the axis, in pixels.
    """
    side = end - start
    counts = (side / cells).ceil().long().clamp(min=0)
    most = counts.max().item()
    torch._check(most >= 0)  # an exporter does not know that counts are not negative
    steps = torch.arange(most, device=start.device)
    divisor = counts.clamp(min=1)[:, None, None]
    places = torch.arange(cells, device=start.device)[:, None] * divisor + steps
    middles = (places + 0.5) / (divisor * cells) - 0.5
    at = middles * side[:, None, None] + ((start + end) / 2 - 0.5)[:, None, None]
    counted = (steps < counts[:, None, None]) & (at >= -1) & (at <= size)
    share = counted.to(start.dtype) / divisor
    at = at.clamp(0, size - 1)
    lower = at.floor()
    upper_share = (at - lower) * share
    before = lower.long()
    after = (before + 1).clamp(max=size - 1)
    weights = start.new_zeros(start.shape[0], cells, size)
    weights = weights.scatter_add(2, before, share - upper_share)
    return weights.scatter_add(2, after, upper_share)
