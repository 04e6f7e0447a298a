"""Every released model: its mapping fits the names of its checkpoint, and no other names.

The names and shapes are those of the recorded network, with the class counts of the release; for
distilled models and released checkpoints that are at hand, `names/MODEL.txt` holds the whole list,
a tensor a line: name, shape and dtype, with tabs between.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import architectures
from architectures.registry import class_count, scored_width
from converter.catalog import cards as catalog
from converter.errors import MappingError
from converter.exporting.transformers_folder import families
from converter.exporting.vision_language import family as vision_language
from converter.mapping import ops
from converter.mapping.invert import invert
from converter.mapping.plan import Plan, Signature, Target, resolve, targets_of
from converter.mapping.rules import FOLDER, load_mapping
from tests.support.paths import NAMES
from tests.support.paths import RECORDS as RECORDED

LISTS = {file.stem for file in NAMES.iterdir()}
MODELS = catalog.names()
# One model of each network: what is true of its names is true of the others'.
NETWORKS = sorted({catalog.card(name).recorded: name for name in reversed(MODELS)}.values())
DISTILLED = ("ch_PP-OCRv4_det", "ch_PP-OCRv2_det")

STUDENT2, TEACHER = "second student of the mutual distillation", "teacher of the distillation"
NRTR, BEFORE = "NRTR guide, run only in training", "feeds the NRTR guide"
OWN = "of training, the weight is normalised by its own"
UNREAD = "a constant that nothing reads"
NOISY = "noisy boxes are decoded in training only"
PLACES = "a constant, the same in every window of 5 x 5"
# Of the lists: tensors used, second names, filled, dropped.
EXPECTED = {
    "LaTeX_OCR_rec":             (340, 0,  0,   {OWN: 80, UNREAD: 80}),
    "PP-LCNet_x0_25_textline_ori": (146, 0, 27, {}),
    "PP-LCNet_x1_0_doc_ori":     (146, 0,  27,  {}),
    "PP-LCNet_x1_0_table_cls":   (146, 0,  27,  {}),
    "PP-LCNet_x1_0_textline_ori": (146, 0, 27,  {}),
    "PP-DocLayoutV2":            (932, 0, 122, {NOISY: 1}),
    "PP-DocLayoutV3":            (829, 0, 129, {NOISY: 1}),
    "UVDoc":                     (251, 0,  44,  {}),
    "UniMERNet":                 (602, 0,  0,   {PLACES: 20}),
    "ch_PP-OCRv2_det":           (269, 0,  51,  {STUDENT2: 269, TEACHER: 149}),
    "ch_PP-OCRv4_det":           (905, 0,  150, {STUDENT2: 905, TEACHER: 316}),
    "ch_PP-OCRv4_rec":           (884, 0,  151, {NRTR: 83, BEFORE: 1}),
    "ch_ppocr_mobile_v2.0_cls":  (213, 0,  35,  {}),
    "en_PP-OCRv4_rec":           (884, 0,  151, {NRTR: 83, BEFORE: 1}),
    "en_number_mobile_v2.0_rec": (229, 16, 35,  {}),
    "rec_d28_can":               (632, 0,  100, {}),
}  # fmt: skip

# Layers that score classes, one for each map or each layer of a decoder.
LAYOUT_SCORES = (
    *(f"head.head_cls{level}." for level in range(4)),
    "head.head_cls_list.",
    "transformer.dec_score_head.",
    "yolo_head.yolo_output.",
)

Signatures = dict[str, Signature]


def read(file: Path) -> Signatures:
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
    found = {
        name: Signature(tuple(int(size) for size in shape.split(",") if size), dtype)
        for name, shape, dtype in rows
    }
    assert len(found) == len(rows), "a name stands twice"
    return found


def bare(source: Signatures) -> Signatures:
    student = [name for name in source if name.startswith("Student.")]
    return {name.removeprefix("Student."): source[name] for name in student}


@cache
def recorded(name: str) -> Signatures:
    """The names of a recorded network in its checkpoint, second names included."""
    facts = json.loads((RECORDED / name / "reference.json").read_text(encoding="utf-8"))
    found = {row[0]: Signature(tuple(row[1]), row[2]) for row in facts["parameters"]}
    return found | {second: found[first] for second, first in facts["aliases"]}


@cache
def signatures(model: str) -> Signatures:
    """The names of the model's checkpoint, with the class counts of the release."""
    if model in LISTS:
        return read(NAMES / f"{model}.txt")
    card = catalog.card(model)
    source = recorded(card.recorded)
    resized = dict(source)
    for counted, released in released_counts(card).items():
        known = source[counted].shape[0]
        scorer = counted.rpartition(".")[0]
        for name, signature in source.items():
            # The guides of a MultiHead score two or three classes more.
            guide = name.startswith(("head.sar_head.", "head.gtc_head."))
            scored = name.startswith((f"{scorer}.", *LAYOUT_SCORES))
            extra = (2, 3) if guide else (0,) if scored else ()
            if name.endswith("structure_attention_cell.rnn.weight_ih"):
                extra = (signature.shape[1] - known,)  # what is read of the map precedes the token
            sizes = {known + more: released + more for more in extra}
            shape = tuple(sizes.get(size, size) for size in signature.shape)
            resized[name] = Signature(shape, signature.dtype)
    return resized


def released_counts(card: catalog.ModelCard) -> dict[str, int]:
    """The tensors whose lengths tell class counts, with those of the release."""
    if not card.class_counts:  # formulas have one vocabulary
        return {}
    count = card.classes if card.task in catalog.READING else len(card.labels)
    return dict.fromkeys(card.class_counts.values(), scored_width(card.architecture, count))


@cache
def targets(model: str) -> dict[str, Target]:
    """The tensors of the model's network, with the class counts that its list shows."""
    card, source = catalog.card(model), signatures(model)
    lengths = {count: source[name].shape[0] for count, name in card.class_counts.items()}
    assert list(lengths.values()) == list(released_counts(card).values())
    counts = {count: class_count(card.architecture, n) for count, n in lengths.items()}
    architecture = catalog.without_class_counts(card.architecture)
    if card.recorded_sizes and model not in LISTS:  # the names are those of a smaller network
        facts = json.loads((RECORDED / card.recorded / "reference.json").read_text())
        architecture = facts["architecture"]
    return built(json.dumps([architecture, counts]))


@cache
def built(network: str) -> dict[str, Target]:
    """The tensors of a network, which several models may have; JSON of its `build` arguments."""
    architecture, counts = json.loads(network)
    with torch.device("meta"):
        model = architectures.build(architecture, class_counts=counts)
    assert model.class_counts == counts
    return targets_of(model)


mapping = cache(load_mapping)


def plan(model: str, source: Signatures) -> Plan:
    return resolve(mapping(catalog.card(model).mapping), source, targets(model))


@cache
def whole(model: str) -> Plan:
    """The plan of the model's whole checkpoint."""
    return plan(model, signatures(model))


def faults(model: str, source: Signatures) -> list[str]:
    """The table of faults, a row a name, but for rules that have nothing to claim by them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("converter.mapping.plan.summarize_names", one_by_one)
        with pytest.raises(MappingError) as caught:
            plan(model, source)
    _, *rows, _ = str(caught.value).split("\n")
    return [row for row in rows if not row.endswith("  claims nothing")]


def one_by_one(rows: Iterable[tuple[str, str]]) -> list[str]:
    """The rows of a table that are not summarised."""
    return [f"{name}  {text}" for name, text in rows]


def fault(model: str, source: Signatures) -> str:
    """The one row of the table of faults."""
    (row,) = faults(model, source)
    return row


@cache
def sample(model: str) -> list[tuple[str, str]]:
    """Some of the sources that have no second name, with their targets.

    One of each kind (section, last segment, rank), and each third of the list.
    """
    source, found = signatures(model), whole(model)
    doubled = {*found.aliases.values(), *found.ties}
    moves = [(move.sources[0], move.target) for move in found.moves]
    single = [(name, target) for name, target in moves if name not in doubled]
    kinds = {}
    for name, target in single:
        section, _, rest = target.partition(".")
        kinds[section, rest.rpartition(".")[2], len(source[name].shape)] = (name, target)
    return list(dict.fromkeys([*kinds.values(), *single[:: len(single) // 3]]))


def test_the_lists_are_of_models():
    assert set(EXPECTED) == LISTS
    assert set(MODELS) >= LISTS


@pytest.mark.parametrize("model", EXPECTED)
def test_what_a_list_becomes(model):
    used, second_names, filled, dropped = EXPECTED[model]
    assert whole(model).counts() == {
        "used": used,
        "second_names": second_names,
        "filled": filled,
        "tied": 0,
        "dropped": dropped,
    }


def test_no_mapping_is_without_a_model():
    shipped = {file.stem for file in FOLDER.glob("[!_]*.yaml")}
    of_paddlex = {card.paddlex.mapping for card in catalog.cards() if card.paddlex}
    of_transformers = {family.mapping for family in families().values()}
    of_transformers |= {
        network.mapping
        for family in vision_language.families().values()
        for network in (family.tied, family.untied)
        if network
    }
    assert shipped == {card.mapping for card in catalog.cards()} | of_paddlex | of_transformers


@pytest.mark.parametrize("model", MODELS)
class TestEveryModel:
    def test_the_plan_is_complete(self, model):
        source, counts = signatures(model), whole(model).counts()
        dropped = sum(counts["dropped"].values())
        assert counts["used"] + counts["second_names"] + dropped == len(source)
        assert counts["used"] + counts["filled"] == len(targets(model))

    def test_the_classes_are_those_of_the_release(self, model):
        found = whole(model)
        card = catalog.card(model)
        moved = {move.sources[0].removeprefix(found.prefix): move.target for move in found.moves}
        lengths = [
            targets(model)[moved[name]].signature.shape[0] for name in card.class_counts.values()
        ]
        assert lengths == list(released_counts(card).values())


@pytest.mark.parametrize("model", NETWORKS)
class TestEveryNetwork:
    def test_the_way_back_gives_every_tensor_its_name_and_shape(self, model):
        source, found = signatures(model), whole(model)
        arrays = {  # constants, each stored once, whatever its shape
            name: np.broadcast_to(np.float32(number), signature.shape)
            for number, (name, signature) in enumerate(source.items())
        }
        state = {}
        for move in found.moves:
            parts = [ops.array_after(move.operations, arrays[name]) for name in move.sources]
            joined = np.concatenate(parts, move.axis) if len(parts) > 1 else parts[0]
            state[move.target] = np.split(joined, move.parts, move.axis)[move.part]
        back = invert(found, state, source)
        assert set(back) == set(source) - set(found.drops)
        for name, array in back.items():
            assert array.shape == source[name].shape
            assert array.flat[0] == arrays[found.aliases.get(name, name)].flat[0]

    def test_every_name_is_accounted_for_once(self, model):
        found = whole(model)
        moved = [name for move in found.moves for name in move.sources]
        assert sorted([*moved, *found.drops, *found.aliases]) == sorted(signatures(model))
        assert sorted([*(m.target for m in found.moves), *found.fills]) == sorted(targets(model))

    def test_linear_layers_alone_are_transposed(self, model):
        latex = catalog.card(model).mapping == "latexocr"
        for move in whole(model).moves:
            owners = targets(model)[move.target].owner_types
            turned = "Linear" in owners and move.target.endswith(".weight")
            turned |= "PackedAttention" in owners and move.target.endswith(".in_proj_weight")
            if latex and ".attn.proj." in move.target:
                turned = False  # PaddleOCR's myLinear holds [out, in]
            assert bool(move.operations) == turned

    def test_what_is_dropped_makes_no_difference(self, model):
        source, found = signatures(model), whole(model)
        rest = {name: source[name] for name in source if name not in found.drops}
        assert plan(model, rest).moves == found.moves

    # Two plans: in each every other name is at fault, so none hides behind the name beside it.
    @pytest.mark.parametrize("half", [0, 1])
    def test_names_that_are_missing(self, model, half):
        source, missing = signatures(model), sample(model)[half::2]
        rest = {name: source[name] for name in source if name not in dict(missing)}
        assert sorted(faults(model, rest)) == sorted(
            f"{target}  unfilled, shape {targets(model)[target].signature.shape}"
            for _, target in missing
        )

    def test_foreign_names(self, model):
        one_of_each_section = {name.partition(".")[0]: name for name, _ in sample(model)}
        foreign = [f"{name.rpartition('.')[0]}.foreign" for name in one_of_each_section.values()]
        rows = faults(model, signatures(model) | dict.fromkeys(foreign, Signature((3,))))
        assert len(rows) == len(foreign)
        for name in foreign:
            gone = f"is not in the network; {name} would go there"
            assert any(row.endswith(gone) or row.startswith(f"{name}  unclaimed") for row in rows)

    def test_foreign_sections(self, model):
        foreign = ("foreign.weight", "Student3.head.x", "optimizer")
        rows = faults(model, signatures(model) | dict.fromkeys(foreign, Signature((3,))))
        assert sorted(row.partition("  ")[0] for row in rows) == sorted(foreign)

    @pytest.mark.parametrize("half", [0, 1])
    def test_other_shapes(self, model, half):
        others = {}
        for place, (name, target) in enumerate(sample(model)[half::2]):
            shape = signatures(model)[name].shape
            forms = ((*shape[:-1], shape[-1] + 1), (*shape, 1), shape[:-1])
            others[name] = (target, forms[place % len(forms)])
        changed = {name: Signature(other) for name, (_, other) in others.items()}
        rows = faults(model, signatures(model) | changed)
        assert len(rows) == len(others)
        for target, other in others.values():
            assert any(row.startswith(f"{target}  ") and str(other) in row for row in rows)

    def test_another_dtype(self, model):
        source, names = signatures(model), sample(model)[:5]
        doubled = {name: Signature(source[name].shape, "float64") for name, _ in names}
        assert sorted(faults(model, source | doubled)) == sorted(
            f"{target}  is float32, the source is float64" for _, target in names
        )


@pytest.mark.parametrize("model", DISTILLED)
def test_the_bare_form_of_a_distilled_model(model):
    complete = whole(model)
    found = plan(model, bare(signatures(model)))
    assert found.counts() == {**complete.counts(), "dropped": {}}
    assert [move.target for move in found.moves] == [move.target for move in complete.moves]
    stripped = [move.sources[0].removeprefix("Student.") for move in complete.moves]
    assert [move.sources[0] for move in found.moves] == stripped


@pytest.mark.parametrize("model", DISTILLED)
def test_bare_names_beside_a_student(model):
    source = signatures(model)
    assert "neither Student.**" in fault(model, source | {"head.x": Signature((1,))})


def test_second_names_may_be_missing_but_not_misshapen():
    model = "en_number_mobile_v2.0_rec"
    source, found = signatures(model), whole(model)
    assert len(found.aliases) == 16
    for second, first in found.aliases.items():
        without_second = {name: source[name] for name in source if name != second}
        assert plan(model, without_second).moves == found.moves
        without_first = {name: source[name] for name in source if name != first}
        assert plan(model, without_first).counts()["used"] == 229
        neither = {name: source[name] for name in source if name not in (first, second)}
        assert fault(model, neither).startswith(f"{first}  unfilled")
        for name in (first, second):
            with pytest.raises(MappingError, match=f"{second}  is no second name: has shape"):
                plan(model, source | {name: Signature((1, 1))})
