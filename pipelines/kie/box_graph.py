"""From the texts of a receipt to the arrays that SDMGR takes: characters, places, relations.

The steps are those of PaddleOCR 2.10, ppocr/data/imaug/label_ops.py (`KieLabelEncode`) and
ppocr/data/imaug/operators.py (`KieResize`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from pipelines.kie.tokens import Line

MOST_TEXTS = 300
"""PaddleOCR's arrays have room for so many texts of a page; memory grows with their square."""
MOST_CHARACTERS = 300
"""Characters of one text that are read."""
LONG_SIDE, SHORT_SIDE = 1024, 512
"""The most that the sides of a page have after scaling, in pixels."""
STRIDE = 32
"""Sides are rounded up to multiples of it."""
UNIT = 10
"""Pixels in which the distances between texts are counted."""


def character_numbers(characters: Sequence[str]) -> dict[str, int]:
    """Return the number of each character, from 1; 0 is for none.

    Args:
        characters: the lines of the character table. Spaces around a character do not count.
    """
    return {character.strip(): number for number, character in enumerate(characters, 1)}


def scaled_page(page: np.ndarray) -> np.ndarray:
    """Scale a page `(H, W, 3) uint8` until both sides fit, then up to multiples of `STRIDE`."""
    height, width = page.shape[:2]
    factor = min(LONG_SIDE / max(height, width), SHORT_SIDE / min(height, width))
    size = [-(-int(side * factor + 0.5) // STRIDE) * STRIDE for side in (width, height)]
    return cv2.resize(page, [max(side, STRIDE) for side in size])


def graph_inputs(
    lines: Sequence[Line],
    numbers: Mapping[str, int],
    page_size: tuple[int, int],
    image_size: tuple[int, int],
) -> dict[str, np.ndarray]:
    """Return what the network takes beside the image, by the names of its inputs.

    Args:
        lines: the texts of the page, at least one.
        numbers: those of the characters; others are left out.
        page_size: height and width of the page, in pixels.
        image_size: height and width of the image that the network sees.

    Returns:
        `texts` (1, B, T) int64, `boxes` (1, B, 4) float32 in pixels of the image, `relations`
        (1, B, B, 5) float32, `tag` (1, 2) int64 with the number of texts and the length of the
        longest, `image_size` (1, 2) int64.
    """
    read = [_read(line.text, numbers) for line in lines]
    longest = max(1, *map(len, read))
    texts = np.full((1, len(lines), longest), -1, np.int64)
    for row, written in zip(texts[0], read, strict=True):
        row[: len(written)] = written
    ends = np.array([diagonal(line.box) for line in lines])
    scale = np.array([image_size[1] / page_size[1], image_size[0] / page_size[0]], np.float32)
    placed = ends * np.tile(scale, 2)
    # As in PaddleOCR, which cuts the scaled boxes by the sides of the page before scaling.
    for axis, side in enumerate(reversed(page_size)):
        placed[:, axis::2] = placed[:, axis::2].clip(0, side)
    return {
        "texts": texts,
        "boxes": placed[None].astype(np.float32),
        "relations": relations(ends)[None].astype(np.float32),
        "tag": np.array([[len(lines), longest]]),
        "image_size": np.array([image_size]),
    }


def _read(text: str, numbers: Mapping[str, int]) -> list[int]:
    known = [numbers[character] for character in text if character in numbers]
    return known[:MOST_CHARACTERS]


def diagonal(box: np.ndarray) -> np.ndarray:
    """Return x and y of a box's first and third corner, whole pixels, `(4,) int32`.

    Corners are counted clockwise from the one nearest to the box's top left.

    Args:
        box: `(N, 2)`, x and y; of other polygons than those of four corners, their bounds count.
    """
    corners = box.astype(np.float64)
    if len(corners) != 4:
        (left, top), (right, bottom) = corners.min(0), corners.max(0)
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    across, down = (corners - corners.sum(0) * 0.25).T
    corners = corners[np.argsort(np.arctan2(down, across))]
    first = np.linalg.norm(corners - corners.min(0), axis=1).argmin()
    return np.concatenate([corners[first], corners[(first + 2) % 4]]).astype(np.int32)


def relations(ends: np.ndarray) -> np.ndarray:
    """Return how each box lies to each other one, `(B, B, 5) float64`.

    Along the last axis: distance in x and in y, width by height of the first box, height of the
    second and width of the second by the height of the first.

    Args:
        ends: two opposite corners of each box, `(B, 4) int32`.
    """
    x, y = ends[:, 0], ends[:, 1]
    widths, heights = ends[:, 2] - x + 1, np.maximum(ends[:, 3] - y + 1, 1)
    by_height = heights[:, None]
    shape = (widths / heights)[:, None] + np.zeros((1, len(ends)))
    return np.stack(
        [
            (x - x[:, None]) / UNIT,
            (y - y[:, None]) / UNIT,
            shape,
            heights / by_height,
            widths / by_height,
        ],
        -1,
    )
