"""The JSON beside converted weights: which network they are of, how to use it, and its proof.

The converter writes an `ArtefactCard`, `architectures.load` and the pipelines read it. These files
come from strangers, so every field is checked for its type and size when it is read.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from schemas.checks import (
    ANY_MEAN,
    ANY_STD,
    SIDE,
    Check,
    JSONValue,
    count_up_to,
    describe_json_fault,
    is_count,
    one_of,
    sequence_of,
    shorten,
)
from schemas.processing import SettingsError, check_setting

T = TypeVar("T")

FORMAT = 1
"""The version of the JSON that this version of the toolkit reads and writes."""

MAX_BYTES = 2**26
"""The largest file that is read."""
MAX_TEXT = 4096
"""The longest single text, in characters."""
MAX_ENTRIES = 100_000
"""The most entries of one list or mapping: characters, files, labels."""
MAX_ANCESTORS = 1000
"""The most artefacts that one may descend from."""
MAX_CLASSES = 1_000_000
MAX_DIMENSION = 2**17
"""The largest magnitude of a number in an architecture: channels, classes, sizes."""

Architecture = Mapping[str, Any]
"""The Architecture section of a PaddleOCR configuration. Its values are the arguments of the
networks' constructors, which differ from one network to the next, hence `Any`."""


_ARCHITECTURE_DEPTH, _ARCHITECTURE_VALUES = 16, 5000


def describe_architecture_fault(architecture: object) -> str | None:
    """Return why a value is no Architecture section of bounded size, or None where it is one."""
    return describe_json_fault(
        architecture,
        depth=_ARCHITECTURE_DEPTH,
        values=_ARCHITECTURE_VALUES,
        largest=MAX_DIMENSION,
    )


class CardError(ValueError):
    """A file is not the JSON of converted weights, or an entry is of another type or size."""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


_TEXT = Check(_is_text, f"text of at most {MAX_TEXT} characters")
_SHA256 = Check(
    lambda value: (
        isinstance(value, str)
        and len(value) == 64
        and all(digit in "0123456789abcdef" for digit in value)
    ),
    "a SHA-256 of 64 hexadecimal digits",
)
_NUMBER_OF_TENSORS = Check(
    lambda value: value == 0 or is_count(value), "a whole number of at least 0"
)
_CLASSES = count_up_to(MAX_CLASSES)
_TEXTS = Check(
    lambda value: (
        isinstance(value, (list, tuple)) and len(value) <= MAX_ENTRIES and all(map(_is_text, value))
    ),
    f"a list of at most {MAX_ENTRIES} texts",
)
_SETTING = Check(
    lambda value: _is_scalar(value) or sequence_of(value, _is_scalar, *range(33)),
    "a number, a text, true, false, or a short list of those",
)


def _is_scalar(value: object) -> bool:
    return value is None or _is_text(value) or isinstance(value, (int, float))


class _Reader:
    """Reads the entries of one section, and names the section in every error."""

    def __init__(self, content: object, where: str = "") -> None:
        if not isinstance(content, Mapping):
            raise CardError(f"{where or 'the card'} is {shorten(content)}, expected a mapping")
        if len(content) > MAX_ENTRIES:
            raise CardError(f"{where or 'the card'} has more than {MAX_ENTRIES} entries")
        if wrong := [key for key in content if not _is_text(key)]:
            raise CardError(f"{where or 'the card'} has the key {shorten(wrong[0])}, expected text")
        self.content, self.where = content, where

    def path(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def value(self, name: str, check: Check) -> Any:
        """Return an entry that passes the check, or None where there is none."""
        return None if self.content.get(name) is None else self.required(name, check)

    def required(self, name: str, check: Check) -> Any:
        """Return an entry that passes the check."""
        value = self.content[name]
        if not check.accepts(value):
            raise CardError(f"{self.path(name)} is {shorten(value)}, expected {check.expected}")
        return value

    def text(self, name: str) -> str | None:
        text: str | None = self.value(name, _TEXT)
        return text

    def texts(self, name: str) -> tuple[str, ...] | None:
        texts = self.value(name, _TEXTS)
        return None if texts is None else tuple(texts)

    def section(self, name: str, read: Callable[[_Reader], T]) -> T | None:
        """Return what `read` makes of a section, or None where there is none."""
        content = self.content.get(name)
        return None if content is None else read(_Reader(content, self.path(name)))

    def sections(self, name: str, read: Callable[[_Reader], T], most: int) -> tuple[T, ...]:
        """Return what `read` makes of each section of a list; of none where there is no list."""
        content = self.content.get(name)
        if content is None:
            return ()
        if not isinstance(content, (list, tuple)) or len(content) > most:
            raise CardError(
                f"{self.path(name)} is {shorten(content)}, expected a list of at most {most}"
            )
        return tuple(
            read(_Reader(each, f"{self.path(name)}[{index}]")) for index, each in enumerate(content)
        )

    def mapping(self, check: Check) -> dict[str, Any]:
        """Return the section itself, each of its values passing the check."""
        return {name: self.required(name, check) for name in self.content}

    def tree(self, *, depth: int, values: int, largest: float) -> dict[str, Any]:
        """Return the section itself, whatever it is made of, within these bounds."""
        fault = describe_json_fault(self.content, depth=depth, values=values, largest=largest)
        if fault is not None:
            raise CardError(
                f"{self.where} holds {fault}; expected at most {values} values, nested at most "
                f"{depth} deep, and numbers of at most {largest:g}"
            )
        return dict(self.content)


@dataclass(frozen=True)
class NetworkInput:
    """The images that a network takes.

    Attributes:
        channels: 3, or 1 for grey images.
        height, width: in pixels, where they are fixed.
        resize_short: the shorter side, in pixels, before the centre of an image is cropped.
        multiple_of: the number of pixels of which both sides are multiples.
        color: "BGR", "RGB" or "GRAY": the order of the channels.
        mean, std: of values from 0 to 1, in the order of the channels; empty where not stated.
    """

    channels: int = 3
    height: int | None = None
    width: int | None = None
    resize_short: int | None = None
    multiple_of: int | None = None
    color: str = "BGR"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @classmethod
    def from_dict(cls, content: object) -> NetworkInput:
        """Read the section `input`.

        Raises:
            CardError: an entry is of another type or size.
        """
        return cls._read(_Reader(content, "input"))

    @classmethod
    def _read(cls, reader: _Reader) -> NetworkInput:
        return cls(
            channels=reader.value("channels", _CHANNELS) or 3,
            height=reader.value("height", SIDE),
            width=reader.value("width", SIDE),
            resize_short=reader.value("resize_short", SIDE),
            multiple_of=reader.value("multiple_of", SIDE),
            color=reader.value("color", _COLOR) or "BGR",
            mean=tuple(reader.value("mean", ANY_MEAN) or ()),
            std=tuple(reader.value("std", ANY_STD) or ()),
        )

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the section `input`, without what is not stated."""
        entries = {
            **vars(self),
            "mean": list(self.mean) or None,
            "std": list(self.std) or None,
        }
        return {name: value for name, value in entries.items() if value is not None}


_CHANNELS = Check(lambda value: is_count(value) and value in (1, 3), "1 or 3")
_COLOR = one_of("BGR", "RGB", "GRAY")


@dataclass(frozen=True)
class WeightsEntry:
    """The file of weights that a card describes.

    Attributes:
        file: its name, without a folder.
        format: "pth" or "safetensors".
        sha256: the hash of the file.
    """

    file: str | None = None
    format: str | None = None
    sha256: str | None = None

    @classmethod
    def _read(cls, reader: _Reader) -> WeightsEntry:
        return cls(
            file=reader.text("file"),
            format=reader.text("format"),
            sha256=reader.value("sha256", _SHA256),
        )

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the section `weights`, without what is not stated."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Ancestor:
    """An artefact whose weights were changed, as by training, and saved as another artefact.

    Attributes:
        name: PaddleOCR's name of the model.
        file: the name of its weights file.
        sha256: the hash of that file.
        status: "VERIFIED" or "UNVERIFIED".
    """

    name: str | None = None
    file: str | None = None
    sha256: str | None = None
    status: str | None = None

    @classmethod
    def of(cls, card: ArtefactCard) -> Ancestor:
        """Return the entry that names the artefact of a card."""
        return cls(card.name, card.weights.file, card.weights.sha256, card.status)

    @classmethod
    def _read(cls, reader: _Reader) -> Ancestor:
        return cls(
            name=reader.text("name"),
            file=reader.text("file"),
            sha256=reader.value("sha256", _SHA256),
            status=reader.text("status"),
        )

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the entry, without what is not stated."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class DictionaryEntry:
    """What the classes of a network stand for: a table of characters, or a tokenizer.

    Attributes:
        file: the name of the file it was read from.
        sha256: the hash of that file.
        characters: one for each class that is not a special token.
        tokenizer: the content of a `tokenizer.json`.
        notes: what is unusual about it: where it was found, or characters that a table of one
            character per line should not have.
    """

    file: str | None = None
    sha256: str | None = None
    characters: tuple[str, ...] | None = None
    tokenizer: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def _read(cls, reader: _Reader) -> DictionaryEntry:
        return cls(
            file=reader.text("file"),
            sha256=reader.value("sha256", _SHA256),
            characters=reader.texts("characters"),
            tokenizer=reader.section(
                "tokenizer", lambda each: each.tree(depth=32, values=2_000_000, largest=1e18)
            ),
            notes=reader.texts("notes") or (),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the section `dictionary`, without what is not stated."""
        characters = None if self.characters is None else list(self.characters)
        entries = {**vars(self), "characters": characters, "notes": list(self.notes) or None}
        return {name: value for name, value in entries.items() if value is not None}


@dataclass(frozen=True)
class SourceEntry:
    """Paddle's files that the weights were converted from: each file's name and SHA-256."""

    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def _read(cls, reader: _Reader) -> SourceEntry:
        return cls(reader.section("files", lambda each: each.mapping(_TEXT)) or {})

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the section `source`."""
        return {"files": dict(self.files)}


@dataclass(frozen=True)
class TensorCounts:
    """How many tensors of the source became weights, and what became of the others.

    Attributes:
        used: tensors of the source that are in the weights.
        second_names: further names of tensors that the source lists twice.
        filled: tensors of the network with a constant, since Paddle has none of the kind.
        tied: tensors of the network that share another's values.
        dropped: tensors of the source that are left out, by reason.
    """

    used: int = 0
    second_names: int = 0
    filled: int = 0
    tied: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, content: object) -> TensorCounts:
        """Read the section `counts`.

        Raises:
            CardError: an entry is of another type or size.
        """
        return cls._read(_Reader(content, "counts"))

    @classmethod
    def _read(cls, reader: _Reader) -> TensorCounts:
        numbers = {
            name: reader.value(name, _NUMBER_OF_TENSORS) or 0
            for name in ("used", "second_names", "filled", "tied")
        }
        dropped = reader.section("dropped", lambda each: each.mapping(_NUMBER_OF_TENSORS))
        return cls(**numbers, dropped=dropped or {})

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the section `counts`."""
        return {**vars(self), "dropped": dict(self.dropped)}


@dataclass(frozen=True)
class ArtefactCard:
    """All that the JSON beside converted weights states.

    Attributes:
        architecture: the configuration that the network is built from, class counts filled in.
        class_counts: the number of classes of each head, such as `{"ctc": 6625}`.
        form: "train", "deploy" or "fused": which branches and normalisations are merged.
        name: PaddleOCR's name of the model.
        submodel: the network's name within a distillation checkpoint, unless it is inference's.
        task: "det", "cls", "rec", "e2e", "formula" or "sr".
        release: the release of PaddleOCR that the model belongs to.
        status: "VERIFIED", or "UNVERIFIED" where no reference was compared with.
        input: the images that the network takes.
        pipeline: settings of preparing images and decoding results that are not the defaults.
        dictionary: what the classes of a recogniser stand for.
        labels: what the classes of a classifier stand for.
        source: Paddle's files that the weights come from.
        fingerprint: the hash of all that the conversion depends on, for converting many.
        counts: how many tensors were used, filled and dropped.
        parity: the summary of the comparison with the reference.
        proof_scope: in one sentence, what the comparison proves about these weights.
        versions: of the converter and of the libraries that it used.
        weights: the file of weights.
        derived_from: of weights that were changed after their conversion, the artefacts they
            descend from, the latest first; the last one is that of the conversion.
        format: the version of the JSON itself.
        extra: entries that this version does not know; they are kept.
    """

    architecture: Architecture = field(default_factory=dict)
    class_counts: Mapping[str, int] = field(default_factory=dict)
    form: str = "train"
    name: str | None = None
    submodel: str | None = None
    task: str | None = None
    release: str | None = None
    status: str | None = None
    input: NetworkInput = NetworkInput()
    pipeline: Mapping[str, Any] = field(default_factory=dict)
    dictionary: DictionaryEntry | None = None
    labels: tuple[str, ...] = ()
    source: SourceEntry = SourceEntry()
    fingerprint: str | None = None
    counts: TensorCounts | None = None
    parity: Mapping[str, Any] | None = None
    proof_scope: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    weights: WeightsEntry = WeightsEntry()
    derived_from: tuple[Ancestor, ...] = ()
    format: int = FORMAT
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, content: object, required: Collection[str] = ()) -> ArtefactCard:
        """Read a card and check the type and size of every entry.

        Args:
            content: what a JSON reader returned.
            required: the entries that may not be missing.

        Raises:
            CardError: an entry is missing, or of another type or size.
        """
        reader = _Reader(content)
        if missing := [name for name in required if reader.content.get(name) is None]:
            raise CardError(f"the card lacks {', '.join(missing)}")
        known = {name: value for name, value in reader.content.items() if name not in _ENTRIES}
        extra = _Reader(known, "the rest").tree(depth=32, values=MAX_ENTRIES, largest=1e18)
        form = reader.text("form")
        return cls(
            architecture=reader.section(
                "architecture",
                lambda each: each.tree(
                    depth=_ARCHITECTURE_DEPTH, values=_ARCHITECTURE_VALUES, largest=MAX_DIMENSION
                ),
            )
            or {},
            class_counts=reader.section("class_counts", lambda each: each.mapping(_CLASSES)) or {},
            form="train" if form is None else form,
            name=reader.text("name"),
            submodel=reader.text("submodel"),
            task=reader.text("task"),
            release=reader.text("release"),
            status=reader.text("status"),
            input=reader.section("input", NetworkInput._read) or NetworkInput(),
            pipeline=reader.section("pipeline", lambda each: each.mapping(_SETTING)) or {},
            dictionary=reader.section("dictionary", DictionaryEntry._read),
            labels=reader.texts("labels") or (),
            source=reader.section("source", SourceEntry._read) or SourceEntry(),
            fingerprint=reader.text("fingerprint"),
            counts=reader.section("counts", TensorCounts._read),
            parity=reader.section(
                "parity", lambda each: each.tree(depth=8, values=1_000_000, largest=1e300)
            ),
            proof_scope=reader.text("proof_scope"),
            versions=reader.section("versions", lambda each: each.mapping(_TEXT)) or {},
            weights=reader.section("weights", WeightsEntry._read) or WeightsEntry(),
            derived_from=reader.sections("derived_from", Ancestor._read, MAX_ANCESTORS),
            format=reader.value("format", Check(is_count, "a whole number")) or FORMAT,
            extra=extra,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the card as a mapping for JSON, its entries in the order of the file."""
        ancestors = [ancestor.to_dict() for ancestor in self.derived_from]
        return {
            "format": self.format,
            "name": self.name,
            "submodel": self.submodel,
            "task": self.task,
            "release": self.release,
            "status": self.status,
            "architecture": self.architecture,
            "class_counts": dict(self.class_counts),
            "form": self.form,
            "input": self.input.to_dict(),
            "pipeline": dict(self.pipeline),
            "dictionary": self.dictionary and self.dictionary.to_dict(),
            "labels": list(self.labels),
            "source": self.source.to_dict(),
            "fingerprint": self.fingerprint,
            "counts": self.counts and self.counts.to_dict(),
            "parity": self.parity,
            "proof_scope": self.proof_scope,
            "versions": dict(self.versions),
            "weights": self.weights.to_dict(),
            **({"derived_from": ancestors} if ancestors else {}),
            **self.extra,
        }

    def check_settings(self) -> None:
        """Check that the sections `input` and `pipeline` are settings of the card's task.

        Raises:
            CardError: a setting is of another type or outside its range.
        """
        try:
            for name, value in self.settings().items():
                check_setting(self.task or "", name, value)
        except SettingsError as error:
            raise CardError(str(error)) from error

    def settings(self) -> dict[str, Any]:
        """Return all that is stated of preparing images and decoding results, lists as tuples."""
        stated = {**self.input.to_dict(), **self.pipeline}
        return {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in stated.items()
            if value is not None
        }


_ENTRIES = frozenset(ArtefactCard(derived_from=(Ancestor(),)).to_dict())


def read_card(file: Path, required: Collection[str] = ()) -> ArtefactCard:
    """Read the JSON that describes converted weights, and check every entry.

    Args:
        file: the JSON.
        required: the entries that may not be missing.

    Raises:
        CardError: the file cannot be read, or is not the JSON of converted weights.
    """
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CardError(f"{file} is not a regular file, so it describes no converted network")
        if status.st_size > MAX_BYTES:
            raise CardError(f"{file} has {status.st_size} bytes, expected {MAX_BYTES} at most")
        content = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise CardError(f"{file} is missing: it states which network the weights are of") from error
    except OSError as error:
        raise CardError(f"cannot read {file}: {error.strerror}") from error
    except CardError:
        raise
    except (ValueError, RecursionError) as error:
        raise CardError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict) or "format" not in content:
        raise CardError(f"{file} does not describe a converted network: it has no format number")
    if not is_count(content["format"]) or content["format"] != FORMAT:
        raise CardError(
            f"{file} has the format {shorten(content['format'])}; this version reads {FORMAT}"
        )
    try:
        card = ArtefactCard.from_dict(content, required)
        card.check_settings()
    except CardError as error:
        raise CardError(f"{file}: {error}") from error
    return card


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
