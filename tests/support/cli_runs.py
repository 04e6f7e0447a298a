"""Running `python -m pipelines` in this process, and the pages that it reads."""

from __future__ import annotations

import signal

import cv2
import numpy as np
import pytest

from pipelines.cli import main as cli
from tests.conftest import Run
from tests.support import pdf_files


@pytest.fixture
def run(capsysbinary):
    """Run the command line in this process."""
    before = signal.getsignal(signal.SIGTERM)

    def run(*words):
        capsysbinary.readouterr()
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as stopped:
            code = stopped.code
        return Run(code, *(text.decode() for text in capsysbinary.readouterr()))

    yield run
    signal.signal(signal.SIGTERM, before)


def write_page(file, level):
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.full((40, 60, 3), level, np.uint8))
    return file


@pytest.fixture
def folder(tmp_path):
    """Two pages, and a PDF of two."""
    scans = tmp_path / "scans"
    write_page(scans / "2.png", 20)
    write_page(scans / "10.png", 100)
    (scans / "book.pdf").write_bytes(pdf_files.pages((72, 72), (72, 36)))
    return scans


def files(folder):
    return sorted(file.name for file in folder.iterdir())
