"""Rendering of PDF pages by pypdfium2 (`pip install paddleocr-to-torch[pdf]`).

A process of its own renders them, with limits on time and memory: PDFium aborts on some files, and
a few kilobytes can draw without end. Then that page has failed, and the others are read.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.io import pdf_worker
from pipelines.io.images import ImageError

POINTS_PER_INCH = 72
MAX_PAGE_PIXELS = 40_000_000
"""Pages with more pixels than this, such as posters, are rendered at a lower resolution."""
MAX_SECONDS = 60
"""The time that rendering a page may take, and opening a file."""
MAX_MEMORY = 2 << 30
"""The memory that the process may take, in bytes."""

_PASSWORD = 4  # FPDF_ERR_PASSWORD of PDFium's fpdfview.h
_STOP_TIMEOUT = 5  # seconds that the process has to end before it is killed


@dataclass(frozen=True)
class TextLayer:
    """The text that a page of a PDF states, beside its picture.

    Attributes:
        lines: each a text, and its left, top, right and bottom as shares of the page.
        is_sound: whether it seems to be all the text of the page.
    """

    lines: tuple[tuple[str, tuple[float, ...]], ...]
    is_sound: bool


class _Stopped(Exception):
    """The process has ended; the message says why."""


class _Renderer:
    """The process that renders the pages of a file.

    Args:
        path: the path of the file.
        scale: resolution of the pages, in pixels per point.
        pixels: pages of more pixels are rendered at a lower resolution.
    """

    def __init__(self, path: Path, scale: float, pixels: int) -> None:
        limits = (pixels, MAX_MEMORY, MAX_SECONDS)
        worker = Path(pdf_worker.__file__).resolve()
        self._process = subprocess.Popen(
            [sys.executable, str(worker), str(path.absolute()), str(scale), *map(str, limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._is_overdue = False

    def first_answer(self) -> Mapping[str, Any]:
        """Return the answer to opening the file.

        Raises:
            _Stopped: the process has ended, or took too long.
        """
        with self._limited():
            return self._answer()

    def render(self, number: int) -> np.ndarray | str:
        """Render a page.

        Args:
            number: the number of the page, from 1.

        Returns:
            `(H, W, 3) uint8` BGR, or why PDFium could not render it.

        Raises:
            _Stopped: the process has ended, or took too long.
        """
        with self._limited():
            self._ask(str(number))
            answer = self._answer()
            if "error" in answer:
                return str(answer["error"])
            height, width, channels = (answer[key] for key in ("height", "width", "channels"))
            rows = np.empty((height, answer["stride"]), np.uint8)
            self._read_into(rows.reshape(-1).data)
        pixels = rows[:, : width * channels].reshape(height, width, channels)
        return np.ascontiguousarray(pixels[..., :3])

    def text(self, number: int) -> TextLayer | str:
        """Extract the text layer of a page.

        Args:
            number: the number of the page, from 1.

        Returns:
            The text layer, or why PDFium could not extract it.

        Raises:
            _Stopped: the process has ended, or took too long.
        """
        with self._limited():
            self._ask(f"{pdf_worker.TEXT}{number}")
            answer = self._answer()
        if "error" in answer:
            return str(answer["error"])
        lines = tuple((str(text), tuple(map(float, box))) for text, box in answer["lines"])
        return TextLayer(lines, bool(answer["sound"]))

    def _ask(self, question: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which reading the answer reports
            self._process.stdin.write(f"{question}\n".encode())
            self._process.stdin.flush()

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Kill the process if the context takes too long."""
        timer = threading.Timer(MAX_SECONDS, self._kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _kill(self) -> None:
        self._is_overdue = True
        self._process.kill()

    def _answer(self) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._stopped()
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def _read_into(self, buffer: memoryview) -> None:
        assert self._process.stdout is not None
        start = 0
        while start < len(buffer):
            size = self._process.stdout.readinto(buffer[start:])  # type: ignore[attr-defined]
            if not size:
                raise self._stopped()
            start += size

    def _stopped(self) -> _Stopped:
        code = self._process.wait()
        if self._is_overdue or code == -getattr(signal, "SIGXCPU", 0):
            return _Stopped(f"it took more than {MAX_SECONDS} seconds")
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return _Stopped(
            f"PDFium stopped with {reason}; the file may be damaged, or need more than "
            f"{MAX_MEMORY / 2**30:g} GB of memory"
        )

    def close(self) -> None:
        """Stop the process."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class PdfFile:
    """An open PDF file.

    Attributes:
        count: the number of its pages.

    Args:
        path: the path of the file.
        dpi: resolution of the pages, in pixels per inch.
        pixels: pages of more pixels are rendered at a lower resolution.
        name: of the file in messages.

    Raises:
        ImageError: the file cannot be opened.
    """

    def __init__(self, path: Path, dpi: float, pixels: int, name: str) -> None:
        self._path, self._name = path, name
        self._scale, self._pixels = dpi / POINTS_PER_INCH, pixels
        self._renderer: _Renderer | None = None
        self.count = 0
        try:
            self._open()
        except _Stopped as error:
            self.close()
            raise ImageError(f"{name}: the PDF cannot be opened, {error}") from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> _Renderer:
        """Return the process; start it, and open the file, if there is none."""
        if self._renderer is None:
            self._renderer = _Renderer(self._path, self._scale, self._pixels)
            answer = self._renderer.first_answer()
            if "error" in answer:
                reason = "not a PDF with at least one page, or a damaged one"
                if answer["code"] == _PASSWORD:
                    reason = "the PDF is protected by a password; save it without one"
                raise ImageError(f"{self._name}: {reason}")
            self.count = int(answer["count"])
        return self._renderer

    def read(self, number: int) -> np.ndarray:
        """Render a page on white.

        Args:
            number: the number of the page, from 1.

        Returns:
            `(H, W, 3) uint8` BGR.

        Raises:
            ImageError: the page is damaged, or takes too much time or memory.
        """
        try:
            image = self._open().render(number)
        except _Stopped as error:
            self.close()  # the next page is rendered by a new process
            raise ImageError(f"{self._name}, page {number}: cannot be rendered, {error}") from error
        if isinstance(image, str):
            raise ImageError(f"{self._name}, page {number}: cannot be rendered ({image})")
        return image

    def text(self, number: int) -> TextLayer:
        """Return the text layer of a page, which may be empty.

        Args:
            number: the number of the page, from 1.

        Raises:
            ImageError: the page is damaged, or takes too much time or memory.
        """
        try:
            layer = self._open().text(number)
        except _Stopped as error:
            self.close()  # the next page is rendered by a new process
            raise ImageError(f"{self._name}, page {number}: has no text, {error}") from error
        if isinstance(layer, str):
            raise ImageError(f"{self._name}, page {number}: its text cannot be read ({layer})")
        return layer

    def close(self) -> None:
        """Stop the process."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


@contextmanager
def open_pdf(
    path: str | Path, dpi: float, *, pixels: int | None = None, name: str | None = None
) -> Iterator[PdfFile]:
    """Open a PDF file.

    Args:
        path: the path of the file.
        dpi: resolution of its pages, in pixels per inch.
        pixels: pages of more are rendered at a lower resolution (default: MAX_PAGE_PIXELS).
        name: of the file in messages; by default its path.

    Raises:
        ImageError: pypdfium2 is not installed, or the file is missing, empty, damaged or protected
            by a password.
    """
    path, name = Path(path), str(path) if name is None else name
    if find_spec("pypdfium2") is None:
        raise ImageError(f"{name}: PDF files need pypdfium2; pip install paddleocr-to-torch[pdf]")
    try:
        with path.open("rb") as stream:
            if not stream.read(1):
                raise ImageError(f"{name}: the file is empty, a PDF was expected")
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror})") from error
    document = PdfFile(path, dpi, pixels or MAX_PAGE_PIXELS, name)
    try:
        yield document
    finally:
        document.close()
