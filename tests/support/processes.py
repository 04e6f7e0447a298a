"""Finding a child process that may write no file, by the name it gives itself (Linux)."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from pathlib import Path

_numbers = itertools.count()


class NamedProcess:
    """A process that a test waits for.

    Attributes:
        source: Python code that gives its process the name, and then sleeps.
    """

    def __init__(self) -> None:
        self.name = f"t{os.getpid()}x{next(_numbers)}"[:15]
        self.source = (
            "import ctypes, time\n"
            f"ctypes.CDLL(None).prctl(15, {self.name.encode()!r}, 0, 0, 0)\n"
            "time.sleep(60)\n"
        )

    def wait(self, parent: subprocess.Popen[str]) -> int:
        """Return the id of the process as soon as it has its name; `parent` must go on running."""
        while (found := self.pid()) is None:
            assert parent.poll() is None, parent.communicate()
            time.sleep(0.05)
        return found

    def pid(self) -> int | None:
        """Return the id of the process with the name, or None."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "comm").read_text().strip() == self.name:
                    return int(entry.name)
            except OSError:  # it has ended meanwhile
                continue
        return None
