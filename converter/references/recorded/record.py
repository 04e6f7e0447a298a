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

import numpy as np

from converter.errors import SourceError
from converter.references.seeded import IMAGES, RULE, seeded_weight
from schemas.record import InputRow, RecordError, RecordFacts

SHIPPED = Path(__file__).parents[3] / "records"

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
    facts: RecordFacts
    arrays: Mapping[str, np.ndarray]

    def weights(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Return the seeded weights by Paddle's names, in Paddle's layouts.

        Args:
            prefix: of the names to return. A tensor with several names is returned under each.
        """
        made = {
            row.name: seeded_weight(self.facts.salt, row.name, row.shape, row.exponent)
            for row in self.facts.parameters
            if row.name.startswith(prefix)
        }
        return made | {second: made[of] for second, of in self.facts.aliases if of in made}

    def inputs(self) -> dict[str, np.ndarray]:
        """Return the inputs by name, in the order of Paddle's network, the image first.

        Raises:
            SourceError: the record names a rule that is not known here.
        """
        return {row.name: self._input(row) for row in self.facts.inputs}

    def _input(self, row: InputRow) -> np.ndarray:
        if row.rule.startswith("stored"):
            return self.arrays[f"input:{row.name}"].astype(row.dtype).reshape(row.shape)
        if row.rule in IMAGES:
            return IMAGES[row.rule](self.facts.salt, row.name, row.shape)
        known = ", ".join(map(repr, IMAGES))
        raise SourceError(
            f"record {self.name}: unknown rule {row.rule!r} for the input {row.name}; known: "
            f"{known}, and rules that begin with 'stored'"
        )


def read_record(folder: Path) -> Record:
    """Read a record.

    Raises:
        SourceError: a file is missing or damaged, or another version wrote it.
    """
    try:
        content = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
        with np.load(folder / "outputs.npz", allow_pickle=False) as archive:
            arrays = dict(archive)
    except _DAMAGE as error:
        raise SourceError(f"{folder} is not a recorded reference: {error}") from error
    try:
        facts = RecordFacts.from_dict(content)
    except RecordError as error:
        raise SourceError(f"{folder}/reference.json {error}") from error
    if facts.rule != RULE:
        raise SourceError(
            f"{folder} has weights by rule {facts.rule!r}; this version knows rule {RULE}"
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
