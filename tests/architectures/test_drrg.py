"""DRRG: components along lines, the graphs around them, and what is read of a map for each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from shapely.geometry import Polygon

from architectures import build
from architectures.heads.drrg import det_drrg_head
from architectures.heads.drrg.det_drrg_head import DRRGHead
from architectures.heads.drrg.gcn import GCN
from architectures.heads.drrg.local_graph import geometry, local_graphs
from architectures.heads.drrg.proposal_local_graph import Proposals, _merged
from architectures.layers.roi_align import roi_align_rotated
from tests.support.drrg_maps import drrg_maps

THRESHOLDS = {"text_region_thr": 0.3, "center_region_thr": 0.4}


@pytest.fixture
def head() -> DRRGHead:
    torch.manual_seed(0)
    return DRRGHead(4, **THRESHOLDS).eval()


def features(seed: int) -> torch.Tensor:
    """What the neck and the convolution give for generated lines."""
    maps = torch.from_numpy(drrg_maps(seed))[None]
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([torch.randn(1, 4, *maps.shape[2:], generator=generator), maps], 1)


def probabilities(seed: int) -> np.ndarray:
    maps = torch.from_numpy(drrg_maps(seed))
    return torch.cat([maps[:2].sigmoid(), maps[2:]]).numpy()


# The maps' values in rotated rectangles.


def directly(x: np.ndarray, roi: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The same one place after the other, as in the operator that PaddleOCR compiles."""
    channels, height, width = x.shape
    centre_x, centre_y, wide, high, angle = roi
    rows, columns = size
    down, across = math.ceil(high / rows), math.ceil(wide / columns)
    result = np.zeros((channels, rows, columns))
    for row, column, i, j in np.ndindex(rows, columns, down, across):
        v = -high / 2 + (row + (i + 0.5) / down) * high / rows
        u = -wide / 2 + (column + (j + 0.5) / across) * wide / columns
        px = v * math.sin(angle) + u * math.cos(angle) + centre_x - 0.5
        py = v * math.cos(angle) - u * math.sin(angle) + centre_y - 0.5
        if not (-1 <= py <= height and -1 <= px <= width):
            continue
        px, py = min(max(px, 0), width - 1), min(max(py, 0), height - 1)
        left, top = int(px), int(py)
        right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
        fx, fy = px - left, py - top
        upper = x[:, top, left] * (1 - fx) + x[:, top, right] * fx
        lower = x[:, bottom, left] * (1 - fx) + x[:, bottom, right] * fx
        result[:, row, column] += (upper * (1 - fy) + lower * fy) / (down * across)
    return result


def test_rotated_rectangles_are_read_as_by_the_compiled_operator():
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 20, 30))
    # Within the map, across its edges, and outside of it; upright, turned, and without any width.
    rois = np.column_stack(
        [random.uniform(-4, 34, 40), random.uniform(-4, 24, 40), random.uniform(1, 12, (40, 2)),
         random.uniform(-math.pi, math.pi, 40)]
    )  # fmt: skip
    rois[:3, 4] = 0, math.pi / 2, -math.pi
    rois[3, 2] = 0
    expected = np.stack([directly(x, roi, (4, 3)) if roi[2] else np.zeros((3, 4, 3))
                         for roi in rois])  # fmt: skip
    found = roi_align_rotated(torch.from_numpy(x)[None], torch.from_numpy(rois), (4, 3), 1.0)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    halved = rois * [0.5, 0.5, 0.5, 0.5, 1]
    scaled = roi_align_rotated(torch.from_numpy(x)[None], torch.from_numpy(halved), (4, 3), 2.0)
    np.testing.assert_allclose(scaled, expected, atol=1e-10)


# Graphs.


@pytest.mark.parametrize("count", [2, 5, 60])
def test_graphs_are_made_of_the_nearest_and_of_those_next_to_them(count):
    random = np.random.default_rng(count)
    centres = random.integers(0, 12 if count == 60 else 99, (count, 2))  # some coincide
    found = local_graphs(centres, (8, 4), 3)
    gaps = np.sqrt(((centres[:, None] - centres[None]) ** 2).sum(2).astype(float))
    ranked = np.argsort(gaps, axis=1).tolist()
    for pivot in range(count):
        nearest = ranked[pivot][1:9]
        members = set(nearest).union(*(ranked[other][1:5] for other in nearest)) - {pivot}
        nodes = [pivot, *sorted(members)]
        there = found.there[pivot]
        assert found.nodes[pivot][there].tolist() == nodes
        assert not found.nodes[pivot][~there].any()
        assert found.nearest[pivot].tolist() == nearest
        assert [nodes[place] for place in found.places[pivot]] == nearest
        linked = np.eye(len(nodes))
        for a, first in enumerate(nodes):
            for b, second in enumerate(nodes):
                linked[a, b] += second in ranked[first][1:4] or first in ranked[second][1:4]
        degrees = linked.sum(0)
        adjacency = linked / np.sqrt(degrees[:, None] * degrees[None])
        size = len(nodes)
        np.testing.assert_allclose(found.adjacency[pivot, :size, :size], adjacency, rtol=1e-6)
        assert found.adjacency[pivot].sum() == pytest.approx(adjacency.sum(), rel=1e-5)


def test_sines_and_cosines_take_turns_from_component_to_component():
    attributes = np.random.default_rng(0).normal(size=(3, 6)) * 50
    found = geometry(attributes, 24)
    for row, (values, embedded) in enumerate(zip(attributes, found, strict=True)):
        wave = np.cos if row % 2 else np.sin
        expected = [wave(value / length) for length in (1, 1, 1000**0.5, 1000**0.5)
                    for value in values]  # fmt: skip
        np.testing.assert_allclose(embedded, expected, rtol=1e-4, atol=1e-6)


def test_a_graph_convolution_sees_neighbours():
    torch.manual_seed(0)
    gcn = GCN(6).eval()
    nodes = torch.randn(1, 4, 6)
    chain = torch.diag(torch.ones(3), 1) + torch.diag(torch.ones(3), -1) + torch.eye(4)
    nearest = torch.tensor([[1, 3]])
    with torch.no_grad():
        whole = gcn(nodes, chain[None], nearest)
        cut = chain.clone()
        cut[2, 3] = cut[3, 2] = 0
        assert not torch.allclose(gcn(nodes, cut[None], nearest), whole)
        order = torch.tensor([2, 0, 3, 1])  # what the nodes are called does not matter
        renamed = gcn(nodes[:, order], chain[order][:, order][None], torch.tensor([[3, 2]]))
    torch.testing.assert_close(renamed, whole)


# Components.


def merged_directly(boxes: np.ndarray, thresh: float) -> np.ndarray:
    def overlap(a: np.ndarray, b: np.ndarray) -> float:
        first, second = (Polygon(each[:8].reshape(4, 2)) for each in (a, b))
        common = first.intersection(second).area
        return common / (first.area + second.area - common)

    merged: list[np.ndarray] = []
    for box in boxes:
        if merged and overlap(box, merged[-1]) > thresh:
            total = merged[-1][8] + box[8]
            mean = (merged[-1][:8] * merged[-1][8] + box[:8] * box[8]) / total
            merged[-1] = np.append(mean, total)
        else:
            merged.append(box)
    kept: list[np.ndarray] = []
    for box in sorted(merged, key=lambda box: -box[8]):
        if all(overlap(box, other) <= thresh for other in kept):
            kept.append(box)
    return np.array(kept)


def test_neighbours_are_merged_and_what_overlaps_goes():
    random = np.random.default_rng(0)
    rows = []
    for x in [*np.arange(10, 200, 1.5), *np.arange(60, 90, 1.5)]:
        place = np.array([x, 30 + 10 * math.sin(x / 30)])
        corners = np.array([[0, 0], [9, 1], [8, 21], [-1, 20]]) + place
        rows.append(np.append(corners.ravel(), random.uniform(0.4, 1)))
    found = _merged(np.array(rows), 0.3)
    expected = merged_directly(np.array(rows), 0.3)
    assert 5 < len(expected) < len(rows) / 3
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=0.01)


def test_corners_that_run_backwards_are_turned_before_they_are_merged():
    box = np.array([10, 10, 20, 10, 20, 40, 10, 40, 0.5])
    backwards = np.append(box[[6, 7, 4, 5, 2, 3, 0, 1]], 0.5)
    np.testing.assert_allclose(_merged(np.array([box, backwards]), 0.3)[0], [*box[:8], 1])


def test_components_lie_along_the_middle_of_text(head):
    maps = probabilities(2)
    components, attributes = Proposals(**head.thresholds)(maps)
    assert len(components) > 10
    x, y, height, width, cosine, sine = attributes.T
    inside = (x >= 0) & (x < maps.shape[2]) & (y >= 0) & (y < maps.shape[1])
    at = y[inside].astype(int), x[inside].astype(int)
    assert (maps[0][at] > 0.3).mean() > 0.95
    np.testing.assert_allclose(height[inside], maps[4][at] + maps[5][at], rtol=1e-6)
    assert set(np.clip(height * 0.4, 8, 24)) == set(width)
    np.testing.assert_allclose(cosine**2 + sine**2, 1, atol=1e-3)
    assert ((components[:, 8] > 0) & (components[:, 8] <= 1)).all()


def drawn(**changes: object) -> tuple[np.ndarray, np.ndarray]:
    """Components of one upright line of 80 by 20 pixels with a hole in its middle."""
    maps = np.zeros((6, 64, 128), np.float32)
    maps[3], maps[2] = 0.0, -2.0  # up; of any length
    maps[4] = maps[5] = 10
    maps[0, 20:40, 20:100] = 0.9
    maps[1, 26:34, 20:100] = 0.9
    maps[1, 29:31, 50:60] = 0
    options = {"nms_thr": 0.3, "min_width": 8.0, "max_width": 24.0, "comp_shrink_ratio": 1.0,
               "comp_ratio": 0.4, "comp_score_thr": 0.3, "text_region_thr": 0.3,
               "center_region_thr": 0.4, "center_region_area_thr": 50}  # fmt: skip
    return Proposals(**{**options, **changes})(maps)


def test_boxes_stand_upright_and_cover_their_line():
    components, attributes = drawn()
    boxes = components[:, :8].reshape(-1, 4, 2)
    top_left, top_right, bottom_right, bottom_left = boxes.swapaxes(0, 1)
    np.testing.assert_allclose(top_right - top_left, [[8, 0]] * len(boxes), atol=0.01)
    np.testing.assert_allclose(bottom_left - top_left, [[0, 20]] * len(boxes), atol=0.01)
    np.testing.assert_allclose(bottom_right - bottom_left, [[8, 0]] * len(boxes), atol=0.01)
    assert boxes[..., 0].min() < 30 < 90 < boxes[..., 0].max()
    assert set(map(tuple, attributes[:, 2:].round(4))) == {(20, 8, 0, -1)}


@pytest.mark.parametrize(
    "changes",
    [
        {"center_region_area_thr": 640},
        {"text_region_thr": 0.95},
        {"center_region_thr": 0.95},
        {"comp_score_thr": 0.95},
    ],
    ids=str,
)
def test_what_is_small_or_faint_gives_no_component(changes):
    assert len(drawn(center_region_area_thr=639)[0]) > 3  # the hole belongs to it
    components, attributes = drawn(**changes)
    assert (components.shape, attributes.shape) == ((0, 9), (0, 6))


def test_boxes_that_mostly_leave_the_text_give_no_component():
    assert not len(drawn(comp_shrink_ratio=5.0)[0])


# The whole.


def test_each_component_is_asked_about_its_nearest(head, monkeypatch):
    x = features(0)
    with torch.inference_mode():
        edges, scores, components = head.link(x)
    count = len(components)
    assert count > 20
    assert edges[:, 0].tolist() == [pivot for pivot in range(count) for _ in range(8)]
    assert not (edges[:, 0] == edges[:, 1]).any()
    assert ((scores > 0) & (scores < 1)).all()
    assert scores.std() > 1e-3
    # Graphs that go through the network apart give the same.
    monkeypatch.setattr(det_drrg_head, "AT_ONCE", 7)
    with torch.inference_mode():
        apart = head.link(x)
    torch.testing.assert_close((edges, scores, components), apart)


def test_results_without_text(head):
    with torch.no_grad():
        head.out_conv.weight.zero_()
        head.out_conv.bias.fill_(-9)
        results = head(torch.randn(1, 4, 64, 96))
    shapes = {name: tuple(result.shape) for name, result in results.items()}
    assert shapes == {"edges": (0, 2), "scores": (0,), "text_comps": (0, 9), "maps": (1, 6, 64, 96)}
    assert results["edges"].dtype == torch.int64


def test_one_image_at_a_time(head):
    with pytest.raises(ValueError, match="one image at a time, not 2"):
        head(torch.randn(2, 4, 32, 32))


def test_a_length_that_no_network_has():
    with pytest.raises(ValueError, match="multiple of 6"):
        DRRGHead(4, node_geo_feat_len=100)


def test_the_network_runs_in_every_form():
    torch.manual_seed(0)
    architecture = {
        "model_type": "det",
        "Backbone": {"name": "ResNet_vd", "layers": 18},
        "Neck": {"name": "FPN_UNet", "in_channels": [64, 128, 256, 512], "out_channels": 8},
        "Head": {"name": "DRRGHead", "in_channels": 8, "local_graph_thr": 0.7},
    }
    image = torch.rand(1, 3, 32, 64)
    found = []
    for form in ("train", "fused"):
        torch.manual_seed(0)
        with torch.inference_mode():
            found.append(build(architecture, form=form)(image)["maps"])
    assert found[0].shape == (1, 6, 32, 64)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
