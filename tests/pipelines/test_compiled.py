"""Networks compiled ahead of time: the cache and its names, without a compiler."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

import architectures
from pipelines import compiled, runtime
from pipelines.compiled import Axis, PackageError, cache_folder, check_private, package_name
from pipelines.runtime import TorchNetwork
from tests.support.small_networks import CRNN
from tests.support.small_weights import save_network


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_network(tmp_path_factory.mktemp("weights") / "rec.pth", CRNN, ctc=4)[0]


class FakePackage:
    """Answers with zeros, for images of 64 columns at least."""

    def __init__(self, file):
        self.file = file

    def takes(self, images):
        return images.shape[3] >= 64

    def __call__(self, images):
        return torch.zeros(len(images), 2, 4)


@pytest.fixture
def compilations(monkeypatch):
    """The files that were compiled."""
    made = []

    def compile_(_model, _card, file):
        file.write_bytes(b"code")
        file.chmod(0o600)
        made.append(file)

    monkeypatch.setattr(compiled, "_compile", compile_)
    monkeypatch.setattr(compiled, "Package", FakePackage)
    return made


def lines(width):
    return np.random.RandomState(0).standard_normal((2, 3, 32, width)).astype(np.float32)


def test_a_network_is_compiled_once_and_runs_itself_where_the_code_does_not(
    weights, cache, compilations
):
    for _ in range(2):
        network = TorchNetwork(weights, compile=True)
        assert not network(lines(64)).any()
        np.testing.assert_array_equal(network(lines(32)), TorchNetwork(weights)(lines(32)))
    (file,) = compilations
    assert file.parent == cache / "paddleocr-to-torch/compiled"
    assert file.name.startswith(architectures.load(weights).card.weights.sha256)
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_nothing_uses_is_removed_when_another_is_compiled(weights, compilations, monkeypatch):
    TorchNetwork(weights, compile=True)
    (file,) = compilations
    now, folder = time.time(), file.parent

    def left(days, name):
        path = folder / name
        path.mkdir() if name.startswith(".") else path.write_bytes(b"")
        os.utime(path, (now, now - days * 86400))
        return path

    kept = [left(80, "used.pt2"), left(400, "used.lock"), left(0.5, ".compiling-now")]
    gone = [left(91, "old.pt2"), left(2, ".compiling-killed")]
    os.utime(file, (now, now - 91 * 86400))
    TorchNetwork(weights, compile=True)  # which uses it
    assert now - file.stat().st_mtime < 60
    assert all(path.exists() for path in gone)
    monkeypatch.setattr(compiled, "FORMAT", 0)
    TorchNetwork(weights, compile=True)
    assert len(compilations) == 2
    assert file.exists()
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)


@pytest.mark.parametrize(
    "changed", ["weights", "torch", "processor", "networks", "dtype", "threads"]
)
def test_a_package_for_something_else_has_another_name(changed, weights, monkeypatch):
    card = architectures.load(weights).card
    before = package_name(card, torch.float32, 1)
    assert package_name(card, torch.float32, 1) == before
    dtype = torch.bfloat16 if changed == "dtype" else torch.float32
    if changed == "weights":
        card = SimpleNamespace(weights=SimpleNamespace(sha256="0" * 64), input=card.input)
    elif changed == "torch":
        monkeypatch.setattr(torch, "__version__", "9.9")
    elif changed == "processor":
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    elif changed == "networks":
        monkeypatch.setattr(compiled, "_hash_of_networks", lambda: "other")
    assert package_name(card, dtype, 2 if changed == "threads" else 1) != before


@pytest.mark.parametrize("fault", ["folder", "root", "link", "owner", "file"])
def test_code_that_others_may_have_written_is_not_loaded(
    fault, weights, cache, compilations, monkeypatch, caplog, tmp_path
):
    TorchNetwork(weights, compile=True)
    (file,) = compilations
    if fault == "folder":
        file.parent.chmod(0o777)
    elif fault == "root":
        cache.chmod(0o770)
    elif fault == "link":
        file.parent.rename(tmp_path / "elsewhere")
        file.parent.symlink_to(tmp_path / "elsewhere")
    elif fault == "owner":
        monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    else:
        file.chmod(0o666)
    caplog.clear()
    monkeypatch.setattr(runtime.torch, "compile", lambda model, **_: model)
    network = TorchNetwork(weights, compile=True)
    assert network.compiled
    assert network(lines(64)).any()
    (message,) = caplog.messages
    assert "has to be yours, not writable by others, and no link" in message


def test_a_relative_folder_of_caches_does_not_count(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    before = os.umask(0o002)
    try:
        folder = cache_folder()
    finally:
        os.umask(before)
    assert folder == tmp_path / ".cache/paddleocr-to-torch/compiled"
    check_private(cache_folder())


def test_without_a_compiler_the_reason_is_logged(weights, monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(runtime.torch, "compile", lambda model, **_: model)
    assert TorchNetwork(weights, compile=True).compiled
    assert "no-such-compiler is not installed" in caplog.text


def test_axes_of_a_graph():
    shapes = {0: Dim("n", min=1, max=8), 2: 32 * Dim("h", min=1, max=4)}
    layer, images = nn.Conv2d(3, 2, 3, stride=2, padding=1).eval(), torch.rand(2, 3, 64, 32)
    program = torch.export.export(layer, (images,), dynamic_shapes=(shapes,))
    axes = compiled.program_axes(program)
    assert axes == (Axis(1, 8), Axis(3, 3), Axis(64, 128, 32), Axis(32, 32))
    assert [axes[2].takes(size) for size in (64, 65, 128, 160, 0)] == [
        True,
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("error", "passes"), [(0.0, True), (1e-2, False), (np.nan, False)])
def test_code_that_computes_something_else_is_refused(error, passes):
    layer = nn.Conv2d(3, 2, 1).eval()

    class Code(FakePackage):
        axes = (Axis(1, 8), Axis(3, 3), Axis(32, 512, 32), Axis(64, 64))

        def __call__(self, images):
            return layer(images) + error

    if passes:
        compiled._prove(layer, Code(None))
    else:
        with pytest.raises(PackageError, match="differ by"):
            compiled._prove(layer, Code(None))


def test_a_package_that_is_empty_takes_no_images(tmp_path):
    (tmp_path / "slower.pt2").touch()
    images = torch.rand(1, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    assert not compiled.Package(tmp_path / "slower.pt2").takes(images)


def test_the_time_of_code_is_compared_with_that_of_the_network():
    layer = nn.Conv2d(3, 8, 3).eval()

    class Code(FakePackage):
        axes = (Axis(1, 8), Axis(3, 3), Axis(32, 512, 32), Axis(64, 64))

        def __call__(self, images):
            for _ in range(8):
                layer(images)

    assert compiled.time_share(layer, Code(None)) > compiled.WORTHWHILE
