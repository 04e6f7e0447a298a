"""Writing the artefact: whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import architectures
from architectures.loading import ArtefactError
from converter.conversion import artefact as output
from converter.conversion.artefact import output_path, write_artefact, write_json
from converter.errors import OutputError
from tests.support.paths import ROOT

FORMATS = ["pth", "safetensors"]
ARCHITECTURE: dict[str, Any] = {
    "model_type": "cls",
    "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
    "Head": {"name": "ClsHead", "class_dim": 2},
}


def network(seed: int = 0) -> architectures.Model:
    torch.manual_seed(seed)
    return architectures.build(ARCHITECTURE)


def write(out: Path, seed: int = 0) -> int:
    model = network(seed)
    card = {
        "format": 1,
        "architecture": model.architecture,
        "class_counts": model.class_counts,
        "form": model.form,
        "note": "ü",
    }
    return write_artefact(out, out.suffix[1:], model.state_dict(), card)


def same(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs, ours = model.state_dict(), other.state_dict()
    return list(theirs) == list(ours) and all(torch.equal(theirs[k], ours[k]) for k in theirs)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Where to.


@pytest.mark.parametrize(
    ("name", "format", "chosen"),
    [
        ("x.pth", None, "pth"),
        ("x.safetensors", None, "safetensors"),
        ("x.v1.pth", "pth", "pth"),
    ],
)
def test_the_format_is_that_of_the_name(tmp_path, name, format, chosen):
    assert output_path(tmp_path / name, format) == (tmp_path / name, chosen)


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("x.pth", "safetensors", "ends in .pth, but --format is safetensors"),
        ("x.pt", None, "should end in .pth or .safetensors"),
        ("x", "pth", "should end in .pth or .safetensors"),
        ("none/x.pth", None, "none of --out does not exist; create it first"),
        ("folder.pth", None, "folder.pth is a folder; --out needs a file"),
        ("taken.pth", None, "taken.json is a folder; --out needs a file"),
    ],
)
def test_places_that_do_not_fit(tmp_path, name, format, message):
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(OutputError) as caught:
        output_path(tmp_path / name, format)
    assert message in str(caught.value)


def test_no_place():
    with pytest.raises(OutputError, match="--out is missing"):
        output_path(None, None)


def test_a_read_only_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path or mode != os.W_OK)
    with pytest.raises(OutputError, match="cannot be written to"):
        output_path(tmp_path / "x.pth", None)


# What is written.


@pytest.mark.parametrize("format", FORMATS)
def test_round_trip(tmp_path, format):
    out = tmp_path / f"x.{format}"
    size = write(out)
    assert files(tmp_path) == ["x.json", f"x.{format}"]
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir())
    loaded = architectures.load(out)
    assert same(loaded, network())
    assert loaded.card["weights"] == {
        "file": out.name,
        "format": format,
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
    }
    assert "ü" in (tmp_path / "x.json").read_text(encoding="utf-8")


def test_plain_readers_read_it(tmp_path):
    write(tmp_path / "x.pth")
    state = torch.load(tmp_path / "x.pth", weights_only=True)
    assert type(state) is dict
    assert list(state) == list(network().state_dict())
    write(tmp_path / "y.safetensors")
    with safe_open(tmp_path / "y.safetensors", "pt") as archive:
        assert set(archive.keys()) == set(state)


@pytest.mark.parametrize("format", FORMATS)
def test_a_tensor_of_two_names(tmp_path, format):
    out, tensor = tmp_path / f"x.{format}", torch.arange(3.0)
    write_artefact(out, format, {"a": tensor, "b": tensor}, {})
    read = torch.load if format == "pth" else load_file
    assert {name: of.tolist() for name, of in read(out).items()} == {"a": [0, 1, 2], "b": [0, 1, 2]}


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_bytes_in_another_run_and_under_another_name(tmp_path, format):
    first, second = tmp_path / f"a.{format}", tmp_path / f"longer_name.{format}"
    write(first)
    write(second)
    assert first.read_bytes() == second.read_bytes()
    again = tmp_path / "again"
    again.mkdir()
    run_writer(again / f"a.{format}")
    assert (again / f"a.{format}").read_bytes() == first.read_bytes()
    assert (again / "a.json").read_bytes() == (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_what_was_there_is_replaced(tmp_path, format):
    out = tmp_path / f"x.{format}"
    write(out, seed=0)
    write(out, seed=1)
    assert same(architectures.load(out), network(1))
    assert files(tmp_path) == ["x.json", f"x.{format}"]


def test_json_refuses_what_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"x": float("nan")})
    assert files(tmp_path) == []


# When it cannot be written.


@pytest.fixture(params=["x.pth", "x.safetensors"])
def old(request, tmp_path) -> Path:
    """An artefact that is there already."""
    out = tmp_path / request.param
    write(out, seed=7)
    return out


def assert_untouched(out: Path) -> None:
    assert same(architectures.load(out), network(7))
    assert files(out.parent) == sorted(["x.json", out.name])


def fail(error: BaseException):
    def failing(*_: object, **__: object) -> None:
        raise error

    return failing


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [FULL, MemoryError(), KeyboardInterrupt(), RuntimeError("odd")])
@pytest.mark.parametrize("place", ["_save", "_flush", "json.dumps"])
def test_whatever_fails_the_old_artefact_stays(old, monkeypatch, place, error):
    where, _, name = place.rpartition(".")
    monkeypatch.setattr(getattr(output, where) if where else output, name, fail(error))
    known = isinstance(error, (OSError, RuntimeError))
    with pytest.raises(OutputError if known else type(error)) as caught:
        write(old)
    if error is FULL:
        assert str(caught.value) == f"cannot write {old}: No space left on device"
    monkeypatch.undo()
    assert_untouched(old)


def test_the_disk_is_full(old):
    """A limit on the size of files is as good as a small disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OutputError) as caught:
            write(old)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in str(caught.value)
    assert_untouched(old)


def test_a_report_in_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*none/x.json: No such file"):
        write_json(tmp_path / "none" / "x.json", {})


# When the process is ended. A child writes the artefact and stops in the middle.


WRITER = """
import sys, time
sys.path[:0] = {path!r}
from tests.converter.conversion import test_artefact
from converter.conversion import artefact
from converter.cli.main import main
from pathlib import Path

out, stop = Path(sys.argv[1]), sys.argv[2]
def here(*_):
    print("stopped", flush=True)
    time.sleep(60)
def after(name):
    function = getattr(artefact, name)
    setattr(artefact, name, lambda *arguments: (function(*arguments), here()))
if stop:
    after(stop)
from converter.cli import convert
def write(options):
    test_artefact.write(out)
    return 0
convert.run = write
sys.exit(main(["x"]))
"""


def run_writer(out: Path, stop: str = "", signal: int | None = None) -> tuple[int, str]:
    """Write in a child, send the signal when it has come to the place to stop at."""
    code = WRITER.format(path=[str(ROOT)])
    child = subprocess.Popen(
        [sys.executable, "-c", code, out, stop],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if signal is not None:
            assert child.stdout.readline() == "stopped\n"
            child.send_signal(signal)
        _, error = child.communicate(timeout=60)
    finally:
        child.kill()
    return child.returncode, error


@pytest.mark.parametrize("stop", ["_save", "_flush"])
def test_killed_while_writing(old, stop):
    code, _ = run_writer(old, stop, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert same(architectures.load(old), network(7))
    left = set(files(old.parent)) - {"x.json", old.name}
    assert left
    assert all(name.startswith(".") and name.endswith(".partial") for name in left)
    write(old)  # what was left does not matter
    assert same(architectures.load(old), network())
    assert files(old.parent) == sorted(["x.json", old.name])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stop", ["_save", "_flush"])
def test_ended_while_writing(old, stop, number):
    code, error = run_writer(old, stop, number)
    assert code == 130
    assert error == "converter: interrupted, nothing was written\n"
    assert_untouched(old)


def test_a_pair_that_was_torn_apart_is_found_out(tmp_path, monkeypatch):
    """The power fails between the two renames."""
    out = tmp_path / "x.pth"
    write(out, seed=7)
    rename = Path.replace

    def once(self: Path, target: Path) -> Path:
        if target.suffix == ".json":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", once)
    with pytest.raises(KeyboardInterrupt):
        write(out)
    with pytest.raises(ArtefactError, match="one of the two was replaced; convert again"):
        architectures.load(out)
