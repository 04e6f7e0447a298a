"""A corpus on a local Ray of two actors, one of which is killed (make test-ray)."""

from __future__ import annotations

import pytest

from pipelines.corpus import run as corpus
from pipelines.corpus.engines import RayEngine
from tests.support.cli_runs import write_page
from tests.support.corpora import Here, contents, read, scans
from tests.support.level_readers import DEADLY
from tests.support.paths import ROOT

__all__ = ["scans"]  # a fixture

pytestmark = pytest.mark.ray


@pytest.fixture
def cluster(monkeypatch):
    import ray

    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # where the actors find the tests
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("cluster")
def test_an_actor_is_killed_and_the_results_are_those_of_one_process(scans, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "PAGES_PER_TASK", 4)
    for number in range(20, 40):
        write_page(scans / f"{number}.png", number)
    summary = read(scans, tmp_path / "out", RayEngine(None, 2), tmp_path)
    assert (tmp_path / "died").exists()
    assert (summary.pages, summary.read) == (36, 29)
    assert read(scans, tmp_path / "again", Here(), tmp_path).read == 29
    assert contents(tmp_path / "out") == contents(tmp_path / "again")

    write_page(scans / "50.png", DEADLY)
    write_page(scans / "51.png", 51)
    summary = read(scans, tmp_path / "out", RayEngine(None, 2), tmp_path)
    assert (summary.pages, summary.read) == (38, 1)
    lost = str(scans / "50.png")
    assert {"source": lost, "page": 1, "error": f"{lost}, page 1: {corpus.LOST}"} in (
        summary.failures
    )
