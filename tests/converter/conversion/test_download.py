"""Downloads, from a server in this process that can be made to misbehave."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from converter.catalog import cards as catalog
from converter.conversion import download
from converter.conversion.download import Downloads, wanted
from converter.errors import OutputError, SourceError, UsageError
from tests.support.file_server import CONTENT


@pytest.fixture
def downloads(tmp_path, monkeypatch) -> Downloads:
    monkeypatch.setattr(download, "_BLOCK", 100)
    return Downloads(tmp_path / "cache")


def files_in(downloads: Downloads) -> set[str]:
    return {
        str(file.relative_to(downloads.folder))
        for file in downloads.folder.rglob("*")
        if file.is_file()
    }


def ranges(server) -> list[str | None]:
    return [asked for _, asked in server.asked]


def test_a_file_is_fetched_once_and_its_hash_is_noted(server, downloads):
    path = downloads.fetch("model", server.url)
    assert path == downloads.folder / "model/model_infer.tar"
    assert path.read_bytes() == CONTENT
    assert downloads.known() == {"model/model_infer.tar": hashlib.sha256(CONTENT).hexdigest()}
    assert downloads.fetch("model", server.url) == path
    assert Downloads(downloads.folder).fetch("model", server.url) == path
    assert len(server.asked) == 1
    other = downloads.fetch("other", server.url)
    assert (other.parent.name, len(downloads.known())) == ("other", 2)


def test_what_breaks_off_goes_on_where_it_stopped(server, downloads):
    server.cut = [1000, 5000]
    assert downloads.fetch("model", server.url).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=1000-", "bytes=6000-"]
    assert files_in(downloads) == {"registry.txt", "model/model_infer.tar"}


def test_the_next_run_goes_on_too(server, downloads):
    server.cut = [100] * download.ATTEMPTS
    with pytest.raises(SourceError, match="run it again to go on from 300 bytes"):
        downloads.fetch("model", server.url)
    assert not (downloads.folder / "model/model_infer.tar").exists()
    assert downloads.known() == {}
    server.asked.clear()
    assert Downloads(downloads.folder).fetch("model", server.url).read_bytes() == CONTENT
    assert ranges(server) == ["bytes=300-"]


@pytest.mark.parametrize(
    "change",
    [{"ranges": False}, {"tag": '"v2"', "content": CONTENT[::-1]}, {"tag": 'W/"weak"'}],
    ids=["a server that knows no ranges", "another version", "only a weak tag"],
)
def test_what_cannot_be_gone_on_from_begins_again(server, downloads, change):
    server.cut = [100] * download.ATTEMPTS
    with pytest.raises(SourceError):
        downloads.fetch("model", server.url)
    for name, value in change.items():
        setattr(server, name, value)
    assert downloads.fetch("model", server.url).read_bytes() == server.content


def test_without_a_tag_nothing_is_gone_on_from(server, downloads):
    server.tag, server.cut = "", [100]
    assert downloads.fetch("model", server.url).read_bytes() == CONTENT
    assert ranges(server) == [None, None]


def test_a_partial_file_that_the_server_does_not_continue(server, downloads):
    """It is longer than what is there now."""
    server.cut = [100] * download.ATTEMPTS
    with pytest.raises(SourceError):
        downloads.fetch("model", server.url)
    server.content = b"short"
    server.status = 416
    with pytest.raises(SourceError, match="416"):
        downloads.fetch("model", server.url)
    server.status = 200
    assert downloads.fetch("model", server.url).read_bytes() == b"short"


def test_a_damaged_file_is_fetched_again(server, downloads):
    path = downloads.fetch("model", server.url)
    path.write_bytes(CONTENT[:-1])
    assert downloads.fetch("model", server.url).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_another_file_than_the_first_time(server, downloads):
    path = downloads.fetch("model", server.url)
    path.unlink()
    server.content = b"something else"
    with pytest.raises(SourceError, match="no longer gives what was downloaded first") as caught:
        downloads.fetch("model", server.url)
    assert f"remove its line from {downloads.folder}/registry.txt" in str(caught.value)
    assert files_in(downloads) == {"registry.txt"}
    (downloads.folder / "registry.txt").unlink()
    assert downloads.fetch("model", server.url).read_bytes() == b"something else"


def test_a_file_that_was_moved_into_place_but_not_noted(server, downloads):
    downloads.fetch("model", server.url)
    (downloads.folder / "registry.txt").unlink()
    downloads.fetch("model", server.url)
    assert len(server.asked) == len(downloads.known()) == 1


def test_a_registry_that_is_none(server, downloads):
    (downloads.folder / "registry.txt").write_text("a b c d e\n")
    with pytest.raises(SourceError, match=r"registry.txt is damaged"):
        downloads.fetch("model", server.url)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": 404}, "is not to be had (404 Not Found); if the release has moved, download"),
        ({"status": 503}, "is not to be had (503 "),
        ({"headers": {"Content-Type": "text/html"}}, "gives a page in the place of the file"),
    ],
)
def test_answers_that_are_no_file(server, downloads, change, message):
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(SourceError) as caught:
        downloads.fetch("model", server.url)
    assert str(caught.value).startswith(f"{server.url} ")
    assert message in str(caught.value)
    assert len(server.asked) == 1
    assert files_in(downloads) == set()


def test_no_answer(server, downloads, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (1, 0.05))
    server.answers.clear()
    with pytest.raises(SourceError, match=r"cannot be downloaded \(ReadTimeout: .*timed out"):
        downloads.fetch("model", server.url)
    server.answers.set()
    assert len(server.asked) == download.ATTEMPTS
    with pytest.raises(SourceError, match=r"cannot be downloaded \(ConnectionError: "):
        downloads.fetch("model", "http://127.0.0.1:9/model.tar")


def test_a_truncated_body(server, downloads):
    server.length = 10 * len(CONTENT)
    with pytest.raises(SourceError, match="run it again to go on from 102400 bytes"):
        downloads.fetch("model", server.url)
    assert not (downloads.folder / "model/model_infer.tar").exists()


def test_a_certificate_that_nobody_trusts(server, downloads, monkeypatch):
    import requests

    def refuse(*_, **__):
        raise requests.exceptions.SSLError("certificate verify failed")

    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(SourceError, match=r"no trusted connection .*certificate verify failed"):
        downloads.fetch("model", server.url)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/model.tar", "model.tar"])
def test_nothing_but_http(downloads, url):
    with pytest.raises(SourceError, match="neither http nor https"):
        downloads.fetch("model", url)


def test_more_than_the_disk_holds(server, downloads):
    server.length = 1 << 60
    with pytest.raises(OutputError, match="make room, or give another --cache"):
        downloads.fetch("model", server.url)
    assert files_in(downloads) == set()


def test_a_cache_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"the cache .* cannot be made: "):
        Downloads(tmp_path / "file")


def test_without_pooch(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(UsageError, match=r"pip install .\[download\]"):
        Downloads(tmp_path)


def test_what_is_wanted():
    both = catalog.card("ch_PP-OCRv4_det")
    assert wanted(both, "infer") == [both.infer]
    assert wanted(both, "train") == [both.train]
    assert wanted(both, "both") == [both.train, both.infer]
    export_only = catalog.card("en_ppocr_mobile_v2.0_det")
    assert wanted(export_only, "train") == wanted(export_only, "both") == [export_only.infer]
    assert Path(export_only.infer).name == "en_ppocr_mobile_v2.0_det_infer.tar"
