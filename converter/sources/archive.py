"""Unpack release archives, `.tar` and `.tar.gz`, which may be hostile."""

from __future__ import annotations

import errno
import gzip
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, cast

from converter.errors import SourceError, UnsafeSource
from converter.sources.scratch import ScratchFolder
from converter.sources.tar_headers import check_headers

_MODEL_SUFFIXES = (
    *(".pdparams", ".pdmodel", ".pdiparams", ".pdiparams.info", ".json"),
    ".safetensors",  # of vision-language models
)
_MODEL_NAMES = ("__model__", "__params__", "inference.yml", "merges.txt", "chat_template.jinja")
_LARGEST_RATIO = 20  # of unpacked to compressed size: weights hardly shrink, a bomb does
_MARGIN = 64 << 20  # bytes above the ratio, since small archives of programs shrink well


def unpack(archive: Path) -> ScratchFolder:
    """Unpack the model files of an archive into a private temporary folder.

    Every member is checked, but only Paddle's files are written.

    Args:
        archive: a `.tar`, `.tar.gz` or `.tgz` file.

    Returns:
        The folder, which is removed with this object.

    Raises:
        UnsafeSource: a member is a link, a device or sparse, or its path leads out of the folder;
            or the archive unpacks to far more than its size.
        SourceError: the archive is truncated or corrupt.
    """
    if not archive.is_file():
        raise SourceError(f"{archive} is no file; expected a .tar or .tar.gz.")
    folder = ScratchFolder()
    try:
        _unpack(archive, Path(folder.name))
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, zlib.error) as error:
        folder.cleanup()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SourceError(
                f"{archive} cannot be unpacked: the temporary folder {tempfile.gettempdir()} is "
                "full. Free some space, or name another folder in $TMPDIR."
            ) from None
        reason = "cannot be read" if isinstance(error, PermissionError) else "is no complete tar"
        raise SourceError(f"{archive} {reason}: {error}. Download it again.") from None
    except SourceError:
        folder.cleanup()
        raise
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    plain = archive
    if archive.suffix != ".tar":
        plain = folder / ".tar"
        _inflate(archive, plain)
    size = plain.stat().st_size
    with plain.open("rb") as stream:
        check_headers(stream, size, str(archive))
    with tarfile.open(plain, "r:") as tar:
        for member in tar:
            path = _checked(archive, member)
            if member.offset_data + member.size > size:
                raise SourceError(
                    f"{archive} is truncated: {member.name!r} needs {member.size} bytes, "
                    f"found {max(0, size - member.offset_data)}. Download it again."
                )
            if member.isreg() and _is_model_file(path):
                _write(tar, member, folder / path)
    if archive.suffix != ".tar":
        plain.unlink()


def _inflate(archive: Path, target: Path) -> None:
    """Decompress a gzip file, up to the largest size that an honest archive has."""
    left = archive.stat().st_size * _LARGEST_RATIO + _MARGIN
    with gzip.open(archive, "rb") as source, target.open("wb") as out:
        while block := source.read(1 << 20):
            left -= len(block)
            if left < 0:
                raise UnsafeSource(
                    f"{archive} unpacks to more than {_LARGEST_RATIO} times its size; "
                    "it was not read."
                )
            out.write(block)


def _checked(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    """Return the path of a member; UnsafeSource if it could write elsewhere or is no file."""
    path = PurePosixPath(member.name)
    fault = None
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
        fault = "leads out of the archive"
    elif member.issparse() or not (member.isdir() or member.isreg()):
        fault = "is a link, a device or sparse"
    if fault:
        raise UnsafeSource(
            f"{archive}: member {member.name!r} {fault}; expected files and folders only, "
            "so nothing was unpacked."
        )
    return path


def _is_model_file(path: PurePosixPath) -> bool:
    """Return whether a path is a model file; macOS adds a `._*` file for every file."""
    if path.name.startswith("."):
        return False
    return path.name.endswith(_MODEL_SUFFIXES) or path.name in _MODEL_NAMES


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with cast(IO[bytes], tar.extractfile(member)) as source, target.open("xb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
