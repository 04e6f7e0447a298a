"""A process in which a library runs programs of unknown origin.

The libraries clash in one process with PyTorch's, and a crash there must become an error here; so
each has a process of its own, which is confined (`confined.py`). Each request has a time limit.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeVar

import numpy as np

from converter.errors import ReferenceUnavailable, UsageError
from converter.references.processes import confined, messages
from converter.sources.ir import Program
from converter.sources.scratch import ScratchFolder

_TIME_LIMIT = 600  # seconds
_PATIENCE = 2  # seconds in which a process that has closed its output should end

Self = TypeVar("Self", bound="ChildSession")


class ChildSession(AbstractContextManager["ChildSession"]):
    """A running process.

    Construction returns at once; the first request waits until the library is imported. The
    process works in a temporary folder of its own and ends with this one, also where this one is
    killed.

    Args:
        time_limit: the seconds that a request may take; by default those of the environment
            variable `TIME_LIMIT`, else ten minutes.

    Attributes:
        LIBRARY: what messages call the library.
        PACKAGE: what to install for it.
        TIME_LIMIT: the environment variable.
        WORKER: the module that runs in the process.

    Raises (construction):
        UsageError: `TIME_LIMIT` is no number of seconds.

    Raises (every request):
        ReferenceUnavailable: the library is not installed, died, cannot run what it was given, or
            took too long, after which the process is ended.
    """

    LIBRARY: ClassVar[str]
    PACKAGE: ClassVar[str]
    TIME_LIMIT: ClassVar[str]
    WORKER: ClassVar[ModuleType]

    def __enter__(self: Self) -> Self:
        return self

    def __init__(self, time_limit: float | None = None) -> None:
        self.time_limit = self._limit_set() if time_limit is None else time_limit
        self._overdue = False
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._folder = ScratchFolder()
        # Nothing is ever written into this pipe: its end is that of this process.
        watched, self._lifeline = os.pipe() if sys.platform.startswith("linux") else (-1, -1)
        script = [str(Path(confined.__file__)), str(Path(str(self.WORKER.__file__)))]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *script, self._folder.name, str(watched)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            pass_fds=[watched] if watched >= 0 else [],
        )
        if watched >= 0:
            os.close(watched)
        self._version = ""
        self._confinement = ""

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def version(self) -> str:
        """The library's version; waits until the process is up."""
        self._wait_until_up()
        return self._version

    @property
    def versions(self) -> dict[str, str]:
        """The version by the name of the library, as reports state it."""
        return {self.LIBRARY.replace(" ", "").lower(): self.version}

    @property
    def confinement(self) -> str:
        """The restrictions of the process, in words; waits until the process is up."""
        self._wait_until_up()
        return self._confinement

    @abstractmethod
    def load_program(
        self,
        program: Program,
        weights: Path,
        outputs: Sequence[str] | None = None,
        name: str = "",
    ) -> list[str]:
        """Load an exported program and return the names of its inputs.

        The library reads a program that was written again from the checked one, never the file
        itself.

        Args:
            program: the exported program.
            weights: the file of its weights, which was read before.
            outputs: the values to return when it is run; by default those of the program.
            name: what `run` calls it; replaces what was loaded under the same name.

        Raises:
            UnsafeSource: an operator does more than compute; nothing has run then.
        """

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        wanted: Sequence[str] = (),
        name: str = "",
        for_record: bool = False,
    ) -> dict[str, np.ndarray]:
        """Run a program or network that was loaded.

        Args:
            inputs: arrays by name, those of a network in its order.
            wanted: layers of a network whose outputs are returned too.
            name: under which it was loaded.
            for_record: return a network's results that a record holds.

        Returns:
            A program's outputs by their indices, "0", "1", ...; a network's under `output`, or
            `output.NAME`, and those of its layers by name.
        """
        request = {"do": "run", "wanted": list(wanted), "name": name, "for_record": for_record}
        return self._ask(request, inputs)[1]

    def release(self) -> int:
        """Free all programs and networks; return the bytes that the process holds afterwards."""
        return int(self._ask({"do": "release"}, {})[0]["memory"])

    def close(self) -> None:
        """Kill the process: a library may hang when it ends by itself."""
        self._end()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        self._stderr.close()
        self._folder.cleanup()

    def _end(self) -> int:
        self._process.kill()
        return self._process.wait()

    def _wait_until_up(self) -> None:
        if not self._version:
            with self._limited():
                answer, _ = self._receive()
            self._version = str(answer["version"])
            self._confinement = str(answer.get("confinement", ""))

    def _ask(
        self, request: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        self._wait_until_up()
        assert self._process.stdin is not None
        with self._limited():
            try:
                messages.send(self._process.stdin, dict(request), dict(arrays))
            except BrokenPipeError:
                raise self._died() from None
            return self._receive()

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Kill the process if the body takes longer than the time limit."""
        timer = threading.Timer(self.time_limit, self._end_overdue)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end_overdue(self) -> None:
        self._overdue = True
        self._process.kill()

    def _receive(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        assert self._process.stdout is not None
        try:
            answer, arrays = messages.receive(self._process.stdout)
        except EOFError:
            raise self._died() from None
        except ValueError as error:
            self._end()
            raise ReferenceUnavailable(
                f"the {self.LIBRARY} process does not answer as it should: {error}"
            ) from None
        if answer.get("stage") == "import":
            self._end()
            raise ReferenceUnavailable(
                f"{self.LIBRARY} cannot be imported ({answer['error']}); install {self.PACKAGE} "
                "for the live check, or give --reference recorded or none"
            )
        if "error" in answer:
            raise ReferenceUnavailable(
                f"{self.LIBRARY} cannot run the reference: {_brief(answer['error'])}"
            )
        return answer, arrays

    def _died(self) -> ReferenceUnavailable:
        try:
            code = self._process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:  # its output is closed, but the library hangs
            code = self._end()
        if self._overdue:
            return ReferenceUnavailable(
                f"{self.LIBRARY} did not answer within {self.time_limit:g} seconds, and its "
                f"process was ended. If this network takes longer, set ${self.TIME_LIMIT} to more "
                "seconds; a program may also never end, then use --reference recorded or none"
            )
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        last = f"; its last line of output is: {lines[-1].strip()}" if lines else ""
        return ReferenceUnavailable(f"the {self.LIBRARY} process ended with code {code}{last}")

    def _limit_set(self) -> float:
        """Return the time limit of a request in seconds, from the environment if set there."""
        setting = os.environ.get(self.TIME_LIMIT, "")
        try:
            seconds = float(setting or _TIME_LIMIT)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds <= threading.TIMEOUT_MAX:
            raise UsageError(
                f"${self.TIME_LIMIT} is {setting!r}; expected a number of seconds above 0"
            )
        return seconds


def _brief(text: str) -> str:
    """Return the message of an error of a library without its C++ stack."""
    lines = [line.strip() for line in text.splitlines()]
    telling = [line for line in lines if "Error:" in line or "Hint:" in line]
    return " ".join(telling or [line for line in lines if line][:2])[:500]
