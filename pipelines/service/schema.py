"""The answers of the service, for its OpenAPI page; `JsonWriter` and the documents write them."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A model without other fields."""

    model_config = ConfigDict(extra="forbid")


class Line(Strict):
    """A line of text."""

    text: str
    score: float = Field(ge=0, le=1)
    box: list[tuple[float, float]] = Field(
        description="corners as x and y in pixels, clockwise from the top left of the line"
    )


class ReadPage(Strict):
    """A page that was read."""

    page: int = Field(ge=1)
    width: int = Field(description="in pixels")
    height: int = Field(description="in pixels")
    lines: list[Line] = Field(description="in reading order")


class FailedPage(Strict):
    """A page that could not be read."""

    page: int = Field(ge=1)
    error: str


class OcrAnswer(Strict):
    """The text of a file, as `python -m pipelines ocr --format json` writes it."""

    format: Literal[1]
    source: str
    pages: list[ReadPage | FailedPage]


class Problem(Strict):
    """Why there is no answer."""

    error: str


class Health(Strict):
    """Whether requests are read."""

    status: Literal["ok", "failed"]


BODY: dict[str, Any] = {
    "required": True,
    "description": "an image (PNG, JPEG, TIFF, WebP, BMP, GIF) or a PDF",
    "content": {
        name: {"schema": {"type": "string", "format": "binary"}}
        for name in ("image/png", "image/jpeg", "application/pdf", "application/octet-stream")
    },
}
"""The body of a request."""


def document_schema() -> dict[str, Any]:
    """Return the schema of documents; its parts refer to each other as those of OpenAPI do."""
    text = files("pipelines.documents").joinpath("document.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text.replace("#/$defs/", "#/components/schemas/document_"))
    return schema
