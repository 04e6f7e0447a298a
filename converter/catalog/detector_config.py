"""Configurations that detectors were trained with: PaddleDetection's files, and PaddleX's.

PaddleDetection spreads a configuration over files: `_BASE_` lists those that one builds on, by
paths relative to itself, and its own values replace theirs (`ppdet/core/workspace.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from converter.catalog.labels import read_labels
from converter.catalog.paddledetection import PARTS
from converter.catalog.yaml_io import read_training
from converter.errors import ConfigError
from schemas.artefact import CardError, NetworkInput
from schemas.checks import shorten

BASE = "_BASE_"
MAX_FILES = 50
"""The most files that a configuration is spread over."""
DATA_SETS = ("TrainDataset", "EvalDataset", "TestDataset")

Section = Mapping[str, Any]


def is_paddledetections(content: Section) -> bool:
    """Return whether a YAML is a configuration of PaddleDetection."""
    return "Architecture" not in content and (BASE in content or any(p in content for p in PARTS))


def is_paddlexs(content: Section) -> bool:
    """Return whether a YAML is a configuration of PaddleX, which names a released model."""
    model = _section(content, "Global").get("model")
    return "Architecture" not in content and isinstance(model, str)


def read_sections(file: Path) -> dict[str, Any]:
    """Read a configuration of PaddleDetection, with all files that it builds on.

    Raises:
        ConfigError: a file is missing or no plain YAML, they build on each other in a circle, or
            there are too many.
    """
    return _read(file, (), [])


def _read(file: Path, above: tuple[Path, ...], seen: list[Path]) -> dict[str, Any]:
    """Read a file and those that it builds on; `above` are those that build on it."""
    place = file.resolve()
    if place in above:
        raise ConfigError(f"{file} builds on itself, by {BASE} of {above[-1]}")
    seen.append(place)
    if len(seen) > MAX_FILES:
        raise ConfigError(f"{above[0]} builds on more than {MAX_FILES} files")
    content = read_training(file)
    bases = content.pop(BASE, [])
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{BASE} in {file} is {shorten(bases)}, expected a list of paths")
    merged: dict[str, Any] = {}
    for base in bases:
        path = Path(base)
        if path.is_absolute() or base.startswith("~") or path.suffix not in (".yml", ".yaml"):
            raise ConfigError(
                f"{file} builds on {shorten(base)}; expected the path of a .yml file relative to it"
            )
        if not (file.parent / path).is_file():
            raise ConfigError(
                f"{file} builds on {base}, but there is no file {file.parent / path}; keep the "
                "files where they are in PaddleDetection's configs/"
            )
        merged = _merged(merged, _read(file.parent / path, (*above, place), seen))
    return _merged(merged, content)


def _merged(old: Section, new: Section) -> dict[str, Any]:
    """Return both, section by section; values of `new` replace those of `old`."""
    result = dict(old)
    for key, value in new.items():
        known = result.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            value = _merged(known, value)
        result[key] = value
    return result


def input_of(sections: Section, default: NetworkInput) -> NetworkInput:
    """Return the images that a network was trained for, as the reader of its test states them.

    Args:
        sections: PaddleDetection's configuration.
        default: for what it does not state.

    Raises:
        ConfigError: a size, mean or standard deviation is of another kind.
    """
    changes: dict[str, Any] = {}
    for step in _steps(_section(sections, "TestReader").get("sample_transforms")):
        if "target_size" in (resize := _section(step, "Resize")):
            size = resize["target_size"]
            size = [size, size] if isinstance(size, int) else size
            if not isinstance(size, list) or len(size) != 2:
                raise ConfigError(f"target_size is {shorten(size)}, expected a height and a width")
            changes |= {"height": size[0], "width": size[1]}
        normalize = _section(step, "NormalizeImage")
        changes |= {key: normalize[key] for key in ("mean", "std") if key in normalize}
    known = {**default.to_dict(), **changes}
    try:
        return NetworkInput.from_dict(known)
    except CardError as error:
        raise ConfigError(f"TestReader of the configuration: {error}") from error


def labels_of_data(sections: Section, file: Path) -> tuple[str, ...]:
    """Return the names of the classes, from the data sets that a configuration names.

    Paths count from the folder of the configuration; others, and files that are not there, are left
    out, since weights rarely come with their data.

    Args:
        sections: PaddleDetection's configuration.
        file: where it was read.
    """
    for name in DATA_SETS:
        section = _section(sections, name)
        listed = section.get("label_list")
        if isinstance(listed, list):
            return tuple(map(str, listed))
        for path in (listed, section.get("anno_path")):
            if isinstance(path, str) and (found := _beside(file, section.get("dataset_dir"), path)):
                return read_labels(found)
    return ()


def labels_of_paddlex(content: Section, file: Path) -> tuple[str, ...]:
    """Return the names of the classes, from the data set that PaddleX's configuration names."""
    folder = _section(content, "Global").get("dataset_dir")
    found = _beside(file, folder, "annotations/instance_train.json")
    return read_labels(found) if found else ()


def _beside(file: Path, folder: object, path: str) -> Path | None:
    """Return a file of a data set, if it lies below the folder of the configuration."""
    place = file.parent / (folder if isinstance(folder, str) else "") / path
    inside = place.resolve().is_relative_to(file.parent.resolve())
    return place if inside and place.is_file() else None


def _section(content: object, key: str) -> Section:
    value = content.get(key) if isinstance(content, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _steps(value: object) -> Iterator[object]:
    if isinstance(value, list):
        yield from value
