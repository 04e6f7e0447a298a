"""RoI align of upright boxes, against that of rectangles that are turned by nothing."""

from __future__ import annotations

import pytest
import torch

from architectures.layers.roi_align import roi_align_rotated, roi_align_upright

ODD = [[5.0, 5, 5, 9], [9, 9, 3, 4], [-20, -30, 300, 600], [200, 100, 230, 140], [3, 3, 3.5, 3.2]]


@pytest.mark.parametrize("count", [1, 40])
def test_upright_boxes_are_rectangles_of_no_angle(count):
    generator = torch.Generator().manual_seed(count)
    features = torch.randn(1, 3, 70, 130, generator=generator)
    corners = torch.rand(count, 2, 2, generator=generator) * torch.tensor([130.0, 70])
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    if count > len(ODD):  # empty, turned round, larger than the map, outside, within a pixel
        boxes[: len(ODD)] = torch.tensor(ODD)
    start, end = boxes[:, :2], boxes[:, 2:]
    turned = torch.cat([(start + end) / 2, end - start, torch.zeros(count, 1)], 1)
    expected = roi_align_rotated(features, turned, (7, 5), 1.0)
    torch.testing.assert_close(
        roi_align_upright(features, boxes, (7, 5)), expected, rtol=0, atol=1e-4
    )
