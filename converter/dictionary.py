"""Character tables: one character a line, in the order of the classes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter.errors import ConfigError


@dataclass(frozen=True)
class Dictionary:
    """The characters of a recogniser, without CTC's blank, with the space where it has one.

    Lines are taken as they are: never stripped, sorted or made unique. Some tables hold a line of
    one space, some hold a character twice, and each line is a class.
    """

    file: str
    sha256: str
    characters: tuple[str, ...]

    def check(self, classes: int) -> None:
        """Raise ConfigError unless these characters and the blank make `classes`."""
        if len(self.characters) + 1 != classes:
            raise ConfigError(
                f"the dictionary {self.file} has {len(self.characters)} characters, with the "
                f"blank {len(self.characters) + 1} classes; the weights have {classes}. Give the "
                "dictionary of these weights with --dict, or check use_space_char in the YAML."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the table as it stands in the artefact's JSON; class 0 is the blank."""
        return {"file": self.file, "sha256": self.sha256, "characters": list(self.characters)}


def read_dictionary(file: Path, space: bool) -> Dictionary:
    """Read a table; `space` adds the space as the last class (PaddleOCR's `use_space_char`).

    Raises:
        ConfigError: the file cannot be read, is no UTF-8 text or is empty.
    """
    try:
        data = file.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the dictionary {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the dictionary {file} is not UTF-8 text: {error}") from error
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    if not any(lines):
        raise ConfigError(f"the dictionary {file} is empty")
    characters = (*lines, " ") if space else tuple(lines)
    return Dictionary(file.name, hashlib.sha256(data).hexdigest(), characters)
