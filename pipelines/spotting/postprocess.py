"""From the four maps of PGNet to lines of text and what they say.

Wang et al., "PGNet: Real-time Arbitrarily-Shaped Text Spotting with Point Gathering Network"
(2021). Numbers follow PaddleOCR 2.x: ppocr/postprocess/pg_postprocess.py (`PGPostProcess`), what it
uses of ppocr/utils/e2e_utils, and what tools/infer/predict_e2e.py does with its polygons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from pipelines.detection.postprocess.decoder import Outputs, Sizes, finish_polygons
from pipelines.detection.postprocess.shapes import Shape
from pipelines.spotting.thinning import thin
from pipelines.validation import PROBABILITY, Check, SettingsError, check, one_of

STRIDE = 4
"""Pixels of the network's input per pixel of its maps."""
LEAST_PLACES = 3
"""A middle line of fewer pixels is noise."""
HALVED = 16
"""So many pixels are put into order half by half, since a line may bend."""
SPREAD = 0.15
"""How far a middle line is made longer, as a share of the directions' mean length, twice."""
POINTS = 6
"""Of a polygon's upper side, and of its lower one, in the mode "fast"."""
LEAST_CHARACTERS = 2
HEIGHTENED = 1.2
"""How much farther from the middle the borders of curved text are drawn."""
LEAST_MORE, MOST_MORE = 0.5, 3.0
"""By how many pixels of the map at least and at most, in the mode "slow"."""
LENGTHENED = 0.2
"""By how much of its height a polygon is made longer at both ends."""


class Spotted(NamedTuple):
    """A line of text: its polygon `(N, 2) float32`, what it says, how sure its characters are."""

    polygon: np.ndarray
    text: str
    score: float


@dataclass(frozen=True)
class PGDecoder:
    """Turns the maps of PGNet into polygons and texts.

    Where text is, regions are thinned to middle lines; along each, the classes of its places are
    decoded as by CTC, and the offsets to the borders make the polygon.

    Attributes:
        characters: what the classes stand for; the one after them is CTC's blank.
        score_thresh: probability above which a place is text.
        mode: "fast" makes polygons of two times six corners, "slow" has a pair of corners for each
            character and each gap.
        valid_set: "totaltext" for curved text, whose polygons are a little higher, "partvgg" for
            straight text, whose polygons have four corners.
        point_gather_mode: "align" reads the places between those that are not neighbours too; in
            the mode "fast".

    Raises:
        SettingsError: a value is invalid.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "score_thresh": PROBABILITY,
        "mode": one_of("fast", "slow"),
        "valid_set": one_of("totaltext", "partvgg"),
        "point_gather_mode": one_of("none", "align"),
    }

    characters: Sequence[str]
    score_thresh: float = 0.5
    mode: str = "fast"
    valid_set: str = "totaltext"
    point_gather_mode: str = "none"

    def __post_init__(self) -> None:
        check(self, self.checks)
        if self.mode == "slow" and self.valid_set == "partvgg":
            raise SettingsError(
                'the mode "slow" is for curved text, with the valid_set "totaltext"; PaddleOCR has '
                'the mode "fast" alone for straight text'
            )

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shapes of the network's results for an input of this size."""
        channels = {"f_border": 4, "f_char": len(self.characters) + 1, "f_direction": 2}
        place = (height // STRIDE, width // STRIDE)
        return {name: (1, count, *place) for name, count in {**channels, "f_score": 1}.items()}

    def __call__(self, outputs: Outputs, sizes: Sizes) -> list[Spotted]:
        """Find and read the lines of one image.

        Args:
            outputs: of the shapes that `shapes` returns, finite numbers.
            sizes: how the image became the network's input.
        """
        text = outputs["f_score"][0, 0] > self.score_thresh
        # What is summed up, is summed up in the order of PaddleOCR's memory.
        direction = np.ascontiguousarray(outputs["f_direction"][0]).transpose(1, 2, 0)
        lines = center_lines(text, direction)
        if self.mode == "fast":
            lines = [line for line in lines if len(line) >= POINTS]
            if self.point_gather_mode == "align":
                lines = [_without_gaps(line) for line in lines]
        found: list[Spotted] = []
        classes = outputs["f_char"][0].transpose(1, 2, 0)
        for line in lines:
            scores = classes[line[:, 0], line[:, 1]]
            best = (scores if self.mode == "fast" else _softmax(scores)).argmax(1)
            starts = np.flatnonzero(np.append(True, best[1:] != best[:-1]))
            said = starts[best[starts] != len(self.characters)]
            words = "".join([self.characters[index] for index in best[said].tolist()])
            if len(words) < LEAST_CHARACTERS:
                continue
            points = _spread(line) if self.mode == "fast" else _centres(line, starts)
            polygon = self._polygon(points, outputs["f_border"][0], sizes)
            certainty = float(_softmax(scores[said]).max(1).mean())
            found.append(Spotted(polygon, words, certainty))
        return found

    def _polygon(self, points: np.ndarray, border: np.ndarray, sizes: Sizes) -> np.ndarray:
        """Draw the outline around points of the middle `(N, 2)`, y and x on the map."""
        height, width = sizes.image
        offsets = border[:, points[:, 0], points[:, 1]].T.reshape(-1, 2, 2)
        if self.valid_set == "totaltext":
            offsets = offsets * HEIGHTENED if self.mode == "fast" else _farther(offsets)
        sides = points.astype(np.float32)[:, None] + offsets
        # PaddleOCR divides by a float64.
        sides = sides[..., ::-1] * 4.0 / np.array(sizes.ratio[::-1], np.float64)
        outline = _lengthened(np.concatenate([sides[:, 0], sides[::-1, 1]]))
        outline = np.clip(outline, 0, (width, height))
        if self.mode == "slow":
            outline = np.round(outline)
        if self.valid_set == "partvgg":
            middle = len(outline) // 2
            outline = outline[[0, middle - 1, middle, -1]]
        return finish_polygons([outline], sizes.image)[0]


def center_lines(text: np.ndarray, direction: np.ndarray) -> list[np.ndarray]:
    """Return the places along the middle of each region, `(N, 2)`, y and x, from its start on.

    Args:
        text: `(H, W) bool`, where text is.
        direction: `(H, W, 2) float32`, x and y: where the text runs on.
    """
    count, labels = cv2.connectedComponents(thin(text.view(np.uint8)), connectivity=8)
    pixels = np.flatnonzero(labels)
    owners = labels.ravel()[pixels]
    pixels = pixels[np.argsort(owners, kind="stable")]
    places = np.stack(np.unravel_index(pixels, text.shape), axis=1)
    ends = np.bincount(owners, minlength=count).cumsum()
    regions = (places[start:end] for start, end in pairwise(ends))
    return [_ordered(region, direction, text) for region in regions if len(region) >= LEAST_PLACES]


def _ordered(places: np.ndarray, direction: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Put places `(N, 2)` into the order of the text, and go on where they end, within the text."""
    ways = np.array(direction[places[:, 0], places[:, 1]][:, ::-1])
    places, ways = _along(places, ways)
    ways = np.array(ways, np.float64, order="C")
    if len(places) >= HALVED:
        half = len(places) // 2
        (first, ways_there), (last, ways_on) = (
            _along(places[part], ways[part]) for part in (slice(half), slice(half, None))
        )
        places, ways = np.concatenate([first, last]), np.concatenate([ways_there, ways_on])
    share = max(len(places) // 3, 2)
    back, on = -np.mean(ways[:share], axis=0), np.mean(ways[len(ways) - share :], axis=0)
    lengths = np.linalg.norm(back), np.linalg.norm(on)
    steps = 2 * max(int((lengths[0] + lengths[1]) / 2 * SPREAD), 1)
    before, after = (
        list(_walk(start, way / (length + 1e-6), steps, text))
        for start, way, length in zip(places[[0, -1]], (back, on), lengths, strict=True)
    )
    if before or after:
        return np.array([*before[::-1], *places.tolist(), *after])
    return places


def _along(places: np.ndarray, ways: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort places `(N, 2)`, and their directions, by how far they are in the mean direction."""
    order = np.argsort(np.sum(places * np.mean(ways, axis=0, keepdims=True), axis=1))
    return places[order], ways[order]


def _walk(
    start: np.ndarray, step: np.ndarray, steps: int, text: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Yield the places that so many steps lead to, as long as text is there.

    As in PaddleOCR, a place above or left of the map is one at its other end.
    """
    (y, x), (down, right) = start.tolist(), step.tolist()
    height, width = text.shape
    reached = set()
    for count in range(1, steps + 1):
        place = round(y + down * count), round(x + right * count)
        if not (-height <= place[0] < height and -width <= place[1] < width):
            return
        if place in reached:
            continue
        if not text[place]:
            return
        reached.add(place)
        yield place


def _without_gaps(line: np.ndarray) -> np.ndarray:
    """Add the places between those that are not neighbours, each on the straight way.

    Two that are the same stop PaddleOCR: what comes after them is left as it is.
    """
    gaps = line[:-1] - line[1:]
    counts = np.abs(gaps).max(1)
    (same,) = np.nonzero(counts == 0)
    filled = same[0] if len(same) else len(counts)
    counts = counts[:filled]
    owners = np.repeat(np.arange(filled), counts)
    places = np.arange(len(owners)) - np.repeat(counts.cumsum() - counts, counts)
    steps = (gaps[:filled] / counts[:, None])[owners]
    # Fractions are lost, not rounded.
    between = np.trunc(line[owners] - places[:, None] * steps).astype(line.dtype)
    return np.concatenate([between, line[filled:]])


def _spread(line: np.ndarray) -> np.ndarray:
    """Choose `POINTS` places of a line, from its first to its last."""
    return line[[*(len(line) // (POINTS - 1) * np.arange(POINTS - 1)), -1]]


def _centres(line: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Choose the places in the middle of each run of one class; of a single one, twice the same."""
    lengths = np.diff(starts, append=len(line))
    points = line[starts + lengths // 2]
    return np.repeat(points, 2, axis=0) if len(points) == 1 else points


def _farther(offsets: np.ndarray) -> np.ndarray:
    """Lengthen offsets `(N, 2, 2)`, within bounds; those without length stay so."""
    length = np.linalg.norm(offsets, axis=2, keepdims=True)
    more = np.clip(length * (HEIGHTENED - 1), LEAST_MORE, MOST_MORE)
    return offsets + offsets / np.where(length > 0, length, 1) * more


def _lengthened(outline: np.ndarray) -> np.ndarray:
    """Move both ends of an outline `(N, 2)` outwards, upper side first; it is changed.

    At its start by the height there, at its end by that of the pair before: so does PaddleOCR.
    """
    half = len(outline) // 2
    corners = outline[[0, 1, -2, -1, half - 2, half - 1, half, half + 1]].astype(np.float32)
    start, after, below_after, below_start, before, end, below_end, below_before = corners
    height, width = np.linalg.norm(start - below_start), np.linalg.norm(start - after)
    back = np.float32(-LENGTHENED * height / (width + 1e-6))
    height, width = np.linalg.norm(before - below_before), np.linalg.norm(before - end)
    on = np.float32(1.0 + LENGTHENED * height / (width + 1e-6))
    outline[0] = start + (after - start) * back
    outline[-1] = below_start + (below_after - below_start) * back
    outline[half - 1] = before + (end - before) * on
    outline[half] = below_before + (below_end - below_before) * on
    return outline


def _softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities of classes `(N, C)`."""
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    return grown / grown.sum(axis=1, keepdims=True)
