"""Images as the pipelines take them: `(H, W, 3) uint8` BGR, the channel order of OpenCV.

Pillow decodes the files: it reports the size before it decodes, and its pixels are bit for bit
those that OpenCV, and so PaddleOCR, reads from the same file. The EXIF orientation of a photo is
applied.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeGuard

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    import torch

MAX_PIXELS = 150_000_000
"""Files of larger images are refused before they are decoded; an A0 sheet at 300 dpi fits."""

MAX_BYTES = 3 * MAX_PIXELS
"""Files of images that take more when decoded are refused: of four channels, or of 16 bits."""

MAX_SIDE = 65_500
"""Files of images with a longer side are refused; JPEG itself ends there."""

MAX_SCANS = 500
"""JPEG files of more scans are refused: a progressive image has some ten, each read in full."""

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000")
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".webp", ".tif", ".tiff", ".gif"}
    | {".pbm", ".pgm", ".ppm", ".jp2", ".j2k"}
)

BRIGHT = 170
"""What is brighter than this, 0 to 255, on transparency is shown on black, else on white.

At least half of the image has to be transparent, and what is visible to be brighter on average.
"""

BIT_DEPTHS = (8, 10, 12, 14, 16)
"""The depths of the values in files of 16 bits: the smallest that holds their largest value."""

EncodedImage: TypeAlias = "str | Path | bytes | bytearray | memoryview | BinaryIO"
"""An image file: its path, its content, or a binary stream of it that can seek."""

ImageLike: TypeAlias = "np.ndarray | torch.Tensor | Image.Image | EncodedImage"
"""An image: an array or a tensor, a Pillow image, or an image file in any of its forms."""

_BLENDED_ROWS = 256  # blended at a time, since that is done in float64


class ImageError(ValueError):
    """An image file is missing or unreadable, or an object is not an image."""


class ImageTooLarge(ImageError):
    """An image has more pixels, or a longer side, than are read, or takes more memory."""


PAGE_ERRORS = (ImageError, MemoryError, RuntimeError, cv2.error)
"""What fails for one page alone; PyTorch and OpenCV raise the last two where memory runs out."""


def reason_of(error: Exception) -> str:
    """Return the message of an error, or its type where it has none."""
    return str(error) or type(error).__name__


class ImageFile:
    """An open image file.

    Attributes:
        count: the number of its pages: those of a TIFF file, else 1 (the first frame).

    Args:
        name: the file's name in error messages.
        image: the file as Pillow has opened it.
    """

    def __init__(self, name: str, image: Image.Image) -> None:
        self._name = name
        self._image = image
        self.count: int = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1

    def size(self, number: int) -> tuple[int, int]:
        """Return width and height of a page, by its number from 1, without decoding it.

        Raises:
            ImageError: the page is damaged.
        """
        with _as_image_errors(self._page_name(number)):
            if self.count > 1:
                self._image.seek(number - 1)
            return self._image.size

    def check_size(self, number: int) -> None:
        """Check the size of a page, by its number from 1, without decoding it.

        Raises:
            ImageTooLarge: it is larger than `MAX_PIXELS`, `MAX_SIDE` or `MAX_BYTES` allow.
            ImageError: the page is damaged.
        """
        width, height = self.size(number)
        name = self._page_name(number)
        if width * height > MAX_PIXELS:
            raise ImageTooLarge(
                f"{name} is {width} x {height} pixels; at most {MAX_PIXELS / 1e6:.0f} million "
                "are read, make it smaller or cut it up"
            )
        if max(width, height) > MAX_SIDE:
            raise ImageTooLarge(
                f"{name} is {width} x {height} pixels; a side may have at most {MAX_SIDE}, "
                "cut it up"
            )
        size = width * height * _bytes_per_pixel(self._image)
        if size > MAX_BYTES:
            raise ImageTooLarge(
                f"{name} takes {size / 1e6:.0f} MB when decoded; at most "
                f"{MAX_BYTES / 1e6:.0f} MB are read, make it smaller or cut it up"
            )

    def read(self, number: int) -> np.ndarray:
        """Decode a page.

        Args:
            number: the number of the page, from 1.

        Returns:
            `(H, W, 3) uint8` BGR.

        Raises:
            ImageTooLarge: the page is larger than `MAX_PIXELS`, `MAX_SIDE` or `MAX_BYTES` allow.
            ImageError: the page is incomplete or damaged.
        """
        self.check_size(number)
        name = self._page_name(number)
        with _as_image_errors(name):
            if self._image.format == "JPEG" and (scans := _scans(self._image)) > MAX_SCANS:
                raise ImageError(
                    f"{name} is a JPEG of {scans} scans; at most {MAX_SCANS} are read, save it anew"
                )
            return _decode(self._image)

    def _page_name(self, number: int) -> str:
        return f"{self._name}, page {number}" if self.count > 1 else self._name


def _bytes_per_pixel(image: Image.Image) -> int:
    """Return how many bytes a pixel takes when Pillow has decoded it."""
    if image.mode.startswith("I;16"):
        return 2
    return {"I": 4, "F": 4}.get(image.mode, len(image.getbands()))


def _scans(image: Image.Image) -> int:
    """Count the scans of a JPEG file: the marker FF DA stands nowhere else in compressed data."""
    stream: BinaryIO | None = getattr(image, "fp", None)
    if stream is None:
        return 0
    before, count, tail = stream.tell(), 0, b""
    stream.seek(0)
    while block := stream.read(1 << 20):
        count += (tail + block).count(b"\xff\xda")
        tail = block[-1:]
    stream.seek(before)
    return count


@contextmanager
def open_image(file: EncodedImage) -> Iterator[ImageFile]:
    """Open an image file without decoding it.

    Args:
        file: its path, its content, or a binary stream.

    Raises:
        ImageError: the file is missing, cannot be read, or is not of a known format.
    """
    stream: Path | BinaryIO
    if isinstance(file, (str, Path)):
        name, stream = str(file), Path(file)
    else:
        name = "the image"
        stream = io.BytesIO(file) if isinstance(file, (bytes, bytearray, memoryview)) else file
    with _as_image_errors(name):
        try:
            image = Image.open(stream, formats=FORMATS)
            opened = ImageFile(name, image)
        except UnidentifiedImageError as error:
            size = _size(stream)
            if not size:
                raise ImageError(f"{name}: the file is empty, an image was expected") from error
            raise ImageError(
                f"{name}: not an image of a known format ({size} bytes); "
                "use a complete PNG, JPEG, BMP, WebP, TIFF or GIF file"
            ) from error
    with image:
        yield opened


def _size(file: Path | BinaryIO) -> int:
    """Return the size of a file in bytes."""
    return file.stat().st_size if isinstance(file, Path) else file.seek(0, io.SEEK_END)


def read_image(file: EncodedImage, page: int = 1) -> np.ndarray:
    """Read an image file.

    The EXIF orientation is applied, and CMYK is converted. Transparent pixels are blended with
    white, or with black where the image is mostly transparent and its text bright. Grey values of
    16 bits keep their upper 8 bits, those of 10 to 14 bits in such a file the upper 8 of these;
    colours too, but with fewer levels then. Of an animation the first frame is read.

    Args:
        file: its path, its content as bytes, or a binary stream.
        page: the page of a TIFF file, from 1.

    Returns:
        `(H, W, 3) uint8` BGR.

    Raises:
        ImageError: the file is missing, unreadable or incomplete, has more than `MAX_PIXELS`, or
            has no such page.
    """
    with open_image(file) as opened:
        if not 1 <= page <= opened.count:
            name = file if isinstance(file, (str, Path)) else "the image"
            raise ImageError(f"{name} has {opened.count} pages, but page {page} was asked for")
        return opened.read(page)


def as_bgr(image: ImageLike) -> np.ndarray:
    """Convert any image to BGR; transparent pixels are blended as `read_image` does.

    Args:
        image: an array or a tensor, `(H, W)` or `(H, W, 1 | 3 | 4) uint8`, BGR or BGRA, the tensor
            on any device; a Pillow image of any mode; or an image file as its path, its bytes or a
            binary stream.

    Returns:
        `(H, W, 3) uint8` BGR, contiguous; the array itself where it is one already.

    Raises:
        ImageError: the object has another type, shape or dtype, or no pixels, or the file cannot be
            read.
    """
    if isinstance(image, (str, Path, bytes, bytearray, memoryview)) or _is_stream(image):
        return read_image(image)
    if isinstance(image, Image.Image):
        with _as_image_errors("the image"):
            return _decode(image)
    array = _tensor_to_array(image)
    if not isinstance(array, np.ndarray):
        raise ImageError(
            "an image is an array, a tensor, a Pillow image, a path, bytes or a binary stream, but "
            f"this is a {type(image).__name__}"
        )
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.size == 0:
        raise ImageError(
            f"an image is (H, W), (H, W, 3) or (H, W, 4) of uint8 with at least one pixel, "
            f"but this is {array.shape} of {array.dtype}"
        )
    channels = 1 if array.ndim == 2 else array.shape[2]
    if channels == 1:
        return cv2.cvtColor(array, cv2.COLOR_GRAY2BGR)
    if channels == 3:
        return np.ascontiguousarray(array)  # OpenCV takes no views with negative strides
    if channels == 4:
        return _blend(array)
    hint = "; permute(1, 2, 0) puts the channels of a tensor last" if array is not image else ""
    raise ImageError(f"an image has 1, 3 or 4 channels, but this is {array.shape}{hint}")


def _is_stream(image: object) -> TypeGuard[BinaryIO]:
    return hasattr(image, "read") and hasattr(image, "seek")


def _tensor_to_array(image: object) -> object:
    """Convert a tensor of PyTorch to an array; return any other object itself."""
    torch = sys.modules.get("torch")  # without it, there are no tensors
    if torch is None or not isinstance(image, torch.Tensor):
        return image
    tensor = image.detach().cpu()
    return tensor.numpy() if tensor.dtype != torch.bfloat16 else tensor.float().numpy()


def _blend(image: np.ndarray) -> np.ndarray:
    """Blend BGRA with white, or with black where that makes bright text visible.

    The arithmetic is that of `alpha_to_color` in PaddleOCR's ppocr/utils/utility.py, which always
    takes white.
    """
    ground = 0 if _is_bright_on_transparent(image) else 255
    blended = np.empty((*image.shape[:2], 3), np.uint8)
    for rows, target in zip(_bands(image), _bands(blended), strict=True):
        alpha = rows[..., 3:] / 255
        target[:] = ground * (1 - alpha) + rows[..., :3] * alpha
    return blended


def _is_bright_on_transparent(image: np.ndarray) -> bool:
    """Return whether a BGRA image is mostly transparent, and what is visible mostly bright."""
    clear, visible, brightness = 0, 0.0, 0.0
    for rows in _bands(image):
        alpha = rows[..., 3]
        clear += int(np.count_nonzero(alpha < 128))
        visible += float(alpha.sum(dtype=np.int64))
        grey = cv2.cvtColor(np.ascontiguousarray(rows), cv2.COLOR_BGRA2GRAY)
        brightness += float((grey * alpha.astype(np.uint16)).sum(dtype=np.int64))
    return 2 * clear >= image[..., 3].size and brightness > BRIGHT * visible


def _bands(image: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an image some rows at a time, since whole ones take much memory in float64."""
    for top in range(0, len(image), _BLENDED_ROWS):
        yield image[top : top + _BLENDED_ROWS]


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Keep the upper 8 bits of `(H, W) uint16` that uses 8, 10, 12, 14 or all 16 bits."""
    return (values >> (_depth(int(values.max())) - 8)).astype(np.uint8)


def _depth(largest: int) -> int:
    """Return the depth of values in a file of 16 bits by the largest of them."""
    return next(bits for bits in BIT_DEPTHS if largest < 2**bits)


def _stretch(image: Image.Image) -> Image.Image:
    """Scale the upper 8 bits of colours of 16 bits so that those that use 10 to 14 fill the range.

    Pillow decodes no more than the upper 8 bits, of which colours of 10 bits use 2.
    """
    pixels = np.array(image)
    colours = pixels[..., :3]
    used = _depth(int(colours.max()) << 8) - 8
    if used in (0, 8):
        return image
    colours[:] = colours.astype(np.uint16) * 255 // (2**used - 1)
    return Image.fromarray(pixels)


def _raw_mode(image: Image.Image) -> str:
    """Return Pillow's name of how pixels lie in a file that is not decoded yet, or nothing."""
    tiles = getattr(image, "tile", [])  # Pillow's images of files have them
    settings = tiles[0][3] if tiles else ""
    return str(settings[0] if isinstance(settings, tuple) and settings else settings)


def _decode(image: Image.Image) -> np.ndarray:
    """Decode a Pillow image to `(H, W, 3) uint8` BGR."""
    # Pillow opens a PGM file of 16 bits in the mode that otherwise means 32 bits.
    is_16_bit = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    colours_of_16_bits = image.mode in ("RGB", "RGBA") and ";16" in _raw_mode(image)
    image = ImageOps.exif_transpose(image)
    if colours_of_16_bits:
        image = _stretch(image)
    if is_16_bit:
        return as_bgr(_to_8_bits(np.asarray(image)))
    if image.mode in ("I", "F"):
        raise ImageError("it has values of 32 bits; save it with 8 or 16 bits per channel")
    if image.has_transparency_data:
        return as_bgr(np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]])
    return as_bgr(cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR))


@contextmanager
def _as_image_errors(name: str) -> Iterator[None]:
    """Turn any exception of Pillow into an ImageError about `name`, and silence its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError as error:
        if str(error).startswith(name):
            raise
        raise type(error)(f"{name}: {error}") from error
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(
            f"{name} has more than {MAX_PIXELS / 1e6:.0f} million pixels; "
            "make it smaller or cut it up"
        ) from error
    except OSError as error:
        reason = f"cannot be read ({error.strerror})" if error.strerror else _damaged(error)
        raise ImageError(f"{name}: {reason}") from error
    # The decoders raise nearly anything for damaged files: struct.error, zlib.error, KeyError.
    except Exception as error:
        raise ImageError(f"{name}: {_damaged(error)}") from error


def _damaged(error: Exception) -> str:
    return f"cannot be decoded, it may be damaged or incomplete ({reason_of(error)})"
