"""Many conversions: failures, workers that die, what is skipped, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

import architectures
from converter.conversion import batch
from converter.conversion.request import Request
from converter.references.paddle.session import SharedSession
from cores.workers import Worker, environment
from schemas import artefact_files
from tests.support.checkpoints import CLS, DET, save, weights
from tests.support.paths import ROOT

CLASSIFIER, DETECTOR = "ch_ppocr_mobile_v2.0_cls", "ch_PP-OCRv2_det"
TRUNCATED, ANOTHERS = "PP-OCRv4_mobile_det", "PP-OCRv5_mobile_det"


@pytest.fixture
def requests(tmp_path) -> list[Request]:
    """Two models, a truncated one, and one with the weights of another."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    classifier = save(tmp_path / "in/cls.pdparams", weights(CLS))
    truncated = tmp_path / "in/truncated.pdparams"
    truncated.write_bytes(classifier.read_bytes()[:1000])
    files = {
        CLASSIFIER: classifier,
        DETECTOR: save(tmp_path / "in/det.pdparams", weights(DET)),
        TRUNCATED: truncated,
        ANOTHERS: classifier,
    }
    return [
        Request(name, file, out=tmp_path / f"out/{name}.pth", reference="recorded")
        for name, file in files.items()
    ]


def codes(results) -> dict[str, int]:
    return {result.name: result.exit_code for result in results}


def test_failures_do_not_stop_the_rest_and_the_next_run_skips_what_is_done(requests, tmp_path):
    results = {result.name: result for result in batch.convert_all(requests)}
    assert codes(results.values()) == {CLASSIFIER: 0, DETECTOR: 0, TRUNCATED: 3, ANOTHERS: 4}
    assert "truncated.pdparams" in results[TRUNCATED].error
    assert "backbone" in results[ANOTHERS].error
    done = results[CLASSIFIER]
    assert (done.status, done.task, done.reference) == ("passed", "cls", "recorded")
    assert done.fresh
    assert done.parity["status"] == "passed"
    assert list(done.sources) == ["cls.pdparams"]
    assert done.weights["file"] == f"{CLASSIFIER}.pth"
    assert done.counts["used"] > 100
    assert done.seconds > 0
    assert architectures.load(tmp_path / f"out/{CLASSIFIER}.pth").card.fingerprint
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(
        f"{name}{end}" for name in (CLASSIFIER, DETECTOR) for end in (".json", ".pth")
    )

    save(requests[0].paddle_dir, weights(CLS) | {"head.fc.bias": weights(CLS)["head.fc.bias"] * 2})
    again = {result.name: result for result in batch.convert_all(requests, jobs=2)}
    assert codes(again.values()) == codes(results.values())
    assert (again[CLASSIFIER].fresh, again[DETECTOR].fresh) == (True, False)
    skipped = replace(again[DETECTOR], seconds=0.0, fresh=True)
    assert skipped == replace(results[DETECTOR], seconds=0.0)
    assert again[CLASSIFIER].sources != done.sources


def test_a_worker_that_is_killed_is_replaced(requests, tmp_path, monkeypatch):
    submit = Worker.submit

    def kill(worker, request):
        submit(worker, request)
        if request.name == DETECTOR:
            file = tmp_path / f"out/{DETECTOR}.pth"
            # As if it had begun to write.
            file.with_name(f"{artefact_files._prefix(file)}x.partial").touch()
            os.kill(worker.process.pid, signal.SIGKILL)

    monkeypatch.setattr(Worker, "submit", kill)
    results = {result.name: result for result in batch.convert_all(requests[:2])}
    assert codes(results.values()) == {CLASSIFIER: 0, DETECTOR: batch.CRASHED}
    assert results[DETECTOR].error.endswith("ended by signal SIGKILL")
    assert results[DETECTOR].status == "failed"
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {f"{CLASSIFIER}.pth", f"{CLASSIFIER}.json"}


def test_closed_before_its_end_nothing_is_left(requests, tmp_path):
    results = batch.convert_all(requests, jobs=2)
    first = next(results)
    pool = results.gi_frame.f_locals["pool"]
    pids = [worker.process.pid for worker in (*pool._busy.values(), *pool._idle)]
    assert pids
    results.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    written = {file.stem for file in (tmp_path / "out").iterdir()}
    assert not any(name.startswith(".") for name in written)
    assert first.name in written or first.exit_code


def test_a_fault_of_the_converter_is_a_result_too(requests, monkeypatch):
    def stumble(*_, **__):
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(batch, "run", stumble)
    with SharedSession() as sessions:
        result = batch.convert_one(requests[0], sessions)
    assert (result.status, result.exit_code) == ("failed", batch.CRASHED)
    assert "ZeroDivisionError: of all things" in result.error
    assert "conversion/test_batch.py, line " in result.error
    assert "Traceback" not in result.error


def test_a_proof_that_fails_is_in_the_result(requests):
    with SharedSession() as sessions:
        result = batch.convert_one(replace(requests[0], tolerance=1e-9), sessions)
    assert (result.status, result.exit_code, result.reference) == ("failed", 5, "recorded")
    assert result.parity["status"] == "failed"
    assert result.versions["torch"]


def test_two_models_share_one_paddle(export, tmp_path):
    with SharedSession() as sessions:
        processes = []
        for name in ("a", "b"):
            result = batch.convert_one(
                Request(CLASSIFIER, export, out=tmp_path / f"{name}.pth"), sessions
            )
            assert (result.status, result.reference) == ("passed", "program")
            processes.append(sessions._session)
    assert processes[0] is processes[1]


def test_unverified_and_forced(requests):
    request = replace(requests[0], reference="none")
    with SharedSession() as sessions:
        result = batch.convert_one(request, sessions)
        assert (result.status, result.reference, result.parity) == ("unverified", None, None)
        assert not batch.convert_one(request, sessions).fresh
        assert batch.convert_one(request, sessions, force=True).fresh


def test_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(batch, "available_cores", lambda: 8)
    # A worker runs PyTorch and Paddle at once: jobs * 2 * threads is at most 8.
    assert [batch.threads_per_worker(jobs) for jobs in (1, 2, 3, 4, 9)] == [4, 2, 1, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert batch.threads_per_worker(1) == 3
    with environment({"OMP_NUM_THREADS": "5", "MKL_NUM_THREADS": "5"}):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "5"
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ


def test_the_process_that_hands_out_the_work_imports_no_framework():
    code = (
        "import sys\nfrom converter.conversion import batch, discovery, download\n"
        "print({'torch', 'paddle'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"
