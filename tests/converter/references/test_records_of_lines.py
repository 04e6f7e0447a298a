"""Every record of a network for lines of text passes in every form."""

from __future__ import annotations

import pytest

from tests.support.shipped_records import FORMS, LINES, prove_in_form


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LINES)
def test_every_record_passes_in_every_form(monkeypatch, name, form):
    prove_in_form(monkeypatch, name, form)
