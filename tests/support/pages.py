"""A page of coloured bars, and networks that find the bars and name their colours."""

from __future__ import annotations

import numpy as np

NAMES = ["blue", "green", "red"]
BARS = {"red": (0, 0, 200), "green": (0, 200, 0), "blue": (200, 0, 0)}


def bar_page():
    """A white page with three coloured bars; every bar has a darker right end."""
    page = np.full((400, 600, 3), 255, np.uint8)
    for colour, (left, top) in zip(BARS, [(300, 50), (50, 55), (50, 200)], strict=True):
        page[top : top + 30, left : left + 200] = BARS[colour]
        page[top : top + 30, left + 160 : left + 200] //= 2
    return page


def find_bars(batch):
    return (batch.min(1, keepdims=True) < -1).astype(np.float32)


def name_colour(batch):
    """Blue, green, red are classes 1 to 3: that of the brightest channel near the middle."""
    colours = batch[:, :, 24, 60]
    answer = np.zeros((len(batch), 40, 4), np.float32)
    answer[:, 1, 0] = 0.6
    answer[np.arange(len(batch)), 0, 1 + colours.argmax(1)] = 0.8
    return answer
