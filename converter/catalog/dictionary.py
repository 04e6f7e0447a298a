"""What a network's classes stand for: tables of one character a line, tokenizers of formulas."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from converter.catalog.tokenizer import DECODERS as TOKEN_DECODERS
from converter.catalog.tokenizer import FILE as TOKENIZER
from converter.catalog.tokenizer import Tokenizer, is_tokenizer, read_tokenizer, tokenizer_of
from converter.catalog.yaml_io import read_yaml
from converter.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "configs" / "dicts"
# What PaddleOCR takes where a YAML names no table: the digits and the small letters.
DEFAULT = SHIPPED / "ic15_dict.txt"


@dataclass(frozen=True)
class Dictionary:
    """The characters of a recogniser, without the classes that its decoder adds, as CTC's blank.

    Lines are taken as they are: never stripped, sorted or made unique. Some tables hold a line of
    one space, some hold a character twice, and each line is a class. `space` tells whether the
    space follows the table as the last class (PaddleOCR's `use_space_char`); None leaves that to
    the number of classes, which admits one answer only.
    """

    file: str
    sha256: str
    characters: tuple[str, ...]
    space: bool | None = None

    def fit_to_classes(self, classes: int, decoder: str = "CTCLabelDecode") -> Dictionary:
        """Return the table with its space, if it has one, for weights of so many classes.

        Raises:
            ConfigError: table and special classes, with or without a space, do not make `classes`.
        """
        from architectures.special_tokens import CLASSES  # imports PyTorch

        lines, layout = len(self.characters), CLASSES[decoder]
        special = layout.in_words()
        for space in (False, True) if self.space is None else (self.space,):
            if layout.count(lines + space) == classes:
                characters = (*self.characters, " ") if space else self.characters
                return replace(self, characters=characters, space=False)
        without, with_space = layout.count(lines), layout.count(lines + 1)
        makes = {
            None: f"with {special} {without} classes, with a space too {with_space}",
            False: f"with {special} {without} classes",
            True: f"with a space and {special} {with_space} classes",
        }
        raise ConfigError(
            f"the dictionary {self.file} has {lines} characters, {makes[self.space]}; the weights "
            f"have {classes}. Give the dictionary of these weights with --dict, or check "
            "use_space_char in the YAML."
        )

    def said(self, decoder: str) -> str:
        """Return in words how many classes there are."""
        from architectures.special_tokens import CLASSES  # imports PyTorch

        return f"{len(self.characters)} characters and {CLASSES[decoder].in_words()}"

    def to_dict(self) -> dict[str, Any]:
        """Return the table as it stands in the artefact's JSON, with no special class in it."""
        return {"file": self.file, "sha256": self.sha256, "characters": list(self.characters)}


def read_dictionary(file: Path, space: bool | None = None) -> Dictionary | Tokenizer:
    """Read what a network's answers stand for.

    That is a table of one character a line, or the `tokenizer.json` of a network of formulas, by
    its name or its folder's, or what an export's `inference.yml` holds of either.

    Raises:
        ConfigError: the file cannot be read, is no UTF-8 text or is empty.
    """
    if file.suffix in (".yml", ".yaml"):
        return _of_export(file, space)
    within = file / TOKENIZER
    if file.suffix == ".json" or within.is_file():
        return read_tokenizer(within if within.is_file() else file)
    return read_table(file, space)


@cache
def shipped_dictionary(name: str) -> Dictionary | Tokenizer:
    """Return what a config names of `configs/dicts`; ConfigError as above."""
    return read_dictionary(SHIPPED / name)


def read_table(file: Path, space: bool | None = None) -> Dictionary:
    """Read a table, one character a line; ConfigError as above."""
    try:
        data = file.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the dictionary {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the dictionary {file} is not UTF-8 text: {error}") from error
    lines = tuple(line.rstrip("\r") for line in text.removesuffix("\n").split("\n"))
    if not any(lines):
        raise ConfigError(f"the dictionary {file} is empty")
    return Dictionary(file.name, hashlib.sha256(data).hexdigest(), lines, space)


def fit_to_classes(
    table: Dictionary | Tokenizer, counts: Mapping[str, int], decoder: str
) -> Dictionary | Tokenizer:
    """Return a network's table as its answers are numbered.

    Args:
        table: characters or tokens.
        counts: the network's class counts; a network without any is not checked.
        decoder: how its answers are read.

    Raises:
        ConfigError: the table does not make so many classes, or is of another kind.
    """
    if isinstance(table, Tokenizer) != (decoder in TOKEN_DECODERS):
        kinds = "a table of characters", "a tokenizer"
        found, wanted = kinds if decoder in TOKEN_DECODERS else kinds[::-1]
        raise ConfigError(
            f"{table.file} is {found}, but the network is read by {decoder}, which takes {wanted}; "
            "give it with --dict"
        )
    classes = next((count for kind, count in counts.items() if kind != "cls"), None)
    if isinstance(table, Tokenizer) or classes is None:
        return table
    return table.fit_to_classes(classes, decoder)


def dictionary_of_training(
    settings: Mapping[str, Any], training: Path, other: Path | None = None
) -> Dictionary | Tokenizer | None:
    """Return the table of a training YAML, or PaddleOCR's own where it says that it has none.

    Args:
        settings: its section Global; without the key it says nothing of a table.
        training: the YAML.
        other: the table to take instead.

    Raises:
        ConfigError: the table cannot be found or read.
    """
    named = settings.get("character_dict_path") or settings.get("rec_char_dict_path")
    space = bool(settings.get("use_space_char", False))
    if other is not None:
        return read_dictionary(other, space)
    if named:
        return read_dictionary(_path_of(str(named), training), space)
    return read_table(DEFAULT, space=False) if "character_dict_path" in settings else None


def _path_of(text: str, training: Path) -> Path:
    """Find the file that a training YAML names: beside it, above it, or one that is shipped."""
    path = Path(text)
    folders = training.absolute().parents
    places = [path] if path.is_absolute() else [folder / path for folder in folders]
    # The shipped tables lie as in PaddleOCR's ppocr/utils, where two are called en_dict.txt.
    _, in_utils, tail = path.as_posix().rpartition("ppocr/utils/")
    if in_utils:
        places.append(SHIPPED / tail)
    for place in places:
        if place.is_file() or (place / TOKENIZER).is_file():
            return place
    raise ConfigError(
        f"{training} names the dictionary {text}, which is neither there nor shipped; give it "
        "with --dict"
    )


def dictionary_of_export(settings: Path) -> Dictionary | Tokenizer | None:
    """Return what the `inference.yml` of an export has of either, or None."""
    return None if _table(read_yaml(settings)) is None else _of_export(settings, None)


def _of_export(file: Path, space: bool | None) -> Dictionary | Tokenizer:
    characters = _table(read_yaml(file))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    if is_tokenizer(characters):
        return tokenizer_of(characters, file.name, sha256)
    if not isinstance(characters, list) or not characters:
        raise ConfigError(f"{file} holds no list PostProcess.character_dict, so no dictionary")
    wrong = next((item for item in characters if not isinstance(item, str)), None)
    if wrong is not None:
        raise ConfigError(f"PostProcess.character_dict of {file} holds {wrong!r}, which is no text")
    return Dictionary(file.name, sha256, tuple(characters), space)


def _table(content: dict[str, Any]) -> Any:
    section = content.get("PostProcess")
    return section.get("character_dict") if isinstance(section, dict) else None
