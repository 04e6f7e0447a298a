"""Decoders that run their layers step by step: in a loop of a program, written out, or here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from converter.alignment.layer_graph import INPUT, LayerGraph, layer_graph, network_graph
from converter.alignment.matching import align
from converter.alignment.trace import trace
from converter.errors import AlignmentError
from converter.sources.ir import Block, Operation
from tests.converter.alignment.test_layer_graph import op

WIDTH = 4


class Decoder(nn.Module):
    """Three steps of a state that the image and the last scores change."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(WIDTH, WIDTH)
        self.of_image, self.of_state, self.of_scores = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.score = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        image = self.encode(x)
        state = last = torch.zeros_like(image)
        scores = []
        for _ in range(3):
            changed = self.of_image(image) + self.of_state(state) + self.of_scores(last)
            state = torch.sub(state, torch.tanh(changed))
            last = self.score(state)
            scores.append(last)
        return torch.stack(scores, 1).softmax(2)


def linear(result: str, x: str, name: str) -> list[Operation]:
    product = op("matmul", f"{result}.p", x=x, y=f"{name}.w", attributes={"transpose_y": False})
    return [product, op("add", result, x=f"{result}.p", y=f"{name}.b")]


def body(state: str, last: str, written: str, step: str = "") -> list[Operation]:
    """One step, whose results are named after it."""
    return [
        *linear(f"i{step}", "image", "image"),
        *linear(f"h{step}", state, "state"),
        *linear(f"l{step}", last, "last"),
        op("add", f"s{step}", x=f"i{step}", y=f"h{step}"),
        op("add", f"t{step}", x=f"s{step}", y=f"l{step}"),
        op("tanh", f"c{step}", x=f"t{step}"),
        op("subtract", f"n{step}", x=state, y=f"c{step}"),
        *linear(f"o{step}", f"n{step}", "out"),
        op("set_value", f"w{step}", x=written, y=f"o{step}"),
    ]


PARAMETERS = {
    f"{name}.{kind}": (WIDTH, WIDTH) if kind == "w" else (WIDTH,)
    for name in ("encode", "image", "state", "last", "out")
    for kind in "wb"
}
FIRST = [*linear("image", "x", "encode"), *(op("full", name) for name in ("h0", "l0", "w0", "go"))]
CARRIED = ("h0", "l0", "w0")
LAST = [op("softmax", "y", x="written")]


def program(operations: list[Operation]) -> LayerGraph:
    return layer_graph([*FIRST, *operations, *LAST], PARAMETERS, ["x"], ["y"], merged=True)


def looped(results: tuple[str, ...] = ("n", "o", "w")) -> LayerGraph:
    inside = Block(tuple(body("ha", "la", "wa")), ("ha", "la", "wa"), results)
    inputs = {"condition": ("go",), "carried": CARRIED}
    return program([Operation("while", inputs, ("h9", "l9", "written"), {}, (inside,))])


def overwriting() -> LayerGraph:
    """As old programs have it: the body writes the values outside under their names."""
    steps = [
        *body("h0", "l0", "w0"),
        *(op("assign", to, x=of) for to, of in zip(CARRIED, "now", strict=True)),
    ]
    inside = Block(tuple(steps), CARRIED, CARRIED)
    inputs = {"condition": ("go",), "carried": CARRIED}
    loop = Operation("while", inputs, CARRIED, {}, (inside,))
    return program([loop, op("assign", "written", x="w0")])


def written_out() -> LayerGraph:
    operations = body("h0", "l0", "w0", "1")
    for before, step in ("12", "23"):
        operations += body(f"n{before}", f"o{before}", f"w{before}", step)
    return program([*operations, op("assign", "written", x="w3")])


def network(module: nn.Module | None = None) -> LayerGraph:
    return network_graph(trace(module or Decoder(), torch.zeros(1, WIDTH)), merged=True)


@pytest.mark.parametrize("graph", [looped, overwriting, written_out])
def test_the_layers_of_a_step_are_told_apart_by_what_they_get(graph):
    (alignment,) = align(graph(), network())
    assert alignment.interchangeable == ()
    pairs = {ours.name: theirs.name for theirs, ours in alignment.pairs}
    assert pairs == {
        "encode.weight": "encode.w",
        "of_image.weight": "image.w",
        "of_state.weight": "state.w",
        "of_scores.weight": "last.w",
        "score.weight": "out.w",
    }


def test_states_exchanged_between_steps_are_noticed():
    """In the program, what was the scores becomes the state, and the other way round."""
    with pytest.raises(AlignmentError, match="are different networks"):
        list(align(looped(("o", "n", "w")), network()))


def test_a_state_that_is_not_handed_on_is_noticed():
    with pytest.raises(AlignmentError, match="are different networks"):
        list(align(looped(("ha", "o", "w")), network()))


def test_what_a_step_hands_on_is_an_edge():
    graph = looped()
    names = {layer.name: index for index, layer in enumerate(graph.layers)}
    by_name = {layer.name: layer for layer in graph.layers}
    assert by_name["encode.w"].sources == {(INPUT, ())}
    assert not by_name["encode.w"].looped
    assert by_name["image.w"].looped
    assert by_name["last.w"].sources == {(names["out.w"], ())}
    assert {layer for layer, _ in by_name["state.w"].sources} == {
        names["image.w"], names["state.w"], names["last.w"]
    }  # fmt: skip


def test_branches_give_what_any_of_them_gives():
    branches = (
        Block(tuple(linear("a", "x", "encode")), (), ("a",)),
        Block((), (), ("x",)),
    )
    operations = [
        Operation("if", {"condition": ("go",)}, ("z",), {}, branches),
        *linear("y", "z", "out"),
    ]
    graph = layer_graph(operations, PARAMETERS, ["x"], ["y"], merged=True)
    assert graph.layers[1].sources == {(0, ()), (INPUT, ())}


def grown(*steps: Operation) -> LayerGraph:
    """A loop whose body turns the state `s` into `n`, with `x` from outside."""
    inputs = {"condition": ("go",), "carried": ("m",)}
    operations = [
        *linear("m", "x", "encode"),
        Operation("while", inputs, ("y",), {}, (Block(steps, ("s",), ("n",)),)),
    ]
    return layer_graph(operations, PARAMETERS, ["x"], ["y"], merged=True)


def test_a_state_that_every_step_changes_alike_keeps_its_marks():
    graph = grown(op("subtract", "n", x="s", y="x"))
    assert graph.results == {(0, ("subtract:0",)), (INPUT, ("subtract:1",)), (
        INPUT, ("subtract:1", "subtract:0")
    )}  # fmt: skip


def test_a_loop_whose_data_flow_grows_for_ever_is_refused():
    with pytest.raises(AlignmentError, match="still changes after 8 iterations"):
        grown(op("subtract", "t", x="s", y="x"), op("matmul", "n", x="t", y="x"))


class Window(nn.Module):
    """Attention of four places, biased by a table of relative positions and by a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.table = nn.Parameter(torch.zeros(7, 1))

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(4)
        bias = self.table[places[:, None] - places + 3].permute(2, 0, 1)
        bias = (bias + torch.eye(4)[:, None, None].expand(4, 1, 4, 4)).repeat(1, 1, 1, 1)
        mixed = nn.functional.scaled_dot_product_attention(
            self.query(x)[:, None], self.key(x)[:, None], self.value(x)[:, None], attn_mask=bias
        )
        return mixed.flatten(1)


def windows(*between: Operation, merged: bool = True) -> LayerGraph:
    """The same as a program has it, with operations between the rows and the sum."""
    names = ("image", "state", "last")
    operations = [operation for name in names for operation in linear(name[0], "x", name)]
    operations += [
        op("matmul", "scores", x="i", y="s", attributes={"transpose_y": True}),
        op("gather_nd", "rows", x="table", index="places"),
        op("reshape", "r0", x="rows"),
        *between,
        op("add", "biased", x="scores", y=f"r{len(between)}"),
        op("add", "masked", x="biased", y="mask"),
        op("matmul", "y", x="masked", y="l", attributes={"transpose_y": False}),
    ]
    parameters = {**PARAMETERS, "table": (7, 1)}
    return layer_graph(operations, parameters, ["x"], ["y"], merged=merged)


def test_a_table_of_relative_positions_belongs_to_the_sum_that_takes_its_rows():
    ours = network_graph(trace(Window(), torch.zeros(4, 4, WIDTH)), merged=True)
    (alignment,) = align(windows(op("transpose", "r1", x="r0")), ours)
    pairs = {mine.name: theirs.name for theirs, mine in alignment.pairs}
    assert pairs == {
        "query.weight": "image.w",
        "key.weight": "state.w",
        "value.weight": "last.w",
        "table": "table",
    }


def test_rows_that_were_scaled_or_a_table_that_is_turned_whole_are_refused():
    with pytest.raises(AlignmentError, match="multiply makes other weights of table"):
        windows(op("multiply", "r1", x="r0", y="scale"))
    turned = (op("transpose", "t", x="table"), op("add", "y", x="x", y="t"))
    with pytest.raises(AlignmentError, match="transpose makes other weights of table"):
        layer_graph(turned, {"table": (7, 1)}, ["x"], ["y"], merged=True)
