"""Maps like those of a detector: text-like shapes of many kinds, as a function of a seed."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Draw = Callable[[np.ndarray, np.random.Generator], None]


def probability_map(seed: int, height: int = 320, width: int = 480) -> np.ndarray:
    """Some shapes with soft edges and uneven probabilities, `(height, width) float32`."""
    random = np.random.default_rng(seed)
    heat = np.zeros((height, width), np.float32)
    for _ in range(random.integers(1, 14)):
        shape = np.zeros_like(heat)
        SHAPES[random.integers(len(SHAPES))](shape, random)
        heat = np.maximum(heat, shape * np.float32(random.uniform(0.35, 1)))
    heat = cv2.GaussianBlur(heat, (0, 0), random.uniform(0.3, 2))
    noise = random.normal(0, 0.05, heat.shape).astype(np.float32)
    return np.clip(heat + noise * (heat > 0.05), 0, 1)


def _rotated(heat: np.ndarray, random: np.random.Generator) -> None:
    size = random.uniform(4, 250), random.uniform(2, 40)
    rectangle = (_place(heat, random), size, random.uniform(-90, 90))
    cv2.fillPoly(heat, [np.round(cv2.boxPoints(rectangle)).astype(np.int32)], 1)


def _upright(heat: np.ndarray, random: np.random.Generator) -> None:
    left, top = (int(value) for value in _place(heat, random))
    width, height = int(random.integers(1, 200)), int(random.integers(1, 40))
    heat[max(top, 0) : top + height, max(left, 0) : left + width] = 1


def _arc(heat: np.ndarray, random: np.random.Generator) -> None:
    centre = tuple(int(value) for value in _place(heat, random))
    axes = int(random.integers(20, 120)), int(random.integers(20, 120))
    start, turn = random.uniform(0, 360), random.uniform(20, 360)
    thickness = int(random.integers(2, 24))
    cv2.ellipse(heat, centre, axes, random.uniform(0, 180), start, start + turn, 1, thickness)


def _touching(heat: np.ndarray, random: np.random.Generator) -> None:
    left, top = (int(value) for value in _place(heat, random))
    for line in range(4):
        cv2.line(heat, (left, top + 12 * line), (left + 150, top + 12 * line + 3 * line), 1, 10)


def _blob(heat: np.ndarray, random: np.random.Generator) -> None:
    corners = np.array(_place(heat, random)) + random.uniform(-60, 60, (9, 2))
    cv2.fillPoly(heat, [corners.astype(np.int32)], 1)


def _specks(heat: np.ndarray, random: np.random.Generator) -> None:
    heat[random.integers(0, heat.shape[0], 30), random.integers(0, heat.shape[1], 30)] = 1


def _place(heat: np.ndarray, random: np.random.Generator) -> tuple[float, float]:
    """A point on the map or a little outside."""
    return random.uniform(-20, heat.shape[1] + 20), random.uniform(-20, heat.shape[0] + 20)


SHAPES: tuple[Draw, ...] = (_rotated, _rotated, _upright, _arc, _touching, _blob, _specks)
