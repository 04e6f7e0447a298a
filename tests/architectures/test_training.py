"""Networks in training: what is left out at random, results of training mode, more classes."""

from __future__ import annotations

import pytest
import torch

from architectures import Model, build, fuse
from architectures.layers.dropping import Drops, drop_branch, drop_unscaled, rising
from architectures.layers.svtr_blocks import Block
from architectures.losses import DBTargets, ctc_loss, db_loss
from architectures.reparameterize import BATCH_NORMS
from architectures.training import train_mode, trainable
from architectures.widening import widen_ctc
from tests.support.small_networks import CRNN, NETWORKS, SVTR


@pytest.fixture(scope="module")
def reader() -> Model:
    torch.manual_seed(0)
    return build(NETWORKS["rec v4"][0])


@pytest.fixture(scope="module")
def detector() -> Model:
    """A detector of few channels."""
    torch.manual_seed(0)
    return build({**NETWORKS["det v2"][0], "Backbone": NETWORKS["east"][0]["Backbone"]})


class TestDropping:
    def test_values(self):
        x = torch.ones(1000)
        dropped = drop_unscaled(x, 0.25, True)
        assert 0.2 < (dropped == 0).float().mean() < 0.3
        assert dropped.max() == 1  # Paddle's mode: not enlarged in training, smaller afterwards
        torch.testing.assert_close(drop_unscaled(x, 0.25, False), 0.75 * x)

    def test_a_branch_is_left_out_of_whole_samples(self):
        dropped = drop_branch(torch.ones(400, 3, 2), 0.5, True).flatten(1)
        assert set(dropped.unique().tolist()) == {0, 2}
        assert (dropped == dropped[:, :1]).all()
        assert 0.4 < (dropped == 0).float().mean() < 0.6
        assert drop_branch(dropped, 0.5, False) is dropped

    def test_shares_rise_from_block_to_block(self):
        shares = rising(Drops(0.1, 0.2, 0.3), 4)
        assert [each.branches for each in shares] == pytest.approx([0, 0.1, 0.2, 0.3])
        assert {(each.values, each.attention) for each in shares} == {(0.1, 0.2)}
        assert rising(Drops(branches=0.3), 1)[0].branches == 0

    @pytest.mark.parametrize("drops", [{"values": 0.5}, {"attention": 0.5}, {"branches": 0.5}])
    def test_a_block_drops_in_training_alone(self, drops):
        torch.manual_seed(0)
        block = Block(8, 2, 2, True, drops=Drops(**drops))
        x = torch.rand(4, 5, 8)
        assert not torch.equal(block(x), block(x))
        assert torch.equal(block.eval()(x), block(x))

    def test_the_neck_drops_as_its_options_say(self):
        head = {**NETWORKS["rec v4"][0]["Head"]}

        def blocks(**options: float) -> list[Drops]:
            neck = {**SVTR, **options}
            head["head_list"] = [{"CTCHead": {"Neck": neck, "Head": {}}}]
            with torch.device("meta"):
                network = build({**NETWORKS["rec v4"][0], "Head": head})
            return [each.drops for each in network.modules() if isinstance(each, Block)]

        assert blocks() == [Drops(0.1, 0.1, 0)] * 2  # PaddleOCR's defaults
        stated = blocks(drop_rate=0.3, attn_drop_rate=0.2, drop_path=0.4)
        assert stated == [Drops(0.3, 0.2, 0.4)] * 2
        with pytest.raises(ValueError, match="share of values to drop is 1, expected 0 to below 1"):
            blocks(drop_rate=1)


def test_a_reader_learns(reader):
    torch.manual_seed(0)
    given = fuse(reader)
    network = trainable(given)
    image = torch.rand(2, 3, 48, 64)
    torch.testing.assert_close(network(image), given(image), rtol=1e-4, atol=1e-6)
    assert network is not given
    assert network.form == "train"
    labels, lengths = torch.tensor([[1, 2], [3, 0]]), torch.tensor([2, 1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-2)
    losses = []
    for _ in range(3):
        train_mode(network)
        loss = ctc_loss(network(image), labels, lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    with torch.no_grad():
        tuned = network.eval()(image)
        torch.testing.assert_close(fuse(network)(image), tuned, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(tuned.sum(2), torch.ones(2, 8))  # probabilities again


def test_a_detector_learns(detector):
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 64)
    text = torch.zeros(1, 64, 64)
    text[:, 16:40, 8:56] = 1
    targets = DBTargets(text, torch.ones_like(text), 0.3 + 0.4 * text, torch.ones_like(text))
    network = trainable(fuse(detector))
    assert any(parameter.any() for parameter in network.head.thresh.parameters())
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-2)
    losses = []
    for _ in range(3):
        train_mode(network)
        maps = network(image)
        assert list(maps) == ["binary", "shrink", "thresh"]
        loss = db_loss(maps, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert network.eval()(image).shape == (1, 1, 64, 64)


def test_a_refined_map_is_the_one_that_is_trained():
    torch.manual_seed(0)
    network = build({**NETWORKS["det v2"][0], "Head": {"name": "PFHeadLocal"}})
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        mean = network(image)
        train_mode(network)
        maps = network(image)
    head = network.head
    base = (maps["binary"].logit(eps=1e-7) / head.k + maps["thresh"]).clamp(0, 1)
    torch.testing.assert_close(0.5 * (maps["shrink"] + base), mean, atol=1e-3, rtol=0)


def test_a_deployed_detector_cannot_be_trained(detector):
    deployed = fuse(detector, "deploy").train()
    with pytest.raises(RuntimeError, match=r"architectures\.training\.trainable makes"):
        deployed(torch.rand(2, 3, 64, 64))


def test_networks_without_a_loss_are_refused():
    with torch.device("meta"):
        network = build(NETWORKS["east"][0])
    with pytest.raises(ValueError, match="CTC and detectors by DB, not for the head EASTHead"):
        trainable(network)


def test_statistics_stay_unless_they_are_to_be_learned(reader):
    network = trainable(reader)
    norms = [each for each in network.modules() if isinstance(each, BATCH_NORMS)]
    train_mode(network)
    assert network.training
    assert not any(norm.training for norm in norms)
    train_mode(network, norms=True)
    assert all(norm.training for norm in norms)


class TestWidening:
    @pytest.mark.parametrize("form", ["train", "deploy"])
    def test_old_classes_keep_their_logits(self, reader, form):
        network = fuse(reader, form)
        wide = widen_ctc(network, [0, 1, None, 2, 3, 4, 5, None, 6])
        assert wide.class_counts == {"ctc": 9}
        assert (wide.form, wide.card) == (form, network.card)
        image = torch.rand(1, 3, 48, 64)
        with torch.no_grad():
            before, after = network(image).log(), wide(image).log()
        old = after[..., [0, 1, 3, 4, 5, 6, 8]].log_softmax(2)
        torch.testing.assert_close(old, before, rtol=1e-4, atol=1e-5)
        new = after[..., [2, 7]] - (after[..., :1] - before[..., :1])
        torch.testing.assert_close(new, before[..., 1:].mean(2, keepdim=True).expand_as(new))
        assert wide.head.ctc_head.fc.weight.requires_grad

    def test_the_head_is_the_only_thing_that_changes(self, reader):
        wide = widen_ctc(reader, [*range(7), None])
        ours, theirs = wide.state_dict(), reader.state_dict()
        changed = {name for name in theirs if ours[name].shape != theirs[name].shape}
        assert changed == {"head.ctc_head.fc.weight", "head.ctc_head.fc.bias"}
        assert all(torch.equal(ours[n], theirs[n]) for n in theirs if n not in changed)

    @pytest.mark.parametrize(
        ("places", "message"),
        [
            ([1, 0, *range(2, 7), None], "the blank, must stay the first"),
            ([0, 1, 2, None], "hold 3 of 7 old classes"),
            ([0, 1, 1, 3, 4, 5, 6, None], "hold 6 of 7 old classes"),
        ],
    )
    def test_places_that_do_not_hold_all_old_classes(self, reader, places, message):
        with pytest.raises(ValueError, match=message):
            widen_ctc(reader, places)

    def test_classes_of_guides_grow_too(self):
        head = {**NETWORKS["rec v4"][0]["Head"]}
        head["out_channels_list"] = {"CTCLabelDecode": 7, "NRTRLabelDecode": 10}
        with torch.device("meta"):
            network = build({**NETWORKS["rec v4"][0], "Head": head})
            wide = widen_ctc(network, [*range(7), None, None])
        counts = wide.architecture["Head"]["out_channels_list"]
        assert counts == {"CTCLabelDecode": 9, "NRTRLabelDecode": 12}
        assert network.architecture["Head"]["out_channels_list"]["CTCLabelDecode"] == 7

    def test_other_heads_are_refused(self):
        with torch.device("meta"):
            network = build({**CRNN, "Head": {"name": "AttentionHead", "hidden_size": 8}},
                            class_counts={"attn": 5})  # fmt: skip
        with pytest.raises(ValueError, match="to a CTC head, the network has AttentionHead"):
            widen_ctc(network, [0, 1, 2, 3, 4, None])
