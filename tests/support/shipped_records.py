"""The records that come along, compared in every form; two test files share them."""

from __future__ import annotations

from functools import lru_cache

import pytest
from torch import nn

from architectures import Model
from architectures.interfaces import Deployable, Foldable
from converter.diagnosis.records import prove
from converter.mapping.plan import Plan
from converter.references.recorded.network import build_recorded, networks
from converter.references.recorded.record import Record, find_records, read_record
from tests.support.paths import RECORDS

NAMES = [folder.name for folder in find_records(RECORDS)]
FORMS = ("train", "deploy", "fused")
LINES = [name for name in NAMES if name.startswith(("rec__", "cls__", "sr__"))]
"""Records of networks whose images are lines of text."""
PAGES = [name for name in NAMES if name not in LINES]
"""The others: those of detectors, of layout, of tables and of key information."""

LARGE = 30_000_000  # weights

# The largest share of the limit, where it is over a half. By their records an image that changes by
# 1e-6 changes PicoDet-L's outputs by up to 3e-4 (detections aside), SLANet_lcnetv2's by 6e-5. For
# PicoDet-L this asks no more than the proof does: fused, it reaches 0.93 with one thread.
ROUNDING = {"paddledet__PicoDet-L_layout_3cls": 1.0, "table__SLANet_lcnetv2": 0.7}


@lru_cache(maxsize=1)
def _networks(name: str) -> dict[str, tuple[Model, Plan]]:
    """The networks of one record by the prefixes of their tensors."""
    record = read_record(RECORDS / name)
    return {
        prefix: build_recorded(record, prefix, architecture)
        for prefix, architecture in networks(record.facts.architecture)
    }


def _build(record: Record, prefix: str, _: object) -> tuple[Model, Plan]:
    return _networks(record.name)[prefix]


def _changes(network: Model, form: str) -> bool:
    """Return whether a network in that form is another one than in the form before it."""
    kinds = {"train": nn.Module, "deploy": Deployable, "fused": Foldable}
    return any(isinstance(module, kinds[form]) for module in network.modules())


def prove_in_form(monkeypatch: pytest.MonkeyPatch, name: str, form: str) -> None:
    """Compare the networks of a record in one form with what Paddle computed.

    They are built once for all forms of a record, which are made of copies. Large networks are
    compared in their last form alone, whose results depend on all that the others have; `make
    parity` compares them layer by layer in the training form.
    """
    built = [network for network, _ in _networks(name).values()]
    forms = [form for form in FORMS if any(_changes(network, form) for network in built)]
    if sum(weight.numel() for network in built for weight in network.parameters()) > LARGE:
        forms = forms[-1:]
    if form not in forms:
        return  # the network is that of another form, which is compared in full
    monkeypatch.setattr("converter.references.recorded.reference.build_recorded", _build)
    report = prove(read_record(RECORDS / name), form)
    assert report.passed, report.worst
    assert report.reference == "recorded"
    assert report.first_difference == ""
    assert report.worst is not None
    assert report.worst.difference < report.worst.limit * ROUNDING.get(name, 0.5)
    probes = [comparison.probe for comparison in report.comparisons]
    assert len(probes) == len(set(probes)) >= 2
