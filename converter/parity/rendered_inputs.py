"""Network inputs with meaning: rendered pages and text lines, the same in every run.

A trained detector returns zeros for noise, and zeros agree with zeros, so a check on noise cannot
fail. The letters come from OpenCV's built-in fonts: no font file is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WORDS = (
    "Invoice 2024-11-23",
    "TOTAL: 1,284.50",
    "parity",
    "Optical character recognition",
    "left",
    "No. 7 / B",
    "convert & prove",
    "W x H = 48 x 320",
    "quick brown fox",
    "READ ME",
)


def page(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Render a page of text lines, (height, width, 3) uint8 BGR."""
    import cv2

    random = np.random.default_rng(seed)
    image = np.full((height, width, 3), random.integers(200, 256, 3), np.uint8)
    top = 12
    while top < height - 8:
        scale = float(random.uniform(0.6, 1.4))
        text = str(random.choice(WORDS))
        colour = tuple(int(c) for c in random.integers(0, 110, 3))
        (_, line), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
        left = int(random.integers(4, max(5, width // 3)))
        start = (left, top + line)
        cv2.putText(image, text, start, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 2, cv2.LINE_AA)
        top += line + int(random.integers(14, 26))
    return _grainy(image, random)


def line(height: int, width: int, seed: int = 0, upside_down: bool = False) -> np.ndarray:
    """Render one line of text that fills the image, (height, width, 3) uint8 BGR."""
    import cv2

    random = np.random.default_rng(seed)
    text = ""
    scale = height / 40
    while cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)[0][0] < width * 0.7:
        text = f"{text} {random.choice(WORDS)}".strip()
    image = np.full((height, width, 3), random.integers(190, 256, 3), np.uint8)
    start, colour = (6, int(height * 0.75)), (40, 30, 20)
    cv2.putText(image, text, start, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 2, cv2.LINE_AA)
    if upside_down:
        image = image[::-1, ::-1]
    return _grainy(image, random)


def table(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a table with lines and texts, (height, width, 3) uint8 BGR."""
    import cv2

    random = np.random.default_rng(seed)
    image = np.full((height, width, 3), random.integers(235, 256, 3), np.uint8)
    rows, columns = (int(n) for n in random.integers(3, 6, 2))
    ys = np.linspace(8, height - 9, rows + 1).astype(int)
    xs = np.linspace(8, width - 9, columns + 1).astype(int)
    for y in ys:
        cv2.line(image, (xs[0], y), (xs[-1], y), (30, 30, 30), 2)
    for x in xs:
        cv2.line(image, (x, ys[0]), (x, ys[-1]), (30, 30, 30), 2)
    for top in ys[:-1]:
        for left in xs[:-1]:
            text = str(random.choice(WORDS))[: max(1, (xs[1] - xs[0]) // 12)]
            origin = (int(left) + 6, int(top) + 24)
            cv2.putText(
                image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1, cv2.LINE_AA
            )
    return _grainy(image, random)


def batches(
    kind: str,
    sizes: Sequence[Sequence[int]],
    mean: Sequence[float],
    std: Sequence[float],
    count: int | None = None,
) -> list[np.ndarray]:
    """Render one normalised batch for each (height, width), (N, C, H, W) float32.

    Args:
        kind: `page`, `table` or `line`; every second line is upside down.
        sizes: heights and widths in pixels.
        mean: mean of each channel, of values from 0 to 1; a single one makes the image grey.
        std: standard deviation of each channel.
        count: how many images a batch has; None for one page, one table or two lines.
    """
    import cv2

    arrays = []
    for seed, (height, width) in enumerate(sizes):
        if kind in ("page", "table"):
            draw = page if kind == "page" else table
            images = [draw(height, width, seed + 100 * n) for n in range(count or 1)]
        else:
            images = [
                line(height, width, seed + 100 * n, upside_down=n % 2 == 1)
                for n in range(count or 2)
            ]
        if len(mean) == 1:
            images = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None] for image in images]
        array = np.stack(images).astype(np.float32) / np.float32(255)
        array = (array - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
        arrays.append(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))
    return arrays


def _grainy(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    noise = random.normal(0, 6, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)
