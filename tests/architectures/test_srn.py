"""SRN: mistakes that its record tells, and what the record does not show."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from architectures import Model, build
from architectures.backbones.rec_resnet_fpn import ResNetFPN
from architectures.heads import self_attention
from architectures.heads.rec_srn_head import GSRM, SRNHead
from architectures.heads.self_attention import PrepareDecoder, PrepareEncoder
from architectures.reparameterize import fold_
from converter.alignment.layer_graph import INPUT, LayerGraph
from converter.alignment.matching import align
from converter.catalog import cards as catalog
from converter.conversion import planning
from converter.mapping.plan import targets_of
from converter.sources.ir import Program, TensorSpec
from tests.converter.alignment.test_layer_graph import op
from tests.support.mistakes import wrong_sign
from tests.support.recorded_mistakes import honest, prove_mistaken

RECORD = "rec__rec_r18_fpn_srn_small"
ENCODER = "head.pvam.wrap_encoder_for_feature"


def no_places(layer: nn.Module) -> None:
    layer.weight.zero_()


def taps_side_by_side(conv: nn.Module) -> None:
    assert isinstance(conv, nn.Conv2d)
    conv.dilation = (1, 1)
    conv.padding = (0, 0)
    run = conv.forward
    conv.forward = lambda x: run(nn.functional.pad(x, (0, 1, 0, 1)))


def two_tables(gsrm: nn.Module) -> None:
    """The table of the second encoder no longer that of the first."""
    assert isinstance(gsrm, GSRM)
    gsrm.wrap_encoder1.prepare_decoder.emb0 = nn.Embedding(39, 512)


def not_shifted(gsrm: nn.Module) -> None:
    """What comes after a character is added to the next one."""
    run = gsrm.wrap_encoder1.forward
    gsrm.wrap_encoder1.forward = lambda words, seen: run(words, seen).roll(1, 1)


@pytest.mark.parametrize(
    ("layer", "mistake", "seen"),
    [
        ("backbone.res4a.conv0.conv", taps_side_by_side, "backbone.res4a.conv0.conv"),
        (f"{ENCODER}.prepare_encoder.emb", no_places, f"{ENCODER}.prepare_encoder.emb"),
        ("head.pvam.emb", no_places, "head.pvam.emb"),
        ("head.pvam.fc1", wrong_sign, "head.pvam.fc1"),
        ("head.gsrm", two_tables,
         "head.gsrm.wrap_encoder1.encoder.layer_0.preprocesser1.layer_norm_0"),
        ("head.gsrm", not_shifted, "head.vsfd.fc0"),
    ],
)  # fmt: skip
def test_a_mistake_is_seen_in_the_record(monkeypatch, layer, mistake, seen):
    report = prove_mistaken(monkeypatch, RECORD, layer, mistake)
    assert not report.passed
    assert report.first_difference.startswith(f"{seen}: ")


def everything(mask: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(mask)


def first_difference_with(monkeypatch, owner, name, change) -> str:
    monkeypatch.setattr(owner, name, change)
    return prove_mistaken(monkeypatch, RECORD, "head", lambda _: None).first_difference


def test_scores_are_scaled_by_the_whole_width(monkeypatch):
    attend = nn.functional.scaled_dot_product_attention
    message = first_difference_with(
        monkeypatch, nn.functional, "scaled_dot_product_attention",
        lambda q, k, v, seen, scale: attend(q, k, v, seen, scale=scale * 8**0.5),
    )  # fmt: skip
    assert message.startswith(f"{ENCODER}.encoder.layer_0.self_attn.proj_fc: ")


def test_what_training_drops_out_is_smaller_at_inference(monkeypatch):
    message = first_difference_with(monkeypatch, self_attention, "KEPT", 1.0)
    assert message.startswith(f"{ENCODER}.encoder.layer_0.")


def test_a_character_sees_none_that_comes_after_it(monkeypatch):
    encoder = "head.gsrm.wrap_encoder0.encoder.layer_0"
    message = first_difference_with(monkeypatch, torch.Tensor, "tril", everything)
    assert message.startswith(f"{encoder}.self_attn.proj_fc: ")


def test_a_character_sees_none_that_stood_before_it(monkeypatch):
    encoder = "head.gsrm.wrap_encoder1.encoder.layer_0"
    message = first_difference_with(monkeypatch, torch.Tensor, "triu", everything)
    assert message.startswith(f"{encoder}.self_attn.proj_fc: ")


def test_the_vector_of_character_0_is_zero_but_scores():
    torch.manual_seed(0)
    prepare = PrepareDecoder(5, 3, 4)
    nn.init.zeros_(prepare.emb1.weight)
    vectors = prepare(torch.tensor([[0, 1, 0]]))
    assert vectors[0, 0].eq(0).all()
    assert vectors[0, 1].ne(0).all()
    gsrm = GSRM(4, 2, 3, 2, 1)
    features, _, scores = gsrm(torch.randn(1, 3, 4))
    table = gsrm.wrap_encoder0.prepare_decoder.emb0.weight
    torch.testing.assert_close(scores[:, 0], features[0] @ table[0])


def test_vectors_are_enlarged_by_the_root_of_their_length():
    prepare = PrepareEncoder(2, 16)
    nn.init.zeros_(prepare.emb.weight)
    torch.testing.assert_close(prepare(torch.ones(1, 2, 16)), torch.full((1, 2, 16), 4 * 0.9))


def test_one_table_has_two_names():
    head = SRNHead(8, 3, 4, 2, 1, 1, 8)
    names = [n for n in head.state_dict() if n.endswith("emb0.weight")]
    assert len(names) == 2
    assert len({head.get_parameter(name) for name in names}) == 1


def test_folding_changes_nothing():
    torch.manual_seed(0)
    network = ResNetFPN(1, 18).double().eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.eps == 1e-5
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
            nn.init.uniform_(part.get_buffer("running_mean"), -0.5, 0.5)
    x = torch.randn(1, 1, 32, 32).double()
    with torch.no_grad():
        expected = network(x)
        fold_(network)
        found = network(x)
    assert not [m for m in network.modules() if type(m) is nn.BatchNorm2d]
    assert expected.shape == (1, 512, 4, 4)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("layers", "first", "last"),
    [(34, "res2a", "res5c"), (101, "bottleneckBlock_0_0", "bottleneckBlock_3_2")],
)
def test_the_blocks_have_paddleocrs_names(layers, first, last):
    with torch.device("meta"):
        network = ResNetFPN(1, layers)
    assert network.stages[0][0] == first
    assert network.stages[-1][-1] == last
    spread = [n for n, m in network.named_modules() if getattr(m, "dilation", 1) == (2, 2)]
    assert [name.partition(".")[0] for name in spread] == [s[0] for s in network.stages[2:]]


def test_layer_norms_have_paddles_eps():
    norms = [m.eps for m in honest(RECORD)[1].modules() if isinstance(m, nn.LayerNorm)]
    assert len(norms) == 3 + 3 + 3
    assert set(norms) == {1e-5}


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="ResNetFPN has no variant of 51 layers; known: 18, 34"):
        ResNetFPN(1, 51)
    with pytest.raises(ValueError, match="hidden_dims 256 should be 512"):
        SRNHead(512, 38, 25, 8, 2, 4, 256)
    with torch.device("meta"):
        head = SRNHead(512, 38, 25, 8, 1, 1, 512)
        with pytest.raises(AssertionError, match="SRN takes 64x256 pixels at most"):
            head(torch.zeros(1, 512, 8, 33))


# Exports.


@pytest.fixture(scope="module")
def small() -> Model:
    facts = honest(RECORD)[0].facts
    with torch.device("meta"):
        return build(facts.architecture)


@pytest.fixture(scope="module")
def layers(small) -> LayerGraph:
    return planning.trace_layers(catalog.card("rec_r50_vd_srn"), small).graph


def test_neither_places_nor_the_padding_come_from_the_image(layers):
    sources = {layer.name.rpartition(".")[0]: layer.sources for layer in layers.layers}
    for name in (f"{ENCODER}.prepare_encoder.emb", "head.pvam.emb"):
        assert sources[name] == frozenset()
    encoder = "head.gsrm.wrap_encoder0"
    norm = sources[f"{encoder}.encoder.layer_0.preprocesser1.layer_norm_0"]
    names = {layers.layers[index].name for index, _ in norm}
    assert names == {f"{encoder}.prepare_decoder.emb{table}.weight" for table in (0, 1)}


def test_a_table_of_two_names_is_filled_once(small, layers):
    alignment = next(align(layers, layers))
    plan = alignment.plan(targets_of(small), {n: 0 for n in small.state_dict() if "batches" in n})
    first, second = (f"head.gsrm.wrap_encoder{i}.prepare_decoder.emb0.weight" for i in (0, 1))
    assert plan.ties == {second: first}
    assert first in {move.target for move in plan.moves}


def test_places_and_masks_are_constants_of_a_program():
    names = ("x", "places", "places_of_text", "hidden", "hidden_before")
    program = Program(
        format="pir",
        operations=(op("embedding", "y", x="places", weight="w"),),
        parameters={"w": TensorSpec("w", (256, 512), "float32")},
        inputs=tuple(TensorSpec(name, (-1, 256, 1), "int64") for name in names),
        outputs=("y",),
        content=b"",
    )
    for card, expected in (("rec_r50_vd_srn", set()), ("rec_vitstr_none_ce", {(INPUT, ())})):
        (layer,) = planning.program_layers(catalog.card(card), program, {}).layers
        assert layer.sources == expected
