"""Where the images and PDFs of a corpus are found, and what is said where there are none."""

from __future__ import annotations

import hashlib
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus.sources import find_sources, opened
from pipelines.io.images import ImageError
from tests.support.corpora import scans

__all__ = ["scans"]  # a fixture


def names(sources, scans):
    return [source.name.partition(f"{scans}/")[2] for source in sources]


def test_paths_patterns_and_urls(scans):
    (scans / ".hidden.png").write_bytes(b"")
    (scans / "notes.txt").write_bytes(b"")
    everything, failures = find_sources([str(scans)])
    assert not failures
    pages = [f"{number}.png" for number in range(6)]
    rows = [f"rows.parquet#{row}" for row in range(3)]
    expected = [*pages, "below/copy.png", "book.pdf", "no.png", *rows]
    assert names(everything, scans) == expected
    by_url, failures = find_sources([f"file://{scans}"])
    assert not failures
    assert names(by_url, scans) == expected
    for one, other in zip(everything, by_url, strict=True):
        if one.name.endswith("#2"):
            with pytest.raises(ImageError, match="#2: the row is empty"), opened(other):
                pass
            continue
        with opened(one) as (path, sha256), opened(other) as (copy, of_url):
            assert path.read_bytes() == copy.read_bytes()
            assert sha256 == of_url == hashlib.sha256(path.read_bytes()).hexdigest()
    for pattern in (f"{scans}/**/*.png", f"file://{scans}/*.png"):
        found, _ = find_sources([pattern, f"{scans}/no.png"])
        assert len(found) == (8 if "**" in pattern else 9)  # of which `no.png` once, or by its URL
    missing = find_sources([f"{scans}/none.png", f"file://{scans}/none", f"{scans}/*.bmp"])[1]
    assert missing == [
        f"{scans}/none.png: cannot be read (there is no such file)",
        f"file://{scans}/none: cannot be read (there is no such file or folder)",
        f"{scans}/*.bmp: no image, PDF or Parquet file was found",
    ]
    assert "cannot be read" in find_sources(["nothing://a/b"])[1][0]


def test_columns_of_parquet_files(tmp_path):
    table = pa.table({"id": [1, 2, 3], "scan": [b"a", b"b", b"c"], "other": [b"d", b"e", b"f"]})
    file = tmp_path / "t.parquet"
    pq.write_table(table, file, row_group_size=2)
    for column, contents in ((None, b"abc"), ("other", b"def")):
        sources, _ = find_sources([str(file)], column)
        read = b""
        for source in sources:
            with opened(source) as (path, _):
                read += path.read_bytes()
        assert read == contents
    assert find_sources([str(file)], "id")[1] == [
        f"{file}: there is no column id of bytes; the columns are id, scan, other"
    ]
    sources, _ = find_sources([str(file)])
    pq.write_table(table.slice(0, 1), file)
    os.utime(file, ns=(0, 0))
    with pytest.raises(ImageError, match="no row 2 any more"), opened(sources[2]):
        pass
    file.write_bytes(b"PAR1 no more")
    assert find_sources([str(file)])[1][0].startswith(f"{file}: ")
