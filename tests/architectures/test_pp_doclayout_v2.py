"""PP-DocLayoutV2: which queries are regions, their sequence, and what the reading order sees."""

from __future__ import annotations

import pytest
import torch

from architectures.heads._reading_order import (
    END,
    PADDING,
    REGION,
    START,
    BoxRelations,
    ReadingOrder,
)
from architectures.heads.pp_doclayout_v2_head import PPDocLayoutV2
from tests.support.seeded_values import seeded

THRESHOLDS, ORDER = (0.5, 0.9, 0.2), (4, 0, 19)


def head(**changes: object) -> PPDocLayoutV2:
    sizes = {"order_hidden_size": 8, "order_nhead": 2, "order_dim_feedforward": 8}
    options = {"class_thresholds": THRESHOLDS, "class_order": ORDER, **sizes, **changes}
    return seeded(
        PPDocLayoutV2([8, 8, 8], 3, **options, hidden_dim=8, num_queries=10, nhead=2,
                      num_decoder_layers=2, dim_feedforward=8, order_layers=2)
    )  # fmt: skip


def regions(count: int = 3, total: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(2, total, 2, generator=generator) * 500
    boxes = torch.cat([corners, corners + torch.rand(2, total, 2, generator=generator) * 400], 2)
    is_region = (torch.arange(total) < count).expand(2, -1)
    kinds = torch.arange(total).expand(2, -1).masked_fill(~is_region, 4)
    return boxes.masked_fill(~is_region[..., None], 0.0), kinds, is_region


@torch.inference_mode()
def test_results():
    maps = [torch.rand(2, 8, size, size) - 0.5 for size in (16, 8, 4)]
    results = head()(maps)
    shapes = {name: tuple(x.shape[1:]) for name, x in results.items()}
    assert shapes == {"boxes": (10, 4), "logits": (10, 3), "order": (10, 10)}
    assert tuple(results) == PPDocLayoutV2.results


@torch.inference_mode()
def test_regions_reach_the_threshold_of_their_best_class_and_come_first():
    probabilities = torch.tensor(
        [[0.1, 0.8, 0.1], [0.6, 0.1, 0.1], [0.1, 0.1, 0.19], [0.1, 0.95, 0.9], [0.1, 0.1, 0.21]]
    )
    logits = probabilities.logit()[None]
    boxes = torch.arange(20.0).reshape(1, 5, 4)
    sorted_boxes, sorted_logits, is_region = head().regions_first(boxes, logits)
    sequence = [1, 3, 4, 0, 2]
    assert sorted_boxes.equal(boxes[:, sequence])
    assert sorted_logits.equal(logits[:, sequence])
    assert is_region.tolist() == [[True] * 3 + [False] * 2]


@torch.inference_mode()
def test_a_score_at_the_threshold_is_a_region():
    logits = torch.zeros(1, 2, 3)
    logits[0, 1, 0] = -1e-3
    logits[0, :, 1:] = -9
    assert head().regions_first(torch.zeros(1, 2, 4), logits)[2].tolist() == [[True, False]]


def test_the_reading_order_sees_boxes_in_thousandths_and_kinds():
    network = head()
    seen = {}
    network.reading_order_predictor.forward = lambda *given: seen.update(given=given)
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.9, 0.1, 0.4, 0.4], [0.5, 0.5, 1.0, 1.0]]])
    logits = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]])
    network.read_order(boxes, logits, torch.tensor([[True, True, False]]))
    corners, kinds, is_region = seen["given"]
    expected = torch.tensor([[[400.0, 300, 600, 700], [700, 0, 1000, 300], [0, 0, 0, 0]]])
    assert torch.allclose(corners, expected)
    assert kinds.tolist() == [[ORDER[0], ORDER[2], ORDER[0]]]
    assert is_region.tolist() == [[True, True, False]]


@torch.inference_mode()
def test_tokens_and_their_places():
    network = seeded(ReadingOrder(8, 2, 8, 1, coordinate_size=3, shape_size=2, pointer_size=4))
    seen = []
    for table in (network.embeddings.word_embeddings, network.embeddings.position_embeddings):
        table.register_forward_hook(lambda _module, given, _output: seen.append(given[0]))
    network(*regions())
    assert seen[0].tolist() == [[START, REGION, REGION, REGION, END, PADDING, PADDING]] * 2
    assert seen[1].tolist() == [[2, 3, 4, 5, 6, 1, 1]] * 2


@torch.inference_mode()
def test_padding_does_not_change_the_regions():
    network = seeded(ReadingOrder(8, 2, 8, 2, coordinate_size=3, shape_size=2, pointer_size=4))
    boxes, kinds, is_region = regions(total=7)
    short = network(boxes[:, :4], kinds[:, :4], is_region[:, :4])[:, :3, :3]
    assert torch.allclose(network(boxes, kinds, is_region)[:, :3, :3], short, atol=1e-5)
    changed = boxes.clone()
    changed[:, 1, 2] += 50
    assert not torch.allclose(network(changed, kinds, is_region)[:, :3, :3], short, atol=1e-3)


@torch.inference_mode()
def test_relations_of_boxes():
    module = BoxRelations(2)
    boxes = torch.tensor([[[0.0, 0, 100, 50], [200, 10, 300, 210]]])
    waves = []
    module.pos_proj.register_forward_hook(lambda _module, given, _output: waves.append(given[0]))
    module(boxes)
    x, y = abs(50 - 250) / 100, abs(25 - 110) / 50
    numbers = torch.tensor([x + 1, y + 1, 100 / 100, 50 / 200]).log()
    steps = 10000.0 ** (-torch.arange(8) / 4)
    angles = numbers[:, None] * 100 * steps
    expected = torch.cat([angles.sin(), angles.cos()], 1).flatten()
    assert torch.allclose(waves[0][0, :, 0, 1], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_thresholds": (0.5,)}, "class_thresholds has 1 numbers for 3 classes"),
        ({"class_order": (1, 2)}, "class_order has 2 numbers for 3 classes"),
        ({"class_order": (1, 2, 20)}, "numbers that are not from 0 to 19"),
    ],
)
def test_options_for_another_class_count(change, message):
    with pytest.raises(ValueError, match=message):
        head(**change)
