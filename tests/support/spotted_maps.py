"""Maps like those of PGNet: words along straight and bent lines, as a function of a seed."""

from __future__ import annotations

import cv2
import numpy as np

CHARACTERS = tuple("0123456789abcdefghijklmnopqrstuvwxyz")
BLANK = len(CHARACTERS)
STEPS = 200  # points of a line


def spotted_maps(seed: int, height: int = 128, width: int = 192, most: int = 12):
    """Up to `most` words, and some specks, as the four results for a batch of one."""
    random = np.random.default_rng(seed)
    score = np.zeros((height, width), np.float32)
    direction = random.normal(0, 0.3, (2, height, width)).astype(np.float32)
    border = random.normal(0, 1, (4, height, width)).astype(np.float32)
    characters = random.normal(0, 1, (BLANK + 1, height, width)).astype(np.float32)
    for _ in range(random.integers(1, most + 1)):
        _word(random, score, direction, border, characters)
    specks = random.integers(0, height, 20), random.integers(0, width, 20)
    score[specks] = random.uniform(0.3, 1, 20)
    score = cv2.GaussianBlur(score, (0, 0), random.uniform(0.3, 1))
    return {
        "f_border": border[None],
        "f_char": characters[None],
        "f_direction": direction[None],
        "f_score": np.clip(score + random.normal(0, 0.03, score.shape), 0, 1)[None, None].astype(
            np.float32
        ),
    }


def _word(random, score, direction, border, characters):
    """Draw one word: a strip that is text, and at each of its places what the network knows."""
    curve, tangents = _curve(random, *score.shape)
    half = random.uniform(1.5, 7)
    strip = np.zeros(score.shape, np.uint8)
    thickness = max(1, round(half * random.uniform(0.3, 1.5)))
    cv2.polylines(strip, [np.round(curve).astype(np.int32)], False, 1, thickness)
    ys, xs = np.nonzero(strip)
    if not len(ys):
        return
    places = np.stack([xs, ys], 1)
    nearest = np.linalg.norm(places[:, None] - curve[None], axis=2).argmin(1)
    score[ys, xs] = random.uniform(0.45, 1)
    along = tangents[nearest] * random.uniform(1, 30)
    direction[:, ys, xs] = along.T + random.normal(0, 0.5, along.T.shape)
    up = np.stack([tangents[nearest][:, 1], -tangents[nearest][:, 0]], 1) * half
    noise = random.normal(0, 0.3, (4, len(ys)))
    border[:, ys, xs] = np.stack([up[:, 1], up[:, 0], -up[:, 1], -up[:, 0]]) + noise
    length = random.integers(1, 12)
    word = random.integers(0, BLANK, length)
    said = np.full(STEPS, BLANK)
    for place, letter in enumerate(word):
        start = STEPS * place // length
        said[start : start + max(1, int(STEPS / length * random.uniform(0.4, 1)))] = letter
    characters[said[nearest], ys, xs] += random.uniform(3, 8)


def _curve(random, height, width):
    """The points of a straight or bent line, `(STEPS, 2)`, and where it runs at each."""
    centre = random.uniform(-5, width + 5), random.uniform(-5, height + 5)
    length, turn = random.uniform(3, 90), random.uniform(-np.pi, np.pi)
    bend = 0.0 if random.random() < 0.5 else random.uniform(-2.5, 2.5)
    angles = turn + bend * np.linspace(-0.5, 0.5, STEPS)
    tangents = np.stack([np.cos(angles), np.sin(angles)], 1)
    points = np.cumsum(tangents * length / STEPS, 0)
    return points - points.mean(0) + centre, tangents
