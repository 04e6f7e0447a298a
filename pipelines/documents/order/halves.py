"""The reading order of PP-Structure 2: the left half of the page, then the right one.

The rule is that of PaddleOCR 2.x, ppstructure/recovery/recovery_to_doc.py (`sorted_layout_boxes`).
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.documents.types import Box


def order_by_halves(boxes: Sequence[Box], width: int) -> list[int]:
    """Return the order of boxes: blocks over both halves end the columns above them.

    Args:
        boxes: left, top, right and bottom.
        width: of the page.
    """
    rows = sorted(range(len(boxes)), key=lambda index: (boxes[index][1], boxes[index][0]))
    ordered: list[int] = []
    left_half: list[int] = []
    right_half: list[int] = []
    for place, index in enumerate(rows):
        left, top, right, _ = boxes[index]
        if place and place == len(rows) - 1:
            is_below = top > boxes[rows[place - 1]][3]
            is_wide = is_below and left < width / 2 < right
            is_right = right > width / 2
        else:
            is_right = left > width / 4 and right > width / 2
            is_wide = not is_right and not (left < width / 4 and right < 3 * width / 4)
        if is_wide:
            ordered += [*left_half, *right_half, index]
            left_half, right_half = [], []
        else:
            (right_half if is_right else left_half).append(index)
    return [*ordered, *left_half, *right_half]
