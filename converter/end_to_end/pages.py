"""Reading pages with Paddle and with PyTorch, and comparing the results page by page."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from converter.end_to_end.compare import Limits, LinePair, compare
from converter.end_to_end.drawing import draw_difference
from converter.end_to_end.runtimes import Runtimes
from converter.errors import ReferenceUnavailable, UsageError
from pipelines import OCR, TextLine
from pipelines.detection.postprocess.db import DBDecoder
from pipelines.io.files import Failure, Page, find_files, read_pages
from schemas.messages import escape_controls

STATUSES = ("failed", "unreadable", "passed")  # in the order in which they are shown
MOST_DRAWN = 16 << 20  # bytes of JPEG; further pages that differ are not drawn


@dataclass(frozen=True)
class PageResult:
    """The outcome of one page.

    Attributes:
        source: path of the file.
        page: number of the page in the file, from 1; None for a whole file.
        pages: number of pages in the file.
        status: passed; failed, if the readings differ or one pipeline failed; unreadable.
        size: width and height in pixels; None if unreadable.
        lines: number of lines that Paddle and PyTorch found; None if one of them failed.
        distance: largest distance of two corners in pixels; None if there is no number.
        score_difference: largest difference of two scores; None if there is no number.
        differing: the lines that differ, `{"line", "paddle", "torch", "fault"}`; `paddle` and
            `torch` are None or `{"text", "score", "box"}`.
        message: why it failed or could not be read, or "".
        edge: if boxes differ, how far the detectors' maps differ at their threshold, or "".
        seconds: duration of both readings.
        picture: JPEG of a page whose lines differ, or empty.
        thing: one of the lines in a word, also for regions, cells and tiles.
    """

    source: str
    page: int | None
    pages: int
    status: str
    size: tuple[int, int] | None = None
    lines: tuple[int, int] | None = None
    distance: float | None = None
    score_difference: float | None = None
    differing: tuple[dict[str, Any], ...] = ()
    message: str = ""
    edge: str = ""
    seconds: float = 0.0
    picture: bytes = b""
    thing: str = "line"

    @property
    def name(self) -> str:
        """The file, and the number of the page if it has several."""
        return f"{self.source}, page {self.page}" if self.pages > 1 and self.page else self.source

    @property
    def line(self) -> str:
        """The line that the command prints."""
        return escape_controls(f"{self.name}: {self._outcome}").replace("\n", "\\n")

    @property
    def _outcome(self) -> str:
        if self.status == "unreadable":
            return "UNREADABLE"
        if self.message:
            faults = self.message.splitlines()
            more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
            return f"FAILED {faults[0]}{more}"
        if not self.lines or not self.lines[0]:
            return f"no {self.thing} on either side"
        lines = f"{self.lines[0]} {self.thing}{'s' * (self.lines[0] != 1)}"
        return (
            f"{lines}, corners within {self.distance:.2f} pixels, "
            f"scores within {self.score_difference:.1e}"
        )


def find_pages(images: Sequence[Path]) -> tuple[Iterator[Page | Failure], list[PageResult]]:
    """Find the pages in files and folders.

    Returns:
        The pages, each read when it is its turn, and the results of files that are not there.
    """
    files, missing = find_files(images)
    return read_pages(files), [unreadable(failure) for failure in missing]


def prove_pages(
    runtimes: Runtimes, pages: Iterable[Page | Failure], limits: Limits
) -> Iterator[PageResult]:
    """Read each page with both pipelines and compare; one page is in memory at a time.

    Args:
        runtimes: both pipelines.
        pages: pages, and files or pages that could not be read.
        limits: allowed differences.

    Raises:
        ReferenceUnavailable: the Paddle process died.
        UsageError: the output of a network does not fit its task.
    """
    room = MOST_DRAWN
    for page in pages:
        if isinstance(page, Failure):
            yield unreadable(page)
        else:
            result = _prove(runtimes, page, limits, draw=room > 0)
            room -= len(result.picture)
            yield result


def unreadable(failure: Failure) -> PageResult:
    """Return the result of a page or file that could not be read."""
    place = (str(failure.source), failure.number, 1)
    return PageResult(*place, "unreadable", message=failure.message)


def _prove(runtimes: Runtimes, page: Page, limits: Limits, draw: bool) -> PageResult:
    height, width = page.image.shape[:2]
    start = time.perf_counter()
    paddle = _read("Paddle", runtimes.paddle, runtimes, page.image)
    torch = _read("PyTorch", runtimes.torch, runtimes, page.image)
    seconds = time.perf_counter() - start
    result = partial(
        PageResult,
        str(page.source),
        page.number,
        page.count,
        size=(width, height),
        seconds=seconds,
        thing=runtimes.thing,
    )
    if isinstance(paddle, str) or isinstance(torch, str):
        errors = [outcome for outcome in (paddle, torch) if isinstance(outcome, str)]
        return result("failed", message="\n".join(errors))
    compared = compare(paddle, torch, limits)
    differing, faults = compared.differing, compared.faults
    boxes_differ = any(not pair.distance <= limits.pixels for _, pair, _ in differing)
    return result(
        "failed" if faults else "passed",
        lines=(len(paddle), len(torch)),
        distance=_number(compared.distance),
        score_difference=_number(compared.score_difference),
        differing=tuple(_described(*entry) for entry in differing),
        message="\n".join(faults),
        edge=edge(runtimes, page.image) if boxes_differ else "",
        picture=draw_difference(page.image, compared) if faults and draw else b"",
    )


def _read(
    name: str,
    read: Callable[[np.ndarray], list[TextLine]],
    runtimes: Runtimes,
    image: np.ndarray,
) -> list[TextLine] | str:
    """Read a page, (H, W, 3) uint8 BGR, with one pipeline; return its lines or the error."""
    try:
        return read(image)
    except ReferenceUnavailable as error:
        if runtimes.session is not None and not runtimes.session.alive:
            raise
        return f"{name}: {error}"
    # PyTorch raises RuntimeError, and OpenCV cv2.error, if memory runs out.
    except (MemoryError, RuntimeError, cv2.error) as error:
        return f"{name}: {str(error) or type(error).__name__}"
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error


def edge(runtimes: Runtimes, image: np.ndarray) -> str:
    """Describe how much the detectors' maps differ, and how near they are to the threshold.

    If a pixel is text in one map only, and its probability is as near to the threshold as the maps
    are to each other, rounding alone has moved the box.

    Args:
        runtimes: both pipelines.
        image: the page, (H, W, 3) uint8 BGR.

    Returns:
        The description; "" for all but detectors of DB, which alone have a single threshold.
    """
    if not isinstance(runtimes.torch, OCR) or not isinstance(runtimes.paddle, OCR):
        return ""
    decoder = runtimes.torch.detector.decoder
    if not isinstance(decoder, DBDecoder):
        return ""
    paddle, torch = (ocr.probability_map(image) for ocr in (runtimes.paddle, runtimes.torch))
    if paddle.shape != torch.shape:
        return f"the maps are of different size: {paddle.shape} in Paddle, {torch.shape} in PyTorch"
    thresh = decoder.thresh
    apart = f"the maps differ by at most {np.abs(paddle - torch).max():.2g}"
    crossed = (paddle > thresh) != (torch > thresh)
    margins = np.abs(paddle - thresh)
    if not crossed.any():
        return (
            "no pixel of the map is text on one side only, the nearest to the threshold "
            f"{thresh:g} is {margins.min():.2g} from it; {apart}"
        )
    return (
        f"{crossed.sum()} pixels of the map are text on one side only, in Paddle at most "
        f"{margins[crossed].max():.2g} from the threshold {thresh:g}; {apart}"
    )


def _described(number: int, pair: LinePair, fault: str) -> dict[str, Any]:
    return {
        "line": number,
        "paddle": _line(pair.paddle),
        "torch": _line(pair.torch),
        "fault": fault,
    }


def _line(line: TextLine | None) -> dict[str, Any] | None:
    if line is None:
        return None
    box = [[round(x, 2), round(y, 2)] for x, y in line.box.tolist()]
    return {"text": line.text, "score": _number(float(line.score)), "box": box}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
