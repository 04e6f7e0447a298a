"""The Paddle process is bound: where it writes, how much, how long, and whom it outlives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from converter.errors import ReferenceUnavailable, SourceError, UsageError
from converter.references.paddle import worker
from converter.references.paddle.session import PaddleSession
from converter.references.processes import confined
from converter.sources import framework_proto as schema
from converter.sources import scratch
from converter.sources.reader import read_program
from converter.sources.scratch import ScratchFolder
from tests.support.paddle_files import PARAMETERS, program_desc, weights
from tests.support.paths import ROOT

SINGLE = {name: PARAMETERS[name] for name in ("w_0", "b_0")}  # one floating-point type
linux = sys.platform.startswith("linux")

ATTEMPTS = """
import json, os, resource, socket, sys
sys.path.insert(0, {root!r})
from converter.references.processes.messages import send

def attempt(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"

def large():
    with open("large", "wb") as file:
        file.truncate({most})
        file.seek({most})
        file.write(b"x")
        file.flush()

server = socket.socket()
send(sys.stdout.buffer, {{"version": "9", "confinement": os.environ["CONFINEMENT"], "done": {{
    "outside": attempt(lambda: open({victim!r}, "w")),
    "new": attempt(lambda: open({victim!r} + ".new", "w")),
    "remove": attempt(lambda: os.unlink({victim!r})),
    "move": attempt(lambda: os.rename({victim!r}, "mine")),
    "link": attempt(lambda: os.symlink({victim!r}, {victim!r} + ".link")),
    "inside": attempt(lambda: open("inside", "w")),
    "read": attempt(lambda: open({victim!r})),
    "null": attempt(lambda: open(os.devnull, "w")),
    "connect": attempt(lambda: server.connect(("127.0.0.1", 1))),
    "large": attempt(large),
}}, "core": resource.getrlimit(resource.RLIMIT_CORE)[0], "folder": os.getcwd()}}, {{}})
"""


@pytest.fixture
def worker_is(tmp_path, monkeypatch):
    """Put a script of this source in the worker's place."""

    def worker_is(source: str) -> None:
        script = tmp_path / "fake_worker.py"
        script.write_text(source)
        monkeypatch.setattr(worker, "__file__", str(script))

    return worker_is


def test_what_the_process_may_write(worker_is, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    names = {"root": str(ROOT), "victim": str(victim), "most": confined.LARGEST_FILE}
    worker_is(ATTEMPTS.format(**names))
    with PaddleSession() as session:
        answer, _ = session._receive()
        in_force, done = answer["confinement"], answer["done"]
    assert victim.read_text() == "precious"
    assert answer["core"] == 0
    assert done["inside"] == done["read"] == done["null"] == "done"
    assert done["large"] == "OSError"
    assert not Path(answer["folder"]).exists()
    for limit in ("core dumps", "file size", "memory", "death with the parent" if linux else ""):
        assert limit in in_force
    if "writes within its folder" in in_force:
        for action in ("outside", "new", "remove", "move", "link"):
            assert done[action] in ("PermissionError", "OSError"), action
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["fake_worker.py", "victim"]
    if "no connections" in in_force:
        assert done["connect"] == "PermissionError"


def test_paddle_states_what_is_in_force():
    with PaddleSession() as session:
        stated = session.confinement
    assert not linux or "file size" in stated


def write(folder: Path, program) -> Path:
    """Write a program with the weights of x @ w_0 + b_0 and return its file."""
    (folder / "inference.pdiparams").write_bytes(weights(SINGLE))
    (folder / "inference.pdmodel").write_bytes(program.SerializeToString())
    return folder / "inference.pdmodel"


def test_memory_beyond_the_machines(tmp_path):
    """An operation that asks for more than there is ends in an error, not in the machine's end."""
    program = program_desc(SINGLE)
    block = program.blocks[0]
    fill = block.ops.add(type=b"fill_constant")
    fill.outputs.add(parameter=b"Out", arguments=[b"m"])
    fill.attrs.add(name=b"shape", type=11, longs=[1 << 20, 1 << 18])
    fill.attrs.add(name=b"dtype", type=schema.INT, i=5)
    fill.attrs.add(name=b"value", type=1, f=1.0)
    block.ops[1].CopyFrom(fill)
    del block.ops[-1]
    file = write(tmp_path, program)
    with PaddleSession() as session:
        session.load_program(read_program(file), file.with_suffix(".pdiparams"))
        with pytest.raises(ReferenceUnavailable, match=r"(?i)memory"):
            session.run({"x": np.zeros((1, 4), np.float32)})


def endless(folder: Path) -> Path:
    """Write an export whose loop never ends, and return its program."""
    program = program_desc(SINGLE)
    block = program.blocks[0]
    fetch = block.ops[3]
    condition = block.vars.add(name=b"go")
    condition.type.type = schema.DENSE_TENSOR
    condition.type.dense_tensor.tensor.data_type = 0  # bool
    condition.type.dense_tensor.tensor.dims.append(1)
    scopes = block.vars.add(name=b"scopes")
    scopes.type.type = 11  # STEP_SCOPES
    kept = [*list(block.ops)[:3]]
    fill = schema.message("OpDesc")(type=b"fill_constant")
    fill.outputs.add(parameter=b"Out", arguments=[b"go"])
    fill.attrs.add(name=b"shape", type=11, longs=[1])
    fill.attrs.add(name=b"dtype", type=schema.INT, i=0)
    fill.attrs.add(name=b"value", type=1, f=1.0)
    loop = schema.message("OpDesc")(type=b"while")
    loop.inputs.add(parameter=b"X", arguments=[b"out", b"go"])
    loop.inputs.add(parameter=b"Condition", arguments=[b"go"])
    loop.outputs.add(parameter=b"Out", arguments=[b"out"])
    loop.outputs.add(parameter=b"StepScopes", arguments=[b"scopes"])
    loop.attrs.add(name=b"sub_block", type=schema.BLOCK, block_idx=1)
    loop.attrs.add(name=b"is_test", type=6, b=True)
    program.blocks.add(idx=1, parent_idx=0)
    step = program.blocks[1].ops.add(type=b"scale")
    step.inputs.add(parameter=b"X", arguments=[b"out"])
    step.outputs.add(parameter=b"Out", arguments=[b"out"])
    step.attrs.add(name=b"scale", type=1, f=1.0)
    operations = [*kept, fill, loop, fetch]
    copies = [type(op).FromString(op.SerializeToString()) for op in operations]
    del block.ops[:]
    block.ops.extend(copies)
    return write(folder, program)


def test_a_program_that_never_ends(tmp_path):
    file = endless(tmp_path)
    with PaddleSession() as session:
        session.load_program(read_program(file), file.with_suffix(".pdiparams"))
        session.time_limit = 1.5  # not for importing Paddle, which takes long on a busy machine
        start = time.monotonic()
        with pytest.raises(ReferenceUnavailable, match=r"not answer within 1\.5 seconds"):
            session.run({"x": np.zeros((1, 4), np.float32)})
        assert time.monotonic() - start < 60
        assert not session.alive


@pytest.mark.parametrize("stated", ["soon", "0", "-1", "nan", "inf", "1e300"])
def test_time_limits_that_are_none(monkeypatch, stated):
    monkeypatch.setenv("PADDLE_TIME_LIMIT", stated)
    with pytest.raises(UsageError, match=r"PADDLE_TIME_LIMIT is .* number of seconds"):
        PaddleSession()


PARENT = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from converter.references.paddle import worker
from converter.references.paddle.session import PaddleSession
from converter.references.processes import confined
worker.__file__ = sys.argv[1]
session = PaddleSession()
print(session._process.pid, session._folder.name, flush=True)
session.version
print("up", flush=True)
time.sleep(60)
"""

BUSY = (
    f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
    "from converter.references.processes.messages import send\n"
    "send(sys.stdout.buffer, {'version': '9'}, {})\nwhile True: pass\n"
)


def test_no_process_outlives_a_converter_that_is_killed(tmp_path):
    """Also not one that computes and never looks at its input; its folder goes with the next."""
    script = tmp_path / "busy.py"
    script.write_text(BUSY)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(script)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child, folder = parent.stdout.readline().split()
    assert parent.stdout.readline() == "up\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _runs(int(child)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(int(child))
    assert Path(folder).is_dir()
    os.utime(folder, (0, 0))  # long ago
    ScratchFolder().cleanup()
    assert not Path(folder).exists()


def _runs(pid: int) -> bool:
    """Return whether a process runs; one that ended and was not collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_folders_that_are_removed(tmp_path, monkeypatch):
    """Those of this kind, unlocked and old; never a folder in use, of another name, or a link."""
    monkeypatch.setattr(scratch.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    used = ScratchFolder()
    names = ("paddle-converter-abcdefgh", "paddle-converter-abcdefg", "paddle-abcdefgh")
    for name in (*names, "paddle-converter-newnewne"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text("x")
    (tmp_path / "paddle-converter-linklink").symlink_to(tmp_path / names[1])
    for name in (*names, used.name):
        os.utime(tmp_path / name, (0, 0))
    scratch.sweep()
    left = {entry.name for entry in tmp_path.iterdir()}
    expected = {*names[1:], "paddle-converter-newnewne", "paddle-converter-linklink"}
    assert left == {*expected, Path(used.name).name}
    used.cleanup()
    assert not Path(used.name).exists()


STARTED_IN_A_THREAD = """
import sys, threading, time
sys.path.insert(0, {root!r})
from converter.references.paddle import worker
from converter.references.paddle.session import PaddleSession

worker.__file__ = {script!r}
sessions = []
thread = threading.Thread(target=lambda: sessions.append(PaddleSession()))
thread.start()
thread.join()
print(sessions[0]._process.pid, flush=True)
time.sleep(60)
"""


def test_a_process_that_a_thread_started_dies_with_the_converter_and_not_with_the_thread(tmp_path):
    script = tmp_path / "fake_worker.py"
    script.write_text("import time\nopen('up', 'w')\ntime.sleep(60)\n")
    source = STARTED_IN_A_THREAD.format(root=str(ROOT), script=str(script))
    converter = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    with converter:
        process = int(converter.stdout.readline())
        time.sleep(1)  # the thread has ended
        assert _runs(process)
        converter.kill()
    deadline = time.monotonic() + 10
    while _runs(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(process)


def test_weights_that_are_exchanged_after_they_were_checked_are_not_read(tmp_path):
    file = write(tmp_path, program_desc(SINGLE))
    program, parameters = read_program(file), file.with_suffix(".pdiparams")
    parameters.write_bytes(b"another file")
    with PaddleSession() as session, pytest.raises(SourceError, match="checked"):
        session.load_program(program, parameters)
    parameters.unlink()
    with PaddleSession() as session, pytest.raises(ReferenceUnavailable, match="cannot be copied"):
        session.load_program(program, parameters)
