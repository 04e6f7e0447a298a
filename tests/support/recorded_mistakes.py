"""Recorded networks with a mistake made on purpose, for the tests of single networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pytest

from architectures import Model
from converter.diagnosis import records
from converter.mapping.plan import Plan
from converter.parity.report import ParityReport
from converter.references.recorded.network import build_recorded, networks
from converter.references.recorded.record import Record, read_record
from tests.support.mistakes import Mistake, mistaken
from tests.support.paths import RECORDS


@lru_cache(maxsize=1)
def honest(name: str) -> tuple[Record, Model]:
    """A record and the network that it holds."""
    record = read_record(RECORDS / name)
    ((prefix, architecture),) = networks(record.facts.architecture)
    return record, build_recorded(record, prefix, architecture)[0]


def prove_changed(
    monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[Model], Model]
) -> ParityReport:
    """Prove a record with a network that is not quite what it should be."""
    record, network = honest(name)
    changed = change(network)
    monkeypatch.setattr(
        "converter.references.recorded.reference.build_recorded", lambda *_: (changed, Plan())
    )
    return records.prove(record)


def prove_mistaken(
    monkeypatch: pytest.MonkeyPatch, name: str, layer: str, mistake: Mistake | str
) -> ParityReport:
    """Prove a record with a mistake in one layer of the network."""
    return prove_changed(monkeypatch, name, lambda network: mistaken(network, layer, mistake))
