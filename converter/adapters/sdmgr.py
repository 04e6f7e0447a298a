"""SDMGR: boxes, texts and relative places. Labels, which its training needs, are not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from converter.adapters.base import HeadAdapter, RecordedInput

PLACES = 300  # rows of PaddleOCR's arrays, for boxes and for characters
ROW = 64  # pixels of the height for each row of two boxes; there are three rows at least


class SDMGRAdapter(HeadAdapter):
    """PaddleOCR's network takes all in one list, for the backbone and for the head."""

    extra_inputs = ("relations", "texts", "boxes", "labels", "tag", "image_size")
    computed_inside = frozenset({"labels"})
    image_in_list = True

    def extra_values(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return boxes in rows with texts of falling length, in arrays of PaddleOCR's size.

        A higher image has more boxes, a wider one longer texts.
        """
        count, _, height, width = image.shape
        rows = max(3, height // ROW)
        used, longest = 2 * rows, 9 + max(0, width - 192) // 32
        boxes = np.zeros((count, PLACES, 4), np.float32)
        texts = np.full((count, PLACES, PLACES), -1, np.int64)
        relations = np.zeros((count, PLACES, PLACES, 5), np.float32)
        for box in range(used):
            top, left = height * (box // 2) / (rows + 1) + 4, width * (box % 2) / 2 + 6
            boxes[:, box] = left, top, left + width / 3, top + height / (2 * rows)
            length = max(1, longest - box)
            texts[:, box, :length] = (7 * box + 3 * np.arange(length)) % 90 + 1
        corners = boxes[0, :used]
        sides = corners[:, 2:] - corners[:, :2]
        apart = corners[None, :, :2] - corners[:, None, :2]
        described = np.concatenate(
            [
                apart / 10,
                np.broadcast_to((sides / sides[:, 1:])[None, :, :1], (used, used, 1)),
                sides[None, :] / sides[:, None, 1:],
            ],
            -1,
        )
        relations[:, :used, :used] = described
        return {
            "relations": relations,
            "texts": texts,
            "boxes": boxes,
            "labels": np.zeros((count, PLACES), np.int64),
            "tag": np.tile(np.array([[used, longest]], np.int64), (count, 1)),
            "image_size": np.tile(np.array([[height, width]], np.int64), (count, 1)),
        }

    def recorded_inputs(self, image: np.ndarray) -> dict[str, RecordedInput]:
        """Return the inputs beside the image; all of them depend on boxes alone."""
        return {
            name: RecordedInput("stored: boxes in rows, as at inference", values)
            for name, values in self.extra_values(image).items()
        }

    def call_paddle(self, network: Any, image: Any, extra: Mapping[str, Any]) -> Any:
        """Run PaddleOCR's network, whose head also takes the list."""
        return network([image, *extra.values()])
