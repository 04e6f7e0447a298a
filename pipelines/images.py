"""Pictures as the pipelines take them: `(H, W, 3) uint8`, blue first as OpenCV has it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


class ImageError(ValueError):
    """An image file is missing or unreadable, or an array is not an image."""


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as `(H, W, 3) uint8` BGR; what is transparent becomes white.

    The orientation noted in a photo is applied, 16-bit images are brought to 8 bits.

    Raises:
        ImageError: the file is missing, cannot be read, or holds no image that OpenCV knows.
    """
    path = Path(path)
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    if not data.size:
        raise ImageError(f"{path}: the file is empty, an image was expected")
    image = _decode(data, cv2.IMREAD_UNCHANGED)
    if image is not None and not (image.ndim == 3 and image.shape[2] == 4):
        image = _decode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(
            f"{path}: not an image that OpenCV can decode ({data.size} bytes); "
            "use a complete PNG, JPEG, BMP, WebP or TIFF file"
        )
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    return as_bgr(image)


def as_bgr(image: np.ndarray) -> np.ndarray:
    """Bring `(H, W)` or `(H, W, 1 | 3 | 4) uint8` to `(H, W, 3)`; what is transparent turns white.

    The blend is that of PaddleOCR's ppocr/utils/utility.py (`alpha_to_color`).

    Raises:
        ImageError: another shape or type, or no pixel.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise ImageError(
            f"an image is (H, W), (H, W, 3) or (H, W, 4) of uint8 with at least one pixel, "
            f"but this is {image.shape} of {image.dtype}"
        )
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if channels == 3:
        return image
    if channels == 4:
        alpha = image[..., 3:] / 255
        return (255 * (1 - alpha) + image[..., :3] * alpha).astype(np.uint8)
    raise ImageError(f"an image has 1, 3 or 4 channels, but this is {image.shape}")


def _decode(data: np.ndarray, flags: int) -> np.ndarray | None:
    """OpenCV's decoder; its second way of refusing, an exception for absurd sizes, is None too."""
    try:
        return cv2.imdecode(data, flags)
    except cv2.error:
        return None
