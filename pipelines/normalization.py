"""Normalisation of pixels, by one lookup table per channel.

The normalised value of a `uint8` pixel depends on the pixel alone, so every rule is computed for
the 256 possible values, with the arithmetic of the code that it follows, and then looked up. The
rules, functions of the type `Arithmetic`, differ in their last bits only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

Arithmetic = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Computes normalised values from pixels `(256,) uint8`, mean `(1,)` and std `(1,)` in float64."""


def multiply(pixels: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Scale by 1/255 in float32, as PaddleOCR's `NormalizeImage`."""
    scaled = pixels.astype(np.float32) * np.float32(1 / 255)
    return (scaled - mean.astype(np.float32)) / std.astype(np.float32)


def divide(pixels: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Divide by 255 in float32, as PaddleOCR's `resize_norm_img`."""
    return (pixels.astype(np.float32) / 255 - mean.astype(np.float32)) / std.astype(np.float32)


def divide_mixed(pixels: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Divide by 255 in float32 and continue in float64, as PaddleOCR for ABINet."""
    return (pixels.astype(np.float32) / 255 - mean) / std


def divide_double(pixels: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Divide by 255 in float64, as PaddleOCR for PREN, SPIN, SRN and grey lines."""
    return (pixels / 255 - mean) / std


def scale_and_shift(pixels: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Multiply once and add once in float32, as PaddleX for its classifiers."""
    scale, shift = (1 / 255 / std).astype(np.float32), (-mean / std).astype(np.float32)
    return pixels.astype(np.float32) * scale + shift


class Normalizer:
    """Normalises `uint8` images and puts their channels into the network's order.

    Args:
        color: "BGR", "RGB" or "GRAY".
        mean: mean of each channel, for values from 0 to 1, in the order of `color`.
        std: standard deviation of each channel, likewise.
        arithmetic: the rule by which values are computed.
    """

    def __init__(
        self,
        color: str,
        mean: Sequence[float],
        std: Sequence[float],
        arithmetic: Arithmetic = multiply,
    ) -> None:
        pixels = np.arange(256, dtype=np.uint8)
        self._tables = [
            arithmetic(
                pixels, np.array([center], np.float64), np.array([scale], np.float64)
            ).astype(np.float32)
            for center, scale in zip(mean, std, strict=True)
        ]
        self._color = color

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Normalise an image.

        Args:
            image: `(h, w, 3) uint8` BGR, or `(h, w) uint8` where `color` is "GRAY".

        Returns:
            `(C, h, w) float32`, channels in the order of `color`.
        """
        normalized = np.empty((len(self._tables), *image.shape[:2]), np.float32)
        channels = cv2.split(image)
        if self._color == "RGB":
            channels = channels[::-1]
        for channel, table, target in zip(channels, self._tables, normalized, strict=True):
            cv2.LUT(channel, table, target)
        return normalized
