"""Plans by names and shapes alone: what goes where, and all faults in one table."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from torch import nn

from converter.errors import MappingError
from converter.mapping.ops import Transpose
from converter.mapping.plan import Move, Signature, resolve, signature_of, targets_of
from tests.support.toy_mappings import faults, load, plan


def network(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


# A square Linear, a rectangular one, and a BatchNorm, in Paddle's names and layouts.
NETWORK = network(square=nn.Linear(2, 2), fc=nn.Linear(2, 3), norm=nn.BatchNorm2d(4))
SOURCE = {
    "square.weight": (2, 2),
    "square.bias": (2,),
    "fc.weight": (2, 3),
    "fc.bias": (3,),
    "norm.weight": (4,),
    "norm.bias": (4,),
    "norm._mean": (4,),
    "norm._variance": (4,),
}
SAME = 'extends: [_base]\nsame_name: ["square.*", "fc.*", "norm.*"]\n'


def without(*names: str, **added: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    changed = {key.replace("__", "."): shape for key, shape in added.items()}
    return {name: shape for name, shape in SOURCE.items() if name not in names} | changed


class TestComplete:
    def test_every_name_stands_in_the_plan_once(self, tmp_path):
        found = plan(load(tmp_path, SAME), NETWORK, SOURCE)
        assert found.moves == (
            Move("square.weight", ("square.weight",), (Transpose(),)),
            Move("square.bias", ("square.bias",)),
            Move("fc.weight", ("fc.weight",), (Transpose(),)),
            Move("fc.bias", ("fc.bias",)),
            Move("norm.weight", ("norm.weight",)),
            Move("norm.bias", ("norm.bias",)),
            Move("norm.running_mean", ("norm._mean",)),
            Move("norm.running_var", ("norm._variance",)),
        )
        assert found.fills == {"norm.num_batches_tracked": 0}
        assert found.counts() == {
            "used": 8,
            "second_names": 0,
            "filled": 1,
            "tied": 0,
            "dropped": {},
        }

    def test_the_order_of_rules_has_no_meaning(self, tmp_path):
        forth = plan(load(tmp_path, SAME), NETWORK, SOURCE)
        back = 'extends: [_base]\nsame_name: ["norm.*", "fc.*", "square.*"]\n'
        assert set(plan(load(tmp_path, back), NETWORK, SOURCE).moves) == set(forth.moves)

    def test_drops_keep_their_reasons(self, tmp_path):
        text = SAME + 'drop: {"guide.**": run only in training, "ema.*": an average}'
        added = {"guide.fc.weight": (9, 9), "guide.x": (1,), "ema.x": ()}
        found = plan(load(tmp_path, text), NETWORK, SOURCE | added)
        assert found.drops == {
            "guide.fc.weight": "run only in training",
            "guide.x": "run only in training",
            "ema.x": "an average",
        }
        assert found.counts()["dropped"] == {"run only in training": 2, "an average": 1}

    def test_a_counter_that_the_source_brings_is_moved(self, tmp_path):
        signatures = {name: Signature(shape) for name, shape in SOURCE.items()}
        signatures["norm.num_batches_tracked"] = Signature((), "int64")
        found = resolve(load(tmp_path, SAME), signatures, targets_of(NETWORK))
        assert found.fills == {}
        assert found.counts()["used"] == 9

    def test_the_most_specific_type_tells_the_fill(self, tmp_path):
        class Counted(nn.BatchNorm2d):
            pass

        text = "extends: [_base]\nsame_name: ['norm.*']\nfill: {Counted.num_batches_tracked: 7}"
        source = {name: shape for name, shape in SOURCE.items() if name.startswith("norm.")}
        found = plan(load(tmp_path, text), network(norm=Counted(4)), source)
        assert found.fills == {"norm.num_batches_tracked": 7}

    def test_the_table_for_a_person(self, tmp_path):
        text = 'same_name: ["{n}.bias"]\nrename: {"{n}.weight": "{n}.weight"}\ndrop: {x.*: unused}'
        layers = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3))
        shapes = {"weight": (1, 1, 3, 3), "bias": (1,)}
        source = {f"{n}.{leaf}": shape for n in range(2) for leaf, shape in shapes.items()}
        assert plan(load(tmp_path, text), layers, {**source, "x.y": ()}).table().split("\n") == [
            "  {0..1}.bias -> {0..1}.bias  2 tensors",
            "  {0..1}.weight -> {0..1}.weight  2 tensors",
            "  x.y  dropped  unused",
        ]


class TestFaults:
    """Each fault alone gives exactly one row, and that row names the tensor."""

    @pytest.mark.parametrize(
        ("rules", "source", "row"),
        [
            ("", without(other__x=(5,)), "other.x  unclaimed, shape (5,)"),
            (
                'drop: {"fc.bias": unused}',
                SOURCE,
                "fc.bias  claimed twice: by name fc.* and drop fc.bias",
            ),
            ("", without("fc.bias"), "fc.bias  unfilled, shape (3,)"),
            (
                'rename: {"old.bias": "fc.bias"}',
                without(old__bias=(3,)),
                "fc.bias  filled twice: by fc.bias and old.bias",
            ),
            (
                "",
                without(fc__scale=(3,)),
                "fc.scale  is not in the network; fc.scale would go there",
            ),
            ("", without(fc__bias=(1,)), "fc.bias  has shape (3,), the source (1,)"),
            ("", without(fc__bias=(3, 1)), "fc.bias  has shape (3,), the source (3, 1)"),
            ("", without(fc__bias=()), "fc.bias  has shape (3,), the source ()"),
            (
                "",
                without(fc__weight=(3, 2)),
                "fc.weight  has shape (3, 2), the source (3, 2) (as (2, 3))",
            ),
            (
                "",
                without(fc__weight=(1, 2, 3)),
                "fc.weight  transpose takes a matrix, not (1, 2, 3)",
            ),
            ('drop: {"gone.**": unused}', SOURCE, "rule drop gone.**  claims nothing"),
            ('same_name: ["a.**", "square.*", "fc.*", "norm.*"]', SOURCE, "rule name a.**"),
        ],
    )
    def test_one_fault(self, tmp_path, rules, source, row):
        text = SAME if "same_name" not in rules else "extends: [_base]\n"
        rows = faults(load(tmp_path, text + rules), NETWORK, source)
        assert len(rows) == 1
        assert rows[0].startswith(row)

    def test_all_faults_stand_in_one_table(self, tmp_path):
        text = SAME + (
            'rename: {"old.bias": "square.bias"}\n'
            'drop: {"norm.weight": doubled, "idle.**": no such thing}'
        )
        source = without("norm.bias", old__bias=(2,), other__x=(5,), fc__bias=(4,))
        mapping = load(tmp_path, text)
        assert sorted(faults(mapping, NETWORK, source)) == [
            "fc.bias  has shape (3,), the source (4,)",
            "norm.bias  unfilled, shape (4,)",
            "norm.weight  claimed twice: by name norm.* and drop norm.weight",
            "other.x  unclaimed, shape (5,)",
            "rule drop idle.**  claims nothing",
            "square.bias  filled twice: by square.bias and old.bias",
        ]
        with pytest.raises(MappingError, match="6 faults in 9 source and 9 target tensors"):
            plan(mapping, NETWORK, source)

    def test_faults_that_differ_in_numbers_alone_are_one_row(self, tmp_path):
        rows = faults(load(tmp_path, SAME), NETWORK, SOURCE | {f"x.{n}.y": (n,) for n in range(5)})
        assert rows == ["x.{0..4}.y  unclaimed, shape ({0..4},), 5 tensors"]

    def test_an_inherited_rule_may_idle(self, tmp_path):
        base = SAME + 'drop: {"guide.**": unused}\nrename: {old.bias: new.bias}'
        assert plan(load(tmp_path, "extends: [mine]", mine=base), NETWORK, SOURCE)

    def test_one_name_is_never_claimed_by_an_own_and_an_inherited_rule(self, tmp_path):
        mapping = load(tmp_path, 'extends: [mine]\ndrop: {"fc.bias": unused}', mine=SAME)
        rows = faults(mapping, NETWORK, SOURCE)
        assert rows == ["fc.bias  claimed twice: by drop fc.bias and name fc.*"]

    def test_a_drop_does_not_fill(self, tmp_path):
        text = 'extends: [_base]\nsame_name: ["square.*", "norm.*"]\ndrop: {"fc.**": unused}'
        rows = faults(load(tmp_path, text), NETWORK, SOURCE)
        assert rows == ["fc.weight  unfilled, shape (3, 2)", "fc.bias  unfilled, shape (3,)"]

    @pytest.mark.parametrize(
        ("dtype", "fits"),
        [
            ("float32", True),
            ("float16", True),
            *((other, False) for other in ("float64", "int8", "uint8", "int32", "bool")),
        ],
    )
    def test_dtypes_that_would_lose_or_change_meaning(self, tmp_path, dtype, fits):
        signatures = {name: Signature(shape) for name, shape in SOURCE.items()}
        signatures["fc.bias"] = Signature((3,), dtype)
        mapping, targets = load(tmp_path, SAME), targets_of(NETWORK)
        if fits:
            assert resolve(mapping, signatures, targets)
        else:
            with pytest.raises(MappingError, match=f"fc.bias  is float32, the source is {dtype}"):
                resolve(mapping, signatures, targets)


class TestSelect:
    SELECT = SAME + (
        'select: {prefix: "Student.", bare: %s, siblings: '
        '{"Student2.**": second student, "Teacher.**": teacher}}'
    )

    def source(self, *prefixes: str) -> dict[str, tuple[int, ...]]:
        return {prefix + name: shape for prefix in prefixes for name, shape in SOURCE.items()}

    @pytest.mark.parametrize("bare", ["allowed", "refused"])
    def test_the_student_is_taken_and_nothing_else(self, tmp_path, bare):
        source = self.source("Teacher.", "Student2.", "Student.")
        found = plan(load(tmp_path, self.SELECT % bare), NETWORK, source)
        used = [name for move in found.moves for name in move.sources]
        assert used == [f"Student.{name}" for name in SOURCE]
        assert found.counts()["dropped"] == {"teacher": 8, "second student": 8}

    def test_a_bare_checkpoint(self, tmp_path):
        found = plan(load(tmp_path, self.SELECT % "allowed"), NETWORK, SOURCE)
        assert found.counts()["used"] == 8
        rows = faults(load(tmp_path, self.SELECT % "refused"), NETWORK, SOURCE)
        assert rows == ["Student.**  no name has this prefix"]

    def test_a_drop_within_the_student(self, tmp_path):
        text = self.SELECT % "refused" + '\ndrop: {"guide.*": run only in training}'
        source = self.source("Student.") | {"Student.guide.x": (1,)}
        found = plan(load(tmp_path, text), NETWORK, source)
        assert found.drops == {"Student.guide.x": "run only in training"}

    def test_a_name_that_is_no_sibling(self, tmp_path):
        source = self.source("Student.") | {"Student3.fc.bias": (3,), "fc.bias": (3,)}
        rows = faults(load(tmp_path, self.SELECT % "allowed"), NETWORK, source)
        told = "neither Student.** nor a sibling of it"
        assert rows == [f"Student3.fc.bias  {told}", f"fc.bias  {told}"]

    def test_siblings_alone_are_not_taken_for_a_bare_checkpoint(self, tmp_path):
        rows = faults(load(tmp_path, self.SELECT % "allowed"), NETWORK, self.source("Student2."))
        assert sum("unclaimed" in row for row in rows) == 8

    def test_a_sibling_is_claimed_once(self, tmp_path):
        text = SAME + 'select: {prefix: "S.", siblings: {"T.**": teacher, "*.fc.bias": biases}}'
        source = self.source("S.") | {"T.fc.bias": (3,)}
        rows = faults(load(tmp_path, text), NETWORK, source)
        assert rows == ["T.fc.bias  claimed twice: by the siblings T.** and *.fc.bias"]

    def test_a_sibling_may_be_a_single_name(self, tmp_path):
        text = SAME + 'select: {prefix: "S.", siblings: {"step": counts the iterations}}'
        found = plan(load(tmp_path, text), NETWORK, self.source("S.") | {"step": ()})
        assert found.drops == {"step": "counts the iterations"}

    @pytest.mark.parametrize(
        ("change", "row"),
        [
            ({"Student.x": (2,)}, "Student.x  unclaimed, shape (2,)"),
            ({"Student.fc.bias": (2,)}, "fc.bias  has shape (3,), the source (2,)"),
        ],
    )
    def test_faults_name_the_tensor_with_its_prefix(self, tmp_path, change, row):
        mapping = load(tmp_path, self.SELECT % "allowed")
        assert faults(mapping, NETWORK, self.source("Student.") | change) == [row]


class TestTargets:
    def test_types_and_signatures(self):
        targets = targets_of(NETWORK)
        assert list(targets) == list(NETWORK.state_dict())
        assert targets["norm.num_batches_tracked"].signature == Signature((), "int64")
        assert targets["fc.weight"].signature == Signature((3, 2))
        assert targets["fc.weight"].owner_types[:2] == ("Linear", "Module")

    def test_the_meta_device_will_do(self, tmp_path):
        found = plan(load(tmp_path, SAME), NETWORK, SOURCE)
        meta = network(square=nn.Linear(2, 2), fc=nn.Linear(2, 3), norm=nn.BatchNorm2d(4))
        assert plan(load(tmp_path, SAME), meta.to("meta"), SOURCE) == found

    def test_signatures_of_arrays_and_tensors_are_alike(self):
        tensor = NETWORK.fc.weight.detach()
        assert signature_of(tensor) == signature_of(tensor.numpy()) == Signature((3, 2), "float32")
