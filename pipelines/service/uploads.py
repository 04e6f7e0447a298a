"""The file of a request: its arrival, and its pages. Its name comes from nowhere but here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from starlette.requests import Request

from pipelines.io.files import Document
from pipelines.io.images import ImageError, ImageFile, ImageTooLarge, open_image
from pipelines.io.pdf import open_pdf
from pipelines.service.limits import Limits, RequestError

NAME = Path("upload")
"""What results call the file."""
OTHER_TYPES = ("application/pdf", "application/octet-stream")
"""The types of content that are taken besides images.

A web page that a user has open can make his browser send these nowhere without asking first, as it
could with forms and plain text.
"""
_HEAD = 1024  # bytes within which a PDF has to begin


async def receive(request: Request, limits: Limits) -> bytes:
    """Return the body of a request.

    Raises:
        RequestError: it is of another type, too large, empty, or takes too long.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not (kind.startswith("image/") or kind in OTHER_TYPES):
        raise RequestError(
            415,
            f"the Content-Type is {kind or 'missing'}; send the image or PDF itself as the body, "
            f"with image/png, image/jpeg, ... or {' or '.join(OTHER_TYPES)}",
        )
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.bytes:
        raise _too_large(limits)
    try:
        content = await asyncio.wait_for(_body(request, limits), limits.upload_seconds)
    except asyncio.TimeoutError as error:
        raise RequestError(
            408, f"the file did not arrive within {limits.upload_seconds:g} seconds"
        ) from error
    if not content:
        raise RequestError(400, "the body is empty; an image or a PDF was expected")
    return content


async def _body(request: Request, limits: Limits) -> bytes:
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > limits.bytes:
            raise _too_large(limits)
    return bytes(content)


def _too_large(limits: Limits) -> RequestError:
    return RequestError(413, f"the file is larger than {limits.bytes / 1e6:g} MB")


@contextmanager
def opened(content: bytes, limits: Limits, dpi: float) -> Iterator[Document]:
    """Open the file of a request.

    Args:
        content: the file.
        limits: on its pages.
        dpi: resolution of PDF pages, in pixels per inch.

    Raises:
        RequestError: it is damaged or of another kind, or has too many pages or pixels.
    """
    try:
        if b"%PDF-" in content[:_HEAD]:
            with TemporaryDirectory(prefix="upload") as folder:
                file = Path(folder, f"{NAME}.pdf")
                file.write_bytes(content)
                with open_pdf(file, dpi, pixels=limits.pixels, name="the PDF") as document:
                    _check_count(document.count, limits)
                    yield document
        else:
            with open_image(content) as image:
                _check_count(image.count, limits)
                _check_sizes(image, limits)
                yield image
    except ImageTooLarge as error:
        raise RequestError(413, str(error)) from error
    except ImageError as error:
        raise RequestError(422, str(error)) from error


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.pages:
        raise RequestError(
            413, f"the file has {count} pages; at most {limits.pages} are read, split it"
        )


def _check_sizes(image: ImageFile, limits: Limits) -> None:
    for number in range(1, image.count + 1):
        width, height = image.size(number)
        if width * height > limits.pixels:
            raise RequestError(
                413,
                f"page {number} is {width} x {height} pixels; at most "
                f"{limits.pixels / 1e6:g} million are read, make it smaller",
            )
        image.check_size(number)
