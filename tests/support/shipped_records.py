"""The records that come along, compared in every form; two test files share them."""

from __future__ import annotations

import copy
from functools import lru_cache

import pytest
import torch
from torch import nn

import architectures
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

AMPLIFYING = "paddledet__PicoDet-L_layout_3cls"
"""By its record an image that changes by 1e-6 changes the outputs by up to 3e-4 (detections aside).

The fused form rounds otherwise than Paddle: it stays within the limit on processors of Intel, where
it reaches 0.93 of it, and is beyond it on those of AMD. In double precision it is compared with the
form before it, which is compared with the record.
"""

# The largest share of the limit, where it is over a half. By its record an image that changes by
# 1e-6 changes SLANet_lcnetv2's outputs by 6e-5.
ROUNDING = {AMPLIFYING: 0.7, "table__SLANet_lcnetv2": 0.7}


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
    if form == "fused" and name == AMPLIFYING:
        compare_in_double(name)
        return
    monkeypatch.setattr("converter.references.recorded.reference.build_recorded", _build)
    report = prove(read_record(RECORDS / name), form)
    assert report.passed, report.worst
    assert report.reference == "recorded"
    assert report.first_difference == ""
    assert report.worst is not None
    assert report.worst.difference < report.worst.limit * ROUNDING.get(name, 0.5)
    probes = [comparison.probe for comparison in report.comparisons]
    assert len(probes) == len(set(probes)) >= 2


@torch.inference_mode()
def compare_in_double(name: str) -> None:
    """Compare the fused form of a record's network with its form before, in double precision."""
    (image, *_) = read_record(RECORDS / name).inputs().values()
    ((network, _),) = _networks(name).values()
    exact = copy.deepcopy(network).double()
    before, fused = (
        architectures.fuse(exact, form)(torch.from_numpy(image).double()) for form in FORMS[1:]
    )
    for key, expected in before.items():
        assert (fused[key] - expected).abs().max() < 1e-9 * expected.abs().max(), key
