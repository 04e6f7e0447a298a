"""Imports of PaddleOCR's source that its networks do not need to run as a reference."""

from __future__ import annotations

import sys
import types

import pytest

from converter.references.paddle import paddlenlp_networks
from converter.references.paddle.compatibility import provide_imports

SHELLS = "ppocr.modeling.backbones.vqa_layoutlm"
LCNET = "ppocr.modeling.backbones.det_pp_lcnet_v2"


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """Replace the table of modules, so that what a test provides is gone after it."""
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    sys.modules.pop("lanms", None)
    return sys.modules


def test_drrg_gets_functions_that_say_what_they_are(modules):
    provide_imports({"Head": {"name": "DRRGHead"}})
    pooling = modules["ppocr.ext_op"].RoIAlignRotated((3, 3), 1.0)
    for function in (pooling, modules["lanms"].merge_quadrangle_n9):
        with pytest.raises(NotImplementedError, match="compiled with CUDA or come with lanms"):
            function("maps", 0.3)


def test_sdmgr_needs_no_paddlenlp(modules):
    provide_imports({"model_type": "kie", "Backbone": {"name": "Kie_backbone"}})
    assert modules[SHELLS].LayoutXLMForSer is None
    assert "paddlenlp" not in modules


def test_pplcnetv2_fetches_nothing(modules):
    class PPLCNetV2:
        def _load_pretrained(self, url: str, use_ssld: bool = False) -> None:
            raise AssertionError(f"fetches {url}, {use_ssld}")

    modules[LCNET] = types.ModuleType(LCNET)
    modules[LCNET].PPLCNetV2 = PPLCNetV2
    provide_imports({"Backbone": {"name": "PPLCNetV2_base"}})
    PPLCNetV2()._load_pretrained("https://host/x.pdparams", use_ssld=True)


def test_others_import_what_is_there(modules):
    before = set(modules)
    provide_imports({"model_type": "det", "Backbone": {"name": "MobileNetV3"}, "Neck": None})
    assert set(modules) == before


@pytest.fixture
def fake_paddlenlp(tmp_path, monkeypatch):
    """A package of PaddleNLP's layout whose networks are empty."""
    for family in ("layoutlm", "layoutlmv2", "layoutxlm"):
        folder = tmp_path / "paddlenlp/transformers" / family
        folder.mkdir(parents=True)
        (folder / "modeling.py").write_text("__all__ = ['Model']\nclass Model: pass\n")
        (folder / "visual_backbone.yaml").touch()
    (tmp_path / "paddlenlp/__init__.py").write_text("raise ImportError('not to be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    # Its real base class is a layer of Paddle.
    monkeypatch.setattr(paddlenlp_networks, "_pretrained_model", lambda *_: object)


@pytest.mark.usefixtures("fake_paddlenlp")
def test_networks_of_paddlenlp_are_provided_more_than_once(modules):
    for sizes in ({}, {"hidden_size": 12}):
        paddlenlp_networks.provide({"sizes": sizes})
        assert modules["paddlenlp.transformers"].Model.__name__ == "Model"
