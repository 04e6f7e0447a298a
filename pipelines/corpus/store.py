"""The folder of a corpus run: the pages that are read so far, and the results.

    DIR/pages-00000.parquet ...   a row for each page, in the order of the sources
    DIR/pages-00000.jsonl ...     the same as lines of JSON
    DIR/failures.json             the pages and sources that could not be read
    DIR/_work/SETTINGS/           the pages that were read with these settings, by content

A file appears under its name when it is complete. Pages in `_work` are found by the hash of their
file and their number, so each is read once, however often a run is interrupted.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines.corpus.rows import PAGE, RESULT, Row, to_json
from pipelines.errors import OutputError

ROWS_PER_FILE = 10_000
"""The number of pages in a file of the results."""

Key = tuple[str, int]
"""A page: the sha256 of its file, and its number from 1."""


@dataclass(frozen=True)
class Store:
    """The folder of a run; a value that is sent to other processes and machines.

    Attributes:
        folder: its absolute path or URL.
        settings: names the settings on which the results depend.
    """

    folder: str
    settings: str

    @property
    def _work(self) -> str:
        return f"_work/{self.settings}"

    def _system(self) -> tuple[Any, str]:
        return _system_of(self.folder)

    def create(self) -> None:
        """Create the folder.

        Raises:
            OutputError: that is not possible.
        """
        system, path = self._system()
        try:
            system.create_dir(f"{path}/{self._work}", recursive=True)
        except OSError as error:
            raise OutputError(f"--out {self.folder} cannot be created: {error}") from error

    def _write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write a file under another name, then rename it."""
        system, path = self._system()
        partial = f"{path}/_work/.{uuid.uuid4().hex}.partial"
        try:
            with system.open_output_stream(partial) as stream:
                stream.write(content)
            system.move(partial, f"{path}/{name}")
        except OSError as error:
            with suppress(OSError):
                system.delete_file(partial)
            raise OutputError(f"cannot write {self.folder}/{name}: {error}") from error

    def add(self, rows: Sequence[Row]) -> None:
        """Keep pages that were read; keeping the same pages again replaces them.

        Raises:
            OutputError: the file cannot be written.
        """
        keys = [[row["sha256"], row["page"]] for row in rows]
        name = hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:32]
        table = pa.Table.from_pylist(list(rows), PAGE)
        self._write(f"{self._work}/{name}.parquet", _to_parquet(table))

    def read_pages(self) -> dict[Key, tuple[str, int]]:
        """Return the pages that were read so far: the file and the row of each."""
        system, path = self._system()
        selector = pafs.FileSelector(f"{path}/{self._work}", allow_not_found=True)
        found: dict[Key, tuple[str, int]] = {}
        for info in system.get_file_info(selector):
            if not info.path.endswith(".parquet"):
                continue
            try:
                table = pq.read_table(info.path, columns=["sha256", "page"], filesystem=system)
            except (OSError, pa.ArrowException):  # damaged from outside; its pages are read again
                system.delete_file(info.path)
                continue
            keys = zip(
                *(table.column(name).to_pylist() for name in table.column_names), strict=True
            )
            found |= {key: (info.path, row) for row, key in enumerate(keys)}
        return found

    def row(self, place: tuple[str, int]) -> Row:
        """Return a page that was read, by what `read_pages` says of it."""
        file, row = place
        found: Row = _part(self.folder, file).slice(row, 1).to_pylist()[0]
        return found

    def load(self, name: str) -> Any:
        """Return what `save` has kept under a name; None if there is nothing."""
        system, path = self._system()
        try:
            with system.open_input_stream(f"{path}/_work/{name}.json") as stream:
                return json.loads(stream.read())
        except (OSError, ValueError):
            return None

    def save(self, name: str, value: Any) -> None:
        """Keep a value that JSON can hold, for the next run."""
        self._write(f"_work/{name}.json", json.dumps(value).encode())

    def finish(self, rows: Iterable[Row], failures: Sequence[Mapping[str, Any]]) -> int:
        """Write the results, and remove those of an earlier run that are not among them.

        Args:
            rows: a row of `RESULT` for each page.
            failures: what could not be read.

        Returns:
            The number of rows.

        Raises:
            OutputError: a file cannot be written.
        """
        names, total, rest = set(), 0, iter(rows)
        for number in count():
            part = list(islice(rest, ROWS_PER_FILE))
            if not part and number:
                break
            name, total = f"pages-{number:05}", total + len(part)
            self._write(f"{name}.parquet", _to_parquet(pa.Table.from_pylist(part, RESULT)))
            self._write(f"{name}.jsonl", "".join(map(to_json, part)).encode())
            names |= {f"{name}.parquet", f"{name}.jsonl"}
        text = json.dumps(list(failures), ensure_ascii=False, indent=1) + "\n"
        self._write("failures.json", text.encode())
        self._remove_others(names)
        return total

    def _remove_others(self, names: set[str]) -> None:
        system, path = self._system()
        for info in system.get_file_info(pafs.FileSelector(path)):
            if info.base_name.startswith("pages-") and info.base_name not in names:
                system.delete_file(info.path)


def settings_key(settings: Mapping[str, Any]) -> str:
    """Return a short name for settings, which JSON can hold."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _to_parquet(table: pa.Table) -> pa.Buffer:
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


@lru_cache(maxsize=64)
def _part(folder: str, file: str) -> pa.Table:
    return pq.read_table(file, filesystem=_system_of(folder)[0])


def _system_of(folder: str) -> tuple[Any, str]:
    if "://" in folder:
        system, path = pafs.FileSystem.from_uri(folder)
        return system, path.rstrip("/")
    return pafs.LocalFileSystem(), folder
