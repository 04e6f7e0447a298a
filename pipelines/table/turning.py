"""Tables on pages that are turned by quarters, and back.

Rules are those of PaddleX 3, inference/pipelines/table_recognition/pipeline_v2.py: boxes turn about
the sides of the page, not about its pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.table.results import Table, Texts, corners_of


def turned_place(place: np.ndarray, angle: int, shape: Sequence[int]) -> np.ndarray:
    """Return where a box is after its page was rotated counter-clockwise.

    Args:
        place: `(4,)`, left, top, right and bottom.
        angle: 0, 90, 180 or 270 degrees.
        shape: the shape of the page before its rotation.
    """
    height, width = shape[:2]
    left, top, right, bottom = place
    turned = {
        0: (left, top, right, bottom),
        90: (top, width - right, bottom, width - left),
        180: (width - right, height - bottom, width - left, height - top),
        270: (height - bottom, left, height - top, right),
    }
    return np.array(turned[angle])


def turned_texts(texts: Texts, angle: int, shape: Sequence[int]) -> Texts:
    """Return the texts of a page after it was rotated; the arguments are as for a box."""
    boxes = [turned_place(box, angle, shape) for box in texts.boxes]
    return Texts(np.array(boxes).reshape(-1, 4), texts.texts)


def turn_back(table: Table, angle: int, shape: Sequence[int]) -> Table:
    """Move the cells of a table on a rotated page to the page before its rotation.

    Args:
        table: its cells have upright boxes; their corners keep their order, from the top left.
        angle: the degrees by which the page was rotated counter-clockwise.
        shape: the shape of the page before its rotation.
    """
    turned = shape[:2] if angle == 180 else (shape[1], shape[0])

    def back(box: np.ndarray) -> np.ndarray:
        place = np.array([*box.min(0), *box.max(0)])
        return corners_of(turned_place(place, 360 - angle, turned))

    cells = tuple(
        cell if cell.box is None else replace(cell, box=back(cell.box)) for cell in table.cells
    )
    return replace(table, cells=cells)
