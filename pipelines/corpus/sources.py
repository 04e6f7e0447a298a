"""The images and PDFs of a corpus: in folders, by patterns, in Parquet files, at URLs."""

from __future__ import annotations

import glob
import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines.io.files import PDF, natural_order
from pipelines.io.images import SUFFIXES, ImageError

PARQUET = ".parquet"
_READABLE = frozenset({*SUFFIXES, PDF, PARQUET})
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Source:
    """An image or a PDF.

    Attributes:
        name: its name in the results: the path or URL, and `#` with the row of a Parquet file.
        url: the absolute path or URL of the file.
        size: of the file, in bytes.
        modified: when it was modified, in nanoseconds; 0 where that is not known.
        row: the row of a Parquet file, from 0; None for another file.
        column: the column of a Parquet file that holds the content.
    """

    name: str
    url: str
    size: int
    modified: int
    row: int | None = None
    column: str = ""


def find_sources(
    inputs: Iterable[str], column: str | None = None
) -> tuple[list[Source], list[str]]:
    """Find the images and PDFs of the inputs, each once, in the order of the inputs.

    Args:
        inputs: each a file, a folder, for all images, PDFs and Parquet files in and below it, a
            pattern such as `scans/**/*.png`, or a URL of one of these.
        column: the column of Parquet files that holds the content of images or PDFs; by default
            the first of bytes.

    Returns:
        The sources, and why inputs have none.
    """
    sources: dict[tuple[str, int | None], Source] = {}
    failures = []
    for text in inputs:
        try:
            files = _files_of_url(text) if "://" in text else _files_of_path(text)
            if not files:
                failures.append(f"{text}: no image, PDF or Parquet file was found")
        except (OSError, pa.ArrowException) as error:
            failures.append(f"{text}: cannot be read ({_reason(error)})")
            continue
        for file in files:
            try:
                for source in _rows(file, column) if file.url.endswith(PARQUET) else [file]:
                    sources.setdefault((source.url, source.row), source)
            except (OSError, ValueError, pa.ArrowException) as error:
                failures.append(f"{file.name}: {_reason(error)}")
    return list(sources.values()), failures


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _files_of_path(text: str) -> list[Source]:
    path = Path(text)
    if path.is_file():
        return [_file_at(path)]
    if path.is_dir():
        found = [file for file in path.rglob("*") if _is_readable(file.as_posix())]
    elif glob.has_magic(text):
        names = glob.iglob(text, recursive=True)  # noqa: PTH207 - it may be absolute
        found = [Path(name) for name in names if _is_readable(name)]
    else:
        raise FileNotFoundError("there is no such file")
    return [_file_at(file) for file in sorted(found, key=natural_order) if file.is_file()]


def _file_at(path: Path) -> Source:
    status = path.stat()
    return Source(str(path), str(path.absolute()), status.st_size, status.st_mtime_ns)


def _files_of_url(url: str) -> list[Source]:
    scheme = url[: url.index("://") + 3]
    pattern = url.removeprefix(scheme) if glob.has_magic(url) else ""
    root = url
    if pattern:  # search below the last folder without a wildcard
        parts = PurePosixPath(pattern).parts
        fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
        root = scheme + str(PurePosixPath(*parts[:fixed]))
    system, path = pafs.FileSystem.from_uri(root)
    info = system.get_file_info(path)
    if info.type == pafs.FileType.NotFound:
        raise FileNotFoundError("there is no such file or folder")
    infos = [info]
    if info.type == pafs.FileType.Directory:
        below = system.get_file_info(pafs.FileSelector(path, recursive=True))
        infos = [each for each in below if _is_readable(each.path)]
    if pattern:
        infos = [each for each in infos if fnmatch(each.path, pattern)]
    infos = sorted(infos, key=lambda each: natural_order(Path(each.path)))
    return [
        Source(scheme + each.path, scheme + each.path, each.size, each.mtime_ns or 0)
        for each in infos
        if each.type == pafs.FileType.File
    ]


def _is_readable(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in _READABLE and not path.name.startswith((".", "_"))


def _rows(file: Source, column: str | None) -> Iterator[Source]:
    """Yield the rows of a Parquet file."""
    with _open(file.url) as stream, pq.ParquetFile(stream) as parquet:
        name = _column(parquet.schema_arrow, column)
        for row in range(parquet.metadata.num_rows):
            yield Source(f"{file.name}#{row}", file.url, file.size, file.modified, row, name)


def _column(schema: pa.Schema, name: str | None) -> str:
    """Return the column of bytes with a name, or the first one."""
    fields = [field for field in schema if _holds_bytes(field.type)]
    for field in fields:
        if name in (None, field.name):
            return str(field.name)
    wanted = f"no column {name} of bytes" if name else "no column of bytes"
    raise ValueError(f"there is {wanted}; the columns are {', '.join(schema.names)}")


def _holds_bytes(kind: pa.DataType) -> bool:
    """Return whether a column holds bytes, itself or in a field `bytes`, as images often are."""
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(kind.field(place).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _open(url: str) -> Any:
    """Open a file for reading at any place."""
    if "://" not in url:
        return pa.OSFile(url)
    system, path = pafs.FileSystem.from_uri(url)
    return system.open_input_file(path)


@contextmanager
def opened(source: Source) -> Iterator[tuple[Path, str]]:
    """Give a file with the content of a source, and its sha256.

    Args:
        source: the source.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        if source.row is None and "://" not in source.url:
            path = Path(source.url)
            yield path, _hash(path)
            return
        content = _content(source)
    except (OSError, pa.ArrowException) as error:
        raise ImageError(f"{source.name}: cannot be read ({_reason(error)})") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("page.pdf" if b"%PDF-" in content[:1024] else "page")
        path.write_bytes(content)
        yield path, hashlib.sha256(content).hexdigest()


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _content(source: Source) -> bytes:
    if source.row is None:
        with _open(source.url) as stream:
            return bytes(stream.read())
    first, values = _row_group(source.url, source.modified, source.column, source.row)
    value = values[source.row - first].as_py()
    if isinstance(value, dict):
        value = value["bytes"]
    if not value:
        raise ImageError(f"{source.name}: the row is empty, an image or a PDF was expected")
    return bytes(value)


def _row_group(url: str, modified: int, column: str, row: int) -> tuple[int, Any]:
    """Return the first row, and the values, of the group of rows that holds a row."""
    with _open(url) as stream, pq.ParquetFile(stream) as parquet:
        first = 0
        for group in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(group).num_rows
            if row < first + count:
                return first, _group_values(url, modified, column, group)
            first += count
    raise ImageError(f"{url}: there is no row {row} any more")


@lru_cache(maxsize=1)
def _group_values(url: str, modified: int, column: str, group: int) -> Any:  # noqa: ARG001
    with _open(url) as stream, pq.ParquetFile(stream) as parquet:
        return parquet.read_row_group(group, columns=[column]).column(0)
