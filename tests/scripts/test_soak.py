"""The soak: pages that differ, and memory that is too much."""

from __future__ import annotations

import pytest

from tests.scripts.test_scripts import script

soak = script("soak")


class FakeOCR:
    """Finds one line on each page."""

    found = 1

    def __init__(self, *_networks):
        pass

    def __call__(self, image):
        return [image.shape] * self.found


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the script with memory that grows by this many megabytes a row."""

    def run(growth, *words):
        monkeypatch.setattr("pipelines.ocr.OCR", FakeOCR)
        held = iter(range(100, 10**6, growth))
        monkeypatch.setattr(soak, "resident", lambda: float(next(held)))
        monkeypatch.setattr(soak, "configure_threads", lambda: None)
        paths = ["--det", str(tmp_path / "d"), "--rec", str(tmp_path / "r")]
        return soak.main([*paths, "--pages", "6", "--every", "2", *words])

    return run


def test_pages_have_sizes_and_lines_of_their_own():
    pages = [soak.page(number) for number in range(8)]
    assert len({page.shape for page in pages}) == 8
    assert all((page < 128).any() for page in pages)
    assert (soak.page(3) == soak.page(3)).all()


@pytest.mark.parametrize(("growth", "limit", "code"), [(10, "30", 0), (20, "30", 1)])
def test_growth_beyond_the_limit(run, capsys, growth, limit, code):
    assert run(growth, "--limit", limit) == code
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_pages_without_lines_prove_nothing(run, monkeypatch, capsys):
    monkeypatch.setattr(FakeOCR, "found", 0)
    assert run(1) == 1
    assert "no line was found" in capsys.readouterr().err


def test_the_memory_of_this_process():
    assert soak.resident() > 10
