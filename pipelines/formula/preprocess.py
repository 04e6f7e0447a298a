"""Images of formulas as the networks take them.

The steps follow PaddleOCR 2.x, ppocr/data/imaug/latex_ocr_aug.py and unimernet_aug.py, and, for
CAN, tools/infer/predict_rec.py.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from PIL import Image, ImageOps

from pipelines.io.images import ImageError
from pipelines.normalization import Normalizer

LATEXOCR_MIN, LATEXOCR_MAX = (32, 32), (672, 192)
"""Limits of width and height, in pixels, between which LaTeX-OCR does not resize an image."""
INK_LEVEL = 128  # LaTeX-OCR: darker pixels, of grey values stretched to 0 to 255, are ink
MARGIN_LEVEL = 200  # UniMERNet: likewise
BOX_STRIDE = 32
STRIDE = 16


def latexocr_input(image: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Prepare an image for LaTeX-OCR.

    An image outside of the size limits is cropped to its ink, made dark on white, and resized into
    the limits.

    Args:
        image: `(H, W, 3) uint8` BGR.
        mean: mean of the grey values from 0 to 1.
        std: their standard deviation.

    Returns:
        `(1, 1, h, w) float32`, with `h` and `w` multiples of 16; padded with 1 below and right.

    Raises:
        ImageError: an image to be cropped has one colour only.
    """
    rgb = np.ascontiguousarray(image[..., ::-1])
    height, width = rgb.shape[:2]
    sides = zip(LATEXOCR_MIN, (width, height), LATEXOCR_MAX, strict=True)
    if all(low <= side <= high for low, side, high in sides):
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    else:
        grey = np.asarray(_fit_limits(_crop_to_ink(rgb)))
    (normalized,) = Normalizer("GRAY", (mean,), (std,))(grey)
    height, width = normalized.shape
    below, right = -height % STRIDE, -width % STRIDE
    return np.pad(normalized, ((0, below), (0, right)), constant_values=1)[None, None]


def _crop_to_ink(rgb: np.ndarray) -> Image.Image:
    """Crop to the ink, make it dark on white, and pad with white to multiples of 32."""
    grey = np.asarray(Image.fromarray(rgb).convert("L")).astype(np.float64)
    darkest, brightest = grey.min(), grey.max()
    if darkest == brightest:
        raise ImageError("the image has one colour, so there is no formula in it")
    grey = (grey - darkest) / (brightest - darkest) * 255
    is_light = grey.mean() > INK_LEVEL
    left, top, width, height = _bounding_box(grey < INK_LEVEL if is_light else grey > INK_LEVEL)
    grey = grey if is_light else 255 - grey
    ink = Image.fromarray(grey[top : top + height, left : left + width]).convert("L")
    sides = [math.ceil(side / BOX_STRIDE) * BOX_STRIDE for side in ink.size]
    return _pad_with_white(ink, (sides[0], sides[1]))


def _fit_limits(image: Image.Image) -> Image.Image:
    """Shrink a large image to LaTeX-OCR's limits, and pad a small one with white."""
    ratio = max(side / high for side, high in zip(image.size, LATEXOCR_MAX, strict=True))
    if ratio > 1:
        width, height = (int(side // ratio) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    width, height = map(max, image.size, LATEXOCR_MIN)
    return _pad_with_white(image, (width, height))


def _pad_with_white(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    white = Image.new("L", size, 255)
    white.paste(image, (0, 0))
    return white


def unimernet_input(
    image: np.ndarray, height: int, width: int, mean: float, std: float
) -> np.ndarray:
    """Prepare an image for UniMERNet and PP-FormulaNet: crop its margin, resize, pad with black.

    The image keeps its ratio; it is made grey last, as in training.

    Args:
        image: `(H, W, 3) uint8` BGR.
        height: height of the network's input in pixels.
        width: width of the network's input in pixels.
        mean: mean of the grey values from 0 to 1.
        std: their standard deviation.

    Returns:
        `(1, 1, height, width) float32`.
    """
    formula = _crop_margin(Image.fromarray(np.ascontiguousarray(image[..., ::-1])))
    short = min(height, width)
    long = int(short * max(formula.size) / min(formula.size))
    size = (short, long) if formula.width <= formula.height else (long, short)
    formula = formula.resize(size, Image.Resampling.BILINEAR)
    formula.thumbnail((width, height))
    left, top = (width - formula.width) // 2, (height - formula.height) // 2
    border = (left, top, width - formula.width - left, height - formula.height - top)
    rgb = np.asarray(ImageOps.expand(formula, border))
    normalize = Normalizer("GRAY", (mean,), (std,))
    return normalize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))[None]


def _crop_margin(image: Image.Image) -> Image.Image:
    """Crop to the pixels darker than `MARGIN_LEVEL`; an image of one colour stays as it is."""
    grey = np.asarray(image.convert("L")).astype(np.float64)
    darkest, brightest = grey.min(), grey.max()
    if darkest == brightest:
        return image
    stretched = (grey - darkest) / (brightest - darkest) * 255
    left, top, width, height = _bounding_box(stretched < MARGIN_LEVEL)
    return image.crop((left, top, left + width, top + height))


def can_input(image: np.ndarray) -> np.ndarray:
    """Prepare an image for CAN: `(H, W, 3) uint8` BGR to `(1, 1, H, W) float32`, ink 1 on 0."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return ((255 - grey) / 255).astype(np.float32)[None, None]


def _bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the true part of `(H, W) bool`."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return left, top, width, height
