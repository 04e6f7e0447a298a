"""NRTR, PARSeq, ABINet, VisionLAN, SATRN, ViTSTR: loops, options, and what records do not show."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from architectures import build
from architectures.backbones.rec_nrtr_mtb import MTB
from architectures.backbones.rec_resnet_45 import ResNet45
from architectures.backbones.rec_vitstr import ViTSTR
from architectures.heads.rec_abinet_head import ABINetHead, lengths, others
from architectures.heads.rec_nrtr_head import END, START, Transformer
from architectures.heads.rec_parseq_head import ParseQHead
from architectures.heads.rec_satrn_head import SATRNHead
from architectures.heads.rec_visionlan_head import VLHead
from architectures.reparameterize import fuse
from converter.catalog import cards as catalog
from converter.conversion import planning
from converter.mapping.plan import Signature, resolve, targets_of
from converter.mapping.rules import load_mapping
from tests.support.paths import RECORDS
from tests.support.small_networks import NETWORKS, TRANSFORMER

NAMES = ("rec_mtb_nrtr", "rec_vit_parseq_real", "rec_r45_abinet", "rec_r45_visionlan", "rec_satrn",
         "rec_vitstr_none_ce")  # fmt: skip
SATRN = NETWORKS["satrn"][0]["Head"]


def seeded(head: nn.Module) -> nn.Module:
    """A head in double precision whose classes are far apart."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(drawn * 0.5 if parameter.dim() > 1 else drawn * 0.2 + 0.7)
    return head.double().eval()


def nrtr(**options) -> Transformer:
    head = Transformer(
        16, 9, d_model=16, nhead=2, num_encoder_layers=1, num_decoder_layers=2,
        dim_feedforward=24, **{"max_len": 6, **options},
    )  # fmt: skip
    return seeded(head)


def parseq(**options) -> ParseQHead:
    head = ParseQHead(
        16, 9, max_text_length=5, embed_dim=16, dec_num_heads=2, dec_mlp_ratio=2,
        **{"dec_depth": 2, "decode_ar": True, "refine_iters": 0, **options},
    )  # fmt: skip
    return seeded(head)


def satrn() -> SATRNHead:
    head = SATRNHead(16, 9, SATRN["enc_cfg"], {**SATRN["dec_cfg"], "padding_idx": 8})
    return seeded(head)


def seen(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def silent(bias: Tensor, *classes: int) -> None:
    """Make these classes never win."""
    with torch.no_grad():
        bias[list(classes)] = -1e3


# Step by step is what all at once says of the same text.


@torch.no_grad()
def test_nrtr_writes_what_it_would_score():
    head, x = nrtr(), seen(3, 4, 16)
    tokens, probabilities = head(x).values()
    assert tokens.shape == (3, 6)
    assert probabilities[:, 1:].std() > 1e-3
    scores = head.score_tokens(x, tokens[:, :-1]).softmax(-1)
    assert torch.equal(scores.argmax(-1), tokens[:, 1:])
    torch.testing.assert_close(scores.amax(-1), probabilities[:, 1:])
    assert (tokens[:, 0] == START).all()
    assert (probabilities[:, 0] == 1).all()


@torch.no_grad()
def test_satrn_writes_what_it_would_score():
    head, x = satrn(), seen(3, 16, 2, 4)
    probabilities = head(x)
    text = probabilities.argmax(-1)
    assert probabilities.std() > 1e-3
    start = torch.full((3, 1), head.decoder.start)
    scores = head.score_tokens(x, torch.cat([start, text[:, :-1]], 1))
    torch.testing.assert_close(scores.softmax(-1), probabilities)


@torch.no_grad()
def test_padding_is_not_looked_at():
    head, x = satrn(), seen(1, 16, 2, 4)
    text = torch.tensor([[5, 1, 8, 2]])
    before = head.score_tokens(x, text)
    nn.init.ones_(head.decoder.trg_word_emb.weight[8])
    torch.testing.assert_close(head.score_tokens(x, text), before)
    other = head.score_tokens(x, torch.tensor([[5, 1, 3, 2]]))
    torch.testing.assert_close(other[:, :2], before[:, :2])
    assert not torch.allclose(other[:, 3], before[:, 3])


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 2])
def test_parseq_writes_what_it_would_score(depth):
    head, x = parseq(dec_depth=depth), seen(3, 4, 16)
    silent(head.head.bias, 0)
    probabilities = head(x)
    assert probabilities.shape == (3, 6, 7)
    text = probabilities.argmax(-1)
    assert probabilities.std() > 1e-3
    start = torch.full((3, 1), head.start)
    scores = head.score_tokens(x, torch.cat([start, text[:, :-1]], 1))
    torch.testing.assert_close(scores.softmax(-1), probabilities)


@torch.no_grad()
@pytest.mark.parametrize("make", [nrtr, parseq, lambda: parseq(refine_iters=2)])
def test_the_lines_of_a_batch_do_not_touch_each_other(make):
    head, x = make(), seen(3, 4, 16)
    if isinstance(head, ParseQHead):
        silent(head.head.bias, 0)
        whole, single = head(x), torch.cat([head(line[None]) for line in x])
    else:
        whole, single = head(x)["tokens"], torch.cat([head(line[None])["tokens"] for line in x])
    torch.testing.assert_close(whole, single)


# Where they stop.


@torch.no_grad()
def test_nrtr_stops_where_all_lines_end():
    head, x = nrtr(), seen(2, 4, 16)
    written = head(x)["tokens"]
    original = head.tgt_word_prj.forward

    def ending(y: Tensor) -> Tensor:
        calls.append(y)
        scores = original(y)
        scores[: 2 if len(calls) == 3 else 1, END] = 1e3
        return scores

    calls: list[Tensor] = []
    head.tgt_word_prj.forward = ending
    tokens = head(x)["tokens"]
    assert tokens.shape == (2, 3)
    assert tokens[0].tolist() == [START, END, END]
    assert torch.equal(tokens[1], written[1, :3])


@torch.no_grad()
def test_parseq_stops_when_all_lines_have_ended():
    head, x = parseq(), seen(2, 4, 16)
    calls: list[Tensor] = []
    original = head.head.forward

    def ending(y: Tensor) -> Tensor:
        calls.append(y)
        scores = original(y)
        scores[..., 0] = -1e3
        if len(calls) in (1, 3):  # the first line ends with its first character
            scores[len(calls) // 2, :, 0] = 1e3
        return scores

    head.head.forward = ending
    assert head(x).shape == (2, 3, 7)


@torch.no_grad()
def test_parseq_reads_again_without_what_follows_the_end():
    head, x = parseq(refine_iters=1), seen(1, 4, 16)
    text = torch.tensor([[3, 0, 4, 5, 6]])
    scores = head.refine(x, text)
    assert scores.shape == (1, 6, 7)
    torch.testing.assert_close(head.refine(x, torch.tensor([[3, 0, 1, 1, 1]])), scores)
    torch.testing.assert_close(head.refine(x, text[:, :2]), scores)
    changed = head.refine(x, torch.tensor([[2, 0, 4, 5, 6]]))
    assert not torch.allclose(changed[:, 1], scores[:, 1])
    torch.testing.assert_close(changed[:, 0], scores[:, 0])  # asks for what it does not see


@torch.no_grad()
def test_parseq_guesses_all_at_once():
    head, x = parseq(decode_ar=False), seen(2, 4, 16)
    start = torch.full((2, 1), head.start)
    torch.testing.assert_close(head(x)[:, :1], head.score_tokens(x, start).softmax(-1))
    assert head(x).shape == (2, 6, 7)


# ABINet's lengths and masks.


def test_a_line_is_as_long_as_its_first_end():
    texts = torch.tensor([[3, 0, 4, 0], [0, 0, 0, 0], [1, 2, 3, 0], [1, 2, 3, 4]])
    scores = nn.functional.one_hot(texts, 5).float()
    assert lengths(scores).tolist() == [2, 1, 4, 4]


def test_each_character_sees_the_others_of_its_line():
    (mask,) = others(torch.tensor([2]), 3)[:, 0].tolist()
    assert mask == [[False, True, False], [True, False, False], [True, True, False]]


def test_abinet_without_a_language_is_its_reader():
    head = ABINetHead(16, 5, d_model=16, nhead=2, num_layers=1, dim_feedforward=8, max_length=3)
    assert head.logits_layers == ("cls",)
    assert head(torch.randn(2, 16, 8, 32)).shape == (2, 4, 5)
    assert not [name for name in head.state_dict() if "language" in name or "align" in name]


# What numbers do not show.


def epsilons(network: nn.Module) -> dict[str, float]:
    kinds = (nn.LayerNorm, nn.BatchNorm2d)
    return {name: m.eps for name, m in network.named_modules() if isinstance(m, kinds)}


@pytest.mark.parametrize(
    ("head", "others"),
    [
        (nrtr, set()),
        (parseq, set()),
        (satrn, {"decoder.layer_norm"}),
        (lambda: VLHead(16, n_layers=1, n_dim=16), {"MLM_VRM.SequenceModeling.layer_norm"}),
        (lambda: ResNet45(layers=[1] * 5), set()),
        (lambda: MTB(1), set()),
    ],
)
def test_epsilons_are_those_of_paddle(head, others):
    found = epsilons(head())
    assert found
    assert {name for name, eps in found.items() if eps != 1e-5} == others
    assert all(found[name] == 1e-6 for name in others)


def test_vitstr_has_one_epsilon():
    assert set(epsilons(ViTSTR(embed_dim=8, num_heads=2, depth=1)).values()) == {1e-6}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nrtr(beam_size=3), "beam_size 3: NRTR is mirrored with greedy decoding alone"),
        (lambda: MTB(1, cnn_num=3), r"MTB has 2 convolutions \(cnn_num\), not 3"),
        (lambda: ViTSTR(scale="huge"), "ViTSTR has no scale 'huge'; known: tiny, small, base"),
        (lambda: SATRNHead(16, 9, {}, {"num_classes": 8}), "dec_cfg states 8 classes, not the 9"),
    ],
)
def test_options_that_are_not_mirrored(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_satrn_may_state_its_classes_twice():
    decoder = {**TRANSFORMER, "n_layers": 1, "d_embedding": 16, "num_classes": 9, "padding_idx": 8}
    head = SATRNHead(16, 9, {**TRANSFORMER, "n_layers": 1, "dropout": 0.1}, decoder)
    assert head.decoder.classifier.out_features == 8


def test_a_vision_transformer_takes_one_size():
    network = ViTSTR(img_size=[32, 32], embed_dim=8, num_heads=2, depth=1, seqlen=3)
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 8, 1, 3)
    with pytest.raises(AssertionError, match="takes images of its img_size"):
        network(torch.zeros(2, 1, 32, 48))


@pytest.mark.parametrize("name", NAMES)
def test_tables_of_positions_in_a_checkpoint_are_dropped(name):
    """Records list them apart from the weights; checkpoints hold both."""
    card = catalog.card(name)
    facts = json.loads((RECORDS / card.recorded / "reference.json").read_text(encoding="utf-8"))
    rows = [row[:3] for row in (*facts["parameters"], *facts["constants"])]
    source = {name: Signature(tuple(shape), dtype) for name, shape, dtype in rows}
    with torch.device("meta"):
        network = build(facts["architecture"])
    plan = resolve(load_mapping(card.mapping), source, targets_of(network))
    constants = {row[0] for row in facts["constants"]}
    assert constants <= set(plan.drops)
    kept = {name for move in plan.moves for name in move.sources}
    assert kept | set(plan.drops) == set(source)
    assert {plan.drops[name] for name in constants} <= {
        "positions by sinusoids, a constant",
        "masked language model, run only in training",
    }


@pytest.mark.parametrize("name", NAMES)
def test_classes_are_counted_by_what_is_scored(name):
    """Which is one more than PaddleOCR counts, or fewer, in networks that never pad."""
    card = catalog.card(name)
    facts = json.loads((RECORDS / card.recorded / "reference.json").read_text(encoding="utf-8"))
    tensors = {row[0]: Signature(tuple(row[1])) for row in facts["parameters"]}
    ((_, counted),) = card.class_counts.items()
    assert planning._count_classes(card, counted, ("",), tensors) == card.classes
    assert facts["architecture"]["Head"]["out_channels"] == card.classes


def test_the_scores_of_the_language_are_for_training():
    deployed = fuse(build(NETWORKS["abinet"][0]), "deploy")
    names = [name for name in deployed.state_dict() if name.startswith("head.language.")]
    assert names
    assert not [name for name in names if ".cls." in name]
