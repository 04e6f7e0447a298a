"""The whole of it: page -> boxes -> lines -> text.

The order of steps is that of PaddleOCR 2.x, tools/infer/predict_system.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.classification import Classifier
from pipelines.cropping import crop, reading_order
from pipelines.detection import Detector
from pipelines.images import Picture, as_bgr
from pipelines.lines import BATCH_SIZE, HEIGHT
from pipelines.networks import Network, as_network
from pipelines.recognition import Recognizer


@dataclass(frozen=True, eq=False)
class TextLine:
    """A line of text.

    Attributes:
        box: `(4, 2) float32`, corners in pixels of the image as x, y, clockwise from the top left.
        text: what it says.
        score: mean probability of its characters, 0 to 1.
    """

    box: np.ndarray
    text: str
    score: float


class OCR:
    """Reads pages with a detector, a recogniser and, if given, a classifier of upside-down lines.

    Each network is a path to converted weights or any callable from `(N, 3, H, W) float32` to an
    array. The alphabet comes from the recogniser's weights; for a callable give it as `characters`,
    in the order of the classes, without the blank. Lines that score below `min_score` are left out.

    Args:
        device: what PyTorch calls the device that computes, such as cuda.
        half: compute in half precision, on a device that can.
        compile: use `torch.compile`, slow to start, then faster.
        batch: how many lines are classified or recognised at once.
        det_settings: what takes the place of what the detector's weights say, by the names of
            `DetSettings`, such as {"limit_side_len": 1280}.

    Raises:
        ValueError: no alphabet is known; half precision is asked of a CPU; `batch` is below 1.
        SettingsError: a setting is unknown or has no meaning.
    """

    def __init__(
        self,
        det: Network | str | Path,
        rec: Network | str | Path,
        cls: Network | str | Path | None = None,
        *,
        characters: Sequence[str] | None = None,
        min_score: float = 0.5,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        batch: int = BATCH_SIZE,
        det_settings: Mapping[str, Any] | None = None,
    ) -> None:
        if half and device == "cpu":
            raise ValueError("half precision is for accelerators; give another device than cpu")
        if batch < 1:
            raise ValueError(f"batch is {batch}, but at least one line has to be read at once")

        def load(source: Network | str | Path) -> Network:
            return as_network(source, device, half=half, compile=compile)

        recognizer = load(rec)
        if characters is None:
            characters = getattr(recognizer, "characters", None)
        if characters is None:
            raise ValueError(
                "the recogniser's alphabet is not known: its weights name no dictionary, or it is "
                "a plain callable; give characters="
            )
        self.detector = Detector(load(det), **(det_settings or {}))
        self.classifier = None if cls is None else Classifier(load(cls), batch=batch)
        height = getattr(recognizer, "height", None) or HEIGHT
        self.recognizer = Recognizer(recognizer, characters, height, batch)
        self.min_score = min_score

    def __call__(self, image: Picture) -> list[TextLine]:
        """Read an image from top to bottom, left to right.

        Args:
            image: `(H, W, 3) uint8` BGR, grey, or BGRA; a Pillow image; or the path of a file.

        Raises:
            ImageError: not an image.
            ValueError: a network's output is not what its place in the pipeline needs.
        """
        image = as_bgr(image)
        boxes = reading_order(self.detector(image))
        lines = [crop(image, box) for box in boxes]
        if self.classifier:
            lines = self.classifier(lines)
        return [
            TextLine(box, text, score)
            for box, (text, score) in zip(boxes, self.recognizer(lines), strict=True)
            if score >= self.min_score
        ]

    def heat_map(self, image: Picture) -> np.ndarray:
        """Probability of text at the network's resolution, `(h, w) float32`; any image as above.

        Raises:
            ImageError: not an image.
            ValueError: the detector's output is not one map.
        """
        return self.detector.heat_map(as_bgr(image))
