"""Find the released models in a folder of downloads, by the names of files and folders.

The names of released files are taken from the URLs in `configs/`, those of RapidOCR's ONNX files
from the rows' `files`. A folder or file is also recognised by the name or an alias of a model, with
the usual suffixes. No file is opened.
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
from converter.sources.open import ARCHIVES, ONNX, is_program, kinds_in, model_files

CHECKPOINT, EXPORT = "checkpoint", "export"

# Suffixes of released files after the model's name, and the form of the model in such a file.
SUFFIXES = {
    "_distill_train": CHECKPOINT,
    "_train": CHECKPOINT,
    "_pretrained": CHECKPOINT,
    "_infer": EXPORT,
    "": None,
}
_SLIM = re.compile(r"(^|_)(slim|quant|prune|pruned)(_|$)")
_MOST_SUGGESTIONS = 3


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model.

    Args:
        name: the released name.
        path: the folder or file to convert.
        program: the export to compare with, if it is in another folder than the checkpoint.
    """

    name: str
    path: Path
    program: Path | None = None


@dataclass(frozen=True)
class Discovery:
    """The models in a folder of downloads.

    Args:
        models: the models that can be converted.
        refused: from the name of a model that is not converted here to the reason.
        ambiguous: from the name of a model that is there more than once to the message.
        unknown: from the path of a model that was not recognised to the advice.
    """

    models: tuple[ModelFiles, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    ambiguous: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Candidate:
    """A folder or file that holds a model.

    Args:
        path: the folder or file.
        stem: its name without the suffix of an archive or model file.
        name: the model that the stem stands for, None if it is not known.
        kinds: the forms of the model, checkpoint and export, as far as they are known.
    """

    path: Path
    stem: str
    name: str | None
    kinds: frozenset[str]


def discover(
    root: Path | None, mapped: Iterable[tuple[str, Path]] = (), only: str = ""
) -> Discovery:
    """Find the models in a folder and below it.

    Args:
        root: a folder of downloads.
        mapped: names of models with their paths; what else is found under these names is ignored.
        only: a regular expression; models whose name it does not match are left out.

    Raises:
        SourceError: the folder or a mapped path does not exist.
        UnknownModel: a mapped name is not the name of a model.
    """
    if root is not None and not root.is_dir():
        raise SourceError(f"{root} is not a folder; name the one that holds the downloads")
    by_option = [_mapped(name, path) for name, path in mapped]
    mapped_paths = {candidate.path.resolve() for candidate in by_option}
    mapped_names = {candidate.name for candidate in by_option}
    by_name: dict[str, list[_Candidate]] = defaultdict(list)
    unknown = {}
    for candidate in _walk(root, set()) if root is not None else ():
        if any(candidate.path.resolve() in (path, *path.parents) for path in mapped_paths):
            continue
        if candidate.name is None:
            unknown[candidate.path] = _advice(candidate)
        elif candidate.name not in mapped_names:
            by_name[candidate.name].append(candidate)
    for candidate in by_option:
        by_name[str(candidate.name)].append(candidate)
    models, refused, ambiguous = [], {}, {}
    for name, candidates in sorted(by_name.items()):
        if not re.search(only, name):
            continue
        if reason := catalog.refusal(name):
            refused[name] = reason
        elif files := _combine(name, _without_unpacked_archives(candidates)):
            models.append(files)
        else:
            ambiguous[name] = _ambiguity(name, candidates)
    return Discovery(tuple(models), refused, ambiguous, unknown)


def recognise(stem: str) -> tuple[str | None, str | None]:
    """Return the name and form of the model that a file or folder name stands for."""
    return _stems().get(stem.casefold(), (None, None))


def stem_of(url: str) -> str:
    """Return the name of the file at a URL, without its suffix."""
    return _stem(PurePosixPath(urlsplit(url).path).name)


@cache
def _stems() -> Mapping[str, tuple[str, str | None]]:
    """Return every known file name with its model and form; names in URLs take precedence."""
    known: dict[str, tuple[str, str | None]] = {}
    rows = catalog.rows()
    for name, row in rows.items():
        for key, kind in (("train", CHECKPOINT), ("infer", EXPORT)):
            if row.get(key):
                known[stem_of(row[key]).casefold()] = (name, kind)
    for name, row in rows.items():
        for other in row.get("files", ()):
            known.setdefault(other.casefold(), (name, EXPORT))
        for other in (name, *row.get("aliases", ())):
            for ending, usual in SUFFIXES.items():
                known.setdefault(f"{other}{ending}".casefold(), (name, usual))
    return known


def _walk(folder: Path, seen: set[Path]) -> Iterator[_Candidate]:
    """Yield the models in a folder and below it.

    Args:
        folder: the folder to search.
        seen: the resolved folders that were searched, so that circular links end.
    """
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    try:
        entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
        own = model_files(folder)
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror}") from error
    name, _ = recognise(folder.name)
    if any(is_program(file) and file.suffix != ONNX for file in own):
        own = [file for file in own if file.suffix != ONNX]  # made of the program beside it
    single = [file for file in own if file.suffix in (".pdparams", ONNX)]
    named = [file for file in single if recognise(file.stem)[0]]
    if not name:  # each ONNX file is a model of its own, whatever it is called
        named += [file for file in single if file.suffix == ONNX and file not in named]
    if name and len(named) < len(own):  # an unpacked release, whose file may have any name
        yield _candidate(folder)
        return
    below = [_candidate(file) for file in (*named, *filter(_is_archive, entries))]
    below += [found for entry in entries if entry.is_dir() for found in _walk(entry, seen)]
    if name and not any(candidate.name for candidate in below):
        yield _candidate(folder)
        return
    if len(named) < len(own):
        yield _candidate(folder)
    yield from below


def _candidate(path: Path) -> _Candidate:
    """Describe a folder or file that holds a model."""
    stem = path.name if path.is_dir() else _stem(path.name)
    name, kind = recognise(stem)
    kinds = kinds_in(path) or frozenset({kind} if kind else ())
    return _Candidate(path, stem, name, kinds)


def _mapped(name: str, path: Path) -> _Candidate:
    """Describe a folder or file that the user named for a model."""
    try:
        path.stat()
        candidate = _candidate(path)
    except FileNotFoundError:
        raise SourceError(f"{path}, the path of {name} in --map, does not exist") from None
    except OSError as error:
        reason = error.strerror
        raise SourceError(
            f"{path}, the path of {name} in --map, cannot be read: {reason}"
        ) from error
    return _Candidate(path, candidate.stem, catalog.card(name).name, candidate.kinds)


def _without_unpacked_archives(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    """Leave out archives whose unpacked folder is in the same folder."""
    unpacked = {(found.path.parent, found.stem) for found in candidates if found.path.is_dir()}
    return [
        candidate
        for candidate in candidates
        if candidate.path.is_dir() or (candidate.path.parent, candidate.stem) not in unpacked
    ]


def _combine(name: str, candidates: list[_Candidate]) -> ModelFiles | None:
    """Return a model of one candidate, or of a checkpoint and an export; else None."""
    if len(candidates) == 1:
        return ModelFiles(name, candidates[0].path)
    by_kind = {tuple(candidate.kinds): candidate.path for candidate in candidates}
    if len(candidates) == 2 and by_kind.keys() == {(CHECKPOINT,), (EXPORT,)}:
        return ModelFiles(name, by_kind[CHECKPOINT,], by_kind[EXPORT,])
    return None


def _ambiguity(name: str, candidates: Iterable[_Candidate]) -> str:
    listed = "\n".join(f"  {candidate.path}" for candidate in candidates)
    return f"found more than once\n{listed}\nChoose one with --map {name}=PATH."


def _advice(candidate: _Candidate) -> str:
    """Return what the user can do about a model that was not recognised."""
    if _SLIM.search(candidate.stem.casefold()):
        return "slim, that is quantised or pruned: only float32 networks are converted"
    stem = next(candidate.stem.removesuffix(e) for e in SUFFIXES if candidate.stem.endswith(e))
    near = difflib.get_close_matches(stem, catalog.names(), n=_MOST_SUGGESTIONS, cutoff=0.5)
    nearest = f"the nearest are {', '.join(near)}; " if near else ""
    return f"not recognised; {nearest}name it with --map NAME={candidate.path}"


def _is_archive(path: Path) -> bool:
    return path.name.endswith(ARCHIVES) and path.is_file()


def _stem(file: str) -> str:
    endings = (*ARCHIVES, ".pdparams", ".pdmodel", ".json", ONNX)
    return next((file.removesuffix(e) for e in endings if file.endswith(e)), file)
