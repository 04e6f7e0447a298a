"""JSON, by `document.schema.json`."""

from __future__ import annotations

import json

from pipelines.documents.types import Document


def to_json(document: Document) -> bytes:
    """Write a document as JSON; figures are named, their files stand beside it."""
    text = json.dumps(document.to_dict(), ensure_ascii=False, indent=1, allow_nan=False)
    return (text + "\n").encode("utf-8", "replace")
