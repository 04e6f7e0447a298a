"""SDMGR: boxes, texts and relative places. Labels, which its training needs, are not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from converter.adapters.base import HeadAdapter, RecordedInput

BOXES, PLACES, LONGEST = 6, 300, 9


class SDMGRAdapter(HeadAdapter):
    """PaddleOCR's network takes all in one list, for the backbone and for the head."""

    extra_inputs = ("relations", "texts", "boxes", "labels", "tag", "image_size")
    computed_inside = frozenset({"labels"})
    image_in_list = True

    def extra_values(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return boxes in rows with texts of growing length, in arrays of PaddleOCR's size."""
        count, _, height, width = image.shape
        page = np.array([0, 0, height, width])
        boxes = np.zeros((count, PLACES, 4), np.float32)
        texts = np.full((count, PLACES, PLACES), -1, np.int64)
        relations = np.zeros((count, PLACES, PLACES, 5), np.float32)
        for box in range(BOXES):
            top, left = height * (box // 2) / 4 + 4, width * (box % 2) / 2 + 6
            boxes[:, box] = left, top, left + width / 3, top + height / 6
            length = LONGEST - box
            texts[:, box, :length] = (7 * box + 3 * np.arange(length)) % 90 + 1
        corners = boxes[0, :BOXES]
        sides = corners[:, 2:] - corners[:, :2]
        apart = corners[None, :, :2] - corners[:, None, :2]
        described = np.concatenate(
            [
                apart / 10,
                np.broadcast_to((sides / sides[:, 1:])[None, :, :1], (BOXES, BOXES, 1)),
                sides[None, :] / sides[:, None, 1:],
            ],
            -1,
        )
        relations[:, :BOXES, :BOXES] = described
        return {
            "relations": relations,
            "texts": texts,
            "boxes": boxes,
            "labels": np.zeros((count, PLACES), np.int64),
            "tag": np.tile(np.array([[BOXES, LONGEST]], np.int64), (count, 1)),
            "image_size": np.tile(page[None, 2:].astype(np.int64), (count, 1)),
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
