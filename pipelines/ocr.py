"""The whole of it: page -> boxes -> lines -> text.

The order of steps is that of PaddleOCR 2.x, tools/infer/predict_system.py, and with the orientation
of pages that of PaddleX 3, inference/pipelines/ocr.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.classification.predictor import Classifier, rotate, rotate_back
from pipelines.detection.curved import crop_polygon, sort_top_down
from pipelines.detection.predictor import Detector
from pipelines.geometry import crop, reading_order
from pipelines.io.images import ImageLike, as_bgr
from pipelines.recognition.batching import BATCH_SIZE
from pipelines.recognition.predictor import Recognizer
from pipelines.recognition.words import Word, find_words
from pipelines.runtime import Network, as_network
from pipelines.validation import SettingsError


@dataclass(frozen=True, eq=False)
class TextLine:
    """A line of text.

    Attributes:
        box: `(4, 2) float32`, corners in pixels of the image as x, y, clockwise from the top left;
            on a page that was turned to be read, from the top left of the upright page. A detector
            of curved lines gives polygons, `(N, 2) float32`.
        text: what it says.
        score: mean probability of its characters, 0 to 1.
        character_scores: the probability of each entry of the dictionary that makes up the text.
        words: its words and Chinese characters, if they were asked for.
    """

    box: np.ndarray
    text: str
    score: float
    character_scores: tuple[float, ...] = ()
    words: tuple[Word, ...] = ()


class OCR:
    """Reads pages with a detector and a recogniser and, if given, classifiers of orientation.

    Each network is a path to converted weights or any callable from `(N, 3, H, W) float32` to an
    array or, of several results, a dict of arrays. What they take and give is in the JSON beside
    the weights, or in an attribute `card` of a callable; a callable without one is taken for a
    network of PP-OCRv4.

    Args:
        det: finds lines.
        rec: reads them.
        cls: tells which lines are upside down: the direction classifier of PaddleOCR 2 or the
            text-line orientation of PaddleOCR 3.
        doc: tells by which quarter of a turn a page is turned. It is read upright, and boxes lie
            where the lines are in the image as it was given.
        characters: the recogniser's alphabet in the order of its classes, without the blank; by
            default that of its weights.
        min_score: lines that score below it are left out.
        word_boxes: find the words within the lines too.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision, on a device that can.
        compile: use `torch.compile`, slow to start, then faster.
        batch_size: how many lines are classified or recognised at once. Lines of a batch are padded
            to the same width, so another number may change a reading a little.
        det_settings, rec_settings, cls_settings: what takes the place of what the weights say, by
            the names of `DetSettings` and the detector's decoder, of `RecSettings` and of
            `ClsSettings`, such as {"limit_side_len": 1280}.

    Raises:
        ValueError: no alphabet is known; a network of another kind; a device that is not there, or
            that computes no halves; a setting that is unknown or has no meaning; `batch` is
            below 1.
    """

    def __init__(
        self,
        det: Network | str | Path,
        rec: Network | str | Path,
        cls: Network | str | Path | None = None,
        doc: Network | str | Path | None = None,
        *,
        characters: Sequence[str] | None = None,
        min_score: float = 0.5,
        word_boxes: bool = False,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        batch_size: int = BATCH_SIZE,
        det_settings: Mapping[str, Any] | None = None,
        rec_settings: Mapping[str, Any] | None = None,
        cls_settings: Mapping[str, Any] | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(
                f"batch_size is {batch_size}, but at least one line has to be read at once"
            )

        def load(source: Network | str | Path) -> Network:
            return as_network(source, device, half=half, compile=compile)

        self.detector = Detector(load(det), **(det_settings or {}))
        self.recognizer = Recognizer(load(rec), characters, batch_size, **(rec_settings or {}))
        self.classifier, self.page_classifier = None, None
        if cls is not None:
            self.classifier = Classifier(load(cls), batch_size, **(cls_settings or {}))
            _check_angles(self.classifier, {0, 180}, "cls= turns lines", "doc=")
        if doc is not None:
            self.page_classifier = Classifier(load(doc), batch_size)
            _check_angles(self.page_classifier, {0, 90, 180, 270}, "doc= turns pages", "cls=")
        if word_boxes and not self.recognizer.locates_characters:
            raise SettingsError(
                "words are found with recognisers of CTC only; others do not tell where in a line "
                "a character stands"
            )
        self.min_score = min_score
        self.word_boxes = word_boxes

    def __call__(self, image: ImageLike) -> list[TextLine]:
        """Read an image from top to bottom, left to right.

        Args:
            image: `(H, W, 3) uint8` BGR, grey, or BGRA; a Pillow image; or the path of a file.

        Raises:
            ImageError: not an image.
            ValueError: a network's output is not what its place in the pipeline needs.
        """
        image = as_bgr(image)
        angle = self.page_classifier([image])[0] if self.page_classifier else 0
        lines = self._read(rotate(image, angle) if angle else image)
        return [_rotate_line_back(line, angle, image) for line in lines] if angle else lines

    def _read(self, image: np.ndarray) -> list[TextLine]:
        if self.detector.decoder.box_type == "poly":
            boxes = sort_top_down(self.detector(image))
            crops = [crop_polygon(image, box) for box in boxes]
        else:
            boxes = reading_order(self.detector(image))
            crops = [crop(image, box) for box in boxes]
        angles = self.classifier(crops) if self.classifier else [0] * len(crops)
        readings = self.recognizer(list(map(rotate, crops, angles)))
        return [
            TextLine(
                box,
                reading.text,
                reading.score,
                tuple(character.score for character in reading.characters),
                find_words(reading, box, upside_down=angle == 180) if self.word_boxes else (),
            )
            for box, angle, reading in zip(boxes, angles, readings, strict=True)
            if reading.score >= self.min_score
        ]

    def probability_map(self, image: ImageLike) -> np.ndarray:
        """Probability of text at the network's resolution, `(h, w) float32`; any image as above.

        The image is taken as it is, never turned.

        Raises:
            ImageError: not an image.
            ValueError: the detector's output is not one map.
        """
        return self.detector.probability_map(as_bgr(image))


def _check_angles(classifier: Classifier, expected: set[int], use: str, other: str) -> None:
    found = set(classifier.settings.angles)
    if found != expected:
        tells, needs = (", ".join(map(str, sorted(angles))) for angles in (found, expected))
        raise SettingsError(
            f"{use} and needs a network that tells {needs} degrees; the one given tells {tells}: "
            f"is it meant for {other}?"
        )


def _rotate_line_back(line: TextLine, angle: int, image: np.ndarray) -> TextLine:
    """The line where it is in the image that was turned."""
    words = tuple(
        replace(word, box=rotate_back(word.box, angle, image.shape)) for word in line.words
    )
    return replace(line, box=rotate_back(line.box, angle, image.shape), words=words)
