"""A process in which Paddle runs, started early because importing Paddle takes seconds."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from converter.errors import ReferenceUnavailable
from converter.references.paddle import worker
from converter.references.processes.session import ChildSession
from converter.sources.ir import Program
from converter.sources.pdiparams import read_pdiparams
from converter.sources.reader import with_outputs


class PaddleSession(ChildSession):
    """A running Paddle process."""

    LIBRARY: ClassVar = "Paddle"
    PACKAGE: ClassVar = "paddlepaddle"
    TIME_LIMIT: ClassVar = "PADDLE_TIME_LIMIT"
    WORKER: ClassVar = worker

    def load_program(
        self,
        program: Program,
        weights: Path,
        outputs: Sequence[str] | None = None,
        name: str = "",
    ) -> list[str]:
        """Load an exported program; `weights` is its `.pdiparams`. See `ChildSession`.

        Paddle reads a copy of the weights, which is checked here: nobody can exchange it
        afterwards.

        Raises:
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
        advice = "; set $TMPDIR to a folder with more room" if error.errno == errno.ENOSPC else ""
        raise ReferenceUnavailable(
            f"{weights} cannot be copied to {copy.parent}, from where Paddle reads it: "
            f"{error.strerror or error}{advice}"
        ) from error
