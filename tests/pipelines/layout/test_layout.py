"""Layout analysis: regions of pages of coloured boxes, by networks that see the colours."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from converter.catalog.cards import cards
from pipelines import LayoutDetector
from pipelines.layout.detections import level_sizes
from schemas.processing import LayoutSettings, SettingsError

LABELS = ["text", "table", "image"]
COLOURS = {"text": (0, 0, 255), "table": (0, 255, 0), "image": (255, 0, 0)}  # BGR
BOXES = {"text": (40, 60, 300, 120), "table": (50, 200, 250, 420), "image": (320, 300, 560, 480)}
STRIDES = (8, 16, 32, 64)
MODELS = [model for model in cards() if model.task == "layout"]


def card(color, mean=0.0):
    values = {"color": color, "mean": [mean] * 3, "std": [1.0] * 3}
    pipeline = {"decoder": "PicoDetPostProcess"} if color == "BGR" else {}
    size = {"height": 320, "width": 256}
    return {"task": "layout", "labels": LABELS, "input": size | values, "pipeline": pipeline}


def page():
    """A white page of 600 x 500 pixels with a coloured box for each label."""
    image = np.full((500, 600, 3), 255, np.uint8)
    for label, (left, top, right, bottom) in BOXES.items():
        image[top:bottom, left:right] = COLOURS[label]
    return image


def seen(batch):
    """The box of each colour on the network's input, `(classes, 4)`; red comes first."""
    found = []
    for channel in (0, 1, 2):
        others = batch[0].sum(0) - batch[0, channel]
        rows, columns = np.nonzero((batch[0, channel] > 0.9) & (others < 0.1))
        found.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    return np.array(found, np.float32)


class PicoDet:
    """Finds each box twice, at the two cells next to its centre, as the bins can tell."""

    def __init__(self, color="RGB"):
        self.card = card(color)
        self.color = color

    def __call__(self, batch):
        boxes = seen(batch if self.color == "RGB" else batch[:, ::-1])
        outputs = {}
        sizes = level_sizes(*batch.shape[2:], STRIDES)
        for level, ((rows, columns), stride) in enumerate(zip(sizes, STRIDES, strict=True)):
            scores = np.full((1, rows * columns, 3), 0.01, np.float32)
            distances = np.zeros((1, rows * columns, 4, 8), np.float32)
            for number, (left, top, right, bottom) in enumerate(boxes if stride == 32 else []):
                x, y = (left + right) / 2, (top + bottom) / 2
                column, row = int(x / stride), int(y / stride)
                for beside in (0, 1):
                    cell = row * columns + column - beside
                    centre_x, centre_y = (column - beside + 0.5) * stride, (row + 0.5) * stride
                    sides = [centre_x - left, centre_y - top, right - centre_x, bottom - centre_y]
                    for side, length in enumerate(np.array(sides) / stride):
                        low = int(length)
                        distances[0, cell, side] = -50
                        distances[0, cell, side, low] = np.log(1 - length + low)
                        distances[0, cell, side, low + 1] = np.log(max(length - low, 1e-20))
                    scores[0, cell, number] = 0.9 - 0.1 * beside
            outputs[f"scores.{level}"] = scores
            outputs[f"distances.{level}"] = distances.reshape(1, -1, 32)
        return outputs


class RTDETR:
    """Finds each box with one query."""

    card = card("RGB")

    def __call__(self, batch):
        height, width = batch.shape[2:]
        boxes = seen(batch) / [width, height, width, height]
        centred = np.concatenate(
            [(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1
        )
        logits = np.where(np.eye(3), 3.0, -6.0)
        return {"boxes": centred[None].astype(np.float32), "logits": logits[None].astype("f")}


class YOLO:
    """Finds each box with the first anchor of a cell of the coarsest map."""

    card = {
        **card("RGB"),
        "architecture": {
            "model_type": "layout",
            "Backbone": {"name": "ResNet"},
            "Head": {
                "name": "YOLOv3Head",
                "anchors": [[10, 20], [30, 40], [50, 60]],
                "anchor_masks": [[0, 1, 2], [2, 1, 0]],
            },
        },
    }

    def __call__(self, batch):
        height, width = batch.shape[2:]
        maps = {}
        for level in range(2):
            rows, columns = height // 32 * 2**level, width // 32 * 2**level
            values = np.full((3, 8, rows, columns), -20.0)
            for number, (left, top, right, bottom) in enumerate([] if level else seen(batch)):
                x, y = (left + right) / 64, (top + bottom) / 64
                column, row = int(x), int(y)
                shares = (np.array([x - column, y - row]) + 0.025) / 1.05
                values[0, :2, row, column] = np.log(shares / (1 - shares))
                sizes = np.array([right - left, bottom - top])
                values[0, 2:4, row, column] = np.log(sizes / [10, 20])
                values[0, [4, 5 + number], row, column] = 4.0
            maps[f"maps.{level}"] = values.reshape(1, 24, rows, columns).astype(np.float32)
        return maps


@pytest.mark.parametrize("network", [PicoDet(), PicoDet("BGR"), RTDETR(), YOLO()])
def test_regions_of_a_page(network):
    regions = LayoutDetector(network)(page())
    assert sorted(region.label for region in regions) == sorted(BOXES)
    for region in regions:
        left, top, right, bottom = BOXES[region.label]
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        assert region.box.dtype == np.float32
        assert np.abs(region.box - corners).max() < 4  # the input has half of the pixels
        assert region.score > 0.8
        assert json.loads(json.dumps(region.to_dict()))["label"] == region.label


class Ordered(RTDETR):
    """Reads the boxes in an order of its own."""

    def __init__(self, sequence):
        self.sequence = sequence

    def __call__(self, batch):
        ranks = np.argsort(self.sequence)
        order = np.where(ranks[:, None] < ranks, 2.0, -2.0)
        order[np.tril_indices(3)] = -1e4
        return {**super().__call__(batch), "order": order[None].astype(np.float32)}


@pytest.mark.parametrize("sequence", list(itertools.permutations(range(3))))
def test_regions_in_the_order_of_reading(sequence):
    regions = LayoutDetector(Ordered(sequence))(page())
    assert [region.label for region in regions] == [list(BOXES)[number] for number in sequence]


def test_an_order_of_other_regions():
    class Wrong(Ordered):
        def __call__(self, batch):
            return {**super().__call__(batch), "order": np.zeros((1, 3, 2), np.float32)}

    with pytest.raises(ValueError, match="is this a network of layout analysis"):
        LayoutDetector(Wrong((0, 1, 2)))(page())


@pytest.mark.parametrize(
    "model", [card for card in cards() if card.task == "layout"], ids=lambda card: card.name
)
def test_channels_and_steps_follow_the_source(model):
    """PP-Structure 2 reads blue first and resizes linearly, PaddleX red first and cubically."""
    settings = LayoutSettings(model.labels, color=model.input.color, **model.pipeline)
    steps = (settings.color, settings.decoder, settings.interpolation)
    is_old = model.name.startswith("picodet_lcnet")
    old, new = ("BGR", "PicoDetPostProcess", "linear"), ("RGB", "DetPostProcess", "cubic")
    assert steps == (old if is_old else new)


def test_thresholds_by_label():
    def found(**settings):
        return {region.label for region in LayoutDetector(RTDETR(), **settings)(page())}

    assert found(threshold=0.99) == set()
    assert found(threshold={"table": 0.99}) == {"text", "image"}
    assert len(LayoutDetector(PicoDet("BGR"), threshold={"text": 0.95})(page())) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": {"tables": 0.5}}, "no label tables; there are text, table, image"),
        ({"threshold": 2}, "threshold is 2, expected a number from 0 to 1"),
        ({"layout_merge_bboxes_mode": "big"}, "expected one of union, large, small"),
        ({"layout_unclip_ratio": [1, 1, 1]}, "two for width and height"),
        ({"size": 3}, "there is no setting size"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(SettingsError, match=message):
        LayoutDetector(RTDETR(), **settings)


def test_networks_of_another_kind():
    network = RTDETR()
    network.card = {"task": "layout"}
    with pytest.raises(SettingsError, match="has no labels"):
        LayoutDetector(network)
    network.card = {**card("RGB"), "labels": [*LABELS, "seal"]}
    with pytest.raises(ValueError, match="4 classes; is this a network of layout analysis"):
        LayoutDetector(network)(page())
    network.card = {**card("RGB"), "task": "det"}
    with pytest.raises(SettingsError, match="not a network of layout analysis, its task is det"):
        LayoutDetector(network)
