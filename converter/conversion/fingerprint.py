"""Decide whether a model has to be converted again, by a fingerprint of everything it depends on.

The fingerprint is the SHA-256 of Paddle's files, the options and the toolkit itself; the JSON of
the artefact holds it. An artefact is up to date if its fingerprint is that of the request, and its
weights have the hash in the JSON.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.errors import ConverterError, SourceError
from converter.sources import mapped_files
from converter.sources.open import DETECTION_SETTINGS, ONNX, SETTINGS

if TYPE_CHECKING:
    from converter.conversion.request import Request

ROOT = Path(__file__).parents[2]

# Code and data that a conversion uses.
TOOLKIT = (
    "converter/**/*.py",
    "architectures/**/*.py",
    "schemas/**/*.py",
    "mappings/*.yaml",
    "configs/**/*",
)
# Code of the toolkit that does not change the result of a conversion.
EXCLUDED = (
    "converter/__main__.py",
    "converter/cli/*",
    "converter/conversion/batch.py",
    "converter/conversion/discovery.py",
    "converter/conversion/download.py",
    "converter/conversion/fingerprint.py",
    "converter/end_to_end/*",
    "converter/reports/*",
)
_SOURCES = ("paddle_dir", "program_dir")
_NOT_OPTIONS = (*_SOURCES, "out", "fingerprint")
# The optimizer's state in a checkpoint's folder is large and is not read.
_SOURCE_SUFFIXES = (
    ".pdparams",
    ".pdmodel",
    ".onnx",
    ".pdiparams",
    ".info",
    ".json",
    ".yml",
    ".yaml",
    "__model__",
    "__params__",
)


def fingerprint(request: Request) -> str:
    """Compute the hash of everything that a conversion depends on.

    Raises:
        SourceError: a file cannot be read.
    """
    digest = hashlib.sha256(toolkit_hash().encode())
    for field in fields(request):
        value = getattr(request, field.name)
        if field.name in _SOURCES and value is not None:
            for file in (f for source in source_files(value) for f in (source, *_beside(source))):
                digest.update(f"{file.name}={_hash(file)}\n".encode())
        elif field.name not in _NOT_OPTIONS:
            is_file = isinstance(value, Path) and value.is_file()
            digest.update(f"{field.name}={_hash(value) if is_file else value}\n".encode())
    if request.out is not None:
        digest.update(request.out.suffix.encode())
    return digest.hexdigest()


@cache
def toolkit_hash() -> str:
    """Compute the hash of the converter's code, the networks, the mappings and the configs."""
    digest = hashlib.sha256()
    for file in toolkit_files():
        digest.update(f"{file.relative_to(ROOT).as_posix()}={_hash(file)}\n".encode())
    return digest.hexdigest()


def toolkit_files() -> list[Path]:
    """Return the files of the toolkit that a conversion may depend on."""
    excluded = {file for pattern in EXCLUDED for file in ROOT.glob(pattern)}
    return sorted(
        file
        for pattern in TOOLKIT
        for file in ROOT.glob(pattern)
        if file.is_file() and file.suffix != ".pyc" and file not in excluded
    )


def up_to_date(out: Path, expected: str) -> dict[str, Any] | None:
    """Return the JSON of an artefact if it is up to date.

    Args:
        out: the weights file.
        expected: the fingerprint of the request.

    Returns:
        None if there is no artefact, if it is damaged, or if its fingerprint differs.
    """
    try:
        card = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
        if card["fingerprint"] == expected and card["weights"]["sha256"] == _hash(out):
            return dict(card)
    except (OSError, ValueError, KeyError, TypeError, SourceError):
        pass  # the model is converted again
    return None


def source_files(path: Path) -> list[Path]:
    """Return the files that may be opened when `path` is read.

    These are all files of a folder, and the weights file of a program.
    """
    above = path.absolute().parent / SETTINGS  # of a distillation
    if path.is_dir():
        files = [
            f for f in sorted(path.rglob("*")) if f.is_file() and f.name.endswith(_SOURCE_SUFFIXES)
        ]
        return [*files, above] if above.is_file() else files
    beside = [path.with_name(name) for name in (SETTINGS, DETECTION_SETTINGS)]
    related = [*beside, above.parent.with_name(SETTINGS)]
    if path.suffix in (".pdmodel", ".json") or path.name == "__model__":
        weights = (f"{path.stem}.pdiparams", f"{path.stem}.pdiparams.info", "__params__")
        related += [path.with_name(name) for name in weights]
    return [path, *(file for file in related if file.is_file())]


def _beside(file: Path) -> tuple[Path, ...]:
    """Return the files that hold weights of an ONNX file; none of one that cannot be read."""
    if file.suffix == ONNX:
        from converter.sources.onnx.model import read_model

        with suppress(ConverterError):  # the conversion reports it
            return read_model(file).external
    return ()


def _hash(file: Path) -> str:
    """Compute the SHA-256 of a file.

    Raises:
        SourceError: the file cannot be read.
    """
    if file.is_file() and not file.stat().st_size:  # an empty file cannot be mapped
        return hashlib.sha256().hexdigest()
    return mapped_files.sha256(mapped_files.map_file(file))
