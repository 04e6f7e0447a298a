"""Reading records of what PaddleOCR's own networks computed.

A record is a folder with `reference.json` and `outputs.npz`: an architecture, a rule that makes
every weight and input from its name, and Paddle's results: the outputs, and of every layer its
statistics and eight values. It proves an architecture and its mapping, for every checkpoint of that
architecture.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import SourceError
from converter.references.seeded import IMAGES, RULE, seeded_weight

SHIPPED = Path(__file__).parents[3] / "records"

_KEYS = {"rule", "salt", "architecture", "parameters", "inputs", "outputs", "trace", "aliases"}
# Raised while a damaged archive or JSON is read.
_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    RuntimeError,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Record:
    """One record.

    Attributes:
        name: its folder's.
        facts: the content of `reference.json`.
        arrays: the arrays of `outputs.npz` by name.
    """

    name: str
    facts: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    def weights(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Return the seeded weights by Paddle's names, in Paddle's layouts.

        Args:
            prefix: of the names to return. A tensor with several names is returned under each.
        """
        salt = self.facts["salt"]
        made = {
            name: seeded_weight(salt, name, tuple(shape), exponent)
            for name, shape, _, exponent in self.facts["parameters"]
            if name.startswith(prefix)
        }
        return made | {second: made[of] for second, of in self.facts["aliases"] if of in made}

    def inputs(self) -> dict[str, np.ndarray]:
        """Return the inputs by name, in the order of Paddle's network, the image first.

        Raises:
            SourceError: the record names a rule that is not known here.
        """
        return {row[0]: self._input(*row) for row in self.facts["inputs"]}

    def _input(self, name: str, shape: list[int], dtype: str, rule: str) -> np.ndarray:
        salt = self.facts["salt"]
        if rule.startswith("stored"):
            return self.arrays[f"input:{name}"].astype(dtype).reshape(shape)
        if rule in IMAGES:
            return IMAGES[rule](salt, name, tuple(shape))
        known = ", ".join(map(repr, IMAGES))
        raise SourceError(
            f"record {self.name}: unknown rule {rule!r} for the input {name}; known: {known}, and "
            "whatever begins with 'stored'"
        )


def read_record(folder: Path) -> Record:
    """Read a record.

    Raises:
        SourceError: a file is missing or damaged, or another version wrote it.
    """
    try:
        facts = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
        with np.load(folder / "outputs.npz", allow_pickle=False) as archive:
            arrays = dict(archive)
        missing = _KEYS - set(facts)
    except _DAMAGE as error:
        raise SourceError(f"{folder} is not a recorded reference: {error}") from error
    if missing:
        raise SourceError(f"{folder}/reference.json lacks {', '.join(sorted(missing))}")
    if facts["rule"] != RULE:
        raise SourceError(
            f"{folder} has weights by rule {facts['rule']!r}; this version knows rule {RULE}"
        )
    return Record(folder.name, facts, arrays)


def find_records(folder: Path, only: str = "") -> list[Path]:
    """Return the folders of all records under `folder` whose names match `only`, sorted."""
    folders = [path.parent for path in folder.glob("*/reference.json")]
    return sorted(path for path in folders if re.search(only, path.name))


def shipped_record(name: str) -> Record | None:
    """Return a record of the project's own `records/` by name, or None."""
    folder = SHIPPED / name
    return read_record(folder) if (folder / "reference.json").is_file() else None
