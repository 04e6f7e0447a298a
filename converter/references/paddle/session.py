"""A process in which Paddle runs, started early because importing Paddle takes seconds.

The libraries of the two frameworks clash in one process, and a crash of Paddle must become an error
here; so Paddle has a process of its own (`worker.py`). It runs programs of unknown origin, so the
process is confined (`confined.py`), and each request has a time limit.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import ReferenceUnavailable, UsageError
from converter.references.paddle import confined, worker
from converter.sources.ir import Program
from converter.sources.pdiparams import read_pdiparams
from converter.sources.reader import with_outputs
from converter.sources.scratch import ScratchFolder

TIME_LIMIT = "PADDLE_TIME_LIMIT"  # the environment variable
_TIME_LIMIT = 600  # seconds
_PATIENCE = 2  # seconds in which a process that has closed its output should end


class PaddleSession(AbstractContextManager["PaddleSession"]):
    """A running Paddle process.

    Construction returns at once; the first request waits until Paddle is imported. The process
    works in a temporary folder of its own and ends with this one, also where this one is killed.

    Args:
        time_limit: the seconds that a request may take; by default the environment variable
            `PADDLE_TIME_LIMIT`, else ten minutes.

    Raises (construction):
        UsageError: `PADDLE_TIME_LIMIT` is no number of seconds.

    Raises (every request):
        ReferenceUnavailable: Paddle is not installed, died, cannot run what it was given, or took
            too long, after which the process is ended.
    """

    def __init__(self, time_limit: float | None = None) -> None:
        self.time_limit = _time_limit() if time_limit is None else time_limit
        self._overdue = False
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._folder = ScratchFolder()
        # Nothing is ever written into this pipe: its end is that of this process.
        watched, self._lifeline = os.pipe() if sys.platform.startswith("linux") else (-1, -1)
        script = [str(Path(confined.__file__)), str(Path(worker.__file__))]
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
        """Paddle's version; waits until the process is up."""
        self._wait_until_up()
        return self._version

    @property
    def confinement(self) -> str:
        """The restrictions of the process, in words; waits until the process is up."""
        self._wait_until_up()
        return self._confinement

    def load_program(
        self,
        program: Program,
        weights: Path,
        outputs: Sequence[str] | None = None,
        name: str = "",
    ) -> list[str]:
        """Load an exported program and return the names of its inputs.

        Paddle reads a program that was written again from the checked one, never the file itself;
        and a copy of the weights, which is checked here: nobody can exchange it afterwards.

        Args:
            program: the exported program; each of its operators must be known to only compute.
            weights: its `.pdiparams`, which was read before.
            outputs: the values to return when it is run; by default those of the program.
            name: what `run` calls it; replaces what was loaded under the same name.

        Raises:
            UnsafeSource: an operator does more than compute; Paddle has seen nothing then.
            SourceError: the weights are not those of the program.
            ReferenceUnavailable: the temporary folder cannot hold a copy of the weights.
        """
        content = with_outputs(program, program.outputs if outputs is None else outputs)
        suffix = ".pdmodel" if program.format == "pdmodel" else ".json"
        file = Path(self._folder.name, f"checked{suffix}")
        copy = file.with_name("checked.pdiparams")
        request = {"do": "program", "program": str(file), "weights": str(copy), "name": name}
        try:
            file.write_bytes(content)
            copy_weights(weights, copy)
            read_pdiparams(copy, program)
            return self._ask(request, {})[0]["inputs"]
        finally:
            file.unlink(missing_ok=True)
            copy.unlink(missing_ok=True)

    def load_network(
        self, checkout: Path, architecture: Mapping[str, Any], weights: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        """Build a network from a PaddleOCR checkout.

        Args:
            checkout: the folder that holds PaddleOCR's `ppocr/`.
            architecture: the network's.
            weights: tensors by Paddle's names.

        Returns:
            The epsilons of the network's normalisations, by the names of the layers.
        """
        request = {"do": "network", "checkout": str(checkout), "architecture": dict(architecture)}
        return self._ask(request, weights)[0]["epsilons"]

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
        """Kill the process: Paddle may hang when it ends by itself."""
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
            self._version = str(answer["paddle"])
            self._confinement = str(answer.get("confinement", ""))

    def _ask(
        self, request: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        self._wait_until_up()
        assert self._process.stdin is not None
        with self._limited():
            try:
                worker.send(self._process.stdin, dict(request), dict(arrays))
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
            answer, arrays = worker.receive(self._process.stdout)
        except EOFError:
            raise self._died() from None
        except ValueError as error:
            self._end()
            raise ReferenceUnavailable(
                f"the Paddle process does not answer as it should: {error}"
            ) from None
        if answer.get("stage") == "import":
            self._end()
            raise ReferenceUnavailable(
                f"Paddle cannot be imported ({answer['error']}); install paddlepaddle for the "
                "live check, or give --reference recorded or none"
            )
        if "error" in answer:
            raise ReferenceUnavailable(
                f"Paddle cannot run the reference: {_brief(answer['error'])}"
            )
        return answer, arrays

    def _died(self) -> ReferenceUnavailable:
        try:
            code = self._process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:  # its output is closed, but Paddle hangs
            code = self._end()
        if self._overdue:
            return ReferenceUnavailable(
                f"Paddle did not answer within {self.time_limit:g} seconds, and its process was "
                f"ended. If this network takes longer, set ${TIME_LIMIT} to more seconds; a "
                "program may also never end, then use --reference recorded or none"
            )
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        last = f"; its last line of output is: {lines[-1].strip()}" if lines else ""
        return ReferenceUnavailable(f"the Paddle process ended with code {code}{last}")


class SharedSession(AbstractContextManager["SharedSession"]):
    """One Paddle process for many models, started for the first that needs it.

        with SharedSession() as sessions:
            for request in requests:
                run(request, sessions=sessions.lend)

    Args:
        memory_limit: bytes that the process may hold between two models. Beyond it, as after a
            crash, the next model gets a new process.
    """

    def __init__(self, memory_limit: int = 2 << 30) -> None:
        self.memory_limit = memory_limit
        self._session: PaddleSession | None = None

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def lend(self) -> Iterator[PaddleSession]:
        """Lend the process to one model, and free what the model loaded afterwards."""
        if self._session is None or not self._session.alive:
            self.close()
            self._session = PaddleSession()
        try:
            yield self._session
        except KeyboardInterrupt:
            self.close()  # an answer may be half sent
            raise
        finally:
            if self._session is not None:
                self._clean_up(self._session)

    def close(self) -> None:
        """End the process, if there is one."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def _clean_up(self, session: PaddleSession) -> None:
        try:
            grown = session.alive and session.release() > self.memory_limit
        except ReferenceUnavailable:
            grown = True
        if grown:
            self.close()


def copy_weights(weights: Path, copy: Path) -> None:
    """Copy a file of weights into the process's folder, or raise ReferenceUnavailable."""
    try:
        shutil.copyfile(weights, copy)
    except OSError as error:
        raise ReferenceUnavailable(
            f"{weights} cannot be copied to {copy.parent}, from where Paddle reads it: "
            f"{error.strerror or error}; set $TMPDIR to a folder with more room"
        ) from error


def _time_limit() -> float:
    """Return the time limit of a request in seconds, from the environment if set there."""
    setting = os.environ.get(TIME_LIMIT, "")
    try:
        seconds = float(setting or _TIME_LIMIT)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise UsageError(f"${TIME_LIMIT} is {setting!r}; expected a number of seconds above 0")
    return seconds


def _brief(text: str) -> str:
    """Return the message of an error of Paddle's without its C++ stack."""
    lines = [line.strip() for line in text.splitlines()]
    telling = [line for line in lines if "Error:" in line or "Hint:" in line]
    return " ".join(telling or [line for line in lines if line][:2])[:500]
