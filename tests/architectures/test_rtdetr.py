"""RT-DETR: the encoder's forms, the decoder's sampling and selection, and options."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from architectures.backbones.rec_pphgnetv2 import LayoutPPHGNetV2
from architectures.heads.rtdetr_head import (
    MSDeformableAttention,
    RTDETRTransformer,
    anchor_points,
    inverse_sigmoid,
)
from architectures.layers.packed_attention import PackedAttention
from architectures.necks.hybrid_encoder import HybridEncoder, RepVggBlock, position_embedding
from architectures.reparameterize import fold_
from tests.support.seeded_values import seeded


def test_packed_attention_is_that_of_pytorch():
    torch.manual_seed(0)
    ours = PackedAttention(8, 2)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    torch.nn.init.normal_(ours.in_proj_weight)
    torch.nn.init.normal_(ours.in_proj_bias)
    theirs.load_state_dict(ours.state_dict())
    x, positions = torch.rand(2, 5, 8), torch.rand(1, 5, 8)
    placed = x + positions
    expected, _ = theirs(placed, placed, x, need_weights=False)
    assert torch.allclose(ours(x, positions), expected, atol=1e-6)


@torch.inference_mode()
def test_a_block_of_two_convolutions_becomes_one():
    block = seeded(RepVggBlock(4))
    x = torch.rand(1, 4, 5, 6)
    expected = block(x)
    deployed = copy.deepcopy(block).deployed()
    assert [name for name, _ in deployed.named_parameters()] == ["conv.weight", "conv.bias"]
    assert torch.allclose(deployed(x), expected, atol=1e-5)


@torch.inference_mode()
def test_the_encoder_keeps_sizes_and_folds():
    encoder = seeded(HybridEncoder([4, 6, 8], 8, nhead=2, dim_feedforward=8))
    maps = [torch.rand(1, c, s, s) for c, s in ((4, 16), (6, 8), (8, 4))]
    expected = encoder(maps)
    assert [tuple(m.shape) for m in expected] == [(1, 8, 16, 16), (1, 8, 8, 8), (1, 8, 4, 4)]
    folded = copy.deepcopy(encoder)
    fold_(folded)
    for ours, theirs in zip(folded(maps), expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_positions_are_counted_column_by_column():
    table = position_embedding(3, 2, torch.zeros(1, 4, 1, 1))
    columns, rows = torch.tensor([0.0, 0, 1, 1, 2, 2]), torch.tensor([0.0, 1, 0, 1, 0, 1])
    expected = torch.stack([columns.sin(), columns.cos(), rows.sin(), rows.cos()], 1)
    assert torch.allclose(table, expected[None])


class TestSampling:
    """One head, one level, one point: the value at the box's centre plus the offset."""

    @staticmethod
    def attention(offset: tuple[float, float]) -> MSDeformableAttention:
        attention = MSDeformableAttention(1, 1, 1, 1)
        with torch.no_grad():
            for tensor in attention.parameters():
                tensor.zero_()
            attention.value_proj.weight.fill_(1.0)
            attention.output_proj.weight.fill_(1.0)
            attention.sampling_offsets.bias.copy_(torch.tensor(offset))
        return attention

    def sample(self, offset: tuple[float, float], box: list[float]) -> float:
        memory = torch.arange(12.0).reshape(1, 12, 1)  # 3 rows of 4
        boxes = torch.tensor([[box]])
        return self.attention(offset)(torch.zeros(1, 1, 1), boxes, memory, [(3, 4)]).item()

    def test_the_centre_of_a_pixel(self):
        assert self.sample((0, 0), [0.375, 0.5, 0.5, 0.5]) == pytest.approx(5)

    def test_an_offset_of_one_is_half_the_box(self):
        assert self.sample((1, 0), [0.375, 0.5, 0.5, 0.5]) == pytest.approx(6)
        assert self.sample((0, 1), [0.375, 0.5, 0.5, 2 / 3]) == pytest.approx(9)

    def test_outside_is_zero(self):
        assert self.sample((8, 0), [0.375, 0.5, 0.5, 0.5]) == pytest.approx(0)


class TestDecoder:
    @staticmethod
    def head(**options) -> RTDETRTransformer:
        torch.manual_seed(2)
        return RTDETRTransformer(
            [8, 8, 8],
            3,
            hidden_dim=8,
            num_queries=5,
            nhead=2,
            num_decoder_layers=2,
            dim_feedforward=8,
            **options,
        ).eval()

    maps = (torch.rand(2, 8, 8, 8), torch.rand(2, 8, 4, 4), torch.rand(2, 8, 2, 2))

    @pytest.mark.parametrize("learnt", [False, True])
    @torch.inference_mode()
    def test_results(self, learnt):
        result = self.head(learnt_init_query=learnt)(self.maps)
        assert list(result) == ["boxes", "logits"]
        assert result["boxes"].shape == (2, 5, 4)
        assert result["logits"].shape == (2, 5, 3)
        assert ((result["boxes"] >= 0) & (result["boxes"] <= 1)).all()

    @torch.inference_mode()
    def test_queries_are_the_positions_with_the_highest_scores(self):
        head = self.head()
        memory, sizes = head.memory(self.maps)
        selected = head.select(memory, sizes)
        best = selected.scores.max(2).values
        anchors, _ = anchor_points(sizes, memory)
        for image in range(2):
            chosen = best[image].topk(5).indices
            expected = selected.offsets[image, chosen] + anchors[0, chosen]
            assert torch.equal(selected.points[image], expected)

    def test_anchors_near_the_border_are_masked(self):
        anchors, valid = anchor_points([(200, 200)], torch.zeros(1))
        grid = valid.reshape(200, 200)
        assert not grid[:2].any()
        assert not grid[:, -2:].any()
        assert grid[2:-2, 2:-2].all()
        assert anchors[0, 0].isinf().all()
        middle = anchors.reshape(200, 200, 4)[50, 100].sigmoid()
        assert torch.allclose(middle, torch.tensor([100.5 / 200, 50.5 / 200, 0.05, 0.05]))


def test_the_inverse_of_the_sigmoid():
    x = torch.tensor([0.0, 0.2, 1.0])
    assert torch.allclose(inverse_sigmoid(x)[1], torch.logit(torch.tensor(0.2)))
    assert torch.isfinite(inverse_sigmoid(x)).all()
    assert torch.allclose(F.sigmoid(inverse_sigmoid(x)), x, atol=2e-5)


def test_an_unknown_backbone():
    with pytest.raises(ValueError, match="PPHGNetV2 has no arch 'Q'; known: L, H"):
        LayoutPPHGNetV2(arch="Q")
