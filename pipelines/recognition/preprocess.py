"""Line images as recognisers take them: PaddleOCR's resize rules, under its names.

Rules, rounding and precision are those of PaddleOCR 2.x, ppocr/data/imaug/rec_img_aug.py, and of
tools/infer/predict_rec.py, where the lines of a batch are as wide as the widest needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image

from pipelines.batching import aspect_ratio, stack_padded
from pipelines.normalization import (
    Arithmetic,
    Normalizer,
    divide,
    divide_double,
    divide_mixed,
)
from schemas.processing import RecognitionSettings


@dataclass(frozen=True)
class LineBatch:
    """A batch of lines, ready for the network.

    Attributes:
        images: `(N, C, H, W) float32`, normalised.
        width_ratios: for each line its share of the width, 0 to 1; the rest is padding.
        extra_inputs: arrays that some networks take in addition, by PaddleOCR's names.
    """

    images: np.ndarray
    width_ratios: Sequence[float]
    extra_inputs: Mapping[str, np.ndarray] = field(default_factory=dict)


_MAY_PAD = ("RecResizeImg", "SVTRRecResizeImg", "GrayRecResizeImg", "RFLRecResizeImg")
_AS_SAR = ("SARRecResizeImg", "RobustScannerRecResizeImg")
_ARITHMETIC: Mapping[str, Arithmetic] = {
    "ABINetRecResizeImg": divide_mixed,
    "PRENResizeImg": divide_double,
    "GrayRecResizeImg": divide_double,
    "SPINRecResizeImg": divide_double,
    "SRNRecResizeImg": divide_double,
}
_SAR_STRIDE = 4  # SAR's widths are multiples of this, the stride of its backbone
_SAR_PADDING = -1.0
_SRN_RATIOS = (1, 2, 3)  # SRN's ratios of width to height; longer lines get the full width
_OPENCV = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
_PILLOW = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


def preprocess(lines: Sequence[np.ndarray], settings: RecognitionSettings) -> LineBatch:
    """Resize and normalise a batch of lines by the rule `settings.resize`.

    Args:
        lines: each `(h, w, 3) uint8` BGR.
        settings: the resize rule, the size and the normalisation.

    Raises:
        ValueError: a line has no pixels.
    """
    arithmetic = _ARITHMETIC.get(settings.resize, divide)
    normalize = Normalizer(settings.color, settings.mean, settings.std, arithmetic)
    ratios = [aspect_ratio(line) for line in lines]
    if settings.resize in _AS_SAR:
        return _pad_to_max_width(lines, ratios, settings, normalize)
    if settings.resize == "SRNRecResizeImg":
        return _pad_from_steps(lines, ratios, settings, normalize)
    if settings.resize in _MAY_PAD and settings.padding:
        return _pad_to_widest(lines, ratios, settings, normalize)
    images = [normalize(_stretch(line, settings)) for line in lines]
    return LineBatch(np.stack(images), [1.0] * len(lines))


def _pad_to_widest(
    lines: Sequence[np.ndarray],
    ratios: Sequence[float],
    settings: RecognitionSettings,
    normalize: Normalizer,
) -> LineBatch:
    """Keep the ratio of each line; zeros pad them to the width that the widest line needs."""
    height = settings.height
    limit = settings.max_width if settings.resize == "RecResizeImg" else settings.width
    batch_ratio = min(max(settings.width / height, *ratios), limit / height)
    width = int(height * batch_ratio)
    resized = [
        cv2.resize(_to_grey(line, settings), (min(math.ceil(height * ratio), width), height))
        for line, ratio in zip(lines, ratios, strict=True)
    ]
    images = stack_padded(resized, width, normalize)
    return LineBatch(images, [min(ratio / batch_ratio, 1.0) for ratio in ratios])


def _pad_to_max_width(
    lines: Sequence[np.ndarray],
    ratios: Sequence[float],
    settings: RecognitionSettings,
    normalize: Normalizer,
) -> LineBatch:
    """Keep the ratio of each line; -1 pads them to `max_width`. `valid_ratio` states the shares."""
    height, limit = settings.height, settings.max_width
    steps = [round(math.ceil(height * ratio) / _SAR_STRIDE) for ratio in ratios]
    widths = [max(step * _SAR_STRIDE, settings.width) for step in steps]
    resized = [
        cv2.resize(_to_grey(line, settings), (min(width, limit), height))
        for line, width in zip(lines, widths, strict=True)
    ]
    valid_ratios = [min(width / limit, 1.0) for width in widths]
    images = stack_padded(resized, limit, normalize, _SAR_PADDING)
    return LineBatch(images, valid_ratios, {"valid_ratio": np.array(valid_ratios, np.float32)})


def _pad_from_steps(
    lines: Sequence[np.ndarray],
    ratios: Sequence[float],
    settings: RecognitionSettings,
    normalize: Normalizer,
) -> LineBatch:
    """Stretch each line to the next of SRN's widths, then make it grey; zeros pad the rest."""
    height, limit = settings.height, settings.width
    widths = [
        next((height * step for step in _SRN_RATIOS if ratio <= step), limit) for ratio in ratios
    ]
    resized = [
        cv2.cvtColor(cv2.resize(line, (width, height)), cv2.COLOR_BGR2GRAY)
        for line, width in zip(lines, widths, strict=True)
    ]
    return LineBatch(stack_padded(resized, limit, normalize), [width / limit for width in widths])


def _stretch(line: np.ndarray, settings: RecognitionSettings) -> np.ndarray:
    """Resize a line to the network's size, whatever its ratio."""
    image = _to_grey(line, settings)
    if settings.interpolation in _PILLOW:
        size = (settings.width, settings.height)
        filtered = Image.fromarray(image).resize(size, _PILLOW[settings.interpolation])
        return np.asarray(filtered)
    interpolation = _OPENCV[settings.interpolation]
    return cv2.resize(image, (settings.width, settings.height), interpolation=interpolation)


def _to_grey(line: np.ndarray, settings: RecognitionSettings) -> np.ndarray:
    """Convert a BGR line for a network of one channel to `(h, w)`; others stay BGR."""
    return cv2.cvtColor(line, cv2.COLOR_BGR2GRAY) if settings.color == "GRAY" else line
