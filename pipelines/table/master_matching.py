"""Texts to the cells of TableMASTER.

Rules, order and precision are those of PaddleOCR 2.x, ppstructure/table/table_master_match.py. Its
HTML differs: there, cells that no text was matched with vanish, texts are not escaped, and those of
heads are made bold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from shapely.geometry import MultiPoint


def match_master_texts(cells: np.ndarray, texts: np.ndarray) -> dict[int, list[int]]:
    """Return the texts of each cell that has any, as indices.

    A text goes to the cells that its centre lies in; if there is none, to the cell that it overlaps
    most. At last, each cell without a text gets the nearest of the texts without a cell.

    Args:
        cells: `(M, 4)`, left, top, right and bottom.
        texts: `(N, 4)`, likewise.
    """
    matches: dict[int, list[int]] = {}
    outside = []
    for index, centre in enumerate(_centres(texts)):
        inside = ((centre >= cells[:, :2]) & (centre <= cells[:, 2:])).all(1)
        for cell in np.flatnonzero(inside).tolist():
            matches.setdefault(cell, []).append(index)
        if not inside.any():
            outside.append(index)
    without_cell = []
    for index in outside:
        overlaps = [_hull_overlap(texts[index], cell) for cell in cells]
        if any(overlaps):
            matches.setdefault(int(np.argmax(overlaps)), []).append(index)
        else:
            without_cell.append(index)
    if without_cell:
        for cell in sorted(set(range(len(cells))) - matches.keys()):
            sides = _centres(cells[cell]) - _centres(texts[without_cell])
            distances = np.sqrt(sides[:, 0] ** 2 + sides[:, 1] ** 2)
            matches[cell] = [without_cell[int(np.argmin(distances))]]
    return matches


def join_master_texts(matches: Mapping[int, Sequence[int]], texts: Sequence[str]) -> dict[int, str]:
    """Join the texts of each cell by spaces.

    Args:
        matches: the texts of each cell, as indices.
        texts: all texts.
    """
    return {cell: " ".join(texts[n] for n in of_cell) for cell, of_cell in matches.items()}


def _centres(boxes: np.ndarray) -> np.ndarray:
    """Return the centres `(..., 2)` of boxes `(..., 4)`."""
    centres: np.ndarray = boxes[..., :2] + (boxes[..., 2:] - boxes[..., :2]) / 2
    return centres


def _hull_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the area that two boxes `(4,)` share, relative to that of their convex hull."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    sides = np.minimum(a[2:], b[2:]).astype(float) - np.maximum(a[:2], b[:2])
    if (sides <= 0).any():
        return 0.0
    corners = [(box[x], box[y]) for box in (a, b) for x in (0, 2) for y in (1, 3)]
    hull = MultiPoint(corners).convex_hull.area
    return float(sides[0] * sides[1] / hull) if hull else 0.0
