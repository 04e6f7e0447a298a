"""The pages of a file that are parsed, on disk: an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

from pipelines.documents.types import Page
from pipelines.errors import OutputError
from pipelines.io.exporters import write_whole

KEY = "run.json"


class PageStore:
    """Keeps the parsed pages of a file until all of them are there.

    Args:
        folder: of the pages; it is removed by `discard`.
        images: the folder of the figures.
        key: all that the pages depend on; pages that were stored with another key are discarded.

    Raises:
        OutputError: a folder cannot be written.
    """

    def __init__(self, folder: Path, images: Path, key: str) -> None:
        self._folder, self._images = folder, images
        try:
            self._prepare(key)
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error.strerror}") from error

    def _prepare(self, key: str) -> None:
        known = self._folder / KEY
        if not (known.is_file() and known.read_text(encoding="utf-8") == key):
            self.discard()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._images.mkdir(parents=True, exist_ok=True)
        write_whole(known, key.encode())

    def load(self, number: int) -> Page | None:
        """Return a page that was stored, by its number; None if it was not, or is damaged."""
        try:
            values = json.loads(self._file(number).read_text(encoding="utf-8"))
            page = Page.from_dict(values, self._images)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        images = (block.content for block in page.blocks)
        missing = any(
            isinstance(path := getattr(each, "image", None), Path) and not path.is_file()
            for each in images
        )
        return None if missing else page

    def save(self, page: Page) -> None:
        """Store a page.

        Raises:
            OutputError: the file cannot be written.
        """
        write_whole(self._file(page.number), json.dumps(page.to_dict()).encode())

    def _file(self, number: int) -> Path:
        return self._folder / f"page{number}.json"

    def discard(self) -> None:
        """Remove the stored pages, and the folder of figures if there are none."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with suppress(OSError):
            self._images.rmdir()


def key_of(file: Path, *parts: object) -> str:
    """Return a key that changes with a file, with the files among `parts`, and with the rest."""
    stated = [_state(part) for part in (file, *parts)]
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def _state(part: object) -> object:
    if isinstance(part, Path) and part.is_file():
        status = part.stat()
        return [str(part.resolve()), status.st_size, status.st_mtime_ns]
    return str(part)
