"""Release archives: what is unpacked, and what is refused."""

from __future__ import annotations

import gc
import gzip
import io
import pickle
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.errors import SourceError, UnsafeSource
from converter.sources import archive
from converter.sources.open import open_source
from tests.support.paddle_files import attempt

WEIGHTS = pickle.dumps({"w": np.arange(3, dtype="f4")}, 4)


def member(name: str, data: bytes = WEIGHTS, kind: bytes = tarfile.REGTYPE, **changes):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, data


def tar_bytes(*members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


FOLDER = member("net_train", b"", tarfile.DIRTYPE)
GOOD = (FOLDER, member("net_train/best_accuracy.pdparams"))


@pytest.fixture
def write(tmp_path):
    def _write(*members, name="net_train.tar"):
        file = tmp_path / name
        raw = tar_bytes(*members)
        file.write_bytes(raw if name.endswith(".tar") else gzip.compress(raw))
        return file

    return _write


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Give each test its own place for temporary folders, empty again at the end."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    gc.collect()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz"])
def test_unpacked_while_the_source_lives(write, temporary, name):
    file = write(*GOOD, name=name)
    source = open_source(file)
    assert source.path == file
    assert source.checkpoint.file.is_file()
    assert list(source.files) == ["best_accuracy.pdparams"]
    assert source.size == len(WEIGHTS)
    tensors = source.checkpoint.tensors
    assert len(list(temporary.iterdir())) == 1
    del source
    gc.collect()
    assert list(temporary.iterdir()) == []
    assert tensors["w"].tolist() == [0, 1, 2]


def test_only_model_files_are_written(write):
    names = ["._w.pdparams", "train.log", "w.pdopt", "w.pdparams", "deep/er/__model__", "run.sh"]
    folder = archive.unpack(write(*(member(f"./net/{name}") for name in names)))
    files = [file for file in Path(folder.name).rglob("*") if file.is_file()]
    assert sorted(file.name for file in files) == ["__model__", "w.pdparams"]
    folder.cleanup()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (member("../evil.pdparams"), "leads out"),
        (member("net_train/../../evil.pdparams"), "leads out"),
        (member("/tmp/evil.pdparams"), "leads out"),
        (member("..\\evil.pdparams"), "leads out"),
        (member("C:/evil.pdparams"), "leads out"),
        (member("../readme.txt"), "leads out"),
        (member("a", b"", tarfile.SYMTYPE, linkname="/etc"), "is a link"),
        (member("a.pdparams", b"", tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link"),
        (member("a.pdparams", b"", tarfile.LNKTYPE, linkname="/etc/passwd"), "is a link"),
        (member("a.pdparams", b"", tarfile.FIFOTYPE), "a device"),
        (member("a.pdparams", b"", tarfile.CHRTYPE), "a device"),
        (member("a.pdparams", b"", tarfile.BLKTYPE), "a device"),
        (member("a", b"", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "1"}), "sparse"),
    ],
)
def test_refused_members(write, tmp_path, bad, message):
    with pytest.raises(UnsafeSource, match=message):
        open_source(write(*GOOD, bad))
    assert not [file for file in tmp_path.rglob("evil*") if file.is_file()]


def test_member_twice(write):
    with pytest.raises(SourceError, match="no complete tar"):
        open_source(write(*GOOD, GOOD[1]))


def test_file_where_a_folder_is_needed(write):
    with pytest.raises(SourceError, match="no complete tar"):
        open_source(write(member("a.pdparams"), member("a.pdparams/b.pdparams")))


def test_nul_in_a_name(write):
    odd = member("x", pax_headers={"path": "a\0b.pdparams"})
    with pytest.raises(SourceError):
        open_source(write(odd))


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
@pytest.mark.parametrize("part", [0.1, 0.3, 0.6])
def test_truncated(write, name, part):
    large = member("net/best_accuracy.pdparams", bytes(range(256)) * 400)
    file = write(large, name=name)
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * part)])
    with pytest.raises(SourceError, match=r"truncated|no complete tar") as error:
        open_source(file)
    assert "\n" not in str(error.value)


def test_size_beyond_the_archive(write):
    file = write(*GOOD)
    raw = bytearray(file.read_bytes())
    with tarfile.open(file) as tar:
        header = tar.getmember("net_train/best_accuracy.pdparams")
    header.size = 1 << 40
    raw[header.offset : header.offset + 512] = header.tobuf(tarfile.GNU_FORMAT)
    file.write_bytes(raw)
    with pytest.raises(SourceError, match="needs 1099511627776 bytes"):
        open_source(file)


@pytest.mark.parametrize(
    ("name", "raw"),
    [("a.tar", b""), ("a.tar", b"<html>"), ("a.tar.gz", b"<html>"), ("a.tar.gz", b"\x1f\x8b\x08")],
)
def test_no_archive(tmp_path, name, raw):
    file = tmp_path / name
    file.write_bytes(raw)
    with pytest.raises(SourceError, match="is no complete tar"):
        open_source(file)


def test_compressed_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_MARGIN", 0)
    file = tmp_path / "bomb.tar.gz"
    file.write_bytes(gzip.compress(tar_bytes(member("a.pdparams", bytes(4 << 20)))))
    with pytest.raises(UnsafeSource, match="more than 20 times its size"):
        open_source(file)


def test_hostile_content(write):
    attack = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."
    with pytest.raises(UnsafeSource, match=r"os\.system"):
        open_source(write(member("net/best_accuracy.pdparams", attack)))


def test_messages_name_the_archive(write):
    with pytest.raises(SourceError, match=r"net_train\.tar holds no Paddle model"):
        open_source(write(FOLDER))


@settings(max_examples=150)
@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_corrupt_archives_are_an_error_or_a_source(position, value, compress):
    raw = tar_bytes(*GOOD)
    changed = bytearray(gzip.compress(raw, mtime=0) if compress else raw)
    changed[position % min(len(changed), 2048)] = value
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.tar.gz" if compress else "a.tar")
        file.write_bytes(changed)
        source = attempt(open_source, file)
        assert source is None or source.checkpoint
