"""OCR: image to text lines, by detection, cropping, classification of orientation and recognition.

The order of steps is that of PaddleOCR 2.x, tools/infer/predict_system.py, and, for the orientation
of pages, that of PaddleX 3, inference/pipelines/ocr.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, overload

import numpy as np

from pipelines.batching import BATCH_SIZE
from pipelines.classification.predictor import Classifier
from pipelines.detection.curved import crop_polygon, sort_top_down
from pipelines.detection.predictor import Detector
from pipelines.geometry import crop, reading_order, rotate, rotate_back
from pipelines.io.images import PAGE_ERRORS, ImageLike, as_bgr
from pipelines.recognition.postprocess import RecognizedText
from pipelines.recognition.predictor import Recognizer
from pipelines.recognition.words import Word, find_words
from pipelines.runtime import NetworkSource
from schemas.processing import SettingsError

logger = logging.getLogger(__name__)

PIXELS_TOGETHER = 60_000_000
"""Pages of more pixels in all than this do not wait for others."""
WARM_SIDE, WARM_LINE = 640, (48, 320)
"""Sizes of the first images, in pixels, of a process whose results must not depend on the order."""


@dataclass(frozen=True, eq=False)
class TextLine:
    """A line of text on an image.

    Attributes:
        box: `(4, 2) float32`, x and y in pixels of the image, clockwise from the top left corner of
            the line as it is read. A detector of curved lines gives polygons, `(N, 2) float32`.
        text: the text of the line.
        score: mean probability of its characters, 0 to 1.
        character_scores: probability of each character, 0 to 1. A dictionary entry counts as one
            character, even if it is a longer string.
        words: the words and Chinese characters of the line, with `OCR(word_boxes=True)`; or what
            stands between spaces, with `OCR(word_boxes="spaces")`.
    """

    box: np.ndarray
    text: str
    score: float
    character_scores: tuple[float, ...] = ()
    words: tuple[Word, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the line as plain Python values, which `json.dumps` accepts.

        Returns:
            `text`, `score`, `box` (a list of `[x, y]` in pixels), `character_scores`, and `words`,
            each with `text`, `score` and `box`.
        """
        return {
            "text": self.text,
            "score": float(self.score),
            "box": self.box.tolist(),
            "character_scores": [float(score) for score in self.character_scores],
            "words": [word.to_dict() for word in self.words],
        }


@dataclass(frozen=True, eq=False)
class _FoundPage:
    """A page of which the lines are found, but not read.

    Attributes:
        shape: that of the page, as it was passed.
        angle: the degrees counter-clockwise by which the page was rotated.
        boxes: the boxes or polygons of its lines, on the rotated page.
        line_angles: the degrees by which each line was rotated.
        lines: the images of the lines, upright.
    """

    shape: tuple[int, ...]
    angle: int
    boxes: Sequence[np.ndarray]
    line_angles: Sequence[int]
    lines: Sequence[np.ndarray]


class OCR:
    """Reads images with a detector, a recogniser and, optionally, classifiers of orientation.

    Each network is the path of converted weights, an `architectures.Model`, or a callable from
    `(N, 3, H, W) float32` to an array or a dict of arrays. The JSON beside the weights, or the
    attribute `card` of a callable or model, describes its input and output; a network without it is
    treated as one of PP-OCRv4.

    Args:
        det: the detector of text lines.
        rec: the recogniser of text lines.
        cls: the classifier of upside-down lines: the direction classifier of PaddleOCR 2 or the
            text-line orientation of PaddleOCR 3.
        doc: the classifier of page orientation. Pages are read upright; boxes refer to the image as
            it was passed.
        characters: the recogniser's dictionary, in the order of its classes and without special
            tokens; by default that of its weights.
        min_score: lines with a lower score are left out.
        word_boxes: also locate the words of each line, by PaddleOCR's rule: Latin words, numbers
            and Chinese characters, without punctuation and other scripts. With "spaces" a word is
            what stands between spaces, so that the words hold all of the text.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the networks, which are then faster (`TorchNetwork`).
        tiles: cut long or large pages, such as receipts and plans, into overlapping tiles for the
            detector, which otherwise shrinks the page until its longer side fits.
        batch_size: the number of lines per call of the classifier and the recogniser. The lines of
            a batch are padded to one width, so that results may differ slightly between sizes.
        det_settings: settings of `DetectionSettings` and of the detector's decoder that
            replace those of the weights, such as {"limit_side_len": 1280}.
        rec_settings: likewise settings of `RecognitionSettings`.
        cls_settings: likewise settings of `ClassificationSettings`.

    Raises:
        SettingsError: the recogniser has no dictionary; a network is of another task; a setting is
            unknown or invalid.
        DeviceError: the device is not available, or has no half precision.
        ArtefactError: weights are missing or damaged.
        ValueError: `batch_size` is below 1, or `word_boxes` is another word than "spaces".
    """

    def __init__(
        self,
        det: NetworkSource,
        rec: NetworkSource,
        cls: NetworkSource | None = None,
        doc: NetworkSource | None = None,
        *,
        characters: Sequence[str] | None = None,
        min_score: float = 0.5,
        word_boxes: bool | Literal["spaces"] = False,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        tiles: bool = False,
        batch_size: int = BATCH_SIZE,
        det_settings: Mapping[str, Any] | None = None,
        rec_settings: Mapping[str, Any] | None = None,
        cls_settings: Mapping[str, Any] | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected a whole number above 0")
        if word_boxes not in (False, True, "spaces"):
            raise ValueError(f'word_boxes is {word_boxes!r}, expected True, False or "spaces"')
        runtime: dict[str, Any] = {"device": device, "half": half, "compile": compile}
        self.detector = Detector(det, tiles=tiles, **runtime, **(det_settings or {}))
        self.recognizer = Recognizer(rec, characters, batch_size, **runtime, **(rec_settings or {}))
        self.classifier, self.page_classifier = None, None
        if cls is not None:
            self.classifier = Classifier(cls, batch_size, **runtime, **(cls_settings or {}))
            require_angles(self.classifier, {0, 180}, "cls= rotates lines", "doc=")
        if doc is not None:
            self.page_classifier = Classifier(doc, batch_size, **runtime)
            require_angles(self.page_classifier, {0, 90, 180, 270}, "doc= rotates pages", "cls=")
        if word_boxes and not self.recognizer.locates_characters:
            raise SettingsError(
                f"word_boxes={word_boxes!r} needs a recogniser of CTC; the outputs of others do "
                "not show where in a line a character is"
            )
        self.min_score = min_score
        self.word_boxes = word_boxes

    def warm_up(self) -> None:
        """Read blank images of fixed sizes.

        The first size that a network sees decides in which order oneDNN keeps its weights, and so
        the rounding of all results; after this it does not depend on what is read first.
        """
        line = np.full((*WARM_LINE, 3), 255, np.uint8)
        self.detector(np.full((WARM_SIDE, WARM_SIDE, 3), 255, np.uint8))
        self.recognizer([line])
        for classifier in (self.classifier, self.page_classifier):
            if classifier is not None:
                classifier([line])

    # Strings and bytes are sequences too, but count as one image.
    @overload
    def __call__(self, image: ImageLike) -> list[TextLine]: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, image: Sequence[ImageLike]) -> list[list[TextLine]]: ...

    def __call__(
        self, image: ImageLike | Sequence[ImageLike]
    ) -> list[TextLine] | list[list[TextLine]]:
        """Read an image, or each image of a list.

        Args:
            image: an array or a tensor, `(H, W, 3) uint8` BGR, also grey or BGRA; a Pillow image;
                the path of an image file, its bytes or a binary stream; or a list or tuple of
                these.

        Returns:
            The lines, from top to bottom and left to right; for a list of images, a list of these.

        Raises:
            ImageError: `image`, or an item of it, is not an image.
            ValueError: a network's output is not that of its task.
        """
        if isinstance(image, (list, tuple)):
            return [self(item) for item in image]
        return self._read([self._find(as_bgr(image))])[0]  # type: ignore[arg-type]

    def read_many(self, images: Iterable[ImageLike], *, pages: int = 1) -> Iterator[list[TextLine]]:
        """Read many images, one after another, as they are needed.

        Args:
            images: the images, as for reading one; each is taken when it is needed.
            pages: how many pages share batches of lines. With 1 the results are those of reading
                one by one, and the batches PaddleOCR's. With more, less of a batch is padding, and
                batches larger than the lines of a page can be had; the texts are the same up to the
                effect of padding on the recogniser.

        Yields:
            The lines of each image, in the order of `images`.

        Raises:
            ImageError: an item is not an image; the results of the images before it were yielded.
            ValueError: a network's output is not that of its task, or `pages` is below 1.
        """
        for outcome in self.outcomes(images, pages=pages):
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome

    def outcomes(
        self, images: Iterable[ImageLike], *, pages: int = 1
    ) -> Iterator[list[TextLine] | Exception]:
        """Read many images as `read_many`, and go on after those that cannot be read.

        Args:
            images: the images.
            pages: how many pages share batches of lines.

        Yields:
            For each image its lines, or why it could not be read: an `ImageError`, or what PyTorch
            or OpenCV raises where memory runs out.

        Raises:
            ValueError: a network's output is not that of its task, or `pages` is below 1.
        """
        if pages < 1:
            raise ValueError(f"pages is {pages}, expected a whole number above 0")
        together: list[_FoundPage | Exception] = []
        for image in images:
            try:
                together.append(self._find(as_bgr(image)))
            except PAGE_ERRORS as error:
                together.append(error)
            found = [page for page in together if isinstance(page, _FoundPage)]
            pixels = sum(page.shape[0] * page.shape[1] for page in found)
            if len(together) == pages or pixels > PIXELS_TOGETHER:
                yield from self._outcomes(together)
                together = []
        yield from self._outcomes(together)

    def _outcomes(
        self, pages: Sequence[_FoundPage | Exception]
    ) -> list[list[TextLine] | Exception]:
        """Read the lines of pages; where that fails, those of each page alone."""
        found = [page for page in pages if isinstance(page, _FoundPage)]
        try:
            lines = iter(self._read(found))
        except PAGE_ERRORS as error:
            if len(pages) == 1:
                return [error]
            return [outcome for page in pages for outcome in self._outcomes([page])]
        return [next(lines) if isinstance(page, _FoundPage) else page for page in pages]

    def _find(self, image: np.ndarray) -> _FoundPage:
        """Find the lines of a page `(H, W, 3) uint8` BGR, and turn page and lines upright."""
        page_angle = self.page_classifier([image])[0] if self.page_classifier else 0
        upright = rotate(image, page_angle)
        if self.detector.decoder.box_type == "poly":
            boxes = sort_top_down(self.detector(upright))
            crops = [crop_polygon(upright, box) for box in boxes]
        else:
            boxes = reading_order(self.detector(upright))
            crops = [crop(upright, box) for box in boxes]
        angles = self.classifier(crops) if self.classifier else [0] * len(crops)
        lines = list(map(rotate, crops, angles))
        return _FoundPage(image.shape, page_angle, boxes, angles, lines)

    def _read(self, pages: Sequence[_FoundPage]) -> list[list[TextLine]]:
        """Read the lines of pages, with batches of lines over all of them."""
        texts = iter(self.recognizer([line for page in pages for line in page.lines]))
        return [self._finish(page, list(islice(texts, len(page.lines)))) for page in pages]

    def _finish(self, page: _FoundPage, texts: Sequence[RecognizedText]) -> list[TextLine]:
        """Join the boxes and texts of a page, and leave out texts of low score."""
        lines = [
            TextLine(
                box,
                text.text,
                text.score,
                tuple(character.score for character in text.characters),
                self._words(text, box, angle),
            )
            for box, angle, text in zip(page.boxes, page.line_angles, texts, strict=True)
            if text.score >= self.min_score
        ]
        logger.debug(
            "found %d lines, kept the %d with a score of at least %g",
            len(texts),
            len(lines),
            self.min_score,
        )
        if not page.angle:
            return lines
        return [_rotate_line_back(line, page.angle, page.shape) for line in lines]

    def _words(self, text: RecognizedText, box: np.ndarray, angle: int) -> tuple[Word, ...]:
        """Locate the words of a line that was rotated by `angle` degrees."""
        if not self.word_boxes:
            return ()
        between_spaces = self.word_boxes == "spaces"
        return find_words(text, box, upside_down=angle == 180, between_spaces=between_spaces)

    def probability_map(self, image: ImageLike) -> np.ndarray:
        """Return the detector's probability of text, without rotating the image.

        Args:
            image: an image, as for reading.

        Returns:
            `(h, w) float32`, 0 to 1, at the network's resolution.

        Raises:
            ImageError: `image` is not an image.
            ValueError: the detector is not one of DB, or its output is not one map.
        """
        return self.detector.probability_map(image)


def require_angles(
    classifier: Classifier, expected: set[int], use: str, other: str | None = None
) -> None:
    """Check that a classifier has exactly the expected angles.

    Args:
        classifier: the classifier.
        expected: the angles, in degrees.
        use: what it is given for, such as "cls= rotates lines".
        other: the argument that it may be meant for.

    Raises:
        SettingsError: it has other angles.
    """
    angles = set(classifier.settings.angles)
    if angles != expected:
        has, needs = (", ".join(map(str, sorted(group))) for group in (angles, expected))
        hint = f": is it meant for {other}?" if other else ""
        raise SettingsError(
            f"{use} and needs a classifier of {needs} degrees, but this one has {has}{hint}"
        )


def _rotate_line_back(line: TextLine, angle: int, shape: Sequence[int]) -> TextLine:
    """Map a line of the rotated image to the image of `shape`, before its rotation."""
    words = tuple(replace(word, box=rotate_back(word.box, angle, shape)) for word in line.words)
    return replace(line, box=rotate_back(line.box, angle, shape), words=words)
