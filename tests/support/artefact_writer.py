"""A small artefact, written in this process or in a child that stops in the middle."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

import architectures
from architectures import saving
from converter.cli import convert
from converter.cli.main import main
from converter.conversion.artefact import write_artefact
from schemas import artefact_files
from schemas.artefact import ArtefactCard

ARCHITECTURE: dict[str, Any] = {
    "model_type": "cls",
    "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
    "Head": {"name": "ClsHead", "class_dim": 2},
}

# Children are forked from one process that has imported PyTorch, and not from that of the tests.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "architectures", "converter.cli.convert", __name__])


def network(seed: int = 0) -> architectures.Model:
    """Build the network of the artefact, with weights of this seed."""
    torch.manual_seed(seed)
    return architectures.build(ARCHITECTURE)


def write(out: Path, seed: int = 0) -> int:
    """Write the artefact in the format that the file's name ends in, and return its bytes."""
    model = network(seed)
    card = ArtefactCard(
        architecture=model.architecture,
        class_counts=model.class_counts,
        form=model.form,
        extra={"note": "ü"},
    )
    return write_artefact(out, out.suffix[1:], model.state_dict(), card)


class Writer:
    """A child process that writes the artefact as the command line does.

    Args:
        out: the file to write.
        stop: where to stop: after a function of the writing, "_save", "_flush" or "_publish", or
            after a rename, "rename 1" the first; "" does not stop.
        seeds: of the weights; the artefact is written once with each.
    """

    def __init__(self, out: Path, stop: str = "", seeds: Sequence[int] = (0,)) -> None:
        self._stopped, there = _CONTEXT.Pipe(duplex=False)
        read, write_end = _CONTEXT.Pipe(duplex=False)
        self._errors = read
        self._process: BaseProcess = _CONTEXT.Process(
            target=_write_and_stop, args=(out, stop, seeds, there, write_end)
        )
        self._process.start()
        there.close()
        write_end.close()

    def signal(self, number: int) -> None:
        """Wait until the child has stopped, and send it a signal."""
        assert self._stopped.poll(60)
        assert self._stopped.recv() == "stopped"
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and the messages."""
        try:
            self._process.join(60)
            assert self._process.exitcode is not None
            with open(self._errors.fileno(), "rb", closefd=False) as messages:
                return self._process.exitcode, messages.read().decode()
        finally:
            self._process.kill()
            self._stopped.close()
            self._errors.close()


def run_writer(out: Path, stop: str = "", number: int | None = None) -> tuple[int, str]:
    """Write in a child, send the signal when it has come to the place to stop at."""
    writer = Writer(out, stop)
    try:
        if number is not None:
            writer.signal(number)
    finally:
        ended = writer.end()
    return ended


def _write_and_stop(
    out: Path, stop: str, seeds: Sequence[int], stopped: Connection, errors: Connection
) -> None:
    os.dup2(errors.fileno(), sys.stderr.fileno())

    def here() -> None:
        stopped.send("stopped")
        time.sleep(0.5 if stop == "_publish" else 60)  # there signals are put off

    if stop.startswith("rename"):
        _stop_after_rename(int(stop.split()[1]), here)
    elif stop:
        module: Any = saving if stop == "_save" else artefact_files
        function = getattr(module, stop)
        setattr(module, stop, lambda *arguments: (function(*arguments), here()))

    def run(_: object) -> int:
        for seed in seeds:
            write(out, seed)
        return 0

    convert.run = run
    sys.exit(main(["x"]))


def _stop_after_rename(number: int, here: Callable[[], None]) -> None:
    rename, left = Path.replace, number

    def replace(self: Path, target: Path) -> None:
        nonlocal left
        rename(self, target)
        left -= 1
        if left == 0:
            here()

    Path.replace = replace
