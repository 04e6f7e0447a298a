"""A row of the results: one page of a source."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.io.files import Failure
from pipelines.page_reading import Message, ReadPage

_POINTS = pa.list_(pa.list_(pa.float32()))
PAGE = pa.schema(
    [
        ("sha256", pa.string()),
        ("page", pa.int32()),
        ("pages", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("text", pa.string()),
        ("texts", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("boxes", pa.list_(_POINTS)),
        ("warnings", pa.list_(pa.string())),
        ("error", pa.string()),
    ]
)
"""A page: the hash of its file, its number and size, its lines, and why it could not be read."""
RESULT = pa.schema([("source", pa.string()), *PAGE])
"""The same, with the name of the source."""

Row = dict[str, Any]


def row_of(
    sha256: str, pages: int, outcome: ReadPage | Failure, messages: Sequence[Message] = ()
) -> Row:
    """Return the row of a page.

    Args:
        sha256: of the file.
        pages: the number of pages of the file.
        outcome: the lines of the page, or why it could not be read.
        messages: the warnings about it.
    """
    if isinstance(outcome, Failure):
        return failed_row(sha256, outcome.number, pages, outcome.message)
    height, width = outcome.page.image.shape[:2]
    lines: Sequence[Any] = outcome.items
    return {
        "sha256": sha256,
        "page": outcome.page.number,
        "pages": pages,
        "width": width,
        "height": height,
        "text": "\n".join(line.text for line in lines),
        "texts": [line.text for line in lines],
        "scores": [round(float(line.score), 5) for line in lines],
        "boxes": [[[round(x, 2), round(y, 2)] for x, y in line.box.tolist()] for line in lines],
        "warnings": [message.text for message in messages],
        "error": None,
    }


def failed_row(sha256: str | None, page: int | None, pages: int, error: str) -> Row:
    """Return the row of a page, or of a whole source, that could not be read."""
    known = {"sha256": sha256, "page": page, "pages": pages, "error": error}
    return {name: known.get(name) for name in PAGE.names}


def to_json(row: Mapping[str, Any]) -> str:
    """Return a row with its source as a line of JSON, its lines as `ocr --format json` has them."""
    names = ("source", "sha256", "page", "pages")
    entry = {name: row[name] for name in names}
    if row["error"] is not None:
        return _dump({**entry, "error": row["error"]})
    lines = [
        {
            "text": text,
            "score": round(score, 5),
            "box": [[round(x, 2), round(y, 2)] for x, y in box],
        }
        for text, score, box in zip(row["texts"], row["scores"], row["boxes"], strict=True)
    ]
    size = {"width": row["width"], "height": row["height"]}
    warnings = {"warnings": row["warnings"]} if row["warnings"] else {}
    return _dump({**entry, **size, "lines": lines, **warnings})


def _dump(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"
