"""SAR and RobustScanner, which write one character after the other and keep what they have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures import build, fuse
from architectures.heads import rec_robustscanner_head
from architectures.heads.rec_sar_head import columns_of_text, hidden_columns
from tests.support.mistakes import gates_exchanged, no_bias, wrong_sign
from tests.support.recorded_mistakes import prove_changed, prove_mistaken

SAR, ROBUST = "rec__rec_r31_sar", "rec__rec_r31_robustscanner"
TEXT, PLACE = "head.decoder.hybrid_decoder", "head.decoder.position_decoder"
RNN = f"{PLACE}.position_aware_module.rnn"


def whole_map(decoder: nn.Module) -> None:
    decoder._hidden = lambda x, _: torch.zeros(len(x), 1, 1, x.shape[3], dtype=torch.bool)


def forget_and_output_exchanged(layer: nn.Module) -> None:
    """In the second of the stacked layers."""
    assert isinstance(layer, nn.LSTM)
    for name, tensor in layer.named_parameters():
        if name.endswith("_l1"):
            first, forget, cell, output = tensor.chunk(4)
            tensor.copy_(torch.cat([first, output, cell, forget]))


@pytest.mark.parametrize(
    ("name", "layer", "mistake", "seen"),
    [
        (SAR, "backbone.block3.0.conv1", wrong_sign, "backbone.block3.0.conv1"),
        (SAR, "head.encoder.rnn_encoder", gates_exchanged, "head.encoder.rnn_encoder"),
        (SAR, "head.decoder.rnn_decoder", forget_and_output_exchanged, "head.decoder.rnn_decoder"),
        (SAR, "head.decoder", whole_map, "head.decoder.prediction"),
        (SAR, "head.decoder.embedding", wrong_sign, "head.decoder.embedding"),
        (ROBUST, RNN, gates_exchanged, RNN),
        (ROBUST, f"{PLACE}.embedding", wrong_sign, f"{PLACE}.embedding"),
        (ROBUST, f"{TEXT}.sequence_layer", gates_exchanged, f"{TEXT}.sequence_layer"),
        (ROBUST, "head.encoder.layer", no_bias, "head.encoder.layer"),
    ],
)
def test_a_mistake_is_seen_in_the_record(monkeypatch, name, layer, mistake, seen):
    report = prove_mistaken(monkeypatch, name, layer, mistake)
    assert not report.passed
    assert report.first_difference.startswith(f"{seen}: ")


def test_padding_that_is_seen_is_seen_in_the_record(monkeypatch):
    def nothing(columns: Tensor, width: int) -> Tensor:
        return torch.zeros(len(columns), width, dtype=torch.bool)

    monkeypatch.setattr(rec_robustscanner_head, "hidden_columns", nothing)
    report = prove_changed(monkeypatch, ROBUST, lambda network: network)
    assert not report.passed
    assert report.first_difference.startswith("head.decoder.fusion_module.linear_layer: ")


def network(head: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    backbone = {"name": "ResNet31", "layers": [1, 1, 1, 1], "channels": [8] * 6 + [8]}
    section = {"name": head, "out_channels": 7, "max_text_length": 5, **options}
    return build({"model_type": "rec", "Backbone": backbone, "Head": section})


SMALL = [
    ("SARHead", {"enc_dim": 6, "d_k": 4}),
    ("SARHead", {"enc_dim": 6, "d_k": 4, "enc_gru": True, "dec_gru": True}),
    ("SARHead", {"enc_dim": 6, "d_k": 4, "enc_bi_rnn": True, "pred_concat": False}),
    ("RobustScannerHead", {"enc_outchannles": 6, "start_idx": 5, "padding_idx": 6}),
    ("RobustScannerHead", {"enc_outchannles": 6, "start_idx": 5, "encode_value": True}),
]


@pytest.mark.parametrize(("head", "options"), SMALL)
def test_decoded_text_agrees_with_teacher_forcing(head, options):
    """The loop keeps its state: the whole text at once gives the same."""
    reader, image = network(head, **options), torch.randn(3, 3, 32, 64)
    ratio = torch.tensor([1.0, 0.6, 0.3])
    with torch.no_grad():
        written = reader(image, valid_ratio=ratio)
        tokens = torch.cat([torch.full((3, 1), 5), written.argmax(2)[:, :-1]], 1)
        forced = reader.head.score_tokens(reader.backbone(image), tokens, ratio)
        alone = reader(image[1:2], valid_ratio=ratio[1:2])
    assert written.shape == (3, 5, 6)
    torch.testing.assert_close(written, forced.softmax(2))
    torch.testing.assert_close(written[1:2], alone)


@pytest.mark.parametrize(("head", "options"), SMALL)
def test_padding_is_not_attended_to(head, options):
    """The columns of a line that fills half of the map; what RobustScanner convolves sees more."""
    reader = network(head, **options)
    features = torch.randn(2, 8, 4, 16)
    other = features.clone()
    other[..., 12:] += 1
    with torch.no_grad():
        half, whole = (
            [reader.head(x, torch.full((2,), ratio)) for x in (features, other)]
            for ratio in (0.5, 1.0)
        )
    torch.testing.assert_close(half[0], half[1])
    assert (whole[0] - whole[1]).abs().max() > 1e-4


def test_a_column_that_is_filled_in_part():
    """It counts for SAR, and for RobustScanner if half of it is."""
    ratio = torch.tensor([0.26, 0.33, 0.5, 1.0])
    assert columns_of_text(ratio, 10).tolist() == [3, 4, 5, 10]
    assert hidden_columns(torch.tensor([1, 3]), 3).tolist() == [[False, True, True], [False] * 3]
    values = torch.eye(4).reshape(1, 4, 1, 4).expand(3, -1, -1, -1)
    flat, ratio = torch.zeros(3, 1, 2), torch.tensor([0.3, 0.4, 1.0])
    seen = rec_robustscanner_head.glimpse(flat, torch.zeros(3, 2, 1, 4), values, ratio)
    assert seen[:, 0].tolist() == [[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4]


def test_what_is_never_read_does_not_limit_the_classes():
    """Before its tensors are read a network is built with few classes, to learn its names."""
    reader = network("RobustScannerHead", out_channels=2, start_idx=91, padding_idx=92)
    assert reader.head.decoder.hybrid_decoder.embedding.num_embeddings == 2


def test_the_backbone_folds():
    reader, image = network("SARHead", enc_dim=6, d_k=4), torch.randn(1, 3, 32, 64)
    for part in reader.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.eps == 1e-5
            nn.init.uniform_(part.get_buffer("running_mean"), -0.5, 0.5)
            nn.init.uniform_(part.get_buffer("running_var"), 0.3, 2.0)
    with torch.no_grad():
        fused = fuse(reader)
        torch.testing.assert_close(fused.backbone(image), reader.backbone(image))
    assert not [part for part in fused.modules() if isinstance(part, nn.BatchNorm2d)]
