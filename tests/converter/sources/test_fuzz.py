"""Damaged files of every kind, with fixed seeds; `make fuzz` tries many more."""

from __future__ import annotations

import random

import pytest

from tests.fuzz import KINDS, damage, run_case

CASES = 250


@pytest.mark.parametrize("name", KINDS)
def test_damaged_files_are_refused_or_read(tmp_path, name):
    faults = {seed: fault for seed in range(CASES) if (fault := run_case(name, seed, tmp_path))}
    assert not faults, next(iter(faults.values()))


@pytest.mark.parametrize("name", KINDS)
def test_the_files_are_read_when_nothing_is_damaged(tmp_path, name):
    content, read = KINDS[name]
    (tmp_path / name).write_bytes(content)
    read(tmp_path / name)


def test_damage_is_decided_by_its_seed():
    content = bytes(range(200))
    results = {damage(content, random.Random(seed)) for seed in range(50)}
    assert len(results) > 40
    assert damage(content, random.Random(3)) == damage(content, random.Random(3))
