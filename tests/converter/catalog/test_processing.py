"""How an export says that its images are resized and its maps decoded."""

from __future__ import annotations

import json

import pytest
import yaml

from converter.catalog import cards as catalog
from converter.catalog.processing import (
    check_settings,
    merge_settings,
    settings_of_export,
)
from converter.errors import ConfigError
from tests.support.checkpoints import DET, save, weights
from tests.support.line_steps import STEPS

# As PaddleOCR 3 writes it for a detector, what has no meaning here left out.
FILE = """
Global: {model_name: PP-OCRv5_mobile_det}
PreProcess:
  transform_ops:
  - DecodeImage: {channel_first: false, img_mode: BGR}
  - DetLabelEncode: null
  - DetResizeForTest: {resize_long: 960}
  - ToCHWImage: null
PostProcess: {name: DBPostProcess, thresh: 0.3, box_thresh: 0.6, max_candidates: 1000,
              unclip_ratio: 2}
"""
STATED = {
    "resize_long": 960, "thresh": 0.3, "box_thresh": 0.6, "unclip_ratio": 2, "max_candidates": 1000,
}  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    def write(text=FILE):
        file = tmp_path / "inference.yml"
        file.write_text(text)
        return file

    return write


def test_what_a_detector_states(settings):
    assert settings_of_export(settings(), "det") == STATED


@pytest.mark.parametrize(
    ("steps", "decode", "expected"),
    [
        ("[DetResizeForTest: {limit_side_len: 2400, limit_type: max}]",
         "{name: EASTPostProcess, score_thresh: 0.8, cover_thresh: 0.1, nms_thresh: 0.2}",
         {"limit_side_len": 2400, "limit_type": "max", "score_thresh": 0.8, "cover_thresh": 0.1,
          "nms_thresh": 0.2}),
        ("[ScaleAlignedShort: null]", "{name: CTPostProcess, box_type: poly}",
         {"box_type": "poly"}),
        ("[ScaleAlignedShort: {short_size: 512}]", "{name: CTPostProcess}", {"short_size": 512}),
        ("[DetResizeForTest: {limit_type: min, limit_side_len: 736}, Pad: null]",
         "{name: FCEPostProcess, scales: [8, 16, 32], alpha: 1.0, fourier_degree: 5}",
         {"limit_type": "min", "limit_side_len": 736, "scales": [8, 16, 32], "alpha": 1.0,
          "fourier_degree": 5}),
    ],
)  # fmt: skip
def test_other_detectors(settings, steps, decode, expected):
    text = f"PreProcess: {{transform_ops: {steps}}}\nPostProcess: {decode}"
    assert settings_of_export(settings(text), "det") == expected


def test_one_size_of_all_images_makes_room_for_a_limit():
    released = {"image_shape": [736, 1280], "keep_ratio": True, "thresh": 0.2}
    assert merge_settings(released, {"thresh": 0.3}) == {**released, "thresh": 0.3}
    stated = {"limit_side_len": 960, "limit_type": "max"}
    assert merge_settings(released, stated) == {"thresh": 0.2, **stated}


@pytest.mark.parametrize(
    "text",
    ["{}", "PreProcess: null", "PreProcess: {transform_ops: [DetResizeForTest, null]}",
     "PostProcess: [1]", "PreProcess: {transform_ops: {DetResizeForTest: {resize_long: 1}}}"],
)  # fmt: skip
def test_what_states_nothing(settings, text):
    assert settings_of_export(settings(text), "det") == {}


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"thresh": "high"}, "thresh is 'high', expected a number from 0 to 1"),
        ({"thresh": True}, "thresh is True, expected a number from 0 to 1"),
        ({"max_candidates": 1.5}, "max_candidates is 1.5, expected a whole number"),
        ({"use_dilation": 1}, "use_dilation is 1, expected true or false"),
        ({"treshold": 0.3}, "unknown setting treshold; there are limit_side_len, "),
    ],
)
def test_what_is_no_setting(stated, message):
    with pytest.raises(ConfigError, match=message):
        check_settings(stated, "somewhere", "det")


# As PaddleX writes them for its classifiers.
CLASSIFIER = """
PreProcess:
  transform_ops:
  - ResizeImage: {%s}
  - NormalizeImage: {channel_num: 3, order: ""}
  - ToCHWImage: null
PostProcess: {%s}
"""


@pytest.mark.parametrize(
    ("resize", "decode", "expected"),
    [
        ("size: [160, 80]", "Topk: {topk: 1}", {"keep_ratio": False, "cls_thresh": 0.0}),
        ("resize_short: 256", "Topk: {topk: 1}", {"resize_short": 256, "cls_thresh": 0.0}),
        ("", "", {}),
    ],
)
def test_what_a_classifier_states(settings, resize, decode, expected):
    assert settings_of_export(settings(CLASSIFIER % (resize, decode)), "cls") == expected


# As PaddleOCR 3 writes it for PGNet.
SPOTTER = """
PreProcess:
  transform_ops:
  - E2ELabelEncodeTest: null
  - E2EResizeForTest: {max_side_len: 768}
PostProcess: {name: PGPostProcess, score_thresh: 0.5, mode: fast, point_gather_mode: align}
"""


def test_what_a_network_states_that_finds_and_reads(settings):
    assert settings_of_export(settings(SPOTTER), "e2e") == {
        "max_side_len": 768, "score_thresh": 0.5, "mode": "fast", "point_gather_mode": "align",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="mode is 1, expected one of fast, slow"):
        settings_of_export(settings("PostProcess: {mode: 1}"), "e2e")


def test_what_a_recogniser_states(settings):
    assert settings_of_export(settings(), "rec") == {}
    steps, decoder = STEPS["rec_svtrnet_cppd_base_en"]
    content = {"PreProcess": {"transform_ops": steps}, "PostProcess": {"name": decoder}}
    assert settings_of_export(settings(yaml.safe_dump(content)), "rec") == {
        "decoder": "CPPDLabelDecode", "resize": "SVTRRecResizeImg", "height": 32, "width": 100,
        "padding": False, "interpolation": "linear", "color": "BGR", "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }  # fmt: skip


def test_what_a_network_of_formulas_states(settings):
    steps = [{"UniMERNetImgDecode": {"input_size": [192, 672]}}, {"UniMERNetTestTransform": None}]
    content = {"PreProcess": {"transform_ops": steps}, "PostProcess": {"name": "UniMERNetDecode"}}
    assert settings_of_export(settings(yaml.safe_dump(content)), "formula") == {
        "decoder": "UniMERNetDecode", "resize": "UniMERNetImgDecode", "height": 192, "width": 672,
    }  # fmt: skip
    steps[0]["UniMERNetImgDecode"]["input_size"] = 192
    with pytest.raises(ConfigError, match="has the input_size 192, expected height, width"):
        settings_of_export(settings(yaml.safe_dump(content)), "formula")


def test_each_task_has_its_settings(settings):
    with pytest.raises(ConfigError, match="unknown setting thresh; there are height, width"):
        check_settings({"thresh": 0.3}, "somewhere", "cls")
    with pytest.raises(ConfigError, match="unknown setting thresh; there are decoder, resize"):
        check_settings({"thresh": 0.3}, "somewhere", "rec")
    with pytest.raises(ConfigError, match="resize_short is 'long', expected a whole number"):
        settings_of_export(settings(CLASSIFIER % ("resize_short: long", "")), "cls")


def test_the_artefact_tells(convert, settings, tmp_path):
    save(tmp_path / "best_accuracy.pdparams", weights(DET))
    settings()
    out = tmp_path / "x.pth"
    assert convert("ch_PP-OCRv2_det", "--paddle-dir", tmp_path, "--out", out).code == 0
    assert json.loads(out.with_suffix(".json").read_text())["pipeline"] == STATED


def test_a_row_of_a_config_overrules_its_file(tmp_path, monkeypatch):
    shipped = catalog.FOLDER / "det" / "ch_PP-OCRv2_det.yaml"
    content = yaml.safe_load(shipped.read_text())
    content["pipeline"] = {"thresh": 0.2, "unclip_ratio": 1.5}
    content["models"] = {"mine": {"release": "1", "pipeline": {"unclip_ratio": 0.5}}}
    (tmp_path / "det").mkdir()
    (tmp_path / "det" / "mine.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(catalog, "FOLDER", tmp_path)
    for cached in (catalog.configs, catalog._index, catalog._texts, catalog._read):
        cached.cache_clear()
    try:
        assert catalog.card("mine").pipeline == {"thresh": 0.2, "unclip_ratio": 0.5}
    finally:
        for cached in (catalog.configs, catalog._index, catalog._texts, catalog._read):
            cached.cache_clear()
