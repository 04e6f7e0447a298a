"""Maps like those of the algorithm zoo's detectors: lines of text as a function of a seed.

A line is a band along an arc, straight where that does not bend. On a page lines lie apart, touch
or cross each other; all maps have noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

STRIDE = 4


@dataclass(frozen=True)
class Line:
    """A band of text: points along its upper and its lower side, `(N, 2)` in pixels each."""

    upper: np.ndarray
    lower: np.ndarray

    @property
    def outline(self) -> np.ndarray:
        """Clockwise from the top left, `(2 * N, 2)`."""
        return np.concatenate([self.upper, self.lower[::-1]])

    @property
    def corners(self) -> np.ndarray:
        """Top left, top right, bottom right, bottom left, `(4, 2)`."""
        return np.stack([self.upper[0], self.upper[-1], self.lower[-1], self.lower[0]])

    def shrunk(self, share: float) -> np.ndarray:
        """The outline of the band around its middle that is so much as high, `(2 * N, 2)`."""
        middle = (self.upper + self.lower) / 2
        upper, lower = (middle + (side - middle) * share for side in (self.upper, self.lower))
        return np.concatenate([upper, lower[::-1]])


def text_lines(seed: int, height: int, width: int, curved: bool = False) -> list[Line]:
    """Some lines on a page: several, touching each other, tilted, tiny, at the border; or none."""
    random = np.random.default_rng(seed)
    if seed % 10 == 9:
        return []
    lines = []
    for _ in range(random.integers(1, 7)):
        start = random.uniform((0, 0), (width * 0.8, height))
        length, size = random.uniform(15, width * 0.7), random.uniform(6, 40)
        angle = random.choice([0, 0, random.uniform(-0.5, 0.5), random.uniform(-np.pi, np.pi)])
        bend = random.uniform(-2, 2) if curved else 0
        for number in range(random.choice([1, 1, 3])):  # paragraphs, whose lines touch
            lines.append(band(start, length, size, angle, bend, number * size))
    return lines


def band(start, length, size, angle, bend, below):
    """A band that turns by `bend` radians on its way, `below` pixels under its start."""
    turns = angle + bend * (np.linspace(0, 1, 15) - 0.5)
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * length / 15
    downwards = np.stack([-np.sin(turns), np.cos(turns)], axis=1)
    middle = start + np.cumsum(steps, axis=0)
    return Line(middle + downwards * (below - size / 2), middle + downwards * (below + size / 2))


def covered(outline: np.ndarray, height: int, width: int, stride: int = STRIDE) -> np.ndarray:
    """The cells of a map that an outline in pixels covers, `(height, width) bool`."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(outline / stride).astype(np.int32)], 1)
    return mask > 0


def east_maps(seed: int, height: int = 512, width: int = 768, noise: float = 1.5) -> dict:
    """Probability and distances to the corners, as of an input of this size."""
    random = np.random.default_rng(seed)
    size = height // STRIDE, width // STRIDE
    score, geometry = _empty(random, size, 1), _empty(random, size, 8)
    x, y = np.meshgrid(np.arange(size[1]) * STRIDE, np.arange(size[0]) * STRIDE)
    for line in text_lines(seed, height, width):
        inside = covered(line.shrunk(0.6), *size)
        score[0, inside] = random.uniform(0.5, 1, inside.sum())
        for corner, (left, top) in enumerate(line.corners):
            geometry[2 * corner, inside] = (x - left)[inside]
            geometry[2 * corner + 1, inside] = (y - top)[inside]
    geometry += random.normal(0, noise, geometry.shape)
    return _batch(f_score=score, f_geo=geometry)


def pse_maps(seed: int, height: int = 512, width: int = 768, cores: int = 7) -> dict:
    """Logits of lines and of their cores, as of an input of this size."""
    random = np.random.default_rng(seed)
    size = height // STRIDE, width // STRIDE
    logits = np.full((cores, *size), -4.0)
    for line in text_lines(seed, height, width, curved=True):
        for core in range(cores):
            inside = covered(line.shrunk(1 - 0.6 * core / (cores - 1)), *size)
            logits[core, inside] = random.uniform(1, 6)
    blurred = [cv2.GaussianBlur(map_, (0, 0), random.uniform(0.3, 1.2)) for map_ in logits]
    return _batch(maps=np.stack(blurred) + random.normal(0, 0.7, logits.shape))


def sast_maps(seed: int, height: int = 512, width: int = 768, noise: float = 0.4) -> dict:
    """Probability of centre lines, and offsets in cells: to borders, corners and the middle."""
    random = np.random.default_rng(seed)
    size = height // STRIDE, width // STRIDE
    maps = {name: _empty(random, size, channels) for name, channels in
            (("f_border", 4), ("f_score", 1), ("f_tco", 2), ("f_tvo", 8))}  # fmt: skip
    for line in text_lines(seed, height, width, curved=seed % 2 == 1):
        rows, columns = np.nonzero(covered(line.shrunk(0.3), *size))
        cells = np.stack([columns, rows], axis=1)
        nearest = np.linalg.norm(
            cells[:, np.newaxis] - (line.upper + line.lower) / (2 * STRIDE), axis=2
        ).argmin(1)
        maps["f_score"][0, rows, columns] = random.uniform(0.4, 1, len(rows))
        for number, side in enumerate((line.upper, line.lower)):
            offsets = side[nearest] / STRIDE - cells
            maps["f_border"][2 * number : 2 * number + 2, rows, columns] = offsets.T[::-1]
        maps["f_tco"][:, rows, columns] = (cells - line.corners.mean(0) / STRIDE).T
        corners = (cells[:, np.newaxis] - line.corners / STRIDE).reshape(-1, 8)
        maps["f_tvo"][:, rows, columns] = corners.T
    for name in ("f_border", "f_tco", "f_tvo"):
        maps[name] += random.normal(0, noise, maps[name].shape)
    return _batch(**maps)


def ct_maps(
    seed: int, height: int = 512, width: int = 768, noise: float = 0.4, least: float = 0.3
) -> dict:
    """Logits of cores, and how far these are in 2.5 cells, as of an input of this size.

    With `least` below 1 distances and logits of some lines are too small.
    """
    random = np.random.default_rng(seed)
    size = height // STRIDE, width // STRIDE
    maps = np.concatenate([np.full((1, *size), -4.0), random.normal(0, 0.1, (2, *size))])
    for line in text_lines(seed, height, width, curved=True):
        rows, columns = np.nonzero(covered(line.outline, *size))
        cells = np.stack([columns, rows], axis=1)
        middle = (line.upper + line.lower) / (2 * STRIDE)
        nearest = np.linalg.norm(cells[:, np.newaxis] - middle, axis=2).argmin(1)
        maps[1:, rows, columns] = (middle[nearest] - cells).T / 2.5 * random.uniform(least, 1.2)
        maps[0, covered(line.shrunk(0.4), *size)] = random.uniform(4 * least, 6)
    maps += random.normal(0, noise, maps.shape)
    return _batch(maps=maps, score=1 / (1 + np.exp(-maps[0])))


def fce_maps(seed: int, height: int = 512, width: int = 768, noise: float = 0.02) -> dict:
    """Probabilities and Fourier series of the outlines, on three scales."""
    random = np.random.default_rng(seed)
    levels, degree = {}, 5
    for level, scale in enumerate((8, 16, 32)):
        size = height // scale, width // scale
        text, core = (random.uniform(0, 0.3, size) for _ in range(2))
        series = random.normal(0, noise, (2, 2 * degree + 1, *size))
        for line in text_lines(seed, height, width, curved=True):
            inside = covered(line.shrunk(0.7), *size, scale)
            rows, columns = np.nonzero(inside)
            text[rows, columns] = random.uniform(0.6, 1, len(rows))
            core[rows, columns] = random.uniform(0.3, 1, len(rows))
            deep = np.argwhere(cv2.erode(inside.view(np.uint8), np.ones((3, 3))))
            for cell, probability in zip(deep[::9], (0, 0.1), strict=False):  # holes
                text[tuple(cell)] = probability
            contour = _around(line.outline, 64) / scale
            terms = np.fft.fft(contour[:, 0] + 1j * contour[:, 1]) / 64
            terms = np.concatenate([terms[-degree:], terms[: degree + 1]])
            series[0][:, rows, columns] += terms.real[:, np.newaxis]
            series[1][:, rows, columns] += terms.imag[:, np.newaxis]
            series[0, degree, rows, columns] -= columns
            series[1, degree, rows, columns] -= rows
        maps = [1 - text, text, 1 - core, core, *series[0], *series[1]]
        levels[f"level_{level}"] = np.stack(maps)
    return _batch(**levels)


def _around(outline: np.ndarray, count: int) -> np.ndarray:
    """So many points along a closed outline, equally far from each other."""
    closed = np.concatenate([outline, outline[:1]])
    ends = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    places = np.linspace(0, ends[-1], count, endpoint=False)
    return np.stack([np.interp(places, ends, closed[:, axis]) for axis in (0, 1)], axis=1)


def _empty(random: np.random.Generator, size: tuple[int, int], channels: int) -> np.ndarray:
    return random.uniform(0, 0.3, (channels, *size))


def _batch(**maps: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[np.newaxis].astype(np.float32) for name, values in maps.items()}
