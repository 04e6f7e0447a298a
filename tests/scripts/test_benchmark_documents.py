"""The benchmark of documents: the exports as PaddleX takes them, and a side that fails."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
import yaml
from benchmarks import documents
from benchmarks.documents import ROLES, PaddleX, exports
from drawn.pages import DrawnPage

from converter.errors import SourceError, UsageError


@pytest.fixture
def folders(tmp_path):
    """A folder for each role; that of tables has its settings."""
    for role in ROLES:
        (tmp_path / role).mkdir()
        (tmp_path / role / "inference.pdmodel").write_bytes(b"")
    (tmp_path / "table" / "inference.yml").write_text("Global: {model_name: SLANet_plus}")
    return {f"paddlex_{role}": tmp_path / role for role in ROLES}


def test_settings_are_written_where_they_are_missing(folders, tmp_path):
    weights = tmp_path / "rec.pth"
    weights.with_suffix(".json").write_text(json.dumps({"dictionary": {"characters": ["a", "字"]}}))
    made = tmp_path / "made"
    made.mkdir()
    (tmp_path / "b").mkdir()
    found = exports(SimpleNamespace(**folders), {"detection": "", "recognition": weights}, made)
    assert found["table"] == str(tmp_path / "table")
    assert found["layout"] == str(tmp_path / "layout")
    said = yaml.safe_load((made / "recognition" / "inference.yml").read_text(encoding="utf-8"))
    assert said["PostProcess"]["character_dict"] == ["a", "字"]
    assert (made / "detection" / "inference.pdmodel").is_file()
    missing = folders | {"paddlex_table": tmp_path / "none"}
    with pytest.raises(SourceError, match="there is no such folder"):
        exports(
            SimpleNamespace(**missing), {"detection": "", "recognition": weights}, tmp_path / "b"
        )


def test_a_side_that_ends_is_told():
    with pytest.raises(UsageError, match="PaddleX's side ended"):
        PaddleX(Path("/bin/false"), {"models": {}})


def test_pages_are_drawn_upright(tmp_path, monkeypatch):
    page = DrawnPage(140, 100)
    page.turned = 90
    monkeypatch.setattr(documents, "ten_pages", lambda: [page])
    ((path, image),) = documents.draw([1], tmp_path).items()
    assert image.shape == (100, 140, 3)
    assert cv2.imread(path).shape == image.shape
