"""Writing the artefact: weights and, beside them, the JSON that says what they are.

Both files are written under another name first and renamed when they are whole, so an interrupted
or failing run leaves what was there before. The JSON holds the hash of the weights; a pair that
was torn apart by a crash between the two renames is found out by `architectures.load`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.errors import OutputError

if TYPE_CHECKING:
    import torch

FORMATS = {"pth": ".pth", "safetensors": ".safetensors"}


def output_path(out: Path | None, format: str | None) -> tuple[Path, str]:
    """Return the file to write and its format, before any work is done.

    Raises:
        OutputError: the folder is missing or cannot be written to, or the name does not fit.
    """
    if out is None:
        raise OutputError("--out is missing: name the file to write, X.pth or X.safetensors")
    by_suffix = {suffix: name for name, suffix in FORMATS.items()}
    chosen = format or by_suffix.get(out.suffix, "pth")
    if out.suffix in by_suffix and by_suffix[out.suffix] != chosen:
        raise OutputError(f"--out {out} ends in {out.suffix}, but --format is {chosen}")
    if out.suffix not in by_suffix:
        raise OutputError(f"--out {out} should end in {' or '.join(by_suffix)}")
    folder = out.parent
    if not folder.is_dir():
        raise OutputError(f"the folder {folder} of --out does not exist; create it first")
    for file in (out, out.with_suffix(".json")):
        if file.is_dir():
            raise OutputError(f"{file} is a folder; --out needs a file of this name")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"the folder {folder} of --out cannot be written to")
    return out, chosen


def check_report_path(report: Path, out: Path | None = None) -> None:
    """Raise OutputError where a report cannot be written, before any work is done."""
    if not report.parent.is_dir():
        raise OutputError(f"the folder {report.parent} of the report does not exist; create it")
    if report.is_dir():
        raise OutputError(f"the report {report} is a folder; name a file")
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
    out: Path, format: str, state: Mapping[str, torch.Tensor], card: Mapping[str, Any]
) -> int:
    """Write weights and card; the card gets the file's name and hash. Return the bytes written.

    Raises:
        OutputError: the disk is full, or the files cannot be written; nothing was replaced then.
    """
    weights, described = _partial(out), _partial(out.with_suffix(".json"))
    with _removed_on_failure(out, weights, described):
        _save(weights, format, state)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        named = {**card, "weights": {"file": out.name, "format": format, "sha256": digest}}
        text = json.dumps(named, ensure_ascii=False, indent=1, allow_nan=False)
        described.write_text(text + "\n", encoding="utf-8")
        size = weights.stat().st_size + described.stat().st_size
        for file in (weights, described):
            _flush(file)
        weights.replace(out)
        described.replace(out.with_suffix(".json"))
    return size


def discard_partial(out: Path) -> None:
    """Remove what a process that was killed while it wrote an artefact has left."""
    for file in (out, out.with_suffix(".json")):
        _partial(file).unlink(missing_ok=True)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a report, whole or not at all; OutputError where that fails."""
    write_text(file, json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write a text, whole or not at all; OutputError where that fails."""
    partial = _partial(file)
    with _removed_on_failure(file, partial):
        # A name that is no UTF-8 on disk is a lone surrogate here, for JSON too written as \\udcXX.
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        partial.replace(file)


def _save(file: Path, format: str, state: Mapping[str, torch.Tensor]) -> None:
    if format == "safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        try:
            save_file(_apart(state), file)
        except SafetensorError as error:  # as on a full disk
            raise OSError(str(error)) from error
        return
    import torch

    # Through a stream, since torch.save writes a file's name into the archive.
    with file.open("wb") as stream:
        torch.save(dict(state), stream)


def _apart(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with a copy for the second name of one: safetensors holds it once each."""
    first: dict[int, str] = {}
    return {
        name: tensor if first.setdefault(tensor.data_ptr(), name) == name else tensor.clone()
        for name, tensor in state.items()
    }


def _partial(file: Path) -> Path:
    return file.with_name(f".{file.name}.partial")


def _flush(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _removed_on_failure(out: Path, *partials: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        for partial in partials:
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
        if isinstance(error, RuntimeError):  # what torch.save makes of a failing stream
            raise OutputError(f"cannot write {out}: {error}") from error
        raise
