"""TPS, STN and the head that attends: what records cannot show, and mistakes that they show."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from architectures import Model
from architectures.heads.rec_att_head import AttentionHead
from architectures.transforms import stn, tps, tps_spatial_transformer
from architectures.transforms.stn import STN, STN_ON
from architectures.transforms.tps import TPS
from architectures.transforms.tps_spatial_transformer import ThinPlate, control_points
from converter.diagnosis import records
from converter.mapping.plan import Plan
from converter.parity.report import ParityReport
from converter.references.recorded.network import build_recorded, networks
from converter.references.recorded.record import read_record
from tests.support.paths import RECORDS

RARE, SVTR, BEHIND_STN = "rec__rec_mv3_tps_bilstm_att", "rec__rec_svtrnet_ch", "rec__rec_svtrnet"
SPIN = "rec__rec_r32_gaspin_bilstm_att"  # its transform loses no digits
MARGINS = (0.05, 0.1)


def free(points: torch.Tensor) -> torch.Tensor:
    """Where a plate is held, one image, without forces from outside."""
    return torch.cat([points, points.new_zeros(3, 2)])[None]


def straightener(**options) -> STN_ON:
    torch.manual_seed(0)
    given = {
        "tps_inputsize": [32, 64],
        "tps_outputsize": [6, 10],
        "num_control_points": 8,
        "tps_margins": MARGINS,
        "stn_activation": "none",
    }
    return STN_ON(3, **given | options).eval()


class TestThinPlate:
    def test_control_points_go_along_the_top_and_then_the_bottom(self):
        expected = [[0.1, 0.2], [0.5, 0.2], [0.9, 0.2], [0.1, 0.8], [0.5, 0.8], [0.9, 0.8]]
        torch.testing.assert_close(
            control_points(6, (0.1, 0.2)), torch.tensor(expected, dtype=torch.float64)
        )

    def test_it_lies_where_it_is_held(self):
        control = control_points(8, MARGINS)
        held = torch.rand(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(ThinPlate()(free(held), control, control)[0], held)

    def test_without_bending_it_stays_a_plane(self):
        control, places = control_points(8, MARGINS), torch.rand(20, 2, dtype=torch.float64)
        turned = torch.tensor([[0.5, -0.2], [0.3, 0.9]], dtype=torch.float64)
        found = ThinPlate()(free(control @ turned + 0.1), control, places)
        torch.testing.assert_close(found[0], places @ turned + 0.1)

    def test_forces_from_outside_tilt_it(self):
        """They are weighed by x, by y and by nothing, in this order."""
        control = control_points(8, MARGINS)
        held = free(control)
        held[:, -3:] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
        inner = torch.cat([torch.ones(8, 1), control], 1).double()
        away = torch.cdist(control, control)
        bending = torch.special.xlogy(away**2, away)
        outer = torch.cat([inner[:, 1:], inner[:, :1]], 1).T
        whole = torch.cat([
            torch.cat([inner, bending], 1), torch.cat([torch.zeros(3, 3).double(), outer], 1)
        ])  # fmt: skip
        forces = torch.linalg.solve(whole, held[0])
        far = torch.tensor([[0.3, 0.6]], dtype=torch.float64)
        away = torch.cdist(far, control)
        expected = forces[0] + far @ forces[1:3] + torch.special.xlogy(away**2, away) @ forces[3:]
        torch.testing.assert_close(ThinPlate()(held, control, far)[0], expected)


class TestTransforms:
    @torch.no_grad()
    def test_an_image_with_its_points_in_place_stays_as_it_is(self):
        """Only where -1 and 1 are the middles of the outermost pixels."""
        network = straightener()
        image = torch.randn(2, 3, 6, 10)
        network.stn_head.stn_fc2.weight.zero_()
        network.stn_head.stn_fc2.bias.copy_(control_points(8, MARGINS).flatten())
        torch.testing.assert_close(network(image), image, rtol=0, atol=1e-4)

    @torch.no_grad()
    def test_beyond_the_image_stn_repeats_its_margin_and_tps_gives_nothing(self):
        image = torch.ones(1, 3, 8, 16)
        outside = torch.full((16,), 3.0)
        network = straightener()
        network.stn_head.stn_fc2.weight.zero_()
        network.stn_head.stn_fc2.bias.copy_(outside)
        torch.testing.assert_close(network(image), torch.ones(1, 3, 6, 10))
        plain = TPS(3, 8, "small").eval()
        plain.loc_net.fc2.weight.zero_()
        plain.loc_net.fc2.bias.copy_(outside)
        plain.grid_generator.fc.weight.zero_()
        plain.grid_generator.fc.bias.zero_()
        assert plain(image).abs().max() == 0

    @torch.no_grad()
    @pytest.mark.parametrize("activation", ["none", "sigmoid"])
    def test_training_starts_from_points_at_the_edge(self, activation):
        head = STN(3, 8, activation).eval()
        head.stn_fc2.weight.zero_()
        _, points = head(torch.randn(1, 3, 32, 64))
        expected = control_points(8, (stn.MARGIN, stn.MARGIN)).float()
        torch.testing.assert_close(points[0], expected)

    def test_names_and_sizes(self):
        shapes = {name: tuple(t.shape) for name, t in TPS(3, 20, "large").state_dict().items()}
        assert shapes["loc_net.loc_conv3.bn.running_mean"] == (512,)
        assert shapes["loc_net.fc1.weight"] == (256, 512)
        assert shapes["grid_generator.fc.weight"] == (6, 40)
        names = list(straightener().state_dict())
        assert "stn_head.stn_convnet.10.1.running_var" in names
        assert "stn_head.stn_fc1.1.weight" in names
        assert not [name for name in names if name.startswith("tps.")]

    def test_norms_have_paddles_eps(self):
        kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
        parts = (straightener(), TPS(3, 8, "small"))
        norms = [m.eps for part in parts for m in part.modules() if isinstance(m, kinds)]
        assert norms == [1e-5] * (7 + 4)

    def test_unknown_options(self):
        with pytest.raises(ValueError, match="no model_name 'huge'; known: large, small"):
            TPS(3, 8, "huge")
        with pytest.raises(ValueError, match="no activation 'tanh'; known: none, sigmoid"):
            STN(3, 8, "tanh")


class TestAttentionHead:
    @pytest.fixture
    def head(self) -> AttentionHead:
        torch.manual_seed(0)
        return AttentionHead(6, 5, 8, batch_max_length=7)

    @torch.no_grad()
    def test_what_is_read_next_follows_what_was_read(self, head):
        x = torch.randn(3, 4, 6)
        scores = head(x)
        assert scores.shape == (3, 7, 5)
        read = F.pad(scores.argmax(2)[:, :-1], (1, 0))
        torch.testing.assert_close(head.score_tokens(x, read).softmax(2), scores)
        other = head.score_tokens(x, (read + 1) % 5).softmax(2)
        assert (other - scores).abs().max() > 1e-3

    @torch.no_grad()
    def test_lines_do_not_see_each_other(self, head):
        x = torch.randn(3, 4, 6)
        torch.testing.assert_close(head(x)[1:2], head(x[1:2]))

    @torch.no_grad()
    def test_it_looks_at_places_not_at_their_order(self, head):
        x = torch.randn(1, 4, 6)
        torch.testing.assert_close(head(x), head(x.flip(1)))


def verdict(monkeypatch, name: str, change: Callable[[Model], None]) -> ParityReport:
    """Prove a record with a network that was changed after it was built."""
    record = read_record(RECORDS / name)
    ((prefix, architecture),) = networks(record.facts.architecture)
    network = copy.deepcopy(build_recorded(record, prefix, architecture)[0])
    change(network)
    monkeypatch.setattr(
        "converter.references.recorded.reference.build_recorded", lambda *_: (network, Plan())
    )
    return records.prove(record)


class TestMistakes:
    """In what owns no tensors; those in what does are in `test_mutations.py`."""

    def test_patches_that_see_all_others(self, monkeypatch):
        def far_sighted(network: Model) -> None:
            network.backbone.blocks2[0].mixer.window = None

        report = verdict(monkeypatch, SVTR, far_sighted)
        assert not report.passed
        assert report.first_difference.startswith("backbone.blocks2.0.mixer.proj: ")

    @pytest.mark.parametrize(
        ("name", "module", "layer"),
        [
            (RARE, tps, "backbone.conv1.conv"),
            (BEHIND_STN, tps_spatial_transformer, "backbone.patch_embed.proj.0.conv"),
        ],
    )
    def test_corners_that_are_not_aligned(self, monkeypatch, name, module, layer):
        def other(image: torch.Tensor, grid: torch.Tensor, align_corners: bool) -> torch.Tensor:
            return F.grid_sample(image, grid, align_corners=not align_corners)

        functional = type("functional", (), {**vars(F), "grid_sample": staticmethod(other)})
        monkeypatch.setattr(module, "F", functional)
        report = verdict(monkeypatch, name, lambda _: None)
        assert not report.passed
        assert report.first_difference.startswith(f"{layer}: ")

    def test_a_character_that_is_not_passed_on(self, monkeypatch):
        def deaf(network: Model) -> None:
            network.head.attention_cell.rnn.weight_ih.data[:, 192:] = 0

        assert not verdict(monkeypatch, RARE, deaf).passed

    def test_a_state_that_is_not_looked_for(self, monkeypatch):
        """The first state is zeros, so only the result shows it."""

        def blind(network: Model) -> None:
            network.head.attention_cell.h2h.weight.data.zero_()

        report = verdict(monkeypatch, SPIN, blind)
        assert not report.passed
        assert report.first_difference == ""
