"""The plugins where the programs that they are for are not installed."""

from __future__ import annotations

import configparser
import importlib
import sys

import pytest

from tests.support.paths import ROOT


@pytest.mark.parametrize("name", ["docling", "ocrmypdf"])
def test_the_extra_is_named(name, monkeypatch):
    module = f"pipelines.plugins.{name}"
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ImportError, match=rf"needs .*pip install paddleocr-to-torch\[{name}\]"):
        importlib.import_module(module)


def test_the_entry_points_name_the_modules():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    for name in ("docling", "ocrmypdf"):
        entry = setup["options.entry_points"][name].strip()
        assert entry == f"paddleocr_torch = pipelines.plugins.{name}"
        assert (ROOT / f"pipelines/plugins/{name}.py").is_file()
        assert name in setup["options.extras_require"]
