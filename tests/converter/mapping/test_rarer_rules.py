"""Joining, splitting and tying tensors, held against what numpy or PyTorch makes by hand."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from converter.errors import MappingError
from tests.support.toy_mappings import faults, load, plan, state

DIM = 4


def network(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def random(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def shapes(source: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in source.items()}


class TestConcat:
    """Paddle's three projections become the one of nn.MultiheadAttention."""

    TEXT = """
extends: [_base]
same_name: ["layers.*.attn.out_proj.*"]
concat:
  "layers.{n}.attn.in_proj_weight":
    {from: "layers.{n}.attn.{qkv}_proj.weight", over: {qkv: [q, k, v]}, each: [transpose], axis: 0}
  "layers.{n}.attn.in_proj_bias":
    {from: "layers.{n}.attn.{qkv}_proj.bias", over: {qkv: [q, k, v]}, axis: 0}
"""

    @pytest.fixture
    def toy(self):
        layer = network(attn=nn.MultiheadAttention(DIM, 2, batch_first=True))
        other = network(attn=nn.MultiheadAttention(DIM, 2, batch_first=True))
        return network(layers=nn.ModuleList([layer, other])).eval()

    @pytest.fixture
    def source(self):
        names = [f"layers.{n}.attn.{p}_proj" for n in range(2) for p in ("q", "k", "v", "out")]
        weights = {f"{n}.weight": random(DIM, DIM, seed=i) for i, n in enumerate(names)}
        return weights | {f"{n}.bias": random(DIM, seed=9 + i) for i, n in enumerate(names)}

    def test_numbers(self, tmp_path, toy, source):
        converted = state(load(tmp_path, self.TEXT), toy, source)
        for n in range(2):
            attn = f"layers.{n}.attn"
            wanted = np.vstack([source[f"{attn}.{p}_proj.weight"].T for p in "qkv"])
            assert np.array_equal(converted[f"{attn}.in_proj_weight"].numpy(), wanted)
            wanted = np.hstack([source[f"{attn}.{p}_proj.bias"] for p in "qkv"])
            assert np.array_equal(converted[f"{attn}.in_proj_bias"].numpy(), wanted)
            # out_proj is a subclass of Linear
            wanted = source[f"{attn}.out_proj.weight"].T
            assert np.array_equal(converted[f"{attn}.out_proj.weight"].numpy(), wanted)

    def test_the_module_computes_what_the_projections_do(self, tmp_path, toy, source):
        state(load(tmp_path, self.TEXT), toy, source)
        x = random(1, 5, DIM, seed=50)

        def project(part: str, value: np.ndarray) -> np.ndarray:
            name = f"layers.1.attn.{part}_proj"
            return value @ source[f"{name}.weight"] + source[f"{name}.bias"]

        q, k, v = (project(p, x).reshape(5, 2, 2).transpose(1, 0, 2) for p in "qkv")
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(2)
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        wanted = project("out", (weights @ v).transpose(1, 0, 2).reshape(1, 5, DIM))
        given = torch.from_numpy(x)
        with torch.no_grad():
            found = toy.layers[1].attn(given, given, given, need_weights=False)[0]
        assert np.abs(found.numpy() - wanted).max() < 1e-5

    def test_a_missing_part(self, tmp_path, toy, source):
        del source["layers.1.attn.k_proj.weight"]
        rows = faults(load(tmp_path, self.TEXT), toy, shapes(source))
        name = "layers.1.attn.in_proj_weight"
        assert rows == [
            f"{name}  cannot be joined without layers.{{n}}.attn.k_proj.weight",
            f"{name}  unfilled, shape (12, 4)",
        ]

    @pytest.mark.parametrize(
        ("shape", "row"),
        [
            ((5, DIM), "cannot join (4, 4), (4, 5), (4, 4) along axis 0"),
            ((DIM, 5), "has shape (12, 4), the source (4, 4) + (4, 5) + (4, 4) (as (13, 4))"),
            ((DIM,), "transpose takes a matrix, not (4,)"),
        ],
    )
    def test_parts_that_do_not_fit(self, tmp_path, toy, source, shape, row):
        changed = shapes(source) | {"layers.0.attn.k_proj.weight": shape}
        rows = faults(load(tmp_path, self.TEXT), toy, changed)
        assert rows == [f"layers.0.attn.in_proj_weight  {row}"]

    def test_two_names_for_one_part(self, tmp_path):
        text = "concat: {fc.weight: {from: '*.{x}', over: {x: [a, b]}, each: [], axis: 0}}"
        toy = network(fc=nn.Linear(2, 2, bias=False))
        source = {"m.a": (1, 2), "m.b": (1, 2), "n.b": (1, 2)}
        rows = faults(load(tmp_path, text), toy, source)
        assert rows == ["fc.weight  filled twice: by m.b and n.b"]

    def test_two_joins_into_one_target(self, tmp_path):
        rule = "concat: {fc.bias: {from: '%s.{x}', over: {x: [a, b]}, axis: 0}}"
        toy = network(fc=nn.Linear(1, 2))
        toy.fc.weight = None
        source = {f"{m}.{x}": (1,) for m in "mn" for x in "ab"}
        mapping = load(tmp_path, "extends: [n]\n" + rule % "m", n=rule % "n")
        assert plan(mapping, toy, {"m.a": (1,), "m.b": (1,)}).moves[0].sources == ("m.a", "m.b")
        assert faults(mapping, toy, source) == [
            "fc.bias  filled twice: by m.a and m.b and n.a and n.b"
        ]

    def test_without_each_the_layout_is_that_of_the_target(self, tmp_path):
        text = "extends: [_base]\nconcat: {fc.weight: {from: '{x}', over: {x: [a, b]}, axis: 0}}"
        toy = network(fc=nn.Linear(2, 4, bias=False))
        source = {"a": random(2, 2, seed=1), "b": random(2, 2, seed=2)}
        converted = state(load(tmp_path, text), toy, source)["fc.weight"].numpy()
        assert np.array_equal(converted, np.vstack([source["a"].T, source["b"].T]))


class TestSplit:
    TEXT = """
extends: [_base]
split:
  "{n}.qkv.{p}": {into: ["{n}.{part}.{p}"], over: {part: [q, k, v]}, axis: 0}
"""

    @pytest.fixture
    def toy(self):
        return nn.ModuleList([nn.ModuleDict({p: nn.Linear(2, 3) for p in "qkv"})])

    def test_the_axis_is_counted_after_the_layout(self, tmp_path, toy):
        source = {"0.qkv.weight": random(2, 9, seed=1), "0.qkv.bias": random(9, seed=2)}
        converted = state(load(tmp_path, self.TEXT), toy, source)
        for i, part in enumerate("qkv"):
            rows = slice(3 * i, 3 * i + 3)
            weight, bias = converted[f"0.{part}.weight"], converted[f"0.{part}.bias"]
            assert np.array_equal(weight.numpy(), source["0.qkv.weight"][:, rows].T)
            assert np.array_equal(bias.numpy(), source["0.qkv.bias"][rows])

    def test_it_counts_as_one_tensor_used(self, tmp_path, toy):
        found = plan(load(tmp_path, self.TEXT), toy, {"0.qkv.weight": (2, 9), "0.qkv.bias": (9,)})
        assert found.counts()["used"] == 2
        assert "0.qkv.bias (part 3 of 3) -> 0.v.bias" in found.table()

    @pytest.mark.parametrize(
        ("shape", "row"),
        [
            ((2, 8), "cannot split (8, 2) into 3 along axis 0"),
            ((9, 2), "cannot split (2, 9) into 3 along axis 0"),
            ((2, 6), "has shape (3, 2), the source (2, 6) (as (2, 2))"),
        ],
    )
    def test_what_cannot_be_split(self, tmp_path, toy, shape, row):
        source = {"0.qkv.weight": shape, "0.qkv.bias": (9,)}
        rows = faults(load(tmp_path, self.TEXT), toy, source)
        assert rows == [f"0.{part}.weight  {row}" for part in "qkv"]


class TestTie:
    TEXT = "extends: [_base]\nsame_name: ['**']\ntie: {head.weight: embed.weight}\n"

    @pytest.fixture(params=["cpu"])
    def toy(self, request):
        with torch.device(request.param):
            toy = network(embed=nn.Embedding(3, 2), head=nn.Linear(2, 3, bias=False))
        toy.head.weight = toy.embed.weight
        return toy

    def test_one_tensor_fills_both(self, tmp_path, toy):
        embed = random(3, 2, seed=1)
        converted = state(load(tmp_path, self.TEXT), toy, {"embed.weight": embed})
        assert converted["head.weight"] is converted["embed.weight"]
        assert np.array_equal(toy.head.weight.detach().numpy(), embed)

    def test_two_equal_tensors_are_proved_so(self, tmp_path, toy):
        embed = random(3, 2, seed=1)
        source = {"embed.weight": embed, "head.weight": embed.T.copy()}
        converted = state(load(tmp_path, self.TEXT), toy, source)
        assert converted["head.weight"] is converted["embed.weight"]
        source["head.weight"][0, 0] += 1
        with pytest.raises(MappingError, match=r"head\.weight differs from embed\.weight"):
            state(load(tmp_path, self.TEXT), toy, source)

    def test_storage_that_is_not_shared(self, tmp_path):
        toy = network(embed=nn.Embedding(3, 2), head=nn.Linear(2, 3, bias=False))
        row = "tie head.weight  does not share its storage with embed.weight"
        assert faults(load(tmp_path, self.TEXT), toy, {"embed.weight": (3, 2)}) == [
            row,
            "head.weight  unfilled, shape (3, 2)",
        ]

    @pytest.mark.parametrize("toy", ["cpu", "meta"], indirect=True)
    def test_storage_that_is_shared_without_a_tie(self, tmp_path, toy):
        mapping = load(tmp_path, "extends: [_base]\nsame_name: ['**']")
        source = {"embed.weight": (3, 2), "head.weight": (2, 3)}
        row = "head.weight  shares its storage with embed.weight, but no tie says so"
        assert faults(mapping, toy, source) == [row]

    def test_a_module_that_stands_twice(self, tmp_path):
        embed = nn.Embedding(3, 2)
        converted = state(
            load(tmp_path, self.TEXT),
            network(embed=embed, head=embed),
            {"embed.weight": random(3, 2, seed=1)},
        )
        assert list(converted) == ["embed.weight", "head.weight"]

    def test_ties_that_lead_nowhere(self, tmp_path, toy):
        rows = faults(load(tmp_path, self.TEXT), toy, {})
        assert "embed.weight  unfilled, shape (3, 2)" in rows
        circle = "tie: {head.weight: embed.weight, embed.weight: head.weight}"
        rows = faults(load(tmp_path, circle), toy, {})
        assert "tie head.weight  embed.weight is tied itself" in rows
        unknown = self.TEXT.replace("embed.weight", "emb.weight")
        rows = faults(load(tmp_path, unknown), toy, {})
        assert "tie head.weight  the network lacks it or emb.weight" in rows
