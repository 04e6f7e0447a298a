"""Networks for formulas: what their records do not show, and mistakes that the records see."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from architectures import Model, build
from architectures.backbones import rec_donut_swin, rec_hybridvit, rec_vary_vit
from architectures.backbones.rec_donut_swin import map_of, shifted_mask, windows_of
from architectures.backbones.rec_pphgnetv2 import B6
from architectures.backbones.rec_resnetv2 import StdConv2dSame, pad_same
from architectures.heads import _mbart as mbart
from architectures.heads import rec_latexocr_head
from architectures.heads._mbart import END, PAD
from architectures.heads.rec_unimernet_head import BatchAttention
from architectures.registry import make
from converter.catalog import cards as catalog
from converter.conversion.request import Request
from converter.conversion.steps import reference_kind
from converter.errors import ReferenceUnavailable
from tests.support.recorded_mistakes import honest, prove_changed

LATEX, UNIMER = "rec__LaTeX_OCR_rec", "rec__UniMERNet"
SMALL, MIDDLE, LARGE = (
    f"rec__PP-FormuaNet__PP-FormulaNet{size}" for size in ("-S", "_plus-M", "-L")
)
NAMES = [LATEX, UNIMER, SMALL, MIDDLE, LARGE]
DECODER = "head.decoder.model.decoder"


def features_of(name: str) -> tuple[Model, Tensor]:
    record, network = honest(name)
    with torch.no_grad():
        return network, network.backbone(torch.from_numpy(record.inputs()["image"]))


# The loop.


@pytest.mark.parametrize("name", [LATEX, UNIMER, MIDDLE, LARGE])
def test_the_loop_takes_the_likeliest_token_of_teacher_forcing(name):
    """With keys and values that are kept from step to step, and without: the same tokens."""
    network, features = features_of(name)
    network = copy.deepcopy(network)
    network.head.max_seq_len = 7
    start = 1 if name == LATEX else 0
    with torch.no_grad():
        tokens = network.head(features)
        if name == LATEX:
            tokens = torch.cat([torch.full((len(tokens), 1), start), tokens], 1)
        forced = network.head.score_tokens(features, tokens).argmax(2)[:, : tokens.shape[1] - 1]
    assert (tokens[:, 0] == start).all()
    finished = (tokens == END).cumsum(1)[:, :-1] > 0
    if name == LATEX:  # PaddleOCR goes on behind the end
        finished = torch.zeros_like(finished)
    assert torch.equal(tokens[:, 1:][~finished], forced[~finished])
    assert (tokens[:, 1:][finished] == PAD).all()


def test_several_tokens_at_a_time_do_not_see_each_other():
    network, features = features_of(SMALL)
    tokens = torch.tensor([[0, 5, 6, 7, 8, 9, 10, 11, 12, 13]] * 2)
    with torch.no_grad():
        scores = network.head.score_tokens(features, tokens)
        for changed in range(1, 10):
            other = tokens.clone()
            other[:, changed] = 20
            moved = (network.head.score_tokens(features, other) != scores).any(2).any(0)
            # A step's tokens are scored together, and what follows them is another step's.
            first = (changed + 2) // 3 * 3
            assert moved.nonzero()[:1].flatten().tolist() == ([first] if first < 9 else [])


@pytest.mark.parametrize("name", [SMALL, LARGE])
def test_the_end_is_forced_where_a_text_grows_too_long(name, monkeypatch):
    monkeypatch.setattr(mbart, "LONGEST", 7)
    network, features = features_of(name)
    tokens = network.head(features)
    if name == LARGE:
        assert tokens.shape[1] == 7
        assert (tokens == END).any(1).all()
    else:  # PaddleOCR does so only where it writes one token at a time
        assert tokens.shape[1] > 7


def test_no_more_tokens_are_decoded_than_asked_for():
    network, features = features_of(SMALL)
    network = copy.deepcopy(network)
    lengths = {}
    for longest in (2, 3, 7, 9):
        network.head.max_seq_len = longest
        lengths[longest] = network.head(features).shape[1] - 3
    assert lengths == {2: 0, 3: 3, 7: 6, 9: 9}


def test_only_the_counts_of_unimernet_look_at_the_other_images_of_a_batch():
    """As in PaddleOCR, whose attention takes the first axis for that of the places."""
    for name in (LATEX, SMALL, LARGE):
        network, features = features_of(name)
        tokens = torch.full((2, 6), 4)
        both = network.head.score_tokens(features, tokens)
        torch.testing.assert_close(both[:1], network.head.score_tokens(features[:1], tokens[:1]))
    network, features = features_of(UNIMER)
    alone = network.head.counts(features[:1])
    assert (network.head.counts(features)[:1] - alone).abs().max() > 0.05 * alone.abs().max()


# The parts.


@pytest.mark.parametrize(("side", "expected"), [(7, (3, 3)), (8, (2, 3)), (9, (3, 3))])
def test_padding_as_much_as_the_size_over_the_stride_takes(side, expected):
    padded = pad_same(torch.ones(1, 1, side, 8), 7, 2)[0, 0].sum(1)
    before, after = int((padded > 0).nonzero()[0]), len(padded) - side
    assert (before, after - before) == expected


def test_weights_are_normalised_whatever_their_scale():
    conv = StdConv2dSame(3, 4, 3).eval()
    x = torch.randn(1, 3, 5, 5)
    with torch.no_grad():
        expected = conv(x)
        conv.weight.mul_(8).add_(3)
        torch.testing.assert_close(conv(x), expected, rtol=1e-3, atol=1e-3)
    assert not list(conv.batch_norm.buffers())


def test_windows_and_back():
    x = torch.randn(2, 10, 15, 3)
    windows = windows_of(x)
    assert windows.shape == (2 * 2 * 3, 25, 3)
    assert torch.equal(windows[1].unflatten(0, (5, 5)), x[0, :5, 5:10])
    assert torch.equal(map_of(windows, (10, 15)), x)


def test_a_shifted_map_is_torn_in_its_last_windows():
    mask = shifted_mask((10, 10), torch.device("cpu"))
    assert mask.shape == (4, 25, 25)
    regions = [len(torch.unique(window, dim=0)) for window in mask]
    assert regions == [1, 2, 2, 4]
    assert mask.unique().tolist() == [-100.0, 0.0]
    assert mask.diagonal(dim1=1, dim2=2).eq(0).all()


def test_each_backbone_gives_what_its_head_takes():
    shapes = {}
    with torch.device("meta"):
        for name, options, side in (
            ("PPHGNetV2_B4_Formula", {}, 384),
            ("PPHGNetV2_B6_Formula", {}, 384),
            ("Vary_VIT_B_Formula", {"encoder_depth": 3}, 768),
            ("DonutSwinModel", {}, 192),
        ):
            network = make("Backbone", "rec", {"name": name, **options}, 3).eval()
            found = network(torch.zeros(1, 1, side, side))
            assert network.out_channels == found.shape[2]
            shapes[name] = tuple(found.shape[1:])
    assert shapes == {
        "PPHGNetV2_B4_Formula": (144, 2048),
        "PPHGNetV2_B6_Formula": (144, 2048),
        "Vary_VIT_B_Formula": (144, 1024),
        "DonutSwinModel": (36, 1024),
    }
    assert sum(stage.blocks for stage in B6.stages) == 14


def test_norms_have_paddles_eps():
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
    for name in NAMES:
        _, network = honest(name)
        norms = {key: m.eps for key, m in network.named_modules() if isinstance(m, kinds)}
        fine = {key for key, eps in norms.items() if eps == 1e-6}
        assert {eps for key, eps in norms.items() if key not in fine} == {1e-5}
        expected = {LATEX: "backbone.", LARGE: "backbone."}.get(name, "nothing")
        layers = {key for key in norms if key.startswith(expected) and "patch_embed" not in key}
        assert fine == layers


# What is refused.


@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        ("Backbone", {"name": "HybridTransformer"}, "it takes num_classes: 0"),
        (
            "Backbone",
            {"name": "HybridTransformer", "num_classes": 0, "patch_size": 8},
            "with 3 stages makes patches of 16 pixels, not of 8",
        ),
        ("Head", {"name": "LaTeXOCRHead"}, "takes the decoder_args .*, not None"),
        ("Head", {"name": "UniMERNetHead"}, "gives 3 channels, encoder_hidden_size is 1024"),
    ],
)
def test_what_is_not_built(part, options, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        make(part, "rec", options, 3)


def test_images_of_another_size():
    _, network = honest(LARGE)
    with pytest.raises(AssertionError, match="accepts images of its own size only"):
        network(torch.zeros(1, 1, 256, 128))


def test_nothing_of_a_network_stays_without_values():
    """As `load` builds them, and conversions: without values, which the file brings."""
    for name in NAMES:
        record, network = honest(name)
        with torch.device("meta"):
            empty = build(record.facts.architecture)
        empty.load_state_dict(network.state_dict(), assign=True)
        assert not [key for key, buffer in empty.named_buffers() if buffer.is_meta]


def test_options_of_sampling_are_ignored():
    head = {"name": "PPFormulaNet_Head", "encoder_hidden_size": 128, "decoder_hidden_size": 16}
    head |= {"decoder_layers": 1, "vocab_size": 9, "temperature": 0.2, "top_p": 0.95}
    backbone = {"name": "PPHGNetV2_B4_Formula", "class_num": 5, "width": 1 / 16}
    assert build({"model_type": "rec", "Backbone": backbone, "Head": head}).head.step == 1


def test_no_export_proves_a_network_that_draws_its_answers():
    card = catalog.card("LaTeX_OCR_rec")
    source = SimpleNamespace(export="an export", checkpoint="a checkpoint", path="files")
    request = Request(card.name, Path("files"), None)
    assert reference_kind(request, source, card) == "recorded"
    assert reference_kind(request, source, catalog.card("UniMERNet")) == "program"
    with pytest.raises(ReferenceUnavailable, match="LaTeX_OCR_rec's export samples tokens"):
        reference_kind(replace(request, reference="program"), source, card)


# Mistakes that the records see.

Change = Callable[[pytest.MonkeyPatch, Model], None]


def _sees_what_comes_later(patch: pytest.MonkeyPatch, _: Model) -> None:
    score_tokens = mbart.MBartHead.score_tokens
    patch.setattr(
        mbart.MBartHead,
        "score_tokens",
        lambda self, x, forced, **_: score_tokens(self, x, forced, causal=False),
    )


def _latex_sees_what_comes_later(patch: pytest.MonkeyPatch, _: Model) -> None:
    attend = rec_latexocr_head.CrossAttention.attend
    patch.setattr(
        rec_latexocr_head.SelfAttention,
        "attend",
        lambda self, x, _, cache: attend(self, x, x, cache),
    )


def _positions_without_offset(patch: pytest.MonkeyPatch, _: Model) -> None:
    patch.setattr(mbart, "OFFSET", 0)


def _positions_start_anew(patch: pytest.MonkeyPatch, _: Model) -> None:
    forward = mbart.MBartLearnedPositionalEmbedding.forward
    patch.setattr(
        mbart.MBartLearnedPositionalEmbedding, "forward", lambda self, x, _: forward(self, x)
    )


def _latex_positions_start_anew(patch: pytest.MonkeyPatch, _: Model) -> None:
    forward = rec_latexocr_head.AbsolutePositionalEmbedding.forward
    patch.setattr(
        rec_latexocr_head.AbsolutePositionalEmbedding,
        "forward",
        lambda self, _, count: forward(self, 0, count),
    )


def _tied_embedding(_: pytest.MonkeyPatch, network: Model) -> None:
    decoder = network.head.decoder
    decoder.lm_head.weight = decoder.model["decoder"].embed_tokens.weight


def _padding_is_embedded(patch: pytest.MonkeyPatch, _: Model) -> None:
    patch.setattr(mbart.PaddedEmbedding, "forward", nn.Embedding.forward)


def _another_end(patch: pytest.MonkeyPatch, _: Model) -> None:
    patch.setattr(mbart, "END", 3)


def _latex_another_end(patch: pytest.MonkeyPatch, _: Model) -> None:
    patch.setattr(rec_latexocr_head, "END", 3)


def _no_scale(_: pytest.MonkeyPatch, network: Model) -> None:
    network.head.decoder.model["decoder"].embed_scale = 1.0


def _one_token_at_a_time(_: pytest.MonkeyPatch, network: Model) -> None:
    network.head.step = 1


def _not_shifted(_: pytest.MonkeyPatch, network: Model) -> None:
    for layer in network.backbone.modules():
        if isinstance(layer, rec_donut_swin.DonutSwinLayer):
            layer.shifted = False


def _not_torn(patch: pytest.MonkeyPatch, _: Model) -> None:
    mask = rec_donut_swin.shifted_mask
    patch.setattr(rec_donut_swin, "shifted_mask", lambda *given: 0 * mask(*given))


def _bias_turned_round(patch: pytest.MonkeyPatch, _: Model) -> None:
    places = rec_donut_swin.relative_positions
    patch.setattr(rec_donut_swin, "relative_positions", lambda device: places(device).T)


def _batch_first(patch: pytest.MonkeyPatch, _: Model) -> None:
    along_first = BatchAttention.forward
    patch.setattr(
        BatchAttention,
        "forward",
        lambda self, x: along_first(self, x.transpose(0, 1)).transpose(0, 1),
    )


def _counts_left_out(_: pytest.MonkeyPatch, network: Model) -> None:
    network.head.decoder.length_aware = False


def _rows_for_columns(_: pytest.MonkeyPatch, network: Model) -> None:
    for layer in network.backbone.modules():
        if isinstance(layer, rec_vary_vit.Attention):
            layer.rel_pos_h, layer.rel_pos_w = layer.rel_pos_w, layer.rel_pos_h


def _windows_alone(_: pytest.MonkeyPatch, network: Model) -> None:
    whole = network.backbone.vision_tower_high.blocks[2]
    whole.whole = False
    whole.attn.rel_pos_h = nn.Parameter(whole.attn.rel_pos_h[2:-2].clone())
    whole.attn.rel_pos_w = nn.Parameter(whole.attn.rel_pos_w[2:-2].clone())


def _grid_turned(patch: pytest.MonkeyPatch, _: Model) -> None:
    patch.setattr(rec_hybridvit, "GRID", rec_hybridvit.GRID[::-1])


def _trained_statistics(_: pytest.MonkeyPatch, network: Model) -> None:
    for layer in network.backbone.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.running_mean = torch.zeros(layer.num_features)
            layer.running_var = torch.ones(layer.num_features)


MISTAKES: list[tuple[str, Change, str]] = [
    (LATEX, _latex_sees_what_comes_later, "head.net.attn_layers.layers.0.1.to_out.0"),
    (LATEX, _latex_positions_start_anew, ""),
    (LATEX, _latex_another_end, ""),
    (LATEX, _grid_turned, "backbone.blocks.0.norm1"),
    (LATEX, _trained_statistics, "backbone.patch_embed.backbone.stem.conv.batch_norm"),
    (UNIMER, _sees_what_comes_later, ""),
    (UNIMER, _positions_without_offset, f"{DECODER}.embed_positions"),
    (UNIMER, _tied_embedding, "head.decoder.lm_head"),
    (UNIMER, _not_shifted, "backbone.encoder.layers.0.blocks.1.attention.self.query"),
    (UNIMER, _not_torn, "backbone.encoder.layers.0.blocks.1.attention.self"),
    (UNIMER, _bias_turned_round, "backbone.encoder.layers.0.blocks.0.attention.self"),
    (UNIMER, _batch_first, "head.decoder.counting_decoder.attention_blocks.0.self_attention"),
    (UNIMER, _counts_left_out, ""),
    (UNIMER, _another_end, ""),
    (SMALL, _sees_what_comes_later, ""),
    (SMALL, _one_token_at_a_time, ""),
    (SMALL, _positions_start_anew, ""),
    (SMALL, _padding_is_embedded, ""),
    (MIDDLE, _sees_what_comes_later, ""),
    (MIDDLE, _positions_without_offset, f"{DECODER}.embed_positions"),
    (LARGE, _no_scale, f"{DECODER}.layernorm_embedding"),
    (LARGE, _tied_embedding, "head.decoder.lm_head"),
    (LARGE, _rows_for_columns, "backbone.vision_tower_high.blocks.0.attn.proj"),
    (LARGE, _windows_alone, "backbone.vision_tower_high.blocks.2.attn.qkv"),
]


@pytest.mark.parametrize(
    ("name", "change", "layer"),
    [pytest.param(*row, id=f"{row[0]}{row[1].__name__}") for row in MISTAKES],
)
def test_a_mistake_is_seen(name, change, layer, monkeypatch):
    """In the layer that is named; where none is, in a result: each layer's first call is right."""

    def changed(network: Model) -> Model:
        copied = copy.deepcopy(network)
        change(monkeypatch, copied)
        return copied

    report = prove_changed(monkeypatch, name, changed)
    assert not report.passed
    if layer:
        assert report.first_difference.startswith(f"{layer}: ")
