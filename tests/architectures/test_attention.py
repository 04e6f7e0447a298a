"""Positions, masks and kept keys: what the decoders are made of, and that records see them."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from architectures import Model
from architectures.heads import rec_abinet_head as abinet
from architectures.heads import rec_nrtr_head as nrtr
from architectures.heads import rec_parseq_head as parseq
from architectures.heads import rec_satrn_head as satrn
from architectures.heads import rec_visionlan_head as visionlan
from architectures.layers import attention
from architectures.layers.attention import Cache, TransformerBlock, causal, sinusoids
from architectures.layers.embedding import PaddedEmbedding
from converter.parity.comparison import LIMIT
from converter.references.recorded.network import build_recorded, networks
from converter.references.recorded.record import Record, read_record
from converter.references.recorded.reference import RecordedReference
from tests.support.paths import RECORDS

NRTR, PARSEQ, ABINET, SATRN, VISIONLAN, VITSTR = (
    f"rec__rec_{name}"
    for name in ("mtb_nrtr", "vit_parseq", "r45_abinet", "satrn", "r45_visionlan", "vitstr_none_ce")
)


@cache
def honest(name: str) -> tuple[Record, Model]:
    record = read_record(RECORDS / name)
    ((prefix, architecture),) = networks(record.facts.architecture)
    return record, build_recorded(record, prefix, architecture)[0]


def faults(name: str, network: Model | None = None) -> tuple[set[str], str]:
    """What fails, layers aside, and the first layer that does: where none does, empty."""
    record, built = honest(name)
    layers = {row.layer: row.layer for row in record.facts.trace}
    reference = RecordedReference(record, "", layers)
    sides = reference.layers(network or built, reference.image)
    first = sides.first(LIMIT)
    found = reference.compare_all(sides, LIMIT)
    failed = {comparison.probe for comparison in found if comparison.fault}
    return failed - set(layers), first[0].name if first else ""


# Positions.


@pytest.mark.parametrize(
    ("name", "table"),
    [
        (NRTR, "head.positional_encoding.pe"),
        (ABINET, "head.pos_encoder.pe"),
        (ABINET, "head.language.token_encoder.pe"),
        (VISIONLAN, "head.MLM_VRM.SequenceModeling.position_enc.pos_table"),
        (SATRN, "head.encoder.position_enc.h_position_encoder"),
        (SATRN, "head.decoder.position_enc.position_table"),
    ],
)
def test_positions_are_paddleocrs(name, table):
    record, _ = honest(name)
    ((_, shape, _, _, stride),) = (row for row in record.facts.constants if row.name == table)
    places = 100 if "h_position" in table else max(shape[0], shape[1])
    width = shape[1] if "h_position" in table else shape[2]
    ours = sinusoids(places, width, torch.zeros(1))
    ours = ours.T if "h_position" in table else ours
    expected = record.arrays[f"constant:{table}"]
    # PaddleOCR computes its longest table in single precision: the angle 5000 has 4 digits left.
    limit = places * 2**-22
    np.testing.assert_allclose(ours.ravel()[::stride], expected, atol=limit)
    assert limit < 2e-3


def test_positions_are_computed_where_and_as_exactly_as_wanted():
    assert sinusoids(3, 4, torch.zeros(1, device="meta")).is_meta
    exact = sinusoids(3, 4, torch.zeros(1).double())
    assert exact.dtype == torch.float64
    expected = [np.sin(2), np.cos(2), np.sin(0.02), np.cos(0.02)]
    torch.testing.assert_close(exact[2], torch.tensor(expected, dtype=torch.float64))


# Kept keys and values.


def test_step_by_step_is_all_at_once():
    torch.manual_seed(0)
    block = TransformerBlock(16, 2, 24, with_cross_attn=True).double()
    text, memory = torch.randn(2, 5, 16).double(), torch.randn(2, 7, 16).double()
    whole = block(text, memory, causal(5, text.device))
    kept = Cache(block.cross_attn.keys_values(memory))
    steps = [block.step(text[:, place : place + 1], kept) for place in range(5)]
    torch.testing.assert_close(torch.cat(steps, 1), whole)
    assert not torch.allclose(block(text, memory), whole)
    kept.cut(3)
    torch.testing.assert_close(block.step(text[:, 3:4], kept), whole[:, 3:4])


def test_an_empty_cache_has_nothing_to_cut():
    kept = Cache((torch.zeros(1), torch.zeros(1)))
    kept.cut(1)
    assert kept.text is None


def test_the_padding_is_zero_whatever_its_row_holds():
    layer = PaddedEmbedding(4, 3, padding=1)
    nn.init.ones_(layer.weight)
    assert layer(torch.tensor([[0, 1, 3]])).tolist() == [[[1.0] * 3, [0.0] * 3, [1.0] * 3]]


# On record: masks, positions and caches that are not what they should be.

OTHERS, EXTENDED = abinet.others, Cache.extended


def later(length: int, width: int, like: Tensor) -> Tensor:
    """Positions from 1 on."""
    return sinusoids(length + 1, width, like)[1:]


def halved(length: int, width: int, like: Tensor) -> Tensor:
    return sinusoids(length, width, like) / 2


def unmasked(q: Tensor, keys_values: tuple[Tensor, Tensor], _: Tensor | None = None) -> Tensor:
    return attention.attend(q, keys_values)


def without_length(length: Tensor, places: int) -> Tensor:
    return OTHERS(torch.full_like(length, places), places)


def with_itself(length: Tensor, places: int) -> Tensor:
    within = torch.arange(places) < length[:, None]
    return within[:, None, None].expand(-1, -1, places, -1)


def one_off(places: int, length: int, device: torch.device) -> Tensor:
    return ~torch.eye(places, length, dtype=torch.bool, device=device)


def forgetful(_: Cache, new: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return new


def swapped(kept: Cache, new: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    k, v = EXTENDED(kept, new)
    return k.roll(1, 2), v


ENCODER = "head.MLM_VRM.SequenceModeling.layer_stack.0.slf_attn"
LANGUAGE = "head.language.decoder.0.cross_attn.out_proj"
# The module or class, what of it is wrong, and the first layer that shows it: where the first call
# of each layer is right, none does, but the results are wrong.
FUNCTIONS = [
    (NRTR, nrtr, "sinusoids", later, "head.encoder.0.self_attn.qkv"),
    (NRTR, nrtr, "sinusoids", halved, "head.encoder.0.self_attn.qkv"),
    (NRTR, Cache, "extended", forgetful, ""),
    (NRTR, Cache, "extended", swapped, ""),
    (PARSEQ, parseq, "attend", unmasked, "head"),
    (PARSEQ, parseq, "others", one_off, "head"),
    (PARSEQ, Cache, "extended", forgetful, "head"),
    (ABINET, abinet, "sinusoids", later, "head.encoder.0.self_attn.qkv"),
    (ABINET, abinet, "others", without_length, LANGUAGE),
    (ABINET, abinet, "others", with_itself, LANGUAGE),
    (ABINET, abinet, "SHORTEST", 3, LANGUAGE),
    (VISIONLAN, visionlan, "sinusoids", later, f"{ENCODER}.w_qs"),
    (VISIONLAN, visionlan, "HEADS", 4, f"{ENCODER}.fc"),
    (SATRN, satrn, "sinusoids", later, "head.encoder.layer_stack.0.norm1"),
    (SATRN, satrn, "attend", unmasked, "head.decoder.layer_stack.0.self_attn.fc"),
    (SATRN, Cache, "extended", forgetful, ""),
]


@pytest.mark.parametrize("name", [NRTR, PARSEQ, ABINET, SATRN, VISIONLAN, VITSTR])
def test_the_honest_networks_pass(name):
    assert faults(name) == (set(), "")


@pytest.mark.parametrize(("name", "place", "function", "wrong", "first"), FUNCTIONS)
def test_a_wrong_mask_or_position_is_seen(monkeypatch, name, place, function, wrong, first):
    monkeypatch.setattr(place, function, wrong)
    results, layer = faults(name)
    assert results
    assert layer == first


@torch.no_grad()
def rolled(parameter: nn.Parameter) -> None:
    parameter.copy_(parameter.roll(1, 1))


def set_to(module: nn.Module, **attributes: object) -> None:
    for name, value in attributes.items():
        assert getattr(module, name) != value
        setattr(module, name, value)


# The layer whose mistake it is, the mistake, and the first layer that shows it.
CHANGES = [
    (NRTR, "head.embedding", lambda m: set_to(m, scale=1.0), "head.decoder.0.self_attn.qkv"),
    (NRTR, "head.encoder.0.self_attn", lambda m: set_to(m, num_heads=4),
     "head.encoder.0.self_attn.out_proj"),
    (NRTR, "head.decoder.0.cross_attn", lambda m: set_to(m, num_heads=4),
     "head.decoder.0.cross_attn.out_proj"),
    (PARSEQ, "backbone", lambda m: rolled(m.pos_embed), "backbone.blocks.0.norm1"),
    (PARSEQ, "head", lambda m: rolled(m.pos_queries), "head.decoder.layers.0.norm_q"),
    (PARSEQ, "head.text_embed", lambda m: set_to(m, scale=1.0), "head"),
    (PARSEQ, "head", lambda m: set_to(m, refine_iters=0), "head"),
    (PARSEQ, "head", lambda m: set_to(m, decode_ar=False), "head.decoder.layers.0.norm_q"),
    (ABINET, "head", lambda m: set_to(m, iter_size=2), ""),
    (SATRN, "head.decoder", lambda m: set_to(m, padding=91), "head.decoder.trg_word_emb"),
    (SATRN, "head.decoder", lambda m: set_to(m, start=90), "head.decoder.trg_word_emb"),
    (VITSTR, "backbone", lambda m: rolled(m.pos_embed), "backbone.blocks.0.norm1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "layer", "change", "first"), CHANGES)
def test_a_wrong_part_is_seen(name, layer, change, first):
    network = copy.deepcopy(honest(name)[1])
    change(network.get_submodule(layer))
    results, found = faults(name, network)
    assert results or found
    assert found == first
