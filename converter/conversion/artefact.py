"""Where an artefact and reports are written, and what is refused before any work is done."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.errors import OutputError
from schemas import artefact_files
from schemas.artefact import ArtefactCard

if TYPE_CHECKING:
    import torch

_LONGEST_NAME = 255  # bytes, where the system does not tell


def output_path(
    out: Path | None, format: str | None, sources: Iterable[Path | None] = ()
) -> tuple[Path, str]:
    """Return the file to write and its format, before any work is done.

    Args:
        out: the weights file to write; its JSON has the same stem.
        format: "pth", "safetensors", or None to choose by the file's suffix.
        sources: files that are read, and must not be replaced; None entries are left out.

    Raises:
        OutputError: the folder is missing or cannot be written to, the name does not fit, or one
            of the two files exists and is no artefact of the converter.
    """
    if out is None:
        raise OutputError("--out is missing: name the file to write, X.pth or X.safetensors")
    by_suffix = artefact_files.SUFFIXES
    chosen = format or by_suffix.get(out.suffix, "pth")
    if out.suffix in by_suffix and by_suffix[out.suffix] != chosen:
        raise OutputError(f"--out {out} ends in {out.suffix}, but --format is {chosen}")
    if out.suffix not in by_suffix:
        raise OutputError(f"--out {out} should end in {' or '.join(by_suffix)}")
    folder = out.parent
    read = [source for source in sources if source is not None and source.is_file()]
    with output_errors():
        if not folder.is_dir():
            raise OutputError(f"the folder {folder} of --out does not exist; create it first")
        _check_name(out)
        for file in (out, out.with_suffix(".json")):
            if file.is_dir():
                raise OutputError(f"{file} is a folder; --out needs a file of this name")
        _check_replaceable(out, read)
    if not os.access(folder, os.W_OK):
        raise OutputError(f"the folder {folder} of --out cannot be written to")
    return out, chosen


def _check_name(out: Path) -> None:
    """Raise OutputError for a name that the file system or the JSON cannot hold."""
    try:
        length = len(out.with_suffix(".json").name.encode("utf-8"))
    except UnicodeEncodeError:
        raise OutputError(f"--out {str(out)!a} is no UTF-8; give another name") from None
    most = _LONGEST_NAME
    with contextlib.suppress(OSError, ValueError, AttributeError):  # of Windows
        most = os.pathconf(out.parent, "PC_NAME_MAX")
    if length > most or len(out.name.encode()) > most:
        raise OutputError(
            f"the name of --out, with .json, has {length} bytes; {out.parent} takes {most}. "
            "Give a shorter name"
        )


def _check_replaceable(out: Path, read: Iterable[Path]) -> None:
    """Raise OutputError where a file that the converter did not write would be replaced."""
    card = out.with_suffix(".json")
    for file in (out, card):
        if file.exists() and any(file.samefile(source) for source in read):
            raise OutputError(f"--out would replace {file}, which is read; give another name")
    artefact_files.check_replaceable(out)


def check_report_path(report: Path, out: Path | None = None) -> None:
    """Raise OutputError where a report cannot be written, before any work is done."""
    with output_errors():
        if not report.parent.is_dir():
            raise OutputError(f"the folder {report.parent} of the report does not exist; create it")
        if report.is_dir():
            raise OutputError(f"the report {report} is a folder; name a file")
    if not os.access(report.parent, os.W_OK):
        raise OutputError(f"the folder {report.parent} of the report cannot be written to")
    if out is not None and report.resolve() in (out.resolve(), out.with_suffix(".json").resolve()):
        raise OutputError(
            f"the report {report} would replace the artefact's own file, whose JSON holds the "
            "report already; give it another name"
        )


def make_folder(folder: Path, called: str) -> Path:
    """Make a folder for results, unless it is there; OutputError, which names it `called`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{called} cannot be made: {error.strerror}") from error
    return folder


def write_artefact(
    out: Path, format: str, state: Mapping[str, torch.Tensor], card: ArtefactCard
) -> int:
    """Write weights and card; the card gets the file's name and hash. Return the bytes written.

    Raises:
        OutputError: the disk is full, or the files cannot be written; nothing was replaced then.
    """
    from architectures import saving

    with output_errors():
        return saving.write_artefact(out, format, state, card)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a report, whole or not at all; OutputError where that fails."""
    write_text(file, json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write a text, whole or not at all; OutputError where that fails."""
    with output_errors():
        artefact_files.write_text(file, text)


@contextlib.contextmanager
def output_errors() -> Iterator[None]:
    """Raise OutputError in place of WriteError, and where the place cannot even be looked at."""
    try:
        yield
    except artefact_files.WriteError as error:
        raise OutputError(str(error)) from error
    except OSError as error:
        raise OutputError(f"cannot write to {error.filename}: {error.strerror}") from error
