"""Images of formulas as the networks take them: PaddleOCR's steps, by the name of the first.

They follow PaddleOCR 2.x, ppocr/data/imaug/latex_ocr_aug.py and unimernet_aug.py, and, for CAN,
tools/infer/predict_rec.py.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from PIL import Image, ImageOps

from pipelines.io.images import ImageError

LATEXOCR_LEAST, LATEXOCR_MOST = (32, 32), (672, 192)
"""Sides between which LaTeX-OCR takes an image as it is, width and height."""
INK = 128  # of a grey image stretched to 0 to 255: from here on it is another colour
MARGIN = 200  # the same, for UniMERNet's margin
BOX_STRIDE = 32
STRIDE = 16


def latexocr_input(image: np.ndarray, mean: float, std: float) -> np.ndarray:
    """An `(H, W, 3) uint8` BGR image to `(1, 1, h, w) float32`, sides multiples of 16.

    What is too small or too large is cut to its ink, dark on white, and fitted into the limits.

    Raises:
        ImageError: there is nothing but one colour in an image that has to be cut.
    """
    rgb = np.ascontiguousarray(image[..., ::-1])
    height, width = rgb.shape[:2]
    sides = zip(LATEXOCR_LEAST, (width, height), LATEXOCR_MOST, strict=True)
    if all(least <= side <= most for least, side, most in sides):
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    else:
        grey = np.asarray(_within_limits(_cut_to_ink(rgb)))
    pixels = _normalised(grey, mean, std)
    height, width = pixels.shape
    below, right = -height % STRIDE, -width % STRIDE
    return np.pad(pixels, ((0, below), (0, right)), constant_values=1)[None, None]


def _cut_to_ink(rgb: np.ndarray) -> Image.Image:
    """The part with ink, dark on white, with white to the right and below up to whole strides."""
    grey = np.asarray(Image.fromarray(rgb).convert("L")).astype(np.float64)
    least, most = grey.min(), grey.max()
    if least == most:
        raise ImageError("the image has one colour, so there is no formula in it")
    grey = (grey - least) / (most - least) * 255
    light = grey.mean() > INK
    left, top, width, height = _bounds(grey < INK if light else grey > INK)
    grey = grey if light else 255 - grey
    ink = Image.fromarray(grey[top : top + height, left : left + width]).convert("L")
    sides = [math.ceil(side / BOX_STRIDE) * BOX_STRIDE for side in ink.size]
    return _on_white(ink, (sides[0], sides[1]))


def _within_limits(image: Image.Image) -> Image.Image:
    ratio = max(side / most for side, most in zip(image.size, LATEXOCR_MOST, strict=True))
    if ratio > 1:
        width, height = (int(side // ratio) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    width, height = map(max, image.size, LATEXOCR_LEAST)
    return _on_white(image, (width, height))


def _on_white(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    white = Image.new("L", size, 255)
    white.paste(image, (0, 0))
    return white


def unimernet_input(
    image: np.ndarray, height: int, width: int, mean: float, std: float
) -> np.ndarray:
    """An `(H, W, 3) uint8` BGR image to `(1, 1, height, width) float32`: no margin, black around.

    The image keeps its ratio; it is made grey last, as in training.
    """
    formula = _without_margin(Image.fromarray(np.ascontiguousarray(image[..., ::-1])))
    short = min(height, width)
    long = int(short * max(formula.size) / min(formula.size))
    size = (short, long) if formula.width <= formula.height else (long, short)
    formula = formula.resize(size, Image.Resampling.BILINEAR)
    formula.thumbnail((width, height))
    left, top = (width - formula.width) // 2, (height - formula.height) // 2
    border = (left, top, width - formula.width - left, height - formula.height - top)
    rgb = np.asarray(ImageOps.expand(formula, border))
    return _normalised(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), mean, std)[None, None]


def _without_margin(image: Image.Image) -> Image.Image:
    grey = np.asarray(image.convert("L")).astype(np.float64)
    least, most = grey.min(), grey.max()
    if least == most:
        return image
    left, top, width, height = _bounds((grey - least) / (most - least) * 255 < MARGIN)
    return image.crop((left, top, left + width, top + height))


def can_input(image: np.ndarray) -> np.ndarray:
    """An `(H, W, 3) uint8` BGR image to `(1, 1, H, W) float32`: grey, ink 1 on 0."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return ((255 - grey) / 255).astype(np.float32)[None, None]


def _bounds(marked: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is marked, `(H, W) bool`."""
    left, top, width, height = cv2.boundingRect(marked.astype(np.uint8))
    return left, top, width, height


def _normalised(grey: np.ndarray, mean: float, std: float) -> np.ndarray:
    scaled = grey.astype(np.float32) * np.float32(1 / 255)
    normalised: np.ndarray = (scaled - np.float32(mean)) / np.float32(std)
    return normalised
