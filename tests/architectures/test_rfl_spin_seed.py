"""RFL, SPIN and SEED: decoders with attention, and what each does before and behind them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from architectures import Model, build
from architectures.backbones.rec_resnet_32 import ResNet
from architectures.backbones.rec_resnet_rfl import ResNetRFL
from architectures.heads import _beam_search as beam_search
from architectures.heads._beam_search import search
from architectures.heads.rec_aster_head import AsterHead
from architectures.heads.rec_att_head import AttentionLSTM
from architectures.heads.rec_rfl_head import RFLHead
from architectures.necks.rf_adaptor import RFAdaptor
from architectures.transforms.gaspin_transformer import SP_TransformerNetwork, exponents
from converter.parity.layerwise import SampledTensor
from tests.support.mistakes import (
    gates_exchanged,
    mean_and_variance_exchanged,
    no_bias,
    untransposed,
    wrong_sign,
)
from tests.support.recorded_mistakes import prove_changed, prove_mistaken

RFL, SPIN = "rec__rec_resnet_rfl_att", "rec__rec_r32_gaspin_bilstm_att"
SEED = "rec__rec_resnet_stn_bilstm_att"
UNIT = "head.decoder.decoder"


def gates_of_a_cell_exchanged(layer: nn.Module) -> None:
    """The first two: of an LSTM input and forget, of a GRU reset and update."""
    assert isinstance(layer, nn.RNNCellBase)
    size = layer.hidden_size
    for tensor in layer.parameters():
        tensor.copy_(torch.cat([tensor[size : 2 * size], tensor[:size], tensor[2 * size :]]))


def biases_exchanged(layer: nn.Module) -> None:
    """A GRU resets the one, not the other."""
    assert isinstance(layer, nn.GRUCell)
    kept = layer.bias_ih.clone()
    layer.bias_ih.copy_(layer.bias_hh)
    layer.bias_hh.copy_(kept)


def powers_reversed(layer: nn.Module) -> None:
    assert isinstance(layer, SP_TransformerNetwork)
    layer.powers = layer.powers[::-1]


@pytest.mark.parametrize(
    ("name", "layer", "mistake", "seen"),
    [
        (RFL, "backbone.v_conv3", "backbone.conv3", "backbone.v_conv3"),
        (RFL, "neck.neck_v2s.channel_bn", mean_and_variance_exchanged, "neck.neck_v2s.channel_bn"),
        (RFL, "head.cnt_head.Wv_fusion", untransposed, "head.cnt_head.Wv_fusion"),
        (
            RFL,
            "head.seq_head.attention_cell.rnn",
            gates_of_a_cell_exchanged,
            "head.seq_head.attention_cell.rnn",
        ),
        (SPIN, "transform.sp_net", powers_reversed, "transform.sp_net.bn"),
        (SPIN, "transform.offset_fc2", wrong_sign, "transform.offset_fc2"),
        (SPIN, "neck.encoder.encoder.1.rnn", gates_exchanged, "neck.encoder.encoder.1.rnn"),
        (SPIN, "head.attention_cell.rnn", gates_of_a_cell_exchanged, "head.attention_cell.rnn"),
        (SPIN, "head.attention_cell.h2h", no_bias, "head.attention_cell.h2h"),
        (SEED, "backbone.rnn", gates_exchanged, "backbone.rnn"),
        (SEED, f"{UNIT}.embed_fc", no_bias, f"{UNIT}.attention_unit.sEmbed"),
        (SEED, f"{UNIT}.gru", gates_of_a_cell_exchanged, f"{UNIT}.gru"),
        (SEED, f"{UNIT}.tgt_embedding", wrong_sign, f"{UNIT}.tgt_embedding"),
    ],
)
def test_a_mistake_is_seen_in_the_record(monkeypatch, name, layer, mistake, seen):
    report = prove_mistaken(monkeypatch, name, layer, mistake)
    assert not report.passed
    assert report.first_difference.startswith(f"{seen}: ")


def test_biases_that_hide_in_the_noise_change_the_text(monkeypatch):
    report = prove_mistaken(monkeypatch, SEED, f"{UNIT}.gru", biases_exchanged)
    assert "rec_pred" in [c.probe for c in report.comparisons if c.fault]


def test_a_search_that_forgets_who_came_before_finds_other_texts(monkeypatch):
    """Every layer is as it should be, the text is not."""
    honest = beam_search._best

    def forgetful(*arguments: Tensor) -> beam_search.Stored:
        chosen = honest(*arguments)
        return chosen._replace(parents=torch.zeros_like(chosen.parents))

    monkeypatch.setattr(beam_search, "_best", forgetful)
    report = prove_changed(monkeypatch, SEED, lambda network: network)
    assert [c.probe for c in report.comparisons if c.fault] == ["rec_pred"]
    assert report.first_difference == ""


# The search.

EOS = 3


def scripted(*rows: dict[int, float]):
    """A decoder that gives these probabilities, step by step, to every beam."""
    steps = iter(rows)

    def step(state: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.full((len(state), 4), 1e-9)
        for place, probability in next(steps).items():
            scores[:, place] = probability
        return scores.log(), state

    return step


def found(lines: int, *rows: dict[int, float], beams: int = 2) -> list[list[int]]:
    state = torch.zeros(lines * beams, 1)
    return search(scripted(*rows), state, 4, EOS, beams, len(rows)).tolist()


def test_the_likeliest_text_is_found():
    assert found(1, {0: 0.6, 1: 0.4}, {2: 0.9, 0: 0.1}, {1: 1.0}) == [[0, 2, 1]]


def test_a_text_that_ends_may_win():
    assert found(1, {1: 0.9, 0: 0.1}, {EOS: 0.9, 2: 0.1}, {2: 0.5, 1: 0.5})[0][:2] == [1, EOS]


def test_the_search_ends_with_the_last_text():
    """No more steps are scripted: a longer search would fail; ends stand behind."""
    step = scripted({1: 0.9, 0: 0.1}, {EOS: 1.0})
    assert search(step, torch.zeros(2, 1), 4, EOS, 2, 5).tolist() == [[1, EOS, EOS, EOS, EOS]]


def test_the_first_beam_of_the_batch_is_given_up_with_any_other():
    """As in PaddleOCR: the second line is what the first would be without the other's end."""
    rows = ({1: 0.9, EOS: 0.1}, {2: 1.0}, {2: 1.0})
    first, second = found(2, *rows)
    assert second == [1, 2, 2]
    assert first[0] == EOS


def test_lines_do_not_depend_on_each_other():
    torch.manual_seed(0)
    head = AsterHead(6, 9, 8, 8, max_len_labels=6, time_step=4)
    nn.init.constant_(head.decoder.decoder.fc.bias.data[6:7], -1e3)  # none ends
    x = torch.randn(3, 4, 6)
    with torch.no_grad():
        together = head(x)["rec_pred"]
        alone = torch.cat([head(line)["rec_pred"] for line in x.split(1)])
    assert torch.equal(together, alone)


def test_one_beam_is_greedy():
    torch.manual_seed(0)
    head, x = (
        AsterHead(6, 9, 8, 8, max_len_labels=6, time_step=4, beam_width=1),
        torch.randn(2, 4, 6),
    )
    nn.init.constant_(head.decoder.decoder.fc.bias.data[6:7], -1e3)
    with torch.no_grad():
        result = head(x)
        tokens = torch.cat([torch.full((2, 1), 9), result["rec_pred"][:, :-1]], 1)
        forced = head.score_tokens(x, tokens)
    assert torch.equal(forced.argmax(2), result["rec_pred"])
    assert list(result) == list(head.results)
    assert result["embedding_vectors"].shape == (2, 300)


# RFL.


def test_decoded_text_agrees_with_teacher_forcing():
    torch.manual_seed(0)
    reader, x = AttentionLSTM(6, 7, 8, 5), torch.randn(3, 4, 6)
    with torch.no_grad():
        read = reader(x)
        tokens = torch.cat([torch.zeros(3, 1, dtype=torch.long), read.argmax(2)[:, :-1]], 1)
        torch.testing.assert_close(read, reader.score_tokens(x, tokens).softmax(2))


def rfl(**options: Any) -> Model:
    use = {"use_cnt": True, "use_seq": True, **options}
    both = all(use.values())
    return build(
        {
            "model_type": "rec",
            "in_channels": 1,
            "Backbone": {"name": "ResNetRFL", "out_channels": 32, **use},
            "Neck": {"name": "RFAdaptor", "use_v2s": both, "use_s2v": both},
            "Head": {"name": "RFLHead", "out_channels": 7, "hidden_size": 8, **use},
        }
    )


def test_rfl_counts_and_reads():
    with torch.no_grad():
        results = rfl()(torch.randn(2, 1, 32, 100))
    shapes = {name: tuple(result.shape) for name, result in results.items()}
    assert shapes == {"counts": (2, 7), "probabilities": (2, 25, 7)}
    assert rfl().text_scores == "probabilities"


@pytest.mark.parametrize(("left_out", "shape"), [("use_seq", (2, 7)), ("use_cnt", (2, 25, 7))])
def test_rfl_that_does_one_thing(left_out, shape):
    network = rfl(**{left_out: False})
    with torch.no_grad():
        assert network(torch.randn(2, 1, 32, 100)).shape == shape
    assert not [n for n in network.state_dict() if n.startswith("neck.")]


def test_rfl_that_does_nothing():
    for part in (lambda **o: ResNetRFL(1, **o), lambda **o: RFLHead(8, 7, **o)):
        with pytest.raises(ValueError, match=r"counts \(use_cnt\), reads \(use_seq\) or does both"):
            part(use_cnt=False, use_seq=False)
    with pytest.raises(ValueError, match="need a backbone that counts and reads"):
        RFAdaptor(8)((torch.zeros(1, 8, 1, 4), None))


# SPIN.


def test_powers_come_in_pairs():
    assert exponents(0) == [1.0]
    *pairs, last = exponents(6)
    assert (len(pairs), last) == (12, 1.0)
    for low, high in zip(pairs[::2], pairs[1::2], strict=True):
        assert high == pytest.approx(1 / low, abs=0.005)
    assert 0.5 ** exponents(1)[0] == pytest.approx(
        0.5 ** (math.log(0.75) / math.log(0.25)), abs=0.01
    )


def test_the_first_activation_makes_nothing_of_nan():
    x = torch.tensor([math.nan, -1.0, 2.0])
    assert ResNet.first_act(x).tolist() == [0.0, 0.0, 2.0]


NOTHING = "Paddle gives a constant, which proves nothing"
NAN, ZERO = np.full(11, np.nan, np.float32), np.zeros(11, np.float32)


@pytest.mark.parametrize(
    ("row", "lost", "actual", "fault"),
    [
        (NAN, True, np.full((2, 4), np.nan, np.float32), ""),
        (NAN, True, np.ones((2, 4), np.float32), "Paddle gives NaN alone, PyTorch does not"),
        (NAN, False, np.full((2, 4), np.nan, np.float32), "Paddle gives NaN or infinity"),
        (ZERO, True, np.zeros((2, 4), np.float32), ""),
        (
            ZERO,
            False,
            np.zeros((2, 4), np.float32),
            "Paddle gives a constant, which proves nothing",
        ),
    ],
)
def test_a_layer_that_has_lost_everything(row, lost, actual, fault):
    found = SampledTensor((2, 4), row, None, lost).compare("a", actual, (1, 1, 8, 8), 1e-4)
    assert found.fault == fault
