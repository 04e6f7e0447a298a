"""The sweep over sizes: what counts as agreement."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from tests.scripts.test_scripts import script

sweep = script("sweep_sizes")
ONES = np.ones((1, 2, 3), np.float32)


@pytest.mark.parametrize(
    ("theirs", "ours", "outcome", "agree"),
    [
        ([ONES], [ONES], "equal, 0.0e+00", True),
        ([ONES], [ONES * 1.00005], "equal, 5.0e-05", True),
        ([ONES], [ONES * 1.001], "differ, 1.0e-03", False),
        ([ONES], [ONES * np.nan], "differ, nan", False),
        ([ONES], [ONES[:, :1]], "shapes ", False),
        ([ONES], [ONES, ONES], "shapes ", False),
        ("a\nbroken", "another", "both refuse", True),
        ("a\nbroken", [ONES], "only PyTorch accepts it; Paddle: broken", False),
        ([ONES], "broken\nb", "only Paddle accepts it; PyTorch: broken", False),
    ],
)
def test_outcomes(theirs, ours, outcome, agree):
    text, agreed = sweep.compare(theirs, ours)
    assert text.startswith(outcome)
    assert agreed == agree


def test_sizes_are_read_from_the_command_line():
    assert sweep.read_size("48x320") == (48, 320)
    for wrong in ("48", "48x", "0x3", "-1x3", "axb"):
        with pytest.raises(argparse.ArgumentTypeError, match="write HEIGHTxWIDTH"):
            sweep.read_size(wrong)


def test_a_missing_artefact_is_one_line(tmp_path, capsys):
    assert sweep.main([str(tmp_path), str(tmp_path / "x.pth")]) == 2
    assert capsys.readouterr().err.startswith("sweep_sizes: ")
