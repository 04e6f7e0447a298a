"""Exports of transformers: tables of positions, layers of constants, masks, loops."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.heads.rec_att_head import GRUCell
from architectures.layers.attention import sinusoids
from converter.alignment.computed_constants import COMPUTED, SINUSOIDS, constants, positions
from converter.alignment.layer_graph import INPUT
from converter.catalog import cards as catalog
from converter.conversion import planning
from converter.errors import AlignmentError
from converter.references.program import ProgramReference
from converter.sources.ir import Block, Operation, Program, TensorSpec
from tests.converter.alignment.test_layer_graph import op, reduced, roles
from tests.support.toys import graph

TABLE = sinusoids(200, 16, torch.zeros(1)).numpy()


@pytest.mark.parametrize(
    "table",
    [TABLE, TABLE[:, None], TABLE[None], TABLE.T[None, :, :, None], TABLE[:2]],
    ids=["plain", "places first", "batch first", "channels first", "two places"],
)
def test_a_table_of_positions_is_no_weight(table):
    assert positions({"w": np.ones((4, 4), np.float32), "pe": np.ascontiguousarray(table)}) == [
        "pe"
    ]


@pytest.mark.parametrize(
    "weight",
    [
        TABLE[1:],
        TABLE[:, ::-1],
        TABLE * np.float32(1.01),
        TABLE[0],
        TABLE.astype(np.float64),
        np.stack([TABLE, TABLE]),
        np.array(3, np.float32),
    ],
)
def test_what_is_almost_a_table_is_a_weight(weight):
    assert positions({"w": weight}) == []


def program(*kinds: str) -> Program:
    spec = TensorSpec("pe", (200, 16), "float32")
    operations = tuple(op(kind, f"v{i}", x="x") for i, kind in enumerate(kinds))
    return Program("pir", operations, {"pe": spec, "w": replace(spec, name="w")}, (), (), b"")


def test_a_program_without_its_tables():
    computed = constants({"pe": TABLE, "w": TABLE[::-1]})
    assert computed == {"pe": SINUSOIDS}
    graph = planning.program_layers(catalog.card("rec_mtb_nrtr"), program("relu"), computed)
    assert graph.unread == ("w",)


@pytest.mark.parametrize("name", ["eager_tmp_12", "generated_tensor_0", "generated_var_3"])
def test_what_no_layer_made_is_no_weight(name):
    found = constants({name: np.ones(3), "linear_0.w_0": np.ones(3), f"my_{name}": np.ones(3)})
    assert found == {name: COMPUTED}


@pytest.mark.parametrize("kind", ["new_zeros", "numel"])
def test_of_a_tensor_only_the_shape_goes_into(kind):
    """So that what is joined with them is not marked by its place."""
    zeros = op(kind, "z", x="x")
    (layer,) = reduced(
        zeros, op("concat", "c", x=("x", "z")), op("multiply", "y", x="c", y="w"),
        parameters={"w": (4,)},
    ).layers  # fmt: skip
    assert layer.sources == {(INPUT, ())}


def test_a_loop_that_the_network_does_not_have():
    card = catalog.card("ch_PP-OCRv4_rec")
    with pytest.raises(AlignmentError, match="the program has a loop, where ch_PP-OCRv4_rec has"):
        next(planning.plan_export(card, program("relu", "while"), {}))
    assert not planning.has_unknown_loop(card, program("relu", "if"))


def test_a_checkpoint_beside_a_loop_that_cannot_be_followed():
    """There are no counterparts then, so that the results alone are compared."""
    card = catalog.card("rec_mtb_nrtr")
    network = planning.NetworkSpec(card.name, card.architecture, {"nrtr": 9})
    plan = SimpleNamespace(alignment=None, network=network)
    assert planning.counterparts(card, plan, looping(), {}) == {}
    with pytest.raises(AlignmentError, match="different networks"):
        planning.counterparts(card, plan, program("relu"), {})


def looping() -> Program:
    loop = Operation("while", {"condition": ("x",), "carried": ()}, (), {}, (Block(()),))
    return replace(program("relu"), operations=(loop,))


def test_without_counterparts_the_results_alone_are_compared(tmp_path):
    reference = ProgramReference(None, program("while"), tmp_path, {}, "rec")
    found = reference.graph(None, None)
    assert found.layers == ()
    assert reference.compared_layers(found) == []


# Both sides write the same of what they do in other ways.


def test_a_layer_that_is_fed_by_constants():
    """As of positions, whose embedding is the same for every image."""
    places, linear, total = reduced(
        op("embedding", "e", x="ids", weight="m"),
        op("matmul", "l", x="e", y="w", attributes={"transpose_y": False}),
        op("add", "s", x="x", y="l"),
        op("multiply", "z", x="s", y="b"),
        parameters={"m": (5, 4), "w": (4, 4), "b": (4,)},
    ).layers
    assert (places.kind, places.sources) == ("embedding", frozenset())
    assert linear.sources == {(0, ())}
    assert total.sources == {(INPUT, ()), (1, ())}


def test_weights_of_weights_are_still_refused():
    with pytest.raises(AlignmentError, match="multiply makes other weights of w"):
        reduced(op("multiply", "q", x="w", y="scale"), op("relu", "y", x="x"))


@pytest.mark.parametrize("repeat", ["tile", "expand"])
def test_a_token_in_front_of_the_patches(repeat):
    operations = (op(repeat, "t", x="c"), op("concat", "y", x=("t", "x")))
    (layer,) = reduced(*operations, parameters={"c": (1, 1, 4)}).layers
    assert (layer.kind, roles(layer)) == ("concat", {"operand.0": "c"})
    (behind,) = reduced(op("concat", "y", x=("x", "c")), parameters={"c": (1, 1, 4)}).layers
    assert roles(behind) == {"operand.1": "c"}


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.m = (nn.Linear(4, 4) for _ in range(4))
        self.out = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        mask = self.m(x).argmax(-1) > 0
        seen = F.scaled_dot_product_attention(
            self.q(x), self.k(x), self.v(x), attn_mask=mask[:, None].expand(-1, 5, -1)
        )
        return self.out(seen)


@pytest.mark.parametrize("product", ["matmul", "bmm"])
def test_a_mask_that_the_network_computes_feeds_the_attention(product):
    linears = [
        op("matmul", name, x="x", y=f"{name}.w", attributes={"transpose_y": False})
        for name in "mqkv"
    ]
    theirs = reduced(
        *linears,
        op("argmax", "mask", x="m"),
        op("transpose", "kt", x="k"),
        op(product, "scores", x="q", y="kt"),
        op("add", "masked", x="scores", y="mask"),
        op(product, "seen", x="masked", y="v"),
        op("matmul", "y", x="seen", y="o.w", attributes={"transpose_y": False}),
        parameters={f"{name}.w": (4, 4) for name in "mqkvo"},
    ).layers[-1]
    ours = graph(Masked(), torch.zeros(1, 5, 4))
    marks = {
        layer.name.partition(".")[0]: marks
        for source, marks in ours.layers[-1].sources
        for layer in [ours.layers[source]]
    }
    expected = {"mqkv"[source]: marks for source, marks in theirs.sources}
    assert marks == expected
    assert set(expected) == set("mqkv")


def test_a_layer_that_is_run_anew_on_the_same_is_one():
    """As the keys of an attention in a loop that keeps nothing; on another input it is another."""

    def linear(place: int, x: str) -> tuple[Operation, ...]:
        return (
            op("matmul", f"m{place}", x=x, y="w", attributes={"transpose_y": False}),
            op("add", f"k{place}", x=f"m{place}", y="b"),
        )

    keys, third, total = reduced(
        *linear(0, "x"), *linear(1, "x"), *linear(2, "k1"),
        op("add", "s", x="k1", y="k2"), op("multiply", "y", x="s", y="c"),
        parameters={"w": (4, 4), "b": (4,), "c": (4,)},
    ).layers  # fmt: skip
    assert (keys.call, third.call) == (0, 1)
    assert roles(keys) == {"weight": "w", "bias": "b"}
    assert third.sources == {(0, ())}
    assert total.sources == {(0, ()), (1, ())}


@torch.no_grad()
def test_a_gru_written_out_is_pytorchs():
    torch.manual_seed(0)
    ours, plain = GRUCell(5, 3), nn.GRUCell(5, 3)
    plain.load_state_dict(ours.state_dict())
    x, state = torch.randn(4, 5), torch.randn(4, 3)
    torch.testing.assert_close(ours(x, state), plain(x, state))
    torch.testing.assert_close(ours(x), plain(x))
