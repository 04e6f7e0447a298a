"""A reader of pages for tests of worker processes: it needs no network, and its process can die."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.io.images import ImageError
from pipelines.io.items import frame_of

DEADLY, DEADLY_ONCE, UNREADABLE, WARNED = 100, 110, 120, 130
"""Grey levels of pages that kill the process, kill the first one, cannot be read, are warned of."""


@dataclass(frozen=True, eq=False)
class Level:
    """The grey level of a page, as a line of text."""

    box: np.ndarray
    text: str
    score: float = 0.75


class LevelReader:
    """Reads the grey level of a page's first pixel."""

    def __init__(self, options):
        self._died = Path(getattr(options, "died", os.devnull))  # which exists

    def __call__(self, image: np.ndarray):
        level = int(image[0, 0, 0])
        if level == DEADLY or (level == DEADLY_ONCE and not self._died.exists()):
            self._died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if level == UNREADABLE:
            raise ImageError("too grey")
        if level == WARNED:
            logging.getLogger("pipelines.test").warning("rather grey")
        return [Level(frame_of(image), f"level {level}")]


def refuse(_):
    """Loads nothing."""
    raise FileNotFoundError("no.pth: there is no such file")
