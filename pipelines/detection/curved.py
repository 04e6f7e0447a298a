"""From polygons around curved lines, as on seals, to upright line images.

The two long sides of a polygon are found, cut into equally long pieces, and each piece of the line
is warped to a rectangle by itself. Numbers follow PaddleX 3.x, crop_image_regions.py
(`CropByPolys`), seal_det_warp.py (`dc_homo`) and sort_boxes.py in
inference/pipelines/components/common.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from shapely.geometry import Polygon

from pipelines.detection.postprocess.db import rectangle
from pipelines.geometry import crop

STRAIGHT = 0.7
"""A polygon that covers so much of the smallest rectangle around it is cut out as a rectangle."""
CLOSE = 0.9
"""Corners closer than this share of the mean distance become one."""
PIECES = 15
"""How many pieces a curved line is cut into."""


def sort_top_down(polygons: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Sort polygons `(N, 2)` by their highest corner."""
    return [polygons[place] for place in np.argsort([polygon[:, 1].min() for polygon in polygons])]


def crop_polygon(image: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Cut a polygon out and straighten it.

    Args:
        image: `(H, W, 3) uint8`.
        polygon: `(N, 2)`, corners in order, in whole pixels.

    Returns:
        `(h, w, 3) uint8`.
    """
    polygon = polygon.astype(np.int32)
    box, _ = rectangle(polygon)
    sides = None if _is_straight(polygon, box) else _long_sides(_thinned(polygon))
    line = None if sides is None else _flattened(image, np.concatenate(sides))
    return crop(image, box) if line is None else line


def _is_straight(polygon: np.ndarray, box: np.ndarray) -> bool:
    """Whether the box around it will do; also for what is too crooked to have sides."""
    shape, around = Polygon(polygon), Polygon(box)
    if not shape.is_valid:
        return True
    return shape.intersection(around).area >= STRAIGHT * shape.union(around).area


def _thinned(polygon: np.ndarray) -> np.ndarray:
    """Replace runs of close corners `(N, 2)` by their means, `(M, 2) int32`."""
    lengths = _lengths(polygon)
    least = CLOSE * np.cumsum(lengths)[-1] / len(lengths)
    run = np.cumsum([0, *(lengths >= least)])
    if np.linalg.norm(polygon[0] - polygon[-1]) < least:
        run[run == run[-1]] = 0
    means = [np.bincount(run, polygon[:, axis]) / np.bincount(run) for axis in (0, 1)]
    return np.stack(means, axis=1).astype(np.int32)


def _long_sides(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The upper side and, backwards, the lower side, each of `PIECES + 1` points; None if none."""
    count = len(corners)
    if count < 4:
        return None
    first, second = _ends_of_four(corners) if count == 4 else _ends(corners)
    around = np.concatenate([corners, corners])
    chains = around[first:second], around[second : first + count]
    if not all(_lengths(chain).any() for chain in chains):
        return None
    side, other = map(_resampled, chains)
    return (other, side) if side[:, 1].mean() > other[:, 1].mean() else (side, other)


def _ends_of_four(corners: np.ndarray) -> tuple[int, int]:
    """As `_ends`: the short sides of a quadrilateral, of two pairs that which is less level."""
    edges = (np.roll(corners, -1, axis=0) - corners).astype(np.float64)
    slopes = np.abs(edges[:, 1] / (edges[:, 0] + 1e-8))
    lengths = np.linalg.norm(edges, axis=1)
    level = 0 if slopes[0] + slopes[2] < slopes[1] + slopes[3] else 1
    level_length = lengths[level] + lengths[level + 2]
    runs_down = lengths[1 - level] + lengths[3 - level] > 2 * level_length
    # Where edges 1 and 3 are the ends, a long side begins at corner 0.
    return (1, 3) if (level == 0) == runs_down else (0, 2)


def _ends(corners: np.ndarray) -> tuple[int, int]:
    """Where the two long sides of more than four corners begin.

    The ends of a line are the two edges that turn sharply, lie far from the middle and face each
    other, half of the corners apart.
    """
    count = len(corners)
    edges = np.roll(corners, -1, axis=0) - corners
    directions = edges / (np.linalg.norm(edges, axis=1) + 1e-8)[:, np.newaxis]
    before, after = np.roll(directions, 1, axis=0), np.roll(directions, -1, axis=0)
    turn = _angles(directions, before) + _angles(directions, after)
    distance = np.linalg.norm(corners - corners.mean(0), axis=1)
    distance = np.maximum(np.roll(distance, -1), distance)
    usual = np.zeros(count)
    if count % 2 == 0:
        usual[[count // 2 - 1, -1]] = 1
    score = 0.5 * (turn / np.pi) + 0.15 * (_angles(before, after) / np.pi)
    score += 0.35 * (distance / distance.max())
    score += 0.1 * usual

    place = np.arange(count - 3) / (count - 4)
    weight = np.exp(-(((place - 0.5) / 0.5) ** 2) / 2)
    weight /= weight.max()
    partners = np.arange(count)[:, np.newaxis] + 2 + np.arange(count - 3)
    pairs = score[:, np.newaxis] + score[partners % count] * weight * 0.3
    end, apart = np.unravel_index(pairs.argmax(), pairs.shape)
    first, second = sorted(((end + 1) % count, (end + apart + 3) % count))
    return int(first), int(second)


def _angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.arccos(np.clip((a * b).sum(1), -1, 1))


def _resampled(side: np.ndarray) -> np.ndarray:
    """Cut a chain of corners `(N, 2)` into `PIECES` equally long ones, `(PIECES + 1, 2)`."""
    lengths = _lengths(side)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    cuts = np.arange(PIECES) * (ends[-1] / (PIECES + 1e-8))
    edge = np.searchsorted(ends, cuts, side="right") - 1
    share = (cuts - ends[edge]) / lengths[edge]
    points = side[edge] + (side[edge + 1] - side[edge]) * share[:, np.newaxis]
    return np.concatenate([points, side[-1:]])


def _flattened(image: np.ndarray, outline: np.ndarray) -> np.ndarray | None:
    """Warp the pieces between two sides, `(2 * (PIECES + 1), 2)`, and join them; None if too small.

    The second half of the outline runs backwards, so that corners i and -1 - i face each other.
    PaddleX takes another way where the outline is much higher than wide: its line then stands, so
    that no recogniser reads it.
    """
    corners = outline.astype(np.float32)
    widths, height = _piece_sizes(corners.astype(np.float64))
    pieces = []
    for place, width in enumerate(widths):
        if int(width) == 0 or int(height) == 0:
            continue
        piece = corners[[place, place + 1, -2 - place, -1 - place]]
        flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        warp = cv2.getPerspectiveTransform(piece, flat)
        pieces.append(cv2.warpPerspective(image, warp, (int(width), int(height))))
    return np.concatenate(pieces, axis=1) if pieces else None


def _piece_sizes(outline: np.ndarray) -> tuple[np.ndarray, float]:
    """Width of each piece of a line that is upright and straight, and its height.

    A piece is as wide as it is on the average of its upper and lower side.
    """
    edges, across = np.diff(outline, axis=0), outline[: PIECES + 1] - outline[:PIECES:-1]
    lengths = np.sqrt((edges**2).sum(1))
    widths = (lengths[:PIECES] + lengths[:PIECES:-1]) / 2
    places = np.concatenate([[0], np.cumsum(widths)])
    # PaddleX's places are float32 around the middle of the line, which now and then costs a pixel.
    centred = (places - places[-1] / 2).astype(np.float32)
    return np.abs(np.diff(centred)), float(np.around(np.sqrt((across**2).sum(1)).mean()))


def _lengths(chain: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(chain, axis=0), axis=1)
