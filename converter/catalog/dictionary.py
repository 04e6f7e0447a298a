"""The dictionaries of recognisers: tables of one character per line, tokenizers of formulas."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PureWindowsPath
from typing import Any

from converter.catalog.tokenizer import FILE as TOKENIZER
from converter.catalog.tokenizer import Tokenizer, is_tokenizer, read_tokenizer, tokenizer_of
from converter.catalog.yaml_io import read_file, read_yaml
from converter.errors import ConfigError
from schemas.artefact import DictionaryEntry
from schemas.checks import shorten
from schemas.processing import TOKEN_DECODERS
from schemas.special_tokens import CLASSES

SHIPPED = Path(__file__).parents[2] / "configs" / "dicts"
DEFAULT = SHIPPED / "ic15_dict.txt"
"""PaddleOCR's table where a YAML names none: digits and lowercase letters."""
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class Dictionary:
    """The characters of a recogniser, without the special tokens of its decoder.

    Each line of a table is a class, even one of a single space or one that occurs twice, so lines
    are never stripped, sorted or deduplicated.

    Attributes:
        file: the name of the file it was read from.
        sha256: the hash of that file.
        characters: one per class.
        space: whether the space is a further class after the table (`use_space_char`); None where
            the number of classes decides, which is unambiguous.
        notes: sentences about the table, for messages and the artefact: where it was found, or
            characters that it should not have.
    """

    file: str
    sha256: str
    characters: tuple[str, ...]
    space: bool | None = None
    notes: tuple[str, ...] = ()

    def fit_to_classes(self, classes: int, decoder: str = "CTCLabelDecode") -> Dictionary:
        """Return the table, with the space if the number of classes includes it.

        Args:
            classes: the number of classes of the weights.
            decoder: PaddleOCR's name of the decoder, which determines the special tokens.

        Raises:
            ConfigError: characters and special tokens do not add up to `classes`.
        """
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

    def describe_classes(self, decoder: str) -> str:
        """Return in words how many classes the table and the decoder's special tokens make."""
        return f"{len(self.characters)} characters and {CLASSES[decoder].in_words()}"

    def entry(self) -> DictionaryEntry:
        """Return the section `dictionary` of an artefact, without special tokens."""
        return DictionaryEntry(self.file, self.sha256, characters=self.characters, notes=self.notes)

    def stripped(self) -> Dictionary:
        """Return the table without byte order mark, spaces around characters, and line numbers.

        Line numbers are a second column, before or after the characters, that counts from 0 or 1.
        Lines of spaces alone are characters and stay.
        """
        first, *others = self.characters
        lines = [first.removeprefix(_BYTE_ORDER_MARK), *others]
        rows = [line.split() for line in lines]
        columns = list(zip(*rows, strict=True)) if all(len(row) == 2 for row in rows) else []
        for start in (0, 1):
            numbers = tuple(str(number) for number in range(start, start + len(lines)))
            if numbers in columns:
                lines = list(columns[1 - columns.index(numbers)])
                break
        characters = tuple(line.strip() or line for line in lines)
        changed = sum(a != b for a, b in zip(self.characters, characters, strict=True))
        if not changed:
            return self
        kept = [note for note in self.notes if note not in irregularities(self.characters)]
        note = f"{_lines(changed, len(characters))} were stripped to their character"
        return replace(self, characters=characters, notes=(*kept, note))


def irregularities(characters: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence for each reason to think that a table holds more than its characters.

    PaddleOCR takes a line as it is, and so does the converter.

    Args:
        characters: the lines of the table.
    """
    notes = []
    if characters[0].startswith(_BYTE_ORDER_MARK):
        notes.append(
            "the first line begins with a byte order mark (U+FEFF), which counts as part of the "
            "first character"
        )
    padded = [c for c in characters if len(c) > 1 and any(map(str.isspace, c))]
    if padded:
        notes.append(
            f"{_lines(len(padded), len(characters))} hold spaces or tabs beside other characters, "
            f"such as {shorten(padded[0])}"
        )
    return tuple(notes)


def _lines(count: int, total: int) -> str:
    return f"{count} of {total} lines"


def read_dictionary(file: Path, space: bool | None = None) -> Dictionary | Tokenizer:
    """Read a table of characters or a tokenizer.

    Args:
        file: a table of one character per line, a `tokenizer.json` or its folder, or an export's
            `inference.yml`, which holds either.
        space: whether the space is a further class after the table; None where the number of
            classes decides.

    Raises:
        ConfigError: the file cannot be read, is not UTF-8 text, or is empty.
    """
    if file.suffix in (".yml", ".yaml"):
        return _of_export(file, space)
    within = file / TOKENIZER
    if file.suffix == ".json" or _is_file(within):
        return read_tokenizer(within if _is_file(within) else file)
    return read_table(file, space)


@cache
def shipped_dictionary(name: str) -> Dictionary | Tokenizer:
    """Read a dictionary of `configs/dicts` by its name."""
    return read_dictionary(SHIPPED / name)


def read_table(file: Path, space: bool | None = None) -> Dictionary:
    """Read a table of one character per line.

    Raises:
        ConfigError: the file cannot be read, is not UTF-8 text, or is empty.
    """
    data = read_file(file, "the dictionary ")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"the dictionary {file} is not UTF-8 text: {error}") from error
    lines = tuple(line.rstrip("\r") for line in text.removesuffix("\n").split("\n"))
    if not any(lines):
        raise ConfigError(f"the dictionary {file} is empty")
    notes = () if SHIPPED in file.parents else irregularities(lines)
    return Dictionary(file.name, hashlib.sha256(data).hexdigest(), lines, space, notes)


def fit_to_classes(
    table: Dictionary | Tokenizer, counts: Mapping[str, int], decoder: str
) -> Dictionary | Tokenizer:
    """Return the dictionary that has an entry for each class of a network.

    Args:
        table: characters or a tokenizer.
        counts: the network's class counts; a network without any is not checked.
        decoder: PaddleOCR's name of its decoder.

    Raises:
        ConfigError: the dictionary has another number of classes, or is of another kind.
    """
    if isinstance(table, Tokenizer) != (decoder in TOKEN_DECODERS):
        kinds = "a table of characters", "a tokenizer"
        actual, needed = kinds if decoder in TOKEN_DECODERS else kinds[::-1]
        raise ConfigError(
            f"{table.file} is {actual}, but the network's decoder {decoder} needs {needed}; "
            "give it with --dict"
        )
    classes = next((count for head, count in counts.items() if head != "cls"), None)
    if isinstance(table, Tokenizer) or classes is None:
        return table
    return table.fit_to_classes(classes, decoder)


@dataclass(frozen=True)
class MissingDictionary:
    """A dictionary that a training YAML names, and that is not where it says.

    Attributes:
        path: the path as the YAML writes it.
        training: the YAML.
        space: whether the YAML adds the space to the table.
    """

    path: str
    training: Path
    space: bool

    def find(self, export: Path | None) -> Dictionary | Tokenizer:
        """Read the dictionary of the export, or else a file of the same name beside the YAML.

        Args:
            export: the `inference.yml` of the export, if there is one.

        Raises:
            ConfigError: there is neither, or it cannot be read.
        """
        beside = self.training.absolute().parent / PureWindowsPath(self.path).name
        if export is not None and _table(read_yaml(export)) is not None:
            taken, table = "inference.yml of the export", read_dictionary(export)
        elif _is_file(beside) or _is_file(beside / TOKENIZER):
            taken, table = f"{beside.name} beside it", read_dictionary(beside, self.space)
        else:
            raise ConfigError(
                f"{self.training} names the dictionary {shorten(self.path)}, which is neither near "
                "it nor shipped, and no inference.yml of an export holds one; give it with --dict"
            )
        note = f"{shorten(self.path)} of {self.training.name} was not found; {taken} was taken"
        return replace(table, notes=(note, *table.notes))


def dictionary_of_training(
    settings: Mapping[str, Any], training: Path, other: Path | None = None
) -> Dictionary | Tokenizer | MissingDictionary | None:
    """Return the dictionary of a training YAML; PaddleOCR's default where the YAML names none.

    Args:
        settings: the section Global; without the key there is no dictionary.
        training: the YAML.
        other: a dictionary that replaces the one that the YAML names.

    Raises:
        ConfigError: the dictionary cannot be read.
    """
    named = named_dictionary(settings)
    space = bool(settings.get("use_space_char", False))
    if other is not None:
        return read_dictionary(other, space)
    if named:
        path = _path_of(named, training)
        return read_dictionary(path, space) if path else MissingDictionary(named, training, space)
    return read_table(DEFAULT, space=False) if "character_dict_path" in settings else None


def named_dictionary(settings: Mapping[str, Any]) -> str | None:
    """Return the path of the dictionary as the section Global writes it."""
    named = settings.get("character_dict_path") or settings.get("rec_char_dict_path")
    return str(named) if named else None


def _path_of(text: str, training: Path) -> Path | None:
    """Find the dictionary that a training YAML names: near the YAML, or one that is shipped.

    Paths may be written as on Windows.
    """
    paths = dict.fromkeys((Path(text), Path(text.replace("\\", "/"))))
    folders = training.absolute().parents
    candidates = []
    for path in paths:
        candidates += [path] if path.is_absolute() else [folder / path for folder in folders]
    for path in paths:
        # Folders of PaddleOCR's ppocr/utils, where two tables are called en_dict.txt.
        _, in_utils, tail = path.as_posix().rpartition("ppocr/utils/")
        if in_utils:
            candidates.append(SHIPPED / tail)
    for candidate in candidates:
        if _is_file(candidate) or _is_file(candidate / TOKENIZER):
            return candidate
    return None


def _is_file(path: Path) -> bool:
    """Return whether a path is a file; a name that is too long for a file is not."""
    try:
        return path.is_file()
    except OSError:
        return False


def dictionary_of_export(settings: Path) -> Dictionary | Tokenizer | None:
    """Read the dictionary of an export from its `inference.yml`; None where it has none."""
    if _table(read_yaml(settings)) is None:
        return None
    return replace(_of_export(settings, None), notes=())  # a release is as it is


def _of_export(file: Path, space: bool | None) -> Dictionary | Tokenizer:
    characters = _table(read_yaml(file))
    sha256 = hashlib.sha256(read_file(file, "")).hexdigest()
    if is_tokenizer(characters):
        return tokenizer_of(characters, file.name, sha256)
    if not isinstance(characters, list) or not characters:
        raise ConfigError(f"{file} holds no list PostProcess.character_dict, so no dictionary")
    wrong = next((item for item in characters if not isinstance(item, str)), None)
    if wrong is not None:
        raise ConfigError(
            f"PostProcess.character_dict of {file} holds {shorten(wrong)}, which is not text"
        )
    return Dictionary(file.name, sha256, tuple(characters), space, irregularities(characters))


def _table(content: dict[str, Any]) -> Any:
    section = content.get("PostProcess")
    return section.get("character_dict") if isinstance(section, dict) else None
