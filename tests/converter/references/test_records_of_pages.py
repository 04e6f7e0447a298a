"""Every record of a network for pages, tables and forms passes in every form."""

from __future__ import annotations

import pytest

from tests.support.shipped_records import FORMS, PAGES, prove_in_form


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PAGES)
def test_every_record_passes_in_every_form(monkeypatch, name, form):
    prove_in_form(monkeypatch, name, form)
