"""Lines as recognisers take them: PaddleOCR's resize rules, by its names.

Rules, rounding and precision are those of PaddleOCR 2.x, ppocr/data/imaug/rec_img_aug.py, with what
tools/infer/predict_rec.py does beyond it: lines of a batch are as wide as the widest needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image

from pipelines.recognition.batching import aspect_ratio
from pipelines.settings import RecSettings


@dataclass(frozen=True)
class LineInputs:
    """A batch of lines.

    Attributes:
        images: `(N, C, H, W) float32`.
        shares: how much of the width each line takes; the rest is padding.
        given: what some networks take beside the images, by PaddleOCR's names.
    """

    images: np.ndarray
    shares: Sequence[float]
    given: Mapping[str, np.ndarray] = field(default_factory=dict)


Values = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From pixels `(H, W, C) uint8`, mean and std in float64, to normalised values."""


def single(pixels: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Normalise in float32."""
    return (pixels.astype(np.float32) / 255 - mean.astype(np.float32)) / std.astype(np.float32)


def mixed(pixels: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Divide by 255 in float32, go on in float64."""
    return (pixels.astype(np.float32) / 255 - mean) / std


def double(pixels: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Normalise in float64."""
    return (pixels / 255 - mean) / std


def line_inputs(lines: Sequence[np.ndarray], settings: RecSettings) -> LineInputs:
    """Resize and normalise `(h, w, 3) uint8` BGR lines as the settings say; ValueError if empty."""
    ratios = [aspect_ratio(line) for line in lines]
    if settings.resize in _AS_SAR:
        return _padded_as_sar(lines, ratios, settings)
    if settings.resize == "SRNRecResizeImg":
        return _stepped(lines, ratios, settings)
    if settings.resize in _MAY_PAD and settings.padding:
        return _padded(lines, ratios, settings)
    images = [_normalised(_stretched(line, settings), settings) for line in lines]
    return LineInputs(np.stack(images), [1.0] * len(lines))


_MAY_PAD = ("RecResizeImg", "SVTRRecResizeImg", "GrayRecResizeImg", "RFLRecResizeImg")
_AS_SAR = ("SARRecResizeImg", "RobustScannerRecResizeImg")
# How exactly a rule computes, which the last bit of its values shows.
_PRECISION: Mapping[str, Values] = {
    "ABINetRecResizeImg": mixed,
    "PRENResizeImg": double,
    "GrayRecResizeImg": double,
    "SPINRecResizeImg": double,
    "SRNRecResizeImg": double,
}
_WIDTHS_PER_STEP = 4  # SAR's widths are multiples of this, the strides of its backbone
_STEPS = (1, 2, 3)  # SRN's ratios of width to height; above them a line is stretched to the width
_OPENCV = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
_PILLOW = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


def _padded(
    lines: Sequence[np.ndarray], ratios: Sequence[float], settings: RecSettings
) -> LineInputs:
    """Lines keep their ratio, zeros fill up the right; all are as wide as the widest needs."""
    height = settings.height
    widest = settings.max_width if settings.resize == "RecResizeImg" else settings.width
    ratio = min(max(settings.width / height, *ratios), widest / height)
    width = int(height * ratio)
    images = np.zeros((len(lines), 1 if settings.color == "GRAY" else 3, height, width), np.float32)
    for image, line, own in zip(images, lines, ratios, strict=True):
        fitted = min(math.ceil(height * own), width)
        pixels = _coloured(line, settings)
        image[:, :, :fitted] = _normalised(cv2.resize(pixels, (fitted, height)), settings)
    return LineInputs(images, [min(own / ratio, 1.0) for own in ratios])


def _padded_as_sar(
    lines: Sequence[np.ndarray], ratios: Sequence[float], settings: RecSettings
) -> LineInputs:
    """Lines keep their ratio up to a maximum, -1 fills up the right, and the network is told."""
    step, widest = _WIDTHS_PER_STEP, settings.max_width
    images = np.full((len(lines), 3, settings.height, widest), -1, np.float32)
    valid = []
    for image, line, ratio in zip(images, lines, ratios, strict=True):
        width = max(round(math.ceil(settings.height * ratio) / step) * step, settings.width)
        valid.append(min(width / widest, 1.0))
        resized = cv2.resize(_coloured(line, settings), (min(width, widest), settings.height))
        image[:, :, :width] = _normalised(resized, settings)
    return LineInputs(images, valid, {"valid_ratio": np.array(valid, np.float32)})


def _stepped(
    lines: Sequence[np.ndarray], ratios: Sequence[float], settings: RecSettings
) -> LineInputs:
    """Lines are stretched to the next of a few widths, then made grey; zeros fill up the right."""
    height, widest = settings.height, settings.width
    images = np.zeros((len(lines), 1, height, widest), np.float32)
    shares = []
    for image, line, ratio in zip(images, lines, ratios, strict=True):
        width = next((height * step for step in _STEPS if ratio <= step), widest)
        grey = cv2.cvtColor(cv2.resize(line, (width, height)), cv2.COLOR_BGR2GRAY)
        image[:, :, :width] = _normalised(grey, settings)
        shares.append(width / widest)
    return LineInputs(images, shares)


def _stretched(line: np.ndarray, settings: RecSettings) -> np.ndarray:
    size, pixels = (settings.width, settings.height), _coloured(line, settings)
    if settings.interpolation in _PILLOW:
        filtered = Image.fromarray(pixels).resize(size, _PILLOW[settings.interpolation])
        return np.asarray(filtered)
    return cv2.resize(pixels, size, interpolation=_OPENCV[settings.interpolation])


def _coloured(line: np.ndarray, settings: RecSettings) -> np.ndarray:
    """A BGR line in the colours that the network takes."""
    if settings.color == "GRAY":
        return cv2.cvtColor(line, cv2.COLOR_BGR2GRAY)
    return line if settings.color == "BGR" else line[..., ::-1]


def _normalised(pixels: np.ndarray, settings: RecSettings) -> np.ndarray:
    """`(H, W, C)` or `(H, W) uint8` to `(C, H, W) float32`."""
    values = _PRECISION.get(settings.resize, single)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    normalised = values(pixels, np.array(settings.mean), np.array(settings.std))
    return normalised.astype(np.float32).transpose(2, 0, 1)
