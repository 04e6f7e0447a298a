"""Records of detectors: rows that follow a top-k, and mistakes that they show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from architectures.heads import pico_head
from architectures.heads.rtdetr_head import RTDETRTransformer
from converter.parity import noise
from converter.parity.comparison import LIMIT
from converter.parity.noise import Noise
from converter.parity.ranked import UNMATCHED
from converter.references.recorded.compare import compare_ranked
from converter.references.recorded.record import Record, read_record
from converter.references.recorded.reference import subjects
from schemas.record import OutputRow
from tests.support.paths import RECORDS

ROWS = np.random.default_rng(0).uniform(-1, 1, (100, 4)).astype(np.float32)
ROW = OutputRow("rows", (1, 100, 4), "float32", 0.0, 0.5, 1.0, 1)


class TestRanked:
    def compare(self, actual: np.ndarray, grown: Noise | None = None, row: OutputRow = ROW) -> str:
        arrays = {"rows": ROWS.ravel()}
        return compare_ranked(arrays, row, actual[np.newaxis], grown, 1e-4, (1, 3, 8, 8)).fault

    def test_the_order_has_no_meaning(self):
        assert not self.compare(ROWS[::-1])

    def test_some_come_last_into_the_choice_on_one_side_alone(self):
        few = 100 // UNMATCHED
        assert not self.compare(np.concatenate([ROWS[few:], ROWS[:few] + 3]))
        assert "no counterpart" in self.compare(
            np.concatenate([ROWS[few + 1 :], ROWS[: few + 1] + 3])
        )

    def test_one_row_does_not_stand_for_others(self):
        assert "no counterpart" in self.compare(np.concatenate([ROWS[:50], ROWS[:50]]))

    def test_columns_belong_together(self):
        assert "no counterpart" in self.compare(
            np.roll(ROWS, 1, 0) * [1, 1, 0, 0] + ROWS * [0, 0, 1, 1]
        )

    def test_measured_noise_is_subtracted(self):
        moved = ROWS + np.float32(5e-4)
        assert "no counterpart" in self.compare(moved)
        assert not self.compare(moved, Noise(5e-4, 1e-4))
        assert "no counterpart" in self.compare(moved, Noise(3e-4, 1e-4))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_single_value_that_is_not_finite(self, value):
        actual = ROWS.copy()
        actual[0, 0] = value
        assert "no finite values" in self.compare(actual)

    def test_another_shape_or_a_sample(self):
        assert "PyTorch (1, 99, 4)" in self.compare(ROWS[:99])
        assert "with stride 3" in self.compare(ROWS, row=ROW._replace(stride=3))


def without_trace(name: str) -> Record:
    """A record whose layers are the logits alone, so that its results have to show a mistake."""
    record = read_record(RECORDS / name)
    rows = [n for n, row in enumerate(record.facts.trace) if row.layer.startswith("head.head_")]
    rows += [n for n, row in enumerate(record.facts.trace) if ".dec_score_head" in row.layer]
    facts = replace(record.facts, trace=tuple(record.facts.trace[n] for n in rows))
    return replace(
        record, facts=facts, arrays={**record.arrays, "trace": record.arrays["trace"][rows]}
    )


def faults(name: str) -> set[str]:
    """What differs; where, and why, is looked for elsewhere."""
    ((reference, network, _),) = subjects(without_trace(name))
    found = reference.compare(network, reference.image, LIMIT)
    return {comparison.probe for comparison in found if comparison.fault}


PICO, DETR = "paddledet__PicoDet-S_layout_3cls", "paddledet__RT-DETR-L_wired_table_cell_det"


def test_bins_are_counted_from_zero(monkeypatch):
    decode = pico_head.decode_boxes

    def from_one(distances, sizes, strides, cell_offset):
        boxes = decode(distances, sizes, strides, cell_offset)
        cells = [h * w for h, w in sizes]
        per_cell = torch.repeat_interleave(torch.tensor(strides), torch.tensor(cells))
        return boxes + per_cell[:, None] * torch.tensor([-1, -1, 1, 1])

    assert not faults(PICO)
    monkeypatch.setattr(pico_head, "decode_boxes", from_one)
    assert faults(PICO) == {"boxes"}


def test_the_highest_scores_are_chosen(monkeypatch):
    select = RTDETRTransformer.select

    def lowest(self, memory, sizes):
        self.enc_score_head.weight.neg_()
        self.enc_score_head.bias.neg_()
        chosen = select(self, memory, sizes)
        self.enc_score_head.weight.neg_()
        self.enc_score_head.bias.neg_()
        return chosen._replace(scores=-chosen.scores)

    monkeypatch.setattr(noise, "_RUNS", 1)  # what is wrong differs by far more
    monkeypatch.setattr(RTDETRTransformer, "select", lowest)
    found = faults(DETR)
    assert {"enc_topk_boxes, rows", "enc_topk_logits, rows", "dec_boxes, rows"} <= found
    assert not found & {"enc_score_head", "enc_bbox_head", "fixed_boxes", "fixed_logits"}
