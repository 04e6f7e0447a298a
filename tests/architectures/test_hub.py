"""Networks from the Hugging Face Hub: the real client, and a server that answers as it does."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub.constants
import pytest
import torch

from architectures import build, load
from architectures.loading import ArtefactError
from architectures.saving import write_artefact
from schemas.artefact import ArtefactCard, NetworkInput
from tests.support.small_networks import NETWORKS

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        files, path = self.server.files, self.path.partition("?")[0]
        self.server.asked.append(path)
        headers = {"X-Repo-Commit": COMMIT}
        if path.startswith("/api/models/me/ocr"):
            rows = [{"rfilename": n, "size": self.server.size or len(c)} for n, c in files.items()]
            body = json.dumps({"id": "me/ocr", "sha": COMMIT, "siblings": rows}).encode()
        elif (name := path.removeprefix(f"/me/ocr/resolve/{COMMIT}/")) in files:
            body = files[name]
            headers["ETag"] = f'"{name}-{len(body)}"'
        else:
            body = b""
            headers["X-Error-Code"] = "RepoNotFound"
        self.send_response(200 if body else 404)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    torch.manual_seed(0)
    model = build(NETWORKS["cls"][0])
    folder = tmp_path_factory.mktemp("written")
    card = ArtefactCard(
        name="mine", task="cls", architecture=model.architecture, labels=("0", "180"),
        class_counts=model.class_counts, input=NetworkInput(3, 48, 192),
    )  # fmt: skip
    write_artefact(folder / "mine.safetensors", "safetensors", model.state_dict(), card)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def hub(network, monkeypatch, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.asked, server.size = dict(network), [], 0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_repository_is_loaded_and_kept(hub):
    model = load("me/ocr")
    assert model.card.name == "mine"
    assert not model.training
    assert any(path.endswith("mine.safetensors") for path in hub.asked)
    hub.asked.clear()
    load("hf://me/ocr/mine.safetensors@main")
    assert not [path for path in hub.asked if "resolve" in path]  # they are in the cache


def test_another_networks_weights_are_refused(hub):
    data = bytearray(hub.files["mine.safetensors"])
    data[-1] ^= 1
    hub.files["mine.safetensors"] = bytes(data)
    with pytest.raises(ArtefactError, match="one of the two was replaced"):
        load("me/ocr")


def test_repositories_without_one_network(hub):
    hub.files |= {f"other{end}": hub.files[f"mine{end}"] for end in (".safetensors", ".json")}
    with pytest.raises(ArtefactError, match=r"holds 2 networks; name one: hf://me/ocr/mine\.safe"):
        load("me/ocr")
    with pytest.raises(ArtefactError, match=r"has no network third\.pth; it has mine"):
        load("hf://me/ocr/third.pth")
    del hub.files["mine.json"], hub.files["other.json"]
    with pytest.raises(ArtefactError, match="holds no converted network"):
        load("me/ocr")
    with pytest.raises(ArtefactError, match="cannot fetch me/nothing from the Hugging Face Hub"):
        load("me/nothing")


def test_sizes_are_checked_before_a_download(hub):
    hub.size = 1 << 40
    with pytest.raises(ArtefactError, match=r"mine\.json has 1099511627776 bytes, expected at"):
        load("me/ocr")
    assert not [path for path in hub.asked if "resolve" in path]


@pytest.mark.parametrize("path", ["weights/x.pth", "here/x", "a/b/c.pth", "x.pth"])
def test_files_that_are_missing_are_not_looked_for_there(hub, tmp_path, path):
    (tmp_path / "here").mkdir()
    with pytest.raises(ArtefactError, match="missing"):
        load(path)
    assert not hub.asked


@pytest.mark.usefixtures("hub")
def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ArtefactError, match=r"me/ocr is no file here.*paddleocr-to-torch\[hub\]"):
        load("me/ocr")
    with pytest.raises(ArtefactError, match=r"hf://me is no file here|is not hf://USER"):
        load("hf://me")
