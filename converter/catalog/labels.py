"""Names of the classes of a detector or classifier, from a file that lists them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from converter.catalog.yaml_io import read_file
from converter.errors import ConfigError
from schemas.checks import shorten


def read_labels(file: Path) -> tuple[str, ...]:
    """Read names of classes, in the order of the classes.

    Args:
        file: one name per line, or the annotations of a data set in COCO's JSON, whose categories
            are classes in the order in which they stand there.

    Raises:
        ConfigError: the file cannot be read, names nothing, or names a class twice.
    """
    data = read_file(file, "the labels ")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"the labels {file} are not UTF-8 text: {error.reason}") from error
    if text.lstrip().startswith("{"):
        names = _categories(text, file)
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise ConfigError(f"the labels {file} name no class")
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"the labels {file} name {shorten(doubled)} twice")
    return tuple(names)


def _categories(text: str, file: Path) -> list[str]:
    """Return the names of the categories of COCO's JSON."""
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the labels {file} begin as JSON but are not: {error}") from error
    categories = content.get("categories")
    if not isinstance(categories, list) or not all(
        isinstance(row, dict) and isinstance(row.get("name"), str) for row in categories
    ):
        raise ConfigError(
            f"{file} has categories {shorten(categories)}, expected COCO's list of rows with names"
        )
    return [row["name"] for row in categories]
