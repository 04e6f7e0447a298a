"""Pictures as the pipelines take them: `(H, W, 3) uint8`, blue first as OpenCV has it.

Pillow decodes the files: it tells the size before it decodes, and gives bit for bit the pixels that
OpenCV, and with it PaddleOCR, gets out of the same file. A photo is turned as its EXIF note says.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 150_000_000
"""Files of larger pictures are refused before they are decoded; an A0 sheet at 300 dpi fits."""

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000")
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".webp", ".tif", ".tiff", ".gif"}
    | {".pbm", ".pgm", ".ppm", ".jp2", ".j2k"}
)

ImageLike: TypeAlias = "np.ndarray | Image.Image | str | Path"
"""What the pipelines read: a BGR array, a Pillow image, or the path of an image file."""

_ROWS = 256  # blended at a time, since that is done in float64


class ImageError(ValueError):
    """An image file is missing or unreadable, or an array is not an image."""


class ImageFile:
    """An open image file. `count`: its pages, which only TIFF has; of an animation the first frame.

    Raises:
        ImageError: from `read`, if a page is larger than `MAX_PIXELS`, truncated or damaged.
    """

    def __init__(self, path: Path, image: Image.Image) -> None:
        self._path = path
        self._image = image
        self.count: int = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1

    def read(self, number: int) -> np.ndarray:
        """Decode a page, the first is 1, to `(H, W, 3) uint8` BGR."""
        where = f"{self._path}, page {number}" if self.count > 1 else str(self._path)
        with _as_image_errors(where):
            if self.count > 1:
                self._image.seek(number - 1)
            width, height = self._image.size
            if width * height > MAX_PIXELS:
                raise ImageError(
                    f"{where} is {width} x {height} pixels; at most {MAX_PIXELS / 1e6:.0f} million "
                    "are read, make it smaller or cut it up"
                )
            return _decode(self._image)


@contextmanager
def open_image(path: str | Path) -> Iterator[ImageFile]:
    """Open an image file without decoding it.

    Raises:
        ImageError: the file is missing, cannot be read, or is no image of a known format.
    """
    path = Path(path)
    with _as_image_errors(str(path)):
        try:
            image = Image.open(path, formats=FORMATS)
            file = ImageFile(path, image)
        except UnidentifiedImageError as error:
            size = path.stat().st_size
            if not size:
                raise ImageError(f"{path}: the file is empty, an image was expected") from error
            raise ImageError(
                f"{path}: not an image of a known format ({size} bytes); "
                "use a complete PNG, JPEG, BMP, WebP, TIFF or GIF file"
            ) from error
    with image:
        yield file


def read_image(path: str | Path, page: int = 1) -> np.ndarray:
    """Read an image file as `(H, W, 3) uint8` BGR; what is transparent becomes white.

    The orientation noted in a photo is applied, 16-bit values keep their upper 8 bits, CMYK becomes
    BGR. Of an animation the first frame is read, of a TIFF file the page that is asked for.

    Raises:
        ImageError: the file is missing, cannot be read, is no complete image, has more than
            `MAX_PIXELS` or no such page.
    """
    with open_image(path) as file:
        if not 1 <= page <= file.count:
            raise ImageError(f"{path} has {file.count} pages, but page {page} was asked for")
        return file.read(page)


def as_bgr(image: ImageLike) -> np.ndarray:
    """Bring any picture to `(H, W, 3) uint8` BGR; what is transparent turns white.

    Args:
        image: `(H, W)` or `(H, W, 1 | 3 | 4) uint8`, blue first; or a Pillow image of any mode; or
            the path of a file for `read_image`.

    Raises:
        ImageError: another shape or type, no pixel, or a file that cannot be read.
    """
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, Image.Image):
        with _as_image_errors("the image"):
            return _decode(image)
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"an image is an array, a Pillow image or a path, but this is a {type(image).__name__}"
        )
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise ImageError(
            f"an image is (H, W), (H, W, 3) or (H, W, 4) of uint8 with at least one pixel, "
            f"but this is {image.shape} of {image.dtype}"
        )
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if channels == 3:
        return np.ascontiguousarray(image)  # OpenCV takes no views that run backwards
    if channels == 4:
        return _on_white(image)
    raise ImageError(f"an image has 1, 3 or 4 channels, but this is {image.shape}")


def _on_white(image: np.ndarray) -> np.ndarray:
    """`(H, W, 4)` to `(H, W, 3)`, as PaddleOCR's ppocr/utils/utility.py (`alpha_to_color`)."""
    blended = np.empty((*image.shape[:2], 3), np.uint8)
    for top in range(0, len(image), _ROWS):
        rows = image[top : top + _ROWS]
        alpha = rows[..., 3:] / 255
        blended[top : top + _ROWS] = 255 * (1 - alpha) + rows[..., :3] * alpha
    return blended


def _decode(image: Image.Image) -> np.ndarray:
    """A Pillow image as `(H, W, 3) uint8` BGR."""
    # Pillow opens a PGM file of 16 bits in the mode that otherwise means 32 bits.
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    image = ImageOps.exif_transpose(image)
    if deep:
        return as_bgr((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ImageError("it has values of 32 bits; save it with 8 or 16 bits per channel")
    if image.has_transparency_data:
        return as_bgr(np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]])
    return as_bgr(cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR))


@contextmanager
def _as_image_errors(where: str) -> Iterator[None]:
    """Turn whatever Pillow raises about a file into an ImageError, and keep its warnings quiet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError as error:
        if str(error).startswith(where):
            raise
        raise ImageError(f"{where}: {error}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{where} has more than {MAX_PIXELS / 1e6:.0f} million pixels; "
            "make it smaller or cut it up"
        ) from error
    except OSError as error:
        said = f"cannot be read ({error.strerror})" if error.strerror else _damaged(error)
        raise ImageError(f"{where}: {said}") from error
    # A damaged file can raise nearly anything out of a decoder: struct.error, zlib.error, KeyError.
    except Exception as error:
        raise ImageError(f"{where}: {_damaged(error)}") from error


def _damaged(error: Exception) -> str:
    reason = str(error) or type(error).__name__
    return f"cannot be decoded, it may be damaged or incomplete ({reason})"
