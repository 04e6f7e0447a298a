"""Numbers: what stands in the `state_dict`, held against tensors written by hand."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from converter.errors import MappingError
from converter.mapping import apply as convert
from converter.mapping.plan import Move, Plan, targets_of
from tests.support.toy_mappings import load, state


def network(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def counted(*shape: int, start: int = 0) -> np.ndarray:
    """An array of consecutive whole numbers."""
    return np.arange(start, start + np.prod(shape, dtype=int)).reshape(shape).astype(np.float32)


ALL_SAME = "extends: [_base]\nsame_name: ['**']\n"


class TestLayouts:
    def test_a_square_linear_is_transposed(self, tmp_path):
        source = {"fc.weight": counted(2, 2), "fc.bias": counted(2)}
        converted = state(load(tmp_path, ALL_SAME), network(fc=nn.Linear(2, 2)), source)
        assert converted["fc.weight"].tolist() == [[0, 2], [1, 3]]
        assert converted["fc.bias"].tolist() == [0, 1]

    def test_a_linear_computes_what_paddle_computes(self, tmp_path):
        source = {"fc.weight": counted(3, 2), "fc.bias": counted(2)}
        toy = network(fc=nn.Linear(3, 2))
        state(load(tmp_path, ALL_SAME), toy, source)
        x = counted(4, 3)
        expected = x @ source["fc.weight"] + source["fc.bias"]
        assert toy(torch.from_numpy(x)).tolist() == expected.tolist()

    @pytest.mark.parametrize(
        ("module", "shape"),
        [
            (nn.Conv2d(2, 2, 1, bias=False), (2, 2, 1, 1)),
            (nn.Conv1d(2, 2, 2, bias=False), (2, 2, 2)),
            (nn.ConvTranspose2d(2, 2, 2, bias=False), (2, 2, 2, 2)),
            (nn.Embedding(2, 2), (2, 2)),
        ],
    )
    def test_other_modules_are_not(self, tmp_path, module, shape):
        source = {"x.weight": counted(*shape)}
        converted = state(load(tmp_path, ALL_SAME), network(x=module), source)
        assert converted["x.weight"].tolist() == source["x.weight"].tolist()

    def test_a_subclass_has_the_layout_of_its_base(self, tmp_path):
        class Scaled(nn.Linear):
            pass

        source = {"fc.weight": counted(2, 2), "fc.bias": counted(2)}
        converted = state(load(tmp_path, ALL_SAME), network(fc=Scaled(2, 2)), source)
        assert converted["fc.weight"].tolist() == [[0, 2], [1, 3]]
        own = ALL_SAME + "layouts: {Scaled.weight: []}"
        converted = state(load(tmp_path, own), network(fc=Scaled(2, 2)), source)
        assert converted["fc.weight"].tolist() == [[0, 1], [2, 3]]

    def test_a_bare_parameter_states_its_operations(self, tmp_path):
        toy = nn.Module()
        toy.project = nn.Parameter(torch.zeros(3, 2))
        text = "rename: {proj: {to: project, ops: [{squeeze: 0}, transpose]}}"
        converted = state(load(tmp_path, text), toy, {"proj": counted(1, 2, 3)})
        assert converted["project"].tolist() == [[0, 3], [1, 4], [2, 5]]

    @pytest.mark.parametrize(
        ("ops", "expected"),
        [("[]", [[0, 1], [2, 3]]), ("[{reorder_gates: [1, 0]}]", [[2, 3], [0, 1]])],
    )
    def test_stated_operations_replace_the_layout(self, tmp_path, ops, expected):
        text = f"extends: [_base]\nrename: {{w: {{to: fc.weight, ops: {ops}}}}}"
        toy = network(fc=nn.Linear(2, 2, bias=False))
        assert state(load(tmp_path, text), toy, {"w": counted(2, 2)})["fc.weight"].tolist() == (
            expected
        )

    def test_a_rename_follows_the_type_at_its_target(self, tmp_path):
        text = 'extends: [_base]\nrename: {"proj.{p}": "fc.{p}"}'
        source = {"proj.weight": counted(2, 2), "proj.bias": counted(2)}
        converted = state(load(tmp_path, text), network(fc=nn.Linear(2, 2)), source)
        assert converted["fc.weight"].tolist() == [[0, 2], [1, 3]]


class TestLeaves:
    class Norm(nn.BatchNorm2d):
        pass

    @pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.BatchNorm2d, Norm])
    def test_batch_norm(self, tmp_path, norm):
        leaves = ("weight", "bias", "_mean", "_variance")
        source = {f"bn.{leaf}": counted(2, start=10 * i) for i, leaf in enumerate(leaves)}
        converted = state(load(tmp_path, ALL_SAME), network(bn=norm(2)), source)
        assert {name: tensor.tolist() for name, tensor in converted.items()} == {
            "bn.weight": [0, 1],
            "bn.bias": [10, 11],
            "bn.running_mean": [20, 21],
            "bn.running_var": [30, 31],
            "bn.num_batches_tracked": 0,
        }
        assert converted["bn.num_batches_tracked"].dtype == torch.int64

    def test_prelu(self, tmp_path):
        converted = state(
            load(tmp_path, ALL_SAME), network(act=nn.PReLU(2)), {"act._weight": counted(2)}
        )
        assert converted["act.weight"].tolist() == [0, 1]

    def test_a_leaf_is_renamed_in_its_own_type_alone(self, tmp_path):
        toy = nn.Module()
        toy._mean = nn.Parameter(torch.zeros(2))
        toy.bn = nn.BatchNorm2d(2, affine=False)
        source = {"_mean": counted(2), "bn._mean": counted(2), "bn._variance": counted(2)}
        assert set(state(load(tmp_path, ALL_SAME), toy, source)) == {
            "_mean",
            "bn.running_mean",
            "bn.running_var",
            "bn.num_batches_tracked",
        }


def second_names(cell: nn.RNNBase) -> dict[str, str]:
    """Paddle's second name for each tensor of a recurrent network."""
    names = {}
    for first in cell.state_dict():
        leaf, _, layer = first.removesuffix("_reverse").rpartition("_l")
        way = "cell_bw" if first.endswith("_reverse") else "cell_fw"
        names[f"{layer}.{way if cell.bidirectional else 'cell'}.{leaf}"] = first
    return names


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
class TestAliases:
    @pytest.fixture
    def toy(self, kind, bidirectional):
        return network(rnn=kind(3, 2, num_layers=2, bidirectional=bidirectional))

    @pytest.fixture
    def tensors(self, toy):
        """The arrays under their first names, no two alike."""
        shapes = {name: tensor.shape for name, tensor in toy.state_dict().items()}
        return {name: counted(*shape, start=i) for i, (name, shape) in enumerate(shapes.items())}

    @pytest.fixture
    def aliases(self, toy, tensors):
        second = {f"rnn.{name}": tensors[f"rnn.{of}"] for name, of in second_names(toy.rnn).items()}
        assert len(second) == len(tensors)
        return second

    def check(self, converted, tensors):
        assert {name: t.tolist() for name, t in converted.items()} == {
            name: array.tolist() for name, array in tensors.items()
        }

    def test_both_names(self, tmp_path, toy, tensors, aliases):
        self.check(state(load(tmp_path, ALL_SAME), toy, tensors | aliases), tensors)
        self.check(state(load(tmp_path, ALL_SAME), toy, aliases | tensors), tensors)

    def test_one_of_the_names_is_a_plain_move(self, tmp_path, toy, tensors, aliases):
        self.check(state(load(tmp_path, ALL_SAME), toy, tensors), tensors)
        self.check(state(load(tmp_path, ALL_SAME), toy, aliases), tensors)

    def test_names_that_differ(self, tmp_path, toy, tensors, aliases):
        name = list(aliases)[-1]
        changed = aliases[name].copy()
        changed.flat[-1] += 1
        with pytest.raises(MappingError, match=f"1 tensors should .*\n  {name} differs from rnn"):
            state(load(tmp_path, ALL_SAME), toy, tensors | aliases | {name: changed})

    def test_names_of_different_shapes(self, tmp_path, toy, tensors, aliases):
        name = next(iter(aliases))
        with pytest.raises(MappingError, match=f"{name}  is no second name: has shape"):
            state(load(tmp_path, ALL_SAME), toy, tensors | aliases | {name: counted(1)})


@pytest.mark.parametrize("names", [("weight", "kernel"), ("weight",), ("kernel",)])
def test_an_alias_has_the_layout_of_its_target(tmp_path, names):
    text = ALL_SAME + "aliases: {Linear: {kernel: weight}}"
    source = {f"fc.{name}": counted(2, 2) for name in names}
    converted = state(load(tmp_path, text), network(fc=nn.Linear(2, 2, bias=False)), source)
    assert converted["fc.weight"].tolist() == [[0, 2], [1, 3]]


class TestStateDict:
    def test_a_fill_has_the_stated_value(self, tmp_path):
        toy = network(fc=nn.Linear(2, 2))
        converted = state(load(tmp_path, "fill: {Linear.weight: 0.5, Linear.bias: 3}"), toy, {})
        assert converted["fc.weight"].tolist() == [[0.5, 0.5], [0.5, 0.5]]
        assert converted["fc.bias"].tolist() == [3, 3]

    def test_the_order_is_that_of_the_network(self, tmp_path):
        source = {"fc.bias": counted(2), "fc.weight": counted(2, 2)}
        toy = network(fc=nn.Linear(2, 2))
        assert list(state(load(tmp_path, ALL_SAME), toy, source)) == list(toy.state_dict())

    def test_the_source_is_neither_written_nor_shared(self, tmp_path):
        source = {"fc.weight": counted(2, 2), "fc.bias": counted(2)}
        for array in source.values():
            array.flags.writeable = False
        converted = state(load(tmp_path, ALL_SAME), network(fc=nn.Linear(2, 2)), source)
        for tensor in converted.values():
            tensor.add_(1)
            assert tensor.is_contiguous()
        assert source["fc.bias"].tolist() == [0, 1]

    def test_half_precision_becomes_that_of_the_network(self, tmp_path):
        source = {"fc.weight": counted(2, 2).astype("f2"), "fc.bias": counted(2)}
        converted = state(load(tmp_path, ALL_SAME), network(fc=nn.Linear(2, 2)), source)
        assert converted["fc.weight"].dtype == torch.float32

    def test_a_scalar(self, tmp_path):
        toy = nn.Module()
        toy.scale = nn.Parameter(torch.zeros(()))
        source = {"scale": np.full((), 3, np.float32)}
        assert state(load(tmp_path, ALL_SAME), toy, source)["scale"].tolist() == 3

    def test_nothing_is_broadcast(self):
        targets = targets_of(network(fc=nn.Linear(2, 2)))
        plan = Plan((Move("fc.weight", ("a",)), Move("fc.bias", ("b",))))
        with pytest.raises(AssertionError, match=r"planned \(2,\), got \(1,\)"):
            convert.apply(plan, {"a": counted(2, 2), "b": counted(1)}, targets)
