"""Rectification of curved lines, as on seals: polygons to straight line images.

The two long sides of a polygon are split into pieces of equal length, and each piece of the line is
warped to a rectangle of its own. Numbers follow PaddleX 3.x, crop_image_regions.py
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

STRAIGHT_IOU = 0.7
"""From this intersection over union with its smallest rectangle, a polygon is cropped as one."""
MIN_GAP = 0.9
"""Corners closer than this fraction of the mean distance are merged."""
PIECES = 15
"""The number of pieces of a curved line."""


def sort_top_down(polygons: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Sort polygons `(N, 2)` by their highest corner."""
    return [polygons[index] for index in np.argsort([polygon[:, 1].min() for polygon in polygons])]


def crop_polygon(image: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Crop a polygon and rectify it.

    Args:
        image: `(H, W, 3) uint8`.
        polygon: `(N, 2)`, x and y in pixels, corners in order.

    Returns:
        `(h, w, 3) uint8`.
    """
    polygon = polygon.astype(np.int32)
    box, _ = rectangle(polygon)
    sides = None if _is_straight(polygon, box) else _long_sides(_merge_close_corners(polygon))
    line = None if sides is None else _rectify(image, np.concatenate(sides))
    return crop(image, box) if line is None else line


def _is_straight(polygon: np.ndarray, box: np.ndarray) -> bool:
    """Return whether a polygon is cropped as a rectangle; also if its sides cross."""
    outline, rectangle = Polygon(polygon), Polygon(box)
    if not outline.is_valid:
        return True
    return outline.intersection(rectangle).area >= STRAIGHT_IOU * outline.union(rectangle).area


def _merge_close_corners(polygon: np.ndarray) -> np.ndarray:
    """Replace runs of close corners `(N, 2)` by their means, `(M, 2) int32`."""
    lengths = _lengths(polygon)
    min_length = MIN_GAP * np.cumsum(lengths)[-1] / len(lengths)
    run = np.cumsum([0, *(lengths >= min_length)])
    if np.linalg.norm(polygon[0] - polygon[-1]) < min_length:
        run[run == run[-1]] = 0
    means = [np.bincount(run, polygon[:, axis]) / np.bincount(run) for axis in (0, 1)]
    return np.stack(means, axis=1).astype(np.int32)


def _long_sides(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the upper side and the reversed lower side, each `(PIECES + 1, 2)`, or None."""
    count = len(corners)
    if count < 4:
        return None
    first, second = _starts_of_quad(corners) if count == 4 else _starts(corners)
    around = np.concatenate([corners, corners])
    chains = around[first:second], around[second : first + count]
    if not all(_lengths(chain).any() for chain in chains):
        return None
    side, other = map(_resample, chains)
    return (other, side) if side[:, 1].mean() > other[:, 1].mean() else (side, other)


def _starts_of_quad(corners: np.ndarray) -> tuple[int, int]:
    """Return at which corners the two long sides of a quadrilateral start."""
    edges = (np.roll(corners, -1, axis=0) - corners).astype(np.float64)
    slopes = np.abs(edges[:, 1] / (edges[:, 0] + 1e-8))
    lengths = np.linalg.norm(edges, axis=1)
    level = 0 if slopes[0] + slopes[2] < slopes[1] + slopes[3] else 1
    level_length = lengths[level] + lengths[level + 2]
    runs_down = lengths[1 - level] + lengths[3 - level] > 2 * level_length
    # Where edges 1 and 3 are the ends, a long side begins at corner 0.
    return (1, 3) if (level == 0) == runs_down else (0, 2)


def _starts(corners: np.ndarray) -> tuple[int, int]:
    """Return at which corners the two long sides of a polygon of more than four corners start.

    The ends of a line are the two edges with sharp turns, far from the center, and about half of
    the corners apart.
    """
    count = len(corners)
    edges = np.roll(corners, -1, axis=0) - corners
    directions = edges / (np.linalg.norm(edges, axis=1) + 1e-8)[:, np.newaxis]
    before, after = np.roll(directions, 1, axis=0), np.roll(directions, -1, axis=0)
    turn = _angles(directions, before) + _angles(directions, after)
    distance = np.linalg.norm(corners - corners.mean(0), axis=1)
    distance = np.maximum(np.roll(distance, -1), distance)
    expected = np.zeros(count)
    if count % 2 == 0:
        expected[[count // 2 - 1, -1]] = 1
    score = 0.5 * (turn / np.pi) + 0.15 * (_angles(before, after) / np.pi)
    score += 0.35 * (distance / distance.max())
    score += 0.1 * expected

    position = np.arange(count - 3) / (count - 4)
    weight = np.exp(-(((position - 0.5) / 0.5) ** 2) / 2)
    weight /= weight.max()
    partners = np.arange(count)[:, np.newaxis] + 2 + np.arange(count - 3)
    pairs = score[:, np.newaxis] + score[partners % count] * weight * 0.3
    end, apart = np.unravel_index(pairs.argmax(), pairs.shape)
    first, second = sorted(((end + 1) % count, (end + apart + 3) % count))
    return int(first), int(second)


def _angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the angles between unit vectors `(N, 2)`, in radians."""
    return np.arccos(np.clip((a * b).sum(1), -1, 1))


def _resample(side: np.ndarray) -> np.ndarray:
    """Split a chain of corners `(N, 2)` into `PIECES` of equal length, `(PIECES + 1, 2)`."""
    lengths = _lengths(side)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    cuts = np.arange(PIECES) * (ends[-1] / (PIECES + 1e-8))
    edge = np.searchsorted(ends, cuts, side="right") - 1
    fraction = (cuts - ends[edge]) / lengths[edge]
    points = side[edge] + (side[edge + 1] - side[edge]) * fraction[:, np.newaxis]
    return np.concatenate([points, side[-1:]])


def _rectify(image: np.ndarray, outline: np.ndarray) -> np.ndarray | None:
    """Warp the pieces between two sides to rectangles and join them.

    PaddleX treats outlines that are much higher than wide differently: its lines then stay
    vertical, so that no recogniser can read them.

    Args:
        image: `(H, W, 3) uint8`.
        outline: `(2 * (PIECES + 1), 2)`; the second half is reversed, so that corners i and -1 - i
            are opposite.

    Returns:
        `(h, w, 3) uint8`; None if the line is smaller than a pixel.
    """
    corners = outline.astype(np.float32)
    widths, height = _piece_sizes(corners.astype(np.float64))
    pieces = []
    for index, width in enumerate(widths):
        if int(width) == 0 or int(height) == 0:
            continue
        piece = corners[[index, index + 1, -2 - index, -1 - index]]
        flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        warp = cv2.getPerspectiveTransform(piece, flat)
        pieces.append(cv2.warpPerspective(image, warp, (int(width), int(height))))
    return np.concatenate(pieces, axis=1) if pieces else None


def _piece_sizes(outline: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the width of each rectified piece, `(PIECES,)`, and the height of the line.

    The width of a piece is the mean of its upper and its lower side.
    """
    edges, across = np.diff(outline, axis=0), outline[: PIECES + 1] - outline[:PIECES:-1]
    lengths = np.sqrt((edges**2).sum(1))
    widths = (lengths[:PIECES] + lengths[:PIECES:-1]) / 2
    offsets = np.concatenate([[0], np.cumsum(widths)])
    # PaddleX's offsets are float32 from the center of the line, which sometimes costs a pixel.
    centered = (offsets - offsets[-1] / 2).astype(np.float32)
    return np.abs(np.diff(centered)), float(np.around(np.sqrt((across**2).sum(1)).mean()))


def _lengths(chain: np.ndarray) -> np.ndarray:
    """Return the lengths of the edges of a chain `(N, 2)`."""
    return np.linalg.norm(np.diff(chain, axis=0), axis=1)
