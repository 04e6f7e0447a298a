"""What makes an artefact out of date, and what does not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from converter.conversion import fingerprint as fingerprints
from converter.conversion.request import Request
from converter.conversion.steps import run
from converter.errors import SourceError
from tests.support.checkpoints import CLS, save, weights

NAME = "ch_ppocr_mobile_v2.0_cls"


@pytest.fixture
def request_(tmp_path) -> Request:
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "best_accuracy.pdparams").write_bytes(b"weights")
    return Request(NAME, folder, out=tmp_path / "x.pth")


def test_the_same_is_the_same(request_, tmp_path):
    before = fingerprints.fingerprint(request_)
    moved = request_.paddle_dir.rename(tmp_path / "elsewhere")
    assert fingerprints.fingerprint(replace(request_, paddle_dir=moved)) == before
    (moved / "best_accuracy.pdopt").write_bytes(b"optimizer")
    other = replace(request_, paddle_dir=moved, out=tmp_path / "y.pth", fingerprint="old")
    assert fingerprints.fingerprint(other) == before


@pytest.mark.parametrize(
    "change",
    [
        {"fuse": True},
        {"reference": "recorded"},
        {"tolerance": 1e-5},
        {"out": Path("x.safetensors")},
        {"paddleocr": Path("checkout")},
        {"submodel": "Teacher"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_options(request_, change):
    assert fingerprints.fingerprint(replace(request_, **change)) != fingerprints.fingerprint(
        request_
    )


def test_other_files(request_, tmp_path):
    seen = {fingerprints.fingerprint(request_)}
    weights_file = request_.paddle_dir / "best_accuracy.pdparams"
    weights_file.write_bytes(b"others!")
    seen.add(fingerprints.fingerprint(request_))
    (request_.paddle_dir / "inference.yml").write_text("PostProcess: {}")
    seen.add(fingerprints.fingerprint(request_))
    (tmp_path / "dict.txt").write_text("a\n")
    with_dictionary = replace(request_, dictionary=tmp_path / "dict.txt")
    seen.add(fingerprints.fingerprint(with_dictionary))
    (tmp_path / "dict.txt").write_text("b\n")
    seen.add(fingerprints.fingerprint(with_dictionary))
    seen.add(fingerprints.fingerprint(replace(request_, program_dir=request_.paddle_dir)))
    assert len(seen) == 6


def test_of_a_file_what_belongs_to_it(tmp_path):
    for name in ("a.pdmodel", "a.pdiparams", "a.pdiparams.info", "b.pdiparams", "c.pdparams"):
        (tmp_path / name).touch()
    program = fingerprints.source_files(tmp_path / "a.pdmodel")
    assert [file.name for file in program] == ["a.pdmodel", "a.pdiparams", "a.pdiparams.info"]
    assert fingerprints.source_files(tmp_path / "c.pdparams") == [tmp_path / "c.pdparams"]


def test_a_file_that_is_not_there(request_, tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        fingerprints.fingerprint(replace(request_, paddle_dir=tmp_path / "none.pdparams"))


def test_another_toolkit(request_, monkeypatch):
    before = fingerprints.fingerprint(request_)
    monkeypatch.setattr(fingerprints, "toolkit_hash", lambda: "another")
    assert fingerprints.fingerprint(request_) != before


def test_the_toolkit_is_all_that_a_conversion_uses(tmp_path):
    """Every module of ours that a process has imported by the end of a conversion is hashed."""
    save(tmp_path / "x.pdparams", weights(CLS))
    code = (
        "import sys; from pathlib import Path\n"
        "from converter.conversion.request import Request\n"
        "from converter.conversion.steps import run\n"
        f"run(Request({NAME!r}, Path('x.pdparams'), out=Path('x.pth')))\n"
        "print(*(m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)),"
        " sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(fingerprints.ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    hashed = set(fingerprints.toolkit_files())
    ours = (fingerprints.ROOT / "converter", fingerprints.ROOT / "architectures")
    used = {Path(line) for line in done.stdout.splitlines()}
    used = {file for file in used if file.is_relative_to(ours[0]) or file.is_relative_to(ours[1])}
    assert len(used) > 20
    assert used <= hashed
    data = {file.relative_to(fingerprints.ROOT).parts[0] for file in hashed}
    assert data == {"converter", "architectures", "mappings", "configs", "schemas"}


def test_up_to_date(tmp_path):
    file = save(tmp_path / "x.pdparams", weights(CLS))
    out = tmp_path / "x.pth"
    assert fingerprints.up_to_date(out, "1") is None
    run(Request(NAME, file, out=out, fingerprint="1"))
    assert fingerprints.up_to_date(out, "1")["name"] == NAME
    assert fingerprints.up_to_date(out, "2") is None
    whole = out.read_bytes()
    out.write_bytes(whole[:-1])
    assert fingerprints.up_to_date(out, "1") is None
    out.write_bytes(whole)
    described = out.with_suffix(".json")
    described.write_text(json.dumps([1]))
    assert fingerprints.up_to_date(out, "1") is None
    described.write_text("{")
    assert fingerprints.up_to_date(out, "1") is None
