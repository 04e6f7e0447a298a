"""What a request may ask for, and the errors that are answered."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.io.pdf import MAX_PAGE_PIXELS

FAILED = "the service failed; its log says why"
"""The answer to a client about an error that is not its own."""


@dataclass(frozen=True)
class Limits:
    """What the service takes.

    Attributes:
        bytes: of a file.
        pixels: of a page; PDF pages of more are rendered at a lower resolution.
        pages: of a file.
        seconds: from the arrival of the file to the answer.
        upload_seconds: that a file may take to arrive.
        requests: that are taken at the same time: those that arrive, wait and are read. With
            `bytes` it bounds the memory of what waits.
    """

    bytes: int = 20_000_000
    pixels: int = MAX_PAGE_PIXELS
    pages: int = 50
    seconds: float = 120
    upload_seconds: float = 30
    requests: int = 64


class RequestError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        reason: for the client.
        retry_after: after how many seconds the client may try again; None to say nothing.
    """

    def __init__(self, status: int, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after
