"""PP-DocLayoutV3: prototypes at the size of the finest map, boxes of masks, the order of pairs."""

from __future__ import annotations

import copy

import pytest
import torch

from architectures.heads.pp_doclayout_v3_head import PPDocLayoutV3, boxes_of_masks
from architectures.layers.global_pointer import NEVER, GlobalPointer
from architectures.necks.mask_hybrid_encoder import MaskFeatFPN, MaskHybridEncoder
from architectures.reparameterize import fold_
from tests.support.seeded_values import seeded

SIZES = ((4, 32), (4, 16), (6, 8), (8, 4))


def maps() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, c, s, s, generator=generator) for c, s in SIZES]


@torch.inference_mode()
def test_the_encoder_adds_prototypes_and_folds():
    options = {"hidden_dim": 8, "nhead": 2, "dim_feedforward": 8}
    encoder = seeded(
        MaskHybridEncoder(
            [c for c, _ in SIZES], **options, mask_feature_channels=(6, 5), num_prototypes=3
        )
    )
    assert encoder.out_channels == [8, 8, 8, 3]
    expected = encoder(maps())
    assert [x.shape[1:] for x in expected] == [(8, 16, 16), (8, 8, 8), (8, 4, 4), (3, 32, 32)]
    folded = copy.deepcopy(encoder)
    fold_(folded)
    for ours, theirs in zip(folded(maps()), expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_coarser_maps_have_a_convolution_for_each_doubling():
    heads = MaskFeatFPN([8, 8, 8], 6, 5).scale_heads
    assert [len(head) for head in heads] == [1, 2, 4]
    names = [name for name, _ in heads.named_parameters() if name.endswith("conv.weight")]
    assert names == [f"{n}.0.conv.weight" for n in ("0.0", "1.0", "2.0", "2.2")]


@pytest.mark.parametrize(
    ("rows", "columns", "box"),
    [
        (slice(1, 3), slice(2, 6), [0.5, 0.5, 0.5, 0.5]),
        (slice(0, 1), slice(0, 1), [1 / 16, 1 / 8, 1 / 8, 1 / 4]),
        (slice(3, 4), slice(7, 8), [15 / 16, 7 / 8, 1 / 8, 1 / 4]),
        (slice(0, 4), slice(0, 8), [0.5, 0.5, 1, 1]),
        (slice(0, 0), slice(0, 8), [0, 0, 0, 0]),
    ],
)
def test_the_box_of_a_mask_includes_its_last_pixels(rows, columns, box):
    mask = torch.zeros(4, 8, dtype=torch.bool)
    mask[rows, columns] = True
    assert boxes_of_masks(mask).tolist() == box
    hollow = mask.clone()
    hollow[1:-1, 1:-1] = False
    if hollow.any() and box[2:] == [1, 1]:
        assert boxes_of_masks(hollow).tolist() == box


@torch.inference_mode()
def test_pairs_are_scored_above_the_diagonal():
    pointer = seeded(GlobalPointer(6, 4))
    x = torch.rand(2, 5, 6)
    logits = pointer(x)
    first, second = pointer.dense(x).unflatten(2, (2, 4)).unbind(2)
    for i in range(5):
        for j in range(5):
            pair = (first[:, i] * second[:, j]).sum(1) / 2 if i < j else torch.full((2,), NEVER)
            assert torch.allclose(logits[:, i, j], pair, atol=1e-5)


@torch.inference_mode()
def test_queries_start_from_their_masks():
    head = seeded(PPDocLayoutV3([8, 8, 8, 3], 4, 8, 10, 2, 2, 8, global_pointer_head_size=4)).eval()
    *fused, prototypes = [
        torch.rand(2, c, s, s) - 0.5 for c, s in ((8, 16), (8, 8), (8, 4), (3, 32))
    ]
    results = head([*fused, prototypes])
    shapes = {name: tuple(x.shape[1:]) for name, x in results.items()}
    assert shapes == {"boxes": (10, 4), "logits": (10, 4), "order": (10, 10), "masks": (10, 32, 32)}
    assert tuple(results) == head.results
    memory, sizes = head.memory(fused)
    chosen = head.select(memory, sizes)
    masks = head.masks(head.dec_norm(chosen.features), prototypes)
    expected = boxes_of_masks(masks > 0).clamp(1e-5, 1 - 1e-5)
    points = head.mask_points(chosen.features, prototypes)
    assert torch.allclose(points.sigmoid(), expected, atol=2e-5)


def test_layers_share_the_heads_of_the_encoder():
    head = PPDocLayoutV3([8, 8, 8, 3], 4, 8, 10, 2, 2, 8)
    assert not [name for name, _ in head.named_parameters() if "dec_score" in name]
    assert list(head._box_heads()) == [head.enc_bbox_head] * 2
