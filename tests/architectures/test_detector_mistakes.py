"""Mistakes in detectors turn their records red: offsets, bins, overlaps."""

from __future__ import annotations

from collections.abc import Callable

import torch

from architectures import Model
from converter.parity.comparison import LIMIT
from converter.references.recorded.record import read_record
from converter.references.recorded.reference import subjects
from tests.support.paths import RECORDS

V2, YOLO = "paddlex__PP-DocLayoutV2", "paddledet__ppyolov2_r50vd_dcn_365e_tableBank_word"
PICO = "paddledet__picodet_lcnet_x1_0_fgd_layout_cdla"


def red(name: str, change: Callable[[Model], object]) -> set[str]:
    """Return the results of a record that differ once the network is changed."""
    ((reference, network, _),) = subjects(read_record(RECORDS / name))
    with torch.no_grad():
        change(network)
    comparisons = reference.compare(network, reference.image, LIMIT)
    return {c.probe for c in comparisons if c.fault or not c.difference <= c.limit}


def test_offsets_of_deformable_attention():
    def change(network: Model) -> None:
        for layer in network.head.decoder.layers:
            layer.cross_attn.sampling_offsets.weight.mul_(1.02)

    assert "fixed_intermediate_logits" in red(V2, change)


def test_bins_of_distances():
    def change(network: Model) -> None:
        for level in range(4):
            layer = getattr(network.head, f"head_cls{level}")
            layer.weight[-2:] = layer.weight[-2:].flip(0)
            layer.bias[-2:] = layer.bias[-2:].flip(0)

    assert {"boxes", "distances.0"} <= red(PICO, change)


def test_the_weight_of_overlaps():
    def change(network: Model) -> None:
        network.head.iou_aware_factor = 0.49

    assert red(YOLO, change) >= {"maps.0", "maps.1", "maps.2"}


def test_offsets_of_deformable_convolutions():
    def change(network: Model) -> None:
        for unit in range(3):
            layer = getattr(network.backbone, f"bb_3_{unit}").conv1._conv.conv_offset
            moves = layer.weight[:18].unflatten(0, (9, 2))
            layer.weight[:18] = moves.flip(1).flatten(0, 1)

    assert "maps.0" in red(YOLO, change)
