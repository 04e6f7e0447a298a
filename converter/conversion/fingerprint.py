"""Whether a model has to be converted again: a fingerprint of all that its artefact comes from.

It is the SHA-256 of Paddle's files, of the options and of the toolkit itself, and stands in the
artefact's JSON. An artefact is up to date if it has the fingerprint of what is asked for, and its
weights are those that the JSON describes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.errors import SourceError
from converter.sources import mapped_files as files
from converter.sources.open import SETTINGS

if TYPE_CHECKING:
    from converter.conversion.request import Request

ROOT = Path(__file__).parents[2]

# What a conversion runs or reads.
TOOLKIT = ("converter/**/*.py", "architectures/**/*.py", "mappings/*.yaml", "configs/**/*")
# What deals with many conversions, or with what came out of them, changes none of them.
ASIDE = (
    "converter/__main__.py",
    "converter/cli/*",
    "converter/conversion/batch.py",
    "converter/conversion/discovery.py",
    "converter/conversion/download.py",
    "converter/conversion/fingerprint.py",
    "converter/end_to_end/*",
    "converter/reports/*",
)
_PLACES = ("paddle_dir", "program_dir")
_NOT_OPTIONS = (*_PLACES, "out", "fingerprint")
# Of a checkpoint's folder all but the optimizer's state, which is large and is not read.
_READ = (
    ".pdparams", ".pdmodel", ".pdiparams", ".info", ".json", ".yml", ".yaml", "__model__",
    "__params__",
)  # fmt: skip


def fingerprint(request: Request) -> str:
    """Return the hash of what a conversion depends on; SourceError where a file cannot be read."""
    whole = hashlib.sha256(toolkit().encode())
    for field in fields(request):
        value = getattr(request, field.name)
        if field.name in _PLACES and value is not None:
            for file in source_files(value):
                whole.update(f"{file.name}={_hash(file)}\n".encode())
        elif field.name not in _NOT_OPTIONS:
            is_file = isinstance(value, Path) and value.is_file()
            whole.update(f"{field.name}={_hash(value) if is_file else value}\n".encode())
    if request.out is not None:
        whole.update(request.out.suffix.encode())
    return whole.hexdigest()


@cache
def toolkit() -> str:
    """Return the hash of the files that make up the converter, networks, mappings and configs."""
    whole = hashlib.sha256()
    for file in toolkit_files():
        whole.update(f"{file.relative_to(ROOT).as_posix()}={_hash(file)}\n".encode())
    return whole.hexdigest()


def toolkit_files() -> list[Path]:
    """Return the files that a conversion may depend on."""
    aside = {file for pattern in ASIDE for file in ROOT.glob(pattern)}
    return sorted(
        file
        for pattern in TOOLKIT
        for file in ROOT.glob(pattern)
        if file.is_file() and file.suffix != ".pyc" and file not in aside
    )


def up_to_date(out: Path, wanted: str) -> dict[str, Any] | None:
    """Return the JSON of an artefact that has this fingerprint and is whole, else None."""
    try:
        described = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
        if described["fingerprint"] == wanted and described["weights"]["sha256"] == _hash(out):
            return dict(described)
    except (OSError, ValueError, KeyError, TypeError, SourceError):
        pass  # there is none, or it is damaged: it is made anew
    return None


def source_files(path: Path) -> list[Path]:
    """Return what reading `path` may open: of a folder all, with a program also its weights."""
    if path.is_dir():
        return [f for f in sorted(path.rglob("*")) if f.is_file() and f.name.endswith(_READ)]
    others = [path.with_name(SETTINGS)]
    if path.suffix in (".pdmodel", ".json") or path.name == "__model__":
        weights = (f"{path.stem}.pdiparams", f"{path.stem}.pdiparams.info", "__params__")
        others += [path.with_name(name) for name in weights]
    return [path, *(file for file in others if file.is_file())]


def _hash(file: Path) -> str:
    """Return the SHA-256 of a file; SourceError where it cannot be read."""
    if file.is_file() and not file.stat().st_size:
        return hashlib.sha256().hexdigest()
    return files.sha256(files.map_file(file))
