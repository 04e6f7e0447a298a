"""Downloads, from a server in this process that can be made to misbehave."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from converter.catalog import cards as catalog
from converter.conversion import download
from converter.conversion.download import Downloads, release_urls
from converter.errors import OutputError, SourceError, UsageError
from tests.support.checkpoints import CLS, save, weights
from tests.support.file_server import CONTENT, archive


@pytest.fixture
def downloads(tmp_path, monkeypatch) -> Downloads:
    monkeypatch.setattr(download, "_BLOCK", 100)
    monkeypatch.setattr(download, "BACK_OFF", 0)
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
    assert downloads.recorded_hashes() == {
        "model/model_infer.tar": hashlib.sha256(CONTENT).hexdigest()
    }
    assert downloads.fetch("model", server.url) == path
    assert Downloads(downloads.folder).fetch("model", server.url) == path
    assert len(server.asked) == 1
    other = downloads.fetch("other", server.url)
    assert (other.parent.name, len(downloads.recorded_hashes())) == ("other", 2)


def test_what_breaks_off_goes_on_where_it_stopped(server, downloads):
    server.cut = [1000, 5000]
    assert downloads.fetch("model", server.url).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=1000-", "bytes=6000-"]
    assert files_in(downloads) == {"registry.txt", "model/model_infer.tar"}


def test_the_next_run_goes_on_too(server, downloads):
    server.cut = [100] * download.ATTEMPTS
    with pytest.raises(SourceError, match="run it again to continue after 400 bytes"):
        downloads.fetch("model", server.url)
    assert not (downloads.folder / "model/model_infer.tar").exists()
    assert downloads.recorded_hashes() == {}
    server.asked.clear()
    assert Downloads(downloads.folder).fetch("model", server.url).read_bytes() == CONTENT
    assert ranges(server) == ["bytes=400-"]


@pytest.mark.parametrize(
    "change",
    [{"ranges": False}, {"tag": '"v2"', "content": archive(b"another")}, {"tag": 'W/"weak"'}],
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
    server.content = short = archive(b"", "inference.pdmodel")[:1536]
    server.cut = []
    server.status = 416
    with pytest.raises(SourceError, match="416"):
        downloads.fetch("model", server.url)
    server.status = 200
    assert downloads.fetch("model", server.url).read_bytes() == short


def test_a_damaged_file_is_fetched_again(server, downloads):
    path = downloads.fetch("model", server.url)
    path.write_bytes(CONTENT[:-1])
    assert downloads.fetch("model", server.url).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_another_file_than_the_first_time(server, downloads):
    path = downloads.fetch("model", server.url)
    path.unlink()
    server.content = other = archive(b"something else")
    with pytest.raises(SourceError, match="no longer gives what was downloaded first") as caught:
        downloads.fetch("model", server.url)
    assert f"remove its line from {downloads.folder}/registry.txt" in str(caught.value)
    assert files_in(downloads) == {"registry.txt"}
    (downloads.folder / "registry.txt").unlink()
    assert downloads.fetch("model", server.url).read_bytes() == other


def test_a_file_that_was_moved_into_place_but_not_noted(server, downloads):
    downloads.fetch("model", server.url)
    (downloads.folder / "registry.txt").unlink()
    downloads.fetch("model", server.url)
    assert len(server.asked) == len(downloads.recorded_hashes()) == 1


def test_a_registry_that_is_none(server, downloads):
    (downloads.folder / "registry.txt").write_text("a b c d e\n")
    with pytest.raises(SourceError, match=r"registry.txt is damaged"):
        downloads.fetch("model", server.url)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": 404}, "is not available (404 Not Found); if the release has moved, download"),
        ({"status": 206}, "is not available (206 Partial Content)"),
        ({"headers": {"Content-Type": "text/html"}}, "gives an HTML page instead of the file"),
        ({"headers": {"Content-Encoding": "gzip"}}, "is sent with the Content-Encoding gzip, not "),
        ({"length": "abc"}, "is sent with the Content-Length 'abc', which is no size"),
        ({"length": "-5"}, "is sent with the Content-Length '-5', which is no size"),
        ({"length": download.LARGEST_FILE + 1}, "is larger than 4096 MiB, which no release is"),
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
    with pytest.raises(SourceError, match="run it again to continue after 102400 bytes"):
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
    with pytest.raises(OutputError, match="make room, or name another --cache"):
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


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(server, downloads, monkeypatch, status):
    waits = []
    monkeypatch.setattr(download, "BACK_OFF", 1.5)
    monkeypatch.setattr(download.time, "sleep", waits.append)
    server.statuses = [status, status]
    assert downloads.fetch("model", server.url).read_bytes() == CONTENT
    assert waits == [1.5, 3.0]
    assert len(server.asked) == 3


def test_a_server_that_stays_busy(server, downloads, monkeypatch):
    waits = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    server.status, server.headers = 503, {"Retry-After": "7"}
    with pytest.raises(SourceError, match=r"cannot be downloaded \(HTTPError: 503 Service Unav"):
        downloads.fetch("model", server.url)
    assert waits == [7.0] * (download.ATTEMPTS - 1)
    assert len(server.asked) == download.ATTEMPTS
    server.asked.clear()
    waits.clear()
    server.headers = {"Retry-After": "100000"}
    with pytest.raises(SourceError, match="503"):
        downloads.fetch("model", server.url)
    assert waits == [download.LONGEST_WAIT] * (download.ATTEMPTS - 1)


def test_redirects_within_the_host_are_followed(server, downloads):
    server.statuses, server.headers = [301, 302], {"Location": "/elsewhere/file"}
    assert downloads.fetch("model", server.url).read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == [
        "/release/model_infer.tar", "/elsewhere/file", "/elsewhere/file"
    ]  # fmt: skip
    assert downloads.recorded_hashes().keys() == {"model/model_infer.tar"}


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://localhost:{port}/file", "redirects to another host, http://localhost:"),
        ("file:///etc/passwd", "file:///etc/passwd is neither http nor https"),
        ("/again", "redirects more than 5 times"),
    ],
)
def test_redirects_that_are_not_followed(server, downloads, location, message):
    location = location.format(port=server.server_port)
    server.status, server.headers = 302, {"Location": location}
    with pytest.raises(SourceError) as caught:
        downloads.fetch("model", server.url)
    assert message in str(caught.value)
    assert files_in(downloads) == set()


def test_chunks_without_an_end(server, downloads, monkeypatch):
    monkeypatch.setattr(download, "_BLOCK", 1 << 16)
    monkeypatch.setattr(download, "LARGEST_FILE", 1 << 20)
    server.endless = True
    with pytest.raises(SourceError, match="is larger than 1 MiB, which no release is"):
        downloads.fetch("model", server.url)
    assert len(server.asked) == 1
    assert files_in(downloads) == set()


def test_a_transfer_that_takes_too_long(server, downloads, monkeypatch):
    """A byte now and then is in time for every other limit."""
    monkeypatch.setattr(download, "TRANSFER_LIMIT", 0.3)
    server.endless, server.chunk, server.pause = True, 1, 0.02
    with pytest.raises(SourceError, match="was not downloaded within 0 minutes; run it again"):
        downloads.fetch("model", server.url)
    assert len(server.asked) == 1
    assert not (downloads.folder / "model/model_infer.tar").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT[: len(CONTENT) // 2], "model_infer.tar is truncated"),
        (b"<html>sign in</html>", "model_infer.tar is no complete tar"),
        (archive(b"readme", "readme.txt"), "model_infer.tar holds no file of a Paddle model"),
        (archive(b"", "../inference.json"), "leads out of the archive"),
    ],
)
def test_an_archive_that_does_not_open_is_removed(server, downloads, content, message):
    server.content = content
    with pytest.raises(SourceError) as caught:
        downloads.fetch("model", server.url)
    assert str(caught.value).startswith(f"{server.url} gives no model, so the download was removed")
    assert message in str(caught.value)
    assert files_in(downloads) == set()
    server.content = CONTENT
    assert downloads.fetch("model", server.url).read_bytes() == CONTENT


def test_a_checkpoint_that_does_not_open_is_removed(server, downloads, tmp_path):
    url = server.url.replace("model_infer.tar", "model_pretrained.pdparams")
    whole = save(tmp_path / "whole.pdparams", weights(CLS)).read_bytes()
    server.content = whole[:-1000]
    with pytest.raises(SourceError, match="gives no model, so the download was removed"):
        downloads.fetch("model", url)
    assert files_in(downloads) == set()
    server.content = whole
    assert downloads.fetch("model", url).read_bytes() == whole


def test_urls_of_a_release():
    both = catalog.card("ch_PP-OCRv4_det")
    assert release_urls(both, "infer") == [both.infer]
    assert release_urls(both, "train") == [both.train]
    assert release_urls(both, "both") == [both.train, both.infer]
    export_only = catalog.card("en_ppocr_mobile_v2.0_det")
    assert (
        release_urls(export_only, "train")
        == release_urls(export_only, "both")
        == [export_only.infer]
    )
    assert Path(export_only.infer).name == "en_ppocr_mobile_v2.0_det_infer.tar"
