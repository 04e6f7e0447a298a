"""The sweep over sizes: what counts as agreement."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from tests.scripts.test_scripts import script

sweep = script("sweep_sizes")
ONES = np.ones((1, 2, 3), np.float32)


@pytest.mark.parametrize(
    ("theirs", "ours", "outcome", "kind"),
    [
        ([ONES], [ONES], "equal, 0.0e+00", sweep.EQUAL),
        ([ONES], [ONES * 1.00005], "equal, 5.0e-05", sweep.EQUAL),
        ([ONES], [ONES * 1.001], "results differ by 1.0e-03", sweep.FAULT),
        ([ONES], [ONES * np.nan], "results differ by nan", sweep.FAULT),
        ([ONES], [ONES[:, :1]], "shapes ", sweep.FAULT),
        ([ONES], [ONES, ONES], "shapes ", sweep.FAULT),
        ("a\nbroken", "another", "both refuse", sweep.BOTH_REFUSE),
        ("a\nbroken", [ONES], "Paddle refuses, PyTorch accepts, broken", sweep.OURS_ALONE),
        ([ONES], "broken\nb", "only Paddle accepts it; PyTorch: broken", sweep.FAULT),
    ],
)
def test_outcomes(theirs, ours, outcome, kind):
    result = sweep.compare(theirs, ours)
    assert str(result).startswith(outcome)
    assert result.kind == kind


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        (["equal"], 0),
        (["equal within rounding", "both refuse"], 0),
        (["equal", "Paddle refuses, PyTorch accepts"], 0),
        (["both refuse", "Paddle refuses, PyTorch accepts"], 1),  # nothing was compared
        (["equal", "fault"], 1),
        ([], 1),
    ],
)
def test_exit_code_and_rows(monkeypatch, tmp_path, capsys, kinds, code):
    rows = [sweep.Row("x", 48, 320, sweep.Outcome(kind, "y")) for kind in kinds]
    monkeypatch.setattr(sweep, "sweep_families", lambda *_: rows)
    file = tmp_path / "rows.json"
    assert sweep.main(["--paddleocr", str(tmp_path), "--json", str(file)]) == code
    assert [row["outcome"]["kind"] for row in json.loads(file.read_text())] == kinds
    assert capsys.readouterr().out.startswith(f"{len(kinds)} sizes: ")


def test_sizes_are_read_from_the_command_line():
    assert sweep.read_size("48x320") == (48, 320)
    for wrong in ("48", "48x", "0x3", "-1x3", "axb"):
        with pytest.raises(argparse.ArgumentTypeError, match="write HEIGHTxWIDTH"):
            sweep.read_size(wrong)


def test_a_missing_artefact_is_one_line(tmp_path, capsys):
    assert sweep.main([str(tmp_path), str(tmp_path / "x.pth")]) == 2
    assert capsys.readouterr().err.startswith("sweep_sizes: ")


def test_the_usage_needs_one_of_two_ways(capsys):
    for arguments in ([], ["--paddleocr", "x", "export", "x.pth"], ["export"]):
        with pytest.raises(SystemExit):
            sweep.main(arguments)
    assert "give EXPORT and WEIGHTS, or --paddleocr CHECKOUT" in capsys.readouterr().err


def test_a_folder_that_is_no_checkout_is_one_line(tmp_path, capsys):
    assert sweep.main(["--paddleocr", str(tmp_path)]) == 2
    assert "is no PaddleOCR checkout" in capsys.readouterr().err


def test_one_record_of_each_family():
    """Of two records of the same parts one is compared; PaddleX's classes are in no checkout."""
    families = {
        name: sweep.family_of(sweep.read_record(sweep.SHIPPED / name))
        for name in (
            "table__SLANet",
            "table__SLANet_plus",
            "cls__cls_mv3",
            "paddlex__UVDoc",
            "kie__layoutlm_series__ser_layoutlm_xfund_zh",
        )
    }
    assert families["table__SLANet"] == families["table__SLANet_plus"] != families["cls__cls_mv3"]
    assert families["paddlex__UVDoc"] is None
    assert families["kie__layoutlm_series__ser_layoutlm_xfund_zh"] is None  # takes no image


def test_sizes_are_odd_ones_too():
    record = sweep.read_record(sweep.SHIPPED / "cls__cls_mv3")
    height, width = record.facts.inputs[0].shape[2:]
    sizes = sweep.sizes_of(record)
    assert sizes[0] == (height, width)
    assert any(side % 2 for size in sizes for side in size)


def test_the_row_after_the_end_token_is_cut():
    """The export of SLANet_plus has a row more, of zeros, that no step decoded."""
    ours = np.ones((1, 3, 2), np.float32)
    theirs = np.concatenate([ours, np.zeros((1, 1, 2), np.float32)], 1)
    assert sweep.common_steps(theirs, ours).shape == ours.shape
    assert sweep.common_steps(np.ones((1, 5, 2)), ours).shape == (1, 5, 2)  # two more are a fault


def test_records_of_smaller_networks_are_left_out_with_the_reason(monkeypatch, capsys):
    monkeypatch.setattr(sweep.checkout, "require_checkout", lambda _: None)
    assert sweep.sweep_families(Path("PaddleOCR"), "LaTeX_OCR", full_size=False) == []
    said = capsys.readouterr().out
    assert "left out: the record holds a smaller network than PaddleOCR's classes build" in said


def test_what_cannot_be_recorded_at_full_size_is_left_out_with_the_reason(tmp_path):
    record = sweep.read_record(sweep.SHIPPED / "rec__LaTeX_OCR_rec")
    with pytest.raises(sweep.CannotBuild, match=r"at full size: .* is no PaddleOCR checkout"):
        sweep.fitting(tmp_path, record, full_size=True)
