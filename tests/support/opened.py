"""A source opened for tests, as the first stage of a conversion does."""

from __future__ import annotations

from pathlib import Path

from converter.conversion.request import Request
from converter.conversion.steps import OpenedModel, card_of, read


def opened(name: str, path: Path) -> OpenedModel:
    """Open a released model's files."""
    request = Request(name, path)
    return read(request, card_of(request))
