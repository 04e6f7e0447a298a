"""LayoutLM, LayoutLMv2, LayoutXLM, SDMGR: mistakes are seen by the records; padding; shapes."""

from __future__ import annotations

import copy

import pytest
import torch

from architectures import build, fuse
from architectures.backbones._layoutlmv2 import bucket, cells
from architectures.backbones._relation_decoder import candidate_pairs, possible_pairs
from architectures.registry import UnknownArchitecture
from tests.support.recorded_mistakes import prove_changed, prove_mistaken
from tests.support.seeded_values import seeded

SERIES, VI = "kie__layoutlm_series__", "kie__vi_layoutxlm__"
SIZES = {
    "vocab_size": 90,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
VISUAL = {"depth": 50, "groups": 2, "group_width": 2, "stem_channels": 4, "channels": 8}


def small(name: str, **options: object) -> torch.nn.Module:
    backbone = {"name": name, "sizes": SIZES, **options}
    counts = {"ser": 5} if name.endswith("Ser") else {}
    architecture = {"model_type": "kie", "algorithm": "any", "Backbone": backbone}
    return seeded(build(architecture, class_counts=counts))


def text(count: int, length: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.randint(0, 500, (count, length, 4), generator=generator)
    boxes[..., 2:] += boxes[..., :2]
    return {
        "input_ids": torch.randint(5, 90, (count, length), generator=generator),
        "bbox": boxes,
        "attention_mask": torch.ones(count, length, dtype=torch.long),
        "token_type_ids": torch.zeros(count, length, dtype=torch.long),
    }


def run(network: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    rest = dict(inputs)
    with torch.inference_mode():
        return network(rest.pop("input_ids"), **rest)


def transposed_tables(network):
    """Left and top sides look up each other's table."""
    tables = network.backbone.model.get_submodule(network.backbone.name).embeddings
    x, y = tables.x_position_embeddings, tables.y_position_embeddings
    tables.x_position_embeddings, tables.y_position_embeddings = y, x
    return network


def no_far_bins(network):
    encoder = network.backbone.model.layoutlmv2.encoder
    for layer in (encoder.rel_pos_bias, encoder.rel_pos_x_bias, encoder.rel_pos_y_bias):
        half = layer.weight.shape[1] // 2
        with torch.no_grad():  # later and earlier tokens change places
            layer.weight.copy_(torch.roll(layer.weight, half, 1))
    return network


def picture_before_text(network):
    model = network.backbone.model.get_submodule(network.backbone.name)
    inner = model.visual.forward
    model.visual.forward = lambda image: inner(image).flip(1)  # the last cell first
    return network


def answers_first(network):
    decoder = network.backbone.model.extractor
    decoder.ffnn_head, decoder.ffnn_tail = decoder.ffnn_tail, decoder.ffnn_head
    return network


@pytest.mark.parametrize(
    ("record", "change"),
    [
        (f"{SERIES}ser_layoutlmv2_xfund_zh", no_far_bins),
        (f"{SERIES}ser_layoutlmv2_xfund_zh", transposed_tables),
        (f"{SERIES}ser_layoutxlm_xfund_zh", picture_before_text),
        (f"{VI}re_vi_layoutxlm_xfund_zh", answers_first),
        (f"{VI}ser_vi_layoutxlm_xfund_zh", transposed_tables),
    ],
)
def test_a_changed_network_fails(monkeypatch, record, change):
    report = prove_changed(monkeypatch, record, lambda network: change(copy.deepcopy(network)))
    assert not report.passed


@pytest.mark.parametrize(
    ("record", "layer", "mistake"),
    [
        (f"{SERIES}ser_layoutlm_xfund_zh", "backbone.model.layoutlm.embeddings.layer_norm", "swap"),
        (
            f"{VI}re_vi_layoutxlm_xfund_zh",
            "backbone.model.extractor.rel_classifier.linear",
            "bias",
        ),
        ("kie__sdmgr__kie_unet_sdmgr", "head.gnn_layers.1.out_fc", "bias"),
    ],
)
def test_a_mistake_in_one_layer_is_seen(monkeypatch, record, layer, mistake):
    def change(module: torch.nn.Module) -> None:
        with torch.no_grad():
            (module.bias if mistake == "bias" else module.weight).mul_(-1)

    assert not prove_mistaken(monkeypatch, record, layer, change).passed


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LayoutLMForSer", {}),
        ("LayoutLMv2ForSer", {"mode": "vi"}),
        ("LayoutXLMForSer", {"mode": "vi"}),
    ],
)
@pytest.mark.parametrize(("count", "length"), [(1, 7), (2, 19)])
def test_padding_changes_nothing(name, options, count, length):
    network, inputs = small(name, **options), text(count, length)
    expected = run(network, inputs)
    assert expected.shape == (count, length, 5)
    padded = {
        key: torch.cat([value, value.new_zeros(count, 6, *value.shape[2:])], 1)
        for key, value in inputs.items()
    }
    padded["input_ids"][:, length:] = 1
    assert torch.allclose(run(network, padded)[:, :length], expected, atol=1e-5)


@torch.inference_mode()
def test_the_image_matters_and_folding_does_not():
    torch.manual_seed(0)
    backbone = {"name": "LayoutXLMForSer", "sizes": SIZES, "visual": VISUAL, "num_classes": 5}
    network = build({"model_type": "kie", "Backbone": backbone})
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    inputs = text(1, 9) | {"image": torch.rand(1, 3, 96, 64) * 255}
    expected = run(network, inputs)
    assert not torch.allclose(run(network, inputs | {"image": torch.zeros(1, 3, 96, 64)}), expected)
    assert torch.allclose(run(fuse(network), inputs), expected, atol=1e-4)


def test_bins_of_distances():
    distances = torch.tensor([0, -1, 1, -7, 8, 16, 32, 64, 127, 1000, -1000])
    assert bucket(distances, 32, 128).tolist() == [0, 1, 17, 7, 24, 26, 28, 30, 31, 31, 15]


def test_cells_cover_the_page():
    boxes = cells(torch.zeros(1, 1, 4, dtype=torch.long))[0]
    assert boxes.shape == (49, 4)
    assert boxes[0].tolist() == [0, 0, 142, 142]
    assert boxes[1].tolist() == [142, 0, 285, 142]
    assert boxes[-1].tolist() == [857, 857, 1000, 1000]


def entities(*rows: tuple[int, int, int]) -> torch.Tensor:
    array = torch.full((10, 3), -1)
    array[0] = len(rows)
    array[1 : len(rows) + 1] = torch.tensor(rows)
    return array


def test_pairs_are_questions_with_answers():
    page = entities((0, 2, 1), (2, 3, 2), (3, 5, 0), (5, 6, 2), (6, 8, 1))
    assert possible_pairs(page).tolist() == [[0, 1], [0, 3], [4, 1], [4, 3]]
    stated = torch.tensor([[3, 3], [4, 3], [2, 1], [0, 1]])  # one of them is no question
    pairs, right = candidate_pairs(page, stated)
    assert (pairs.tolist(), right) == ([[4, 3], [0, 1], [0, 3], [4, 1]], 2)


@torch.inference_mode()
def test_a_page_without_questions_has_no_relations():
    network = small("LayoutXLMForRe", mode="vi")
    pages = torch.stack([entities((0, 2, 2)), entities((0, 2, 1), (3, 4, 2))])
    nothing = torch.tensor([[[0, 0]], [[0, 0]]])
    result = run(network, text(2, 8) | {"entities": pages, "relations": nothing})
    assert result["loss"].isfinite()
    assert (result["pred_relations"][0] == -1).all()
    assert result["pred_relations"].shape == (2, 100, 7, 2)


def test_options_that_do_not_fit():
    with pytest.raises(UnknownArchitecture, match="mode is 'both', expected one of base, vi"):
        small("LayoutXLMForSer", mode="both")
    with pytest.raises(UnknownArchitecture, match="LayoutLMForSer: mode is 'vi'; supported is"):
        small("LayoutLMForSer", mode="vi")
    with pytest.raises(ValueError, match="needs a class count"):
        build({"model_type": "kie", "Backbone": {"name": "LayoutLMForSer"}})
    head = {"name": "SDMGRHead", "num_classes": 3, "visual_dim": 8}
    with pytest.raises(UnknownArchitecture, match="visual_dim is 8, but the backbone gives 16"):
        build({"model_type": "kie", "Backbone": {"name": "Kie_backbone"}, "Head": head})
