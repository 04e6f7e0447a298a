"""Writing files whole or not at all, and the two files of an artefact so that they always fit.

A file is written under another name first and renamed when it is whole, so an interrupted or
failing run leaves what was there before. The JSON of an artefact holds the hash of the weights. It
is renamed twice: to a name made from that hash, and, after the weights were renamed, to its own; so
whenever the process is killed, `architectures.load` finds a JSON that fits the weights. The renames
are done under a lock on the folder, so that of two processes that write one artefact the last one
leaves both files. Files of processes that were killed are known by having no lock, and are removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

from schemas.artefact import MAX_BYTES

try:
    import fcntl
except ImportError:  # Windows, where two processes may not write one artefact at the same time
    fcntl = None  # type: ignore[assignment]

SUFFIXES = {".pth": "pth", ".safetensors": "safetensors"}
"""The format of the weights by the suffix of their file."""

_written: list[Path] = []


class WriteError(OSError):
    """A file cannot be written; what was there before is untouched."""


def pending_card(path: Path, sha256: str) -> Path:
    """Return the name that the JSON of weights has until it is renamed to X.json.

    It is there only if the process that wrote the artefact was killed between its last two
    renames; it then fits the weights, and X.json does not.

    Args:
        path: the weights file.
        sha256: the hash of the weights, in hex.
    """
    return path.with_name(f".card-{zlib.crc32(os.fsencode(path.name)):08x}-{sha256}.json")


def check_replaceable(out: Path) -> None:
    """Check that an artefact may be written to `out` without losing foreign files.

    Args:
        out: the weights file to write; its JSON has the same stem.

    Raises:
        WriteError: one of the two files exists and is no artefact, or Paddle would read the JSON as
            the program of an export beside it.
    """
    card = out.with_suffix(".json")
    if card.is_symlink() or card.exists():
        if not _is_artefact_card(card):
            raise WriteError(
                f"{card} exists and does not describe a converted network, so it is not replaced; "
                "write to another name, or move that file away"
            )
    elif (out.is_symlink() or out.exists()) and not _pending_cards(out):
        raise WriteError(
            f"{out} exists without the {card.name} of a converted network, so it is not replaced; "
            "write to another name, or move that file away"
        )
    for suffix in (".pdmodel", ".pdiparams"):
        export = out.with_suffix(suffix)
        if os.path.exists(export):  # noqa: PTH110 - False also where the name is too long
            raise WriteError(
                f"{card} would stand beside {export.name}, and Paddle would read it as the program "
                "of that export; write to another name"
            )


def _is_artefact_card(file: Path) -> bool:
    """Return whether a file is the JSON of a converted network."""
    try:
        if not file.is_file() or file.stat().st_size > MAX_BYTES:
            return False
        card = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(card, dict) or not isinstance(card.get("format"), int):
        return False
    return isinstance(card.get("weights"), dict) and "architecture" in card


def _pending_cards(out: Path) -> list[Path]:
    """Return the cards of `out` that a killed process had not renamed to X.json yet."""
    return list(out.parent.glob(pending_card(out, "*").name))


def publish(out: Path, weights: Path, card: Path, sha256: str) -> None:
    """Rename the two partial files of an artefact to their names; signals wait meanwhile.

    Args:
        out: the name of the weights file.
        weights, card: the partial files, which are whole.
        sha256: the hash of the weights, in hex.
    """
    for file in (weights, card):
        _flush(file)
    with _uninterrupted(), _locked(out.parent):
        _publish(out, weights, card, sha256)


def _publish(out: Path, weights: Path, described: Path, digest: str) -> None:
    """Rename both files so that, after every step, X.pth has a card that fits it."""
    stale = _pending_cards(out)
    pending = pending_card(out, digest)
    described.replace(pending)
    try:
        weights.replace(out)
    except OSError:
        pending.unlink(missing_ok=True)
        raise
    pending.replace(out.with_suffix(".json"))
    _written.append(out)
    for card in stale:
        with contextlib.suppress(OSError):
            card.unlink(missing_ok=True)


def written_files() -> tuple[Path, ...]:
    """Return the weights files that this process has written, for messages about interruptions."""
    return tuple(_written)


def discard_partial(out: Path) -> None:
    """Remove what a process that was killed while it wrote an artefact has left."""
    with contextlib.suppress(OSError), _locked(out.parent):
        for file in (out, out.with_suffix(".json")):
            _remove_abandoned(file)


def write_text(file: Path, text: str) -> None:
    """Write a text, whole or not at all.

    Raises:
        WriteError: the disk is full, or the file cannot be written.
    """
    with partial_files(file) as (partial,):
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        partial.replace(file)


@contextlib.contextmanager
def partial_files(*files: Path) -> Iterator[list[Path]]:
    """Make an empty file beside each of `files`, to be renamed to it; locked while it is written.

    Raises:
        WriteError: the files cannot be made or written; none of them is left then.
    """
    partials: list[Path] = []
    locks: list[int] = []
    try:
        with _locked(files[0].parent):
            for file in files:
                _remove_abandoned(file)
                handle, name = tempfile.mkstemp(".partial", _prefix(file), file.parent)
                partials.append(Path(name))
                locks.append(handle)
                _lock(handle)
                with contextlib.suppress(OSError):
                    partials[-1].chmod(0o666 & ~_umask())  # mkstemp's files are the owner's alone
        yield partials
    except BaseException as error:
        for partial in partials:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise WriteError(f"cannot write {files[0]}: {error.strerror or error}") from error
        if isinstance(error, RuntimeError):  # what torch.save makes of a failing stream
            raise WriteError(f"cannot write {files[0]}: {error}") from error
        raise
    finally:
        for lock in locks:
            os.close(lock)


def _prefix(file: Path) -> str:
    """Return how names of partial files of `file` begin: short, since its own may be long."""
    return f".{zlib.crc32(os.fsencode(file.name)):08x}-"


def _remove_abandoned(file: Path) -> None:
    """Remove partial files of `file` that no process holds a lock on."""
    if fcntl is None:
        return
    for partial in file.parent.glob(f"{_prefix(file)}*.partial"):
        with contextlib.suppress(OSError):
            handle = os.open(partial, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError while it is written
                partial.unlink(missing_ok=True)
            finally:
                os.close(handle)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, where the system has locks; it ends with the process."""
    handle = os.open(folder, os.O_RDONLY) if fcntl is not None else None
    try:
        if handle is not None:
            _lock(handle)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _lock(handle: int) -> None:
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C and SIGTERM until the block is done."""
    if threading.current_thread() is not threading.main_thread():  # no handler runs here
        yield
        return
    pending: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: pending.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if pending:
        signal.raise_signal(pending[0])


def _flush(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
