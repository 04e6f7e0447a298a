"""Preparing lines, against PaddleOCR's own code: the same values to the last bit.

Its transforms run as its training YAMLs state them, with the settings that are read from the same
YAMLs here.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from converter.catalog.processing import line_settings, merge_settings
from converter.errors import ConfigError
from pipelines.recognition.preprocess import preprocess
from schemas.processing import RecognitionSettings
from tests.oracle.paddleocr_source import load
from tests.oracle.test_lines import random_lines
from tests.support.line_steps import OTHER_STEPS, STEPS

CASES = [*(steps for steps, _ in STEPS.values()), *OTHER_STEPS]


def settings_of(steps):
    return RecognitionSettings("ab", **line_settings(steps, {}, "the YAML"))


def by_paddleocr(steps, line):
    """Run the last of the steps on a line of the colours that the first one decodes to."""
    decode, resize = steps
    ((name, options),) = resize.items()
    rgb = decode["DecodeImage"]["img_mode"] == "RGB"
    data = {"image": cv2.cvtColor(line, cv2.COLOR_BGR2RGB) if rgb else line}
    kind = getattr(load("paddleocr", "ppocr/data/imaug/rec_img_aug.py"), name)
    return kind(**options)(data)


@pytest.mark.parametrize("steps", CASES, ids=lambda steps: next(iter(steps[1])))
def test_values(steps):
    settings = settings_of(steps)
    if settings.resize == "RecResizeImg":  # in training no line is wider than the others
        settings = replace(settings, max_width=settings.width)
    for line in random_lines(1, 30, 900):
        data = by_paddleocr(steps, line)
        inputs = preprocess([line], settings)
        assert inputs.images.dtype == data["image"].dtype == np.float32
        assert np.array_equal(inputs.images[0], data["image"])
        if settings.resize.startswith(("SAR", "Robust")):
            assert inputs.extra_inputs["valid_ratio"].tolist() == [np.float32(data["valid_ratio"])]


RULES = {  # what predict_rec.py calls an algorithm, and the method that it prepares lines with
    "rec_svtrnet": ("SVTR", "resize_norm_img_svtr"),
    "rec_r45_visionlan": ("VisionLAN", "resize_norm_img_vl"),
    "rec_r45_abinet": ("ABINet", "resize_norm_img_abinet"),
    "rec_mtb_nrtr": ("NRTR", "resize_norm_img"),
    "rec_vitstr_none_ce": ("ViTSTR", "resize_norm_img"),
    "rec_resnet_rfl_att": ("RFL", "resize_norm_img"),
    "rec_r32_gaspin_bilstm_att": ("SPIN", "resize_norm_img_spin"),
    "rec_r50_fpn_srn": ("SRN", "resize_norm_img_srn"),
    "rec_r31_sar": ("SAR", "resize_norm_img_sar"),
    "rec_svtrnet_cppd_base_ch": ("CPPDPadding", "resize_norm_img_cppd_padding"),
}


@pytest.mark.parametrize("name", RULES)
def test_values_of_inference(name):
    steps, _ = STEPS[name]
    algorithm, method = RULES[name]
    settings = settings_of(steps)
    kind = load("paddleocr", "tools/infer/predict_rec.py").TextRecognizer
    color = 1 if settings.color == "GRAY" else 3
    least = [settings.width] if algorithm == "SAR" else []
    shape = [color, settings.height, *least, settings.max_width if least else settings.width]
    stage = SimpleNamespace(rec_image_shape=shape, rec_algorithm=algorithm)
    more = {"SPIN": [], "NRTR": [9], "ViTSTR": [9], "RFL": [9]}.get(algorithm, [shape])
    for line in random_lines(2, 20, 900):
        # Inference leaves out what ABINet's training begins with: red first.
        seen = line[..., ::-1] if algorithm == "ABINet" else line
        expected = getattr(kind, method)(stage, seen, *more)
        values = expected[0] if algorithm == "SAR" else expected
        images = preprocess([line], settings).images
        # Of SPIN the two ways that PaddleOCR has differ in the last bit.
        assert np.allclose(images[0], values, atol=1e-7 if algorithm == "SPIN" else 0, rtol=0)


def test_a_batch_of_sar_tells_how_much_of_each_line_is_valid():
    lines = [np.zeros((48, width, 3), np.uint8) for width in (10, 100, 400)]
    inputs = preprocess(lines, settings_of(STEPS["rec_r31_sar"][0]))
    assert inputs.images.shape == (3, 3, 48, 160)
    assert np.allclose(inputs.extra_inputs["valid_ratio"], [0.3, 0.625, 1])
    assert (inputs.images[0, :, :, 48:] == -1).all()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"RecResizeImg": {"image_shape": [48, 320]}}, r"RecResizeImg has the image_shape \[48, 3"),
        ({"RecResizeImg": None}, "image_shape None, expected channels, height, width"),
        ({"RFLRecResizeImg": {"image_shape": [1, 2, 3], "padding": False, "interpolation": 7}},
         "has the interpolation 7, expected 1 or 2"),
        ({"GrayRecResizeImg": {"image_shape": [2, 3], "resize_type": "PIL", "inter_type": "BOX"}},
         "has the inter_type 'box', expected BICUBIC or LANCZOS"),
    ],
)  # fmt: skip
def test_steps_that_cannot_be_followed(step, message):
    with pytest.raises(ConfigError, match=message):
        line_settings([step], {}, "some.yml")


def test_what_a_file_states_of_resizing_is_taken_together():
    released = {"decoder": "AttnLabelDecode", "width": 100, "max_width": 100, "padding": True}
    steps, decoder = STEPS["rec_r45_abinet"]
    stated = line_settings(steps, {}, "")
    assert merge_settings(released, stated) == {"decoder": "AttnLabelDecode", **stated}
    assert merge_settings(released, {"decoder": decoder}) == {**released, "decoder": decoder}
    assert merge_settings(released, {}) == released


def test_rare_takes_lines_of_one_width():
    steps, decoder = STEPS["rec_mv3_tps_bilstm_att"]
    settings = line_settings(steps, {"name": decoder}, "")
    assert (settings["width"], settings["max_width"]) == (100, 100)


def test_what_reads_the_answers():
    assert line_settings(None, {"name": "DistillationCTCLabelDecode"}, "") == {
        "decoder": "CTCLabelDecode"
    }
    assert line_settings([], {"name": "SARLabelDecode", "rm_symbol": True}, "") == {
        "decoder": "SARLabelDecode",
        "rm_symbol": True,
    }
    assert line_settings([3, {"Other": {}}], {"name": "DBPostProcess"}, "") == {}
