"""What networks declare: typed, and by every network that needs it."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from architectures.interfaces import OutputPart
from architectures.registry import REQUIRED, TABLE

HEADLESS = {model_type for model_type, parts in REQUIRED.items() if "Head" not in parts}
WITH_HEAD = {"Kie_backbone"}  # a backbone of a model type whose others are whole networks
OUTPUT_PARTS = {
    row.target
    for part, rows in TABLE.items()
    for row in rows
    if part == "Head" or (HEADLESS & {*row.model_types.split()} and row.name not in WITH_HEAD)
}


@pytest.mark.parametrize("target", sorted(OUTPUT_PARTS))
def test_a_part_with_the_results_declares_them(target):
    module, name = target.split(":")
    part = getattr(import_module(f"architectures.{module}"), name)
    assert issubclass(part, OutputPart)
    scores = getattr(part, "score_tokens", None)
    if scores is not None:  # of `TeacherForced`: features, tokens, then the extra inputs
        _, _, *others = inspect.signature(scores).parameters.values()
        needed = [each.name for each in others if each.default is each.empty]
        assert needed == ["tokens", *part.extra_inputs]
