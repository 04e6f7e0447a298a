"""Writing the artefact: whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import architectures
from architectures import saving
from architectures.loading import ArtefactError
from converter.conversion.artefact import (
    check_report_path,
    output_path,
    write_artefact,
    write_json,
)
from converter.errors import OutputError
from schemas import artefact_files
from schemas.artefact import ArtefactCard
from tests.support.artefact_writer import Writer, network, run_writer, write
from tests.support.paddle_files import write_export

FORMATS = ["pth", "safetensors"]


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
    with pytest.raises(OutputError, match="of the report cannot be written to"):
        check_report_path(tmp_path / "report.json")


# What is written.


@pytest.mark.parametrize("format", FORMATS)
def test_round_trip(tmp_path, format):
    out = tmp_path / f"x.{format}"
    size = write(out)
    assert files(tmp_path) == ["x.json", f"x.{format}"]
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir())
    loaded = architectures.load(out)
    assert same(loaded, network())
    assert loaded.card.weights.to_dict() == {
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
    write_artefact(out, format, {"a": tensor, "b": tensor}, ArtefactCard())
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
@pytest.mark.parametrize(
    ("module", "name"), [(saving, "_save"), (artefact_files, "_flush"), (saving.json, "dumps")]
)
def test_whatever_fails_the_old_artefact_stays(old, monkeypatch, module, name, error):
    monkeypatch.setattr(module, name, fail(error))
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


@pytest.mark.parametrize(("stop", "number"), [("_save", signal.SIGTERM), ("_flush", signal.SIGINT)])
def test_ended_while_writing(old, stop, number):
    code, error = run_writer(old, stop, number)
    assert code == 130
    assert error == "converter: interrupted, nothing was written\n"
    assert_untouched(old)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ended_when_all_was_written(old, number):
    """While the files are renamed nothing is interrupted, and the message says that it is done."""
    code, error = run_writer(old, "_publish", number)
    assert code == 130
    assert error == f"converter: interrupted after {old} was written\n"
    assert same(architectures.load(old), network())
    assert files(old.parent) == sorted(["x.json", old.name])


@pytest.mark.parametrize("there", [True, False], ids=["over an old pair", "the first time"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_killed_between_the_renames(tmp_path, step, there):
    """After every rename, the weights that are there have a JSON that fits them."""
    out = tmp_path / "x.pth"
    if there:
        write(out, seed=7)
    code, _ = run_writer(out, f"rename {step}", signal.SIGKILL)
    assert code == -signal.SIGKILL
    if step > 1:
        assert same(architectures.load(out), network())
    elif there:
        assert same(architectures.load(out), network(7))
    else:
        assert not out.exists()
    assert output_path(out, None) == (out, "pth")
    write(out, seed=3)
    assert same(architectures.load(out), network(3))
    assert files(tmp_path) == ["x.json", "x.pth"]


def test_a_pair_that_was_torn_apart_is_found_out(tmp_path):
    """One of the files was replaced by hand."""
    out = tmp_path / "x.pth"
    write(out, seed=7)
    write(tmp_path / "y.pth", seed=8)
    (tmp_path / "y.pth").replace(out)
    with pytest.raises(ArtefactError, match="one of the two was replaced; convert again"):
        architectures.load(out)


def test_two_writers_of_one_artefact(tmp_path):
    """Whoever is last, the pair on disk fits, and both may say that they wrote."""
    out = tmp_path / "x.pth"
    for _ in range(2):
        for writer in [Writer(out, seeds=(1, 3, 1, 2)) for _ in range(2)]:
            assert writer.end() == (0, "")
        assert same(architectures.load(out), network(2))
        assert files(tmp_path) == ["x.json", "x.pth"]


# What is not replaced.


def write_card(file: Path) -> None:
    file.write_text('{"format": 1, "architecture": {}, "weights": {"file": "x.pth"}}')


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"base_code": {"magic": "pir"}, "program": {"regions": []}}',
        b'{"format": "1", "architecture": {}, "weights": {}}',
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[1]",
    ],
)
def test_a_json_that_describes_no_network_is_not_replaced(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(OutputError, match=r"config\.json exists and does not describe"):
        output_path(tmp_path / "config.pth", None)
    assert (tmp_path / "config.json").read_bytes() == content


def test_links_and_what_is_no_file_are_not_replaced(tmp_path):
    (tmp_path / "program.json").write_text("{}")
    (tmp_path / "a.json").symlink_to(tmp_path / "program.json")
    (tmp_path / "b.json").symlink_to(tmp_path / "nothing")
    (tmp_path / "c.pth").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "d.json")
    for name in "abcd":
        with pytest.raises(OutputError, match="is not replaced"):
            output_path(tmp_path / f"{name}.pth", None)


@pytest.mark.parametrize("name", ["inference.pdmodel", "inference.pdiparams"])
def test_a_json_that_paddle_would_read_as_a_program_is_not_written(tmp_path, name):
    (tmp_path / name).write_bytes(b"of an export")
    with pytest.raises(OutputError, match=rf"inference\.json would stand beside {name}"):
        output_path(tmp_path / "inference.pth", None)
    assert output_path(tmp_path / "other.pth", None)[0].name == "other.pth"


def test_weights_without_their_json_are_not_replaced(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"days of training")
    with pytest.raises(OutputError, match=r"x\.pth exists without the x\.json"):
        output_path(tmp_path / "x.pth", None)
    write_card(tmp_path / "x.json")
    assert output_path(tmp_path / "x.pth", None)[1] == "pth"


def test_sources_are_not_replaced(tmp_path):
    write_card(tmp_path / "x.json")
    (tmp_path / "again").symlink_to(tmp_path)
    with pytest.raises(OutputError, match=r"would replace .*x\.json, which is read"):
        output_path(tmp_path / "x.pth", None, [None, tmp_path, tmp_path / "again" / "x.json"])


def test_an_export_keeps_its_program(tmp_path, convert):
    """`--out inference.pth` beside `inference.json`: the JSON would be replaced by ours."""
    source = tmp_path / "cls"
    program = write_export(source, format="pir")
    before = {file.name: file.read_bytes() for file in source.iterdir()}
    out = source / "inference.pth"
    run = convert("ch_ppocr_mobile_v2.0_cls", "--paddle-dir", source, "--out", out)
    assert run.code == 2
    assert str(program) in run.err
    assert {file.name: file.read_bytes() for file in source.iterdir()} == before


def test_names_that_are_too_long(tmp_path):
    longest = "x" * 250
    assert output_path(tmp_path / f"{longest}.pth", None)[1] == "pth"
    write(tmp_path / f"{longest}.pth")
    assert same(architectures.load(tmp_path / f"{longest}.pth"), network())
    for name in (f"{longest}x.pth", "x" * 246 + ".safetensors", "ü" * 126 + ".pth"):
        with pytest.raises(OutputError, match=r"has 2.. bytes; .* takes 255"):
            output_path(tmp_path / name, None)


def test_a_name_that_is_no_utf8(tmp_path):
    with pytest.raises(OutputError, match="no UTF-8; give another name") as caught:
        output_path(tmp_path / os.fsdecode(b"\xff.pth"), None)
    assert str(caught.value).isprintable()


def test_folders_in_the_place_of_partial_files(tmp_path):
    (tmp_path / ".x.pth.partial").mkdir()
    write(tmp_path / "x.pth")
    assert same(architectures.load(tmp_path / "x.pth"), network())


def test_a_folder_that_became_read_only(old, monkeypatch):
    """Neither making the partial files nor removing them is possible: one message."""
    read_only = OSError(errno.EROFS, "Read-only file system")
    monkeypatch.setattr(Path, "unlink", fail(read_only))
    monkeypatch.setattr(saving, "_save", fail(read_only))
    with pytest.raises(OutputError, match=r"cannot write .*: Read-only file system"):
        write(old)


def test_the_reason_why_pytorch_cannot_write(tmp_path):
    """PyTorch reports its own state; the system's reason is kept."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"x\.pth: File too large$"):
            write(tmp_path / "x.pth")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path) == []
