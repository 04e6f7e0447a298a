"""The Paddle process: what it answers, and every way in which it can fail to."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from converter.errors import ReferenceUnavailable
from converter.references.paddle import worker
from converter.references.paddle.session import PaddleSession, SharedSession
from converter.references.processes import messages
from converter.references.processes import session as session_module
from converter.references.program import PaddleProgram
from converter.sources.ir import Program
from converter.sources.reader import read_program
from tests.support.paddle_files import write_export
from tests.support.paths import ROOT

CLASSIFIER = "ch_ppocr_mobile_v2_cls_infer"


def exported(folder: Path) -> tuple[Program, Path]:
    """Return the program and the weights that a folder holds."""
    return read_program(folder / "inference.pdmodel"), folder / "inference.pdiparams"


@pytest.fixture
def worker_is(tmp_path, monkeypatch):
    """Put a script of this source in the worker's place."""

    def worker_is(source: str) -> None:
        script = tmp_path / "fake_worker.py"
        head = f"import os, sys, time\nsys.path.insert(0, {str(ROOT)!r})\n"
        script.write_text(
            f"{head}from converter.references.processes.messages import receive, send\n{source}"
        )
        monkeypatch.setattr(worker, "__file__", str(script))

    return worker_is


UP = "send(sys.stdout.buffer, {'version': '9'}, {})\n"


def complaint(session: PaddleSession) -> str:
    """Return what a request ends in."""
    with session, pytest.raises(ReferenceUnavailable) as caught:
        session.run({"x": np.zeros((1, 2), np.float32)})
    assert is_gone(session)
    message = str(caught.value)
    assert message.isprintable()
    return message


def is_gone(session: PaddleSession) -> bool:
    """Return whether the process ended and was collected: neither running nor a zombie."""
    try:
        os.kill(session._process.pid, 0)
    except ProcessLookupError:
        return session._process.returncode is not None
    return False


@pytest.fixture(scope="module")
def paddle():
    with PaddleSession() as session:
        yield session


def test_arrays_arrive_as_they_are():
    arrays = {
        "a": np.arange(6, dtype=np.int64).reshape(2, 3)[:, ::2],
        "scalar": np.array(1.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "big": np.arange(200_000, dtype=np.float32),
    }
    stream = io.BytesIO()
    messages.send(stream, {"key": "ü"}, arrays)
    stream.seek(0)
    header, found = messages.receive(stream)
    with pytest.raises(EOFError):
        messages.receive(stream)
    assert header == {"key": "ü"}
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_program_is_run(paddle, real_models):
    folder = real_models / CLASSIFIER
    assert paddle.version[0].isdigit()
    (name,) = paddle.load_program(*exported(folder))
    for width in (192, 256):  # one program, two shapes
        outputs = paddle.run({name: np.ones((3, 3, 48, width), np.float32)})
        assert outputs["0"].shape == (3, 2)
        np.testing.assert_allclose(outputs["0"].sum(1), 1, rtol=1e-5)


def test_several_programs_are_loaded_at_once(paddle, real_models):
    images = np.ones((1, 3, 48, 320), np.float32)
    for task, model in (("cls", CLASSIFIER), ("rec", "ch_PP-OCRv4_rec_infer")):
        assert paddle.load_program(*exported(real_models / model), name=task) == ["x"]
    assert paddle.run({"x": images}, name="cls")["0"].shape == (1, 2)
    assert paddle.run({"x": images}, name="rec")["0"].shape == (1, 40, 6625)
    paddle.release()
    for task in ("cls", "rec"):
        with pytest.raises(ReferenceUnavailable, match=f"KeyError: '{task}'"):
            paddle.run({"x": images}, name=task)


def test_what_paddle_refuses_is_an_error_and_the_session_lives_on(paddle, real_models, tmp_path):
    program, weights = exported(real_models / CLASSIFIER)
    with pytest.raises(ReferenceUnavailable, match=r"cannot be copied .*No such file"):
        paddle.load_program(program, tmp_path / "none.pdiparams")
    (name,) = paddle.load_program(program, weights)
    with pytest.raises(ReferenceUnavailable, match=r"Paddle cannot run .*Error") as caught:
        paddle.run({name: np.ones((1, 5, 48, 192), np.float32)})
    assert len(str(caught.value)) < 600
    assert paddle.run({name: np.ones((1, 3, 48, 192), np.float32)})["0"].shape == (1, 2)


def test_a_checkout_that_is_none(paddle, tmp_path):
    with pytest.raises(ReferenceUnavailable, match="No module named 'ppocr"):
        paddle.load_network(tmp_path, {}, {})


def test_a_program_as_a_function(real_models):
    folder = real_models / CLASSIFIER
    with PaddleProgram(folder / "inference.pdmodel", folder / "inference.pdiparams") as program:
        assert program.input_names == ["x"]
        (output,) = program.run({"x": np.zeros((1, 3, 48, 192), np.float32)})
    assert output.shape == (1, 2)
    assert is_gone(program._session)


def test_a_program_that_cannot_be_loaded_leaves_no_process(monkeypatch, paddle_is, tmp_path):
    paddle_is("__version__ = '9'")
    program = write_export(tmp_path)
    made = []
    start = PaddleSession.__init__
    monkeypatch.setattr(PaddleSession, "__init__", lambda self: (made.append(self), start(self))[1])
    with pytest.raises(ReferenceUnavailable, match="cannot import name 'inference'"):
        PaddleProgram(program, program.with_suffix(".pdiparams"))
    assert is_gone(made[0])


@pytest.mark.parametrize("source", ["raise ImportError('no paddle here')", "import not_there"])
def test_paddle_is_missing(paddle_is, source):
    paddle_is(source)
    message = complaint(PaddleSession())
    assert message.startswith("Paddle cannot be imported (")
    assert "install paddlepaddle" in message
    assert "--reference recorded or none" in message


def test_paddle_is_broken(paddle_is):
    paddle_is("raise OSError('libgomp.so.1: cannot open shared object file')")
    message = complaint(PaddleSession())
    assert message.startswith(
        "the Paddle process ended with code 1; its last line of output is: OSError: libgomp"
    )


def test_paddle_prints(paddle_is):
    """Whatever Paddle prints, in Python or below, does not get among the answers."""
    paddle_is(
        "import os\nprint('Hello', flush=True)\nos.write(1, b'from below')\n__version__ = '9'"
    )
    with PaddleSession() as session:
        assert session.version == "9"
    assert is_gone(session)


@pytest.mark.parametrize("garbage", ["ok", "Hello world, this is Paddle"])
def test_garbage_among_the_answers(worker_is, garbage):
    """As a `sitecustomize` would print it, before the worker can do anything about it."""
    worker_is(f"print({garbage!r}, flush=True)\n{UP}time.sleep(60)")
    assert "does not answer as it should: b'" in complaint(PaddleSession())


def test_garbage_alone(worker_is):
    worker_is("print('what?', flush=True)")
    assert complaint(PaddleSession()) == "the Paddle process ended with code 0"


def test_the_process_dies_during_a_request(worker_is):
    worker_is(f"{UP}receive(sys.stdin.buffer)\nprint('Segmentation\\nfault', file=sys.stderr)\n"
              "sys.stderr.flush()\nos._exit(7)")  # fmt: skip
    assert complaint(PaddleSession()) == (
        "the Paddle process ended with code 7; its last line of output is: fault"
    )


def test_the_process_is_killed_between_requests(worker_is):
    worker_is(f"{UP}time.sleep(60)")
    session = PaddleSession()
    assert session.version == "9"
    session._process.kill()
    session._process.wait()
    assert complaint(session) == "the Paddle process ended with code -9"


def test_the_process_dies_in_the_middle_of_an_answer(worker_is):
    worker_is(f"{UP}receive(sys.stdin.buffer)\nos.write(1, b'\\x93MESSAGE\\x10\\0')\nos._exit(0)")
    assert complaint(PaddleSession()) == "the Paddle process ended with code 0"


def test_a_process_that_hangs_in_its_clean_up(worker_is, monkeypatch):
    monkeypatch.setattr(session_module, "_PATIENCE", 0.2)
    worker_is(f"{UP}receive(sys.stdin.buffer)\nos.close(1)\ntime.sleep(60)")
    start = time.monotonic()
    assert "ended with code -9" in complaint(PaddleSession())
    assert time.monotonic() - start < 20


def test_closing_does_not_wait(worker_is):
    worker_is(f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{UP}time.sleep(60)")
    session = PaddleSession()
    assert session.version == "9"
    start = time.monotonic()
    session.close()
    session.close()
    assert time.monotonic() - start < 2
    assert is_gone(session)


def test_closing_at_once_and_while_a_request_is_unread(worker_is):
    worker_is(f"{UP}time.sleep(60)")
    session = PaddleSession()
    session.close()
    assert is_gone(session)
    session = PaddleSession()
    assert session.version == "9"
    assert session._process.stdin.write(b"never flushed")
    session.close()
    assert is_gone(session)


def test_an_error_inside_the_block_ends_the_process(worker_is):
    worker_is(f"{UP}time.sleep(60)")
    session = PaddleSession()
    with pytest.raises(KeyboardInterrupt), session:
        raise KeyboardInterrupt
    assert is_gone(session)


def test_python_without_assertions(paddle_is, tmp_path):
    """Waiting for Paddle is no assertion, which -O would leave out."""
    paddle_is("__version__ = '9'")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from converter.errors import ReferenceUnavailable\n"
        "from converter.references.paddle.session import PaddleSession\n"
        "from converter.sources.reader import read_program\n"
        f"file = Path({str(write_export(tmp_path))!r})\n"
        "program = read_program(file)\n"
        "with PaddleSession() as session:\n"
        "    try: session.load_program(program, file.with_suffix('.pdiparams'))\n"
        "    except ReferenceUnavailable as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-O", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "cannot import name 'inference'" in done.stdout, done.stderr


# One process for many models.


def test_a_process_is_kept_and_lets_go_of_what_it_loaded(real_models):
    folder = real_models / CLASSIFIER
    image = {"x": np.ones((1, 3, 48, 192), np.float32)}
    with SharedSession() as sessions:
        with sessions.lend() as first:
            first.load_program(*exported(folder))
            assert first.run(image)["0"].shape == (1, 2)
        with sessions.lend() as second:
            assert second is first
            with pytest.raises(ReferenceUnavailable, match="KeyError"):
                second.run(image)
            assert second.release() > 1e7  # bytes
    assert is_gone(first)


@pytest.mark.parametrize(
    "behaviour",
    ["os._exit(3)", "sys.stdout.buffer.write(b'garbage' * 9); sys.stdout.flush(); time.sleep(60)",
     "send(sys.stdout.buffer, {'memory': 101}, {}); time.sleep(60)"],
    ids=["dies", "speaks in tongues", "grows"],
)  # fmt: skip
def test_another_process_takes_the_place_of_one_that_ends(worker_is, behaviour):
    worker_is(f"{UP}receive(sys.stdin.buffer)\n{behaviour}")
    with SharedSession(memory_limit=100) as sessions:
        with sessions.lend() as first:
            assert first.version == "9"
        assert is_gone(first)
        with sessions.lend() as second:
            assert second is not first
    assert is_gone(second)


def test_a_process_without_paddle_is_not_kept(paddle_is):
    paddle_is("raise ImportError('no Paddle')")
    with SharedSession() as sessions:
        for _ in range(2):
            with (
                pytest.raises(ReferenceUnavailable, match="Paddle cannot be imported"),
                sessions.lend() as session,
            ):
                session.version  # noqa: B018 - waits for the import
            assert is_gone(session)


def test_an_interruption_does_not_wait_for_an_answer(worker_is):
    worker_is(f"{UP}time.sleep(60)")
    lent = []
    with SharedSession() as sessions:

        def interrupted() -> None:
            with sessions.lend() as session:
                lent.append(session)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert is_gone(lent[0])
