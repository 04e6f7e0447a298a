"""Which released models lie in a folder of downloads: recognised by the names of their files.

What a release's files are called is read off the URLs in `configs/`; a folder or file is also
recognised by a model's own name, or another name of it, with the usual endings. Nothing is opened.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from converter.catalog import cards as catalog
from converter.errors import SourceError
from converter.sources.open import ARCHIVES, kinds_in, model_files

CHECKPOINT, EXPORT = "checkpoint", "export"

# What releases append to a model's name, and what then is in the file.
ENDINGS = {
    "_distill_train": CHECKPOINT,
    "_train": CHECKPOINT,
    "_pretrained": CHECKPOINT,
    "_infer": EXPORT,
    "": None,
}
_SLIM = re.compile(r"(^|_)(slim|quant|prune|pruned)(_|$)")
_NEAREST = 3


@dataclass(frozen=True)
class Found:
    """A model's files; `program` is the export that proves a checkpoint, where it lies apart."""

    name: str
    path: Path
    program: Path | None = None


@dataclass(frozen=True)
class Discovery:
    """What a folder holds.

    `models` can be converted. By name, `refused` gives the reason why a model cannot, `ambiguous`
    the places of one that was found more than once. `unknown` says of the path of a model that was
    not recognised what to do.
    """

    models: tuple[Found, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    ambiguous: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Place:
    """A folder or file that holds a model: of which name, if any is known, and what kind of it."""

    path: Path
    stem: str
    name: str | None
    kinds: frozenset[str]


def discover(
    root: Path | None, mapped: Iterable[tuple[str, Path]] = (), only: str = ""
) -> Discovery:
    """Find the models under `root`.

    Args:
        root: a folder of downloads.
        mapped: names with the paths that were said to hold them; they take the place of whatever
            else has these names.
        only: a regular expression; models whose names it does not match are left out.

    Raises:
        SourceError: the folder, or a path that was named, does not exist.
        UnknownModel: a name that was given is no model's.
    """
    if root is not None and not root.is_dir():
        raise SourceError(f"{root} is not a folder; name the one that holds the downloads")
    named = [_mapped(name, path) for name, path in mapped]
    said = {place.path.resolve() for place in named}
    walked = list(_walk(root, set())) if root is not None else []
    by_name: dict[str, list[_Place]] = defaultdict(list)
    unknown = {}
    for place in walked:
        if any(place.path.resolve() in (path, *path.parents) for path in said):
            continue
        if place.name is None:
            unknown[place.path] = _advice(place)
        elif place.name not in {other.name for other in named}:
            by_name[place.name].append(place)
    for place in named:
        by_name[str(place.name)].append(place)
    models, refused, ambiguous = [], {}, {}
    for name, places in sorted(by_name.items()):
        if not re.search(only, name):
            continue
        if reason := catalog.rows()[name].get("refused"):
            refused[name] = reason
        elif found := _combined(name, _unpacked(places)):
            models.append(found)
        else:
            ambiguous[name] = _twice(name, places)
    return Discovery(tuple(models), refused, ambiguous, unknown)


def recognise(stem: str) -> tuple[str | None, str | None]:
    """Return the model that a file or folder name stands for, and which kind of it."""
    return _stems().get(stem.casefold(), (None, None))


def stem_of(url: str) -> str:
    """Return the name of the file that a URL leads to, without its ending."""
    return _stem(PurePosixPath(urlsplit(url).path).name)


@cache
def _stems() -> Mapping[str, tuple[str, str | None]]:
    """Return every known name of a file: those in URLs first, they are the authority."""
    known: dict[str, tuple[str, str | None]] = {}
    rows = catalog.rows()
    for name, row in rows.items():
        for key, kind in (("train", CHECKPOINT), ("infer", EXPORT)):
            if row.get(key):
                known[stem_of(row[key]).casefold()] = (name, kind)
    for name, row in rows.items():
        for other in (name, *row.get("aliases", ())):
            for ending, usual in ENDINGS.items():
                known.setdefault(f"{other}{ending}".casefold(), (name, usual))
    return known


def _walk(folder: Path, seen: set[Path]) -> Iterator[_Place]:
    """Yield the models in a folder and below it; links that lead round in circles end."""
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    try:
        entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
        own = model_files(folder)
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror}") from error
    name, _ = recognise(folder.name)
    named = [file for file in own if file.suffix == ".pdparams" and recognise(file.stem)[0]]
    if name and len(named) < len(own):
        yield _place(
            folder
        )  # as a release unpacks; what the file of a checkpoint is called is open
        return
    below = [_place(file) for file in (*named, *filter(_is_archive, entries))]
    below += [place for entry in entries if entry.is_dir() for place in _walk(entry, seen)]
    if name and not any(place.name for place in below):
        yield _place(folder)
        return
    if len(named) < len(own):
        yield _place(folder)
    yield from below


def _place(path: Path) -> _Place:
    stem = path.name if path.is_dir() else _stem(path.name)
    name, kind = recognise(stem)
    kinds = kinds_in(path) or frozenset({kind} if kind else ())
    return _Place(path, stem, name, kinds)


def _mapped(name: str, path: Path) -> _Place:
    if not path.exists():
        raise SourceError(f"{path}, which was named for {name}, does not exist")
    place = _place(path)
    return _Place(path, place.stem, catalog.card(name).name, place.kinds)


def _unpacked(places: Iterable[_Place]) -> list[_Place]:
    """Leave out archives beside the folder that they were unpacked into."""
    folders = {(place.path.parent, place.stem) for place in places if place.path.is_dir()}
    return [
        place
        for place in places
        if place.path.is_dir() or (place.path.parent, place.stem) not in folders
    ]


def _combined(name: str, places: list[_Place]) -> Found | None:
    """Return a model of one place, or of a checkpoint and an export; else None."""
    if len(places) == 1:
        return Found(name, places[0].path)
    by_kind = {tuple(place.kinds): place.path for place in places}
    if len(places) == 2 and by_kind.keys() == {(CHECKPOINT,), (EXPORT,)}:
        return Found(name, by_kind[CHECKPOINT,], by_kind[EXPORT,])
    return None


def _twice(name: str, places: Iterable[_Place]) -> str:
    listed = "\n".join(f"  {place.path}" for place in places)
    return f"found more than once\n{listed}\nSay which one is meant with --map {name}=PATH."


def _advice(place: _Place) -> str:
    if _SLIM.search(place.stem.casefold()):
        return "slim, that is quantised or pruned: only float32 networks are converted"
    stem = next(place.stem.removesuffix(e) for e in ENDINGS if place.stem.endswith(e))
    near = difflib.get_close_matches(stem, catalog.names(), n=_NEAREST, cutoff=0.5)
    nearest = f"the nearest are {', '.join(near)}; " if near else ""
    return f"not recognised; {nearest}name it with --map NAME={place.path}"


def _is_archive(path: Path) -> bool:
    return path.name.endswith(ARCHIVES) and path.is_file()


def _stem(file: str) -> str:
    endings = (*ARCHIVES, ".pdparams", ".pdmodel", ".json")
    return next((file.removesuffix(e) for e in endings if file.endswith(e)), file)
