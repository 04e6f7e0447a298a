"""Map files into memory, and describe files that are not Paddle's."""

from __future__ import annotations

import hashlib
import mmap
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from converter.errors import SourceError

# Formats of files that are named by mistake, by their first bytes.
_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_FOREIGN = (
    (b"PK\x03\x04", "a zip file, which is how PyTorch saves; nothing needs converting"),
    (_TORCH, "an old PyTorch file; nothing needs converting"),
    (b"\x1f\x8b", "a gzip archive; name it .tar.gz to have it unpacked"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (b"<", "an HTML or XML page, so the download went wrong; download it again"),
)


def map_file(file: Path) -> memoryview:
    """Map a file into memory, read-only; a page is read when it is accessed, without a copy.

    The mapping lives as long as the view or an array made from it.

    Raises:
        SourceError: the file is missing, empty, a folder or not readable.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode) and not file.is_dir():  # a pipe would block
            raise SourceError(f"{file} is a pipe, a device or a socket; expected a file.")
        with file.open("rb") as handle:
            return memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
    except ValueError:
        raise SourceError(f"{file} is empty; download or export it again.") from None
    except IsADirectoryError:
        raise SourceError(f"{file} is a folder; expected a file.") from None
    except FileNotFoundError:
        raise SourceError(f"{file} does not exist.") from None
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror or error}.") from None


def is_pickle(data: memoryview) -> bool:
    """Return whether data is a pickle of protocol 2 or later, and not PyTorch's old format."""
    head = bytes(data[: len(_TORCH)])
    return head[:1] == b"\x80" and head != _TORCH


def foreign(data: memoryview) -> str:
    """Describe a file of another format, for the end of an error message."""
    head = bytes(data[:64])
    for magic, meaning in _FOREIGN:
        if head.startswith(magic):
            return f"it is {meaning}"
    return f"it starts with {head[:8]!r}"


def sha256(data: memoryview) -> str:
    """Compute the SHA-256 of data, in hex."""
    return hashlib.sha256(data).hexdigest()


def widen(array: np.ndarray) -> np.ndarray:
    """Convert bfloat16, which NumPy lacks and Paddle stores as uint16, to float32."""
    return (array.astype(np.uint32) << 16).view(np.float32)


def in_float32(tensors: Mapping[str, np.ndarray]) -> tuple[Mapping[str, np.ndarray], list[str]]:
    """Round float64 tensors to float32, as PaddleOCR does when it loads them.

    Args:
        tensors: arrays by name. Those with values beyond the range of float32 stay as they are.

    Returns:
        The tensors, and a line about how many were rounded, if any.
    """
    rounded = {
        name: _rounded(array) if array.dtype == np.float64 else array
        for name, array in tensors.items()
    }
    count = sum(rounded[name] is not array for name, array in tensors.items())
    notes = [f"{count} tensors are float64 and were rounded to float32"] if count else []
    return MappingProxyType(rounded), notes


def _rounded(array: np.ndarray) -> np.ndarray:
    """Return a float64 array as float32, or the array itself where a number would overflow."""
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float32)
    if not np.array_equal(np.isinf(rounded), np.isinf(array)):
        return array
    rounded.setflags(write=False)
    return rounded
