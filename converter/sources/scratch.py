"""Temporary folders that outlive no process for long, not even one that was killed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where nothing is swept
    fcntl = None  # type: ignore[assignment]

PREFIX = "paddle-converter-"
_YOUNGEST = 60  # seconds: a folder of less may be one that its owner is about to lock


class ScratchFolder(tempfile.TemporaryDirectory[str]):
    """A private temporary folder, removed with this object.

    Its owner holds a lock on it, which the system lets go when the process ends, however that
    happens. Folders without a lock, which killed processes left, are removed when another is made.
    """

    def __init__(self) -> None:
        sweep()
        super().__init__(prefix=PREFIX, ignore_cleanup_errors=True)
        self._lock = -1
        if fcntl is not None:
            self._lock = os.open(self.name, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def cleanup(self) -> None:
        """Remove the folder and let go of the lock."""
        super().cleanup()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep() -> None:
    """Remove this user's temporary folders whose owners are gone."""
    if fcntl is None:
        return
    with suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            with suppress(OSError):
                _remove_if_stale(folder)


def _remove_if_stale(folder: Path) -> None:
    state = folder.lstat()
    ours = re.fullmatch(PREFIX + "[a-z0-9_]{8}", folder.name)
    if not ours or state.st_uid != os.geteuid() or time.time() - state.st_mtime < _YOUNGEST:
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError where its owner lives
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
