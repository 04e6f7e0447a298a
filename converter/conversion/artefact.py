"""Writing the artefact: weights and, beside them, the JSON that says what they are.

Both files are written under another name first and renamed when they are whole, so an interrupted
or failing run leaves what was there before. The JSON holds the hash of the weights. It is renamed
twice: to a name made from that hash, and, after the weights were renamed, to its own; so whenever
the process is killed, `architectures.load` finds a JSON that fits the weights. The renames are done
under a lock on the folder, so that of two processes that write one artefact the last one leaves
both files. Files of processes that were killed are known by having no lock, and are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import tempfile
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from converter.errors import OutputError
from schemas.artefact import ArtefactCard, WeightsEntry

if TYPE_CHECKING:
    import torch

try:
    import fcntl
except ImportError:  # Windows, where two processes may not write one artefact at the same time
    fcntl = None  # type: ignore[assignment]

_LONGEST_NAME = 255  # bytes, where the system does not tell
_LARGEST_CARD = 64 << 20  # bytes

_written: list[Path] = []

FORMATS = {"pth": ".pth", "safetensors": ".safetensors"}


def output_path(
    out: Path | None, format: str | None, sources: Iterable[Path | None] = ()
) -> tuple[Path, str]:
    """Return the file to write and its format, before any work is done.

    Args:
        out: the weights file to write; its JSON has the same stem.
        format: one of FORMATS, or None to choose by the file's suffix.
        sources: files that are read, and must not be replaced; None entries are left out.

    Raises:
        OutputError: the folder is missing or cannot be written to, the name does not fit, or one
            of the two files exists and is no artefact of the converter.
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
    _check_name(out)
    for file in (out, out.with_suffix(".json")):
        if file.is_dir():
            raise OutputError(f"{file} is a folder; --out needs a file of this name")
    _check_replaceable(out, sources)
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


def _check_replaceable(out: Path, sources: Iterable[Path | None]) -> None:
    """Raise OutputError where a file that the converter did not write would be replaced."""
    card = out.with_suffix(".json")
    read = [source for source in sources if source is not None and source.is_file()]
    for file in (out, card):
        if file.exists() and any(file.samefile(source) for source in read):
            raise OutputError(f"--out would replace {file}, which is read; give another name")
    if card.is_symlink() or card.exists():
        if not _is_artefact_card(card):
            raise OutputError(
                f"{card} exists and does not describe a converted network, so it is not replaced; "
                "give --out another name, or move that file away"
            )
    elif (out.is_symlink() or out.exists()) and not _pending_cards(out):
        raise OutputError(
            f"{out} exists without the {card.name} of a converted network, so it is not replaced; "
            "give --out another name, or move that file away"
        )


def _is_artefact_card(file: Path) -> bool:
    """Return whether a file is the JSON of a converted network."""
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST_CARD:
            return False
        card = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(card, dict) or not isinstance(card.get("format"), int):
        return False
    return isinstance(card.get("weights"), dict) and "architecture" in card


def _pending_cards(out: Path) -> list[Path]:
    """Return the cards of `out` that a killed process had not renamed to X.json yet."""
    from architectures.loading import pending_card

    return list(out.parent.glob(pending_card(out, "*").name))


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
    out: Path, format: str, state: Mapping[str, torch.Tensor], card: ArtefactCard
) -> int:
    """Write weights and card; the card gets the file's name and hash. Return the bytes written.

    Raises:
        OutputError: the disk is full, or the files cannot be written; nothing was replaced then.
    """
    with _partial_files(out, out.with_suffix(".json")) as (weights, described):
        _save(weights, format, state)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        named = replace(card, weights=WeightsEntry(out.name, format, digest)).to_dict()
        text = json.dumps(named, ensure_ascii=False, indent=1, allow_nan=False)
        # A name that is no UTF-8 on disk is a lone surrogate here, for JSON too written as \\udcXX.
        described.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        size = weights.stat().st_size + described.stat().st_size
        for file in (weights, described):
            _flush(file)
        with _uninterrupted(), _locked(out.parent):
            _publish(out, weights, described, digest)
    return size


def _publish(out: Path, weights: Path, described: Path, digest: str) -> None:
    """Rename both files so that, after every step, X.pth has a card that fits it."""
    from architectures.loading import pending_card

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


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a report, whole or not at all; OutputError where that fails."""
    write_text(file, json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write a text, whole or not at all; OutputError where that fails."""
    with _partial_files(file) as (partial,):
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
        noting = _NotingStream(stream)
        try:
            torch.save(dict(state), cast("IO[bytes]", noting))
        except RuntimeError:
            if noting.fault is not None:  # PyTorch's own words hide the reason
                raise noting.fault from None
            raise


class _NotingStream(io.RawIOBase):
    """A binary stream that keeps the error of the stream it writes to."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.fault: OSError | None = None

    def writable(self) -> bool:
        """Whether this can be written to."""
        return True

    def write(self, data: Any) -> int:
        """Write, and keep the error that stops it."""
        try:
            return self.stream.write(data)
        except OSError as error:
            self.fault = error
            raise

    def flush(self) -> None:
        """Flush the stream below."""
        self.stream.flush()


def _apart(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with a copy for the second name of one: safetensors holds it once each."""
    first: dict[int, str] = {}
    return {
        name: tensor if first.setdefault(tensor.data_ptr(), name) == name else tensor.clone()
        for name, tensor in state.items()
    }


@contextlib.contextmanager
def _partial_files(*files: Path) -> Iterator[list[Path]]:
    """Make an empty file beside each of `files`, to be renamed to it; locked while it is written.

    Raises:
        OutputError: the files cannot be made or written; none of them is left then.
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
            raise OutputError(f"cannot write {files[0]}: {error.strerror or error}") from error
        if isinstance(error, RuntimeError):  # what torch.save makes of a failing stream
            raise OutputError(f"cannot write {files[0]}: {error}") from error
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
