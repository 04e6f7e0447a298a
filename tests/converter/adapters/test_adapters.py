"""Networks that take more than the image, or give more than one result."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from architectures import Model
from architectures.backbones._relation_decoder import RelationDecoder, possible_pairs
from architectures.interfaces import OutputPart, Part
from converter.adapters import running
from converter.adapters.base import HeadAdapter
from converter.adapters.layoutlm import TokenAdapter, entities_of, relation_rows
from converter.adapters.registry import ADAPTERS, adapter_for
from converter.alignment.trace import named_tensors, trace
from converter.errors import SourceError
from converter.parity.comparison import compare_integers, compare_results
from converter.references.hooks import by_our_names, observe
from converter.references.recorded.compare import compare_output
from converter.sources.ir import Block, Operation, Program
from schemas.record import OutputRow
from tests.support.paths import ROOT

ARCHITECTURE = {"Backbone": {}, "Head": {"name": "WideHead", "max_text_length": 4}}


class WideAdapter(HeadAdapter):
    extra_inputs = ("image_mask", "valid_ratio")
    record_call_inputs = ("tokens",)

    def extra_values(self, image):
        ratio = np.ones(len(image), np.float32)
        return {"image_mask": np.ones_like(image[:, :1]), "valid_ratio": ratio}

    def record_results(self, network, _image, inputs):
        return {"scored": network.head.scale(inputs["tokens"])}


class Masked(Part):
    extra_inputs = ("image_mask",)

    def forward(self, x: Tensor, image_mask: Tensor) -> Tensor:
        return x * image_mask


class Wide(OutputPart):
    extra_inputs = ("valid_ratio", "image_mask")
    results = ("text", "lengths", "features")
    text_scores = "text"

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(3, 3, bias=False)

    def forward(self, x: Tensor, valid_ratio: Tensor, image_mask: Tensor) -> dict[str, Tensor]:
        features = self.scale(x.mean(3).transpose(1, 2)) * valid_ratio[:, None, None]
        masked = (image_mask > 0).sum((1, 2, 3))
        return {"features": features, "text": features.argmax(-1), "lengths": masked}


@pytest.fixture
def network(monkeypatch) -> Model:
    monkeypatch.setattr(running, "adapter_for", lambda found: WideAdapter(found["Head"]))
    torch.manual_seed(0)
    return Model({"Backbone": Masked(), "Head": Wide()}, ARCHITECTURE, {}).eval()


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 4, 8)


def test_each_part_gets_its_extra_inputs(network, image):
    assert network.extra_inputs == ("image_mask", "valid_ratio")
    mask, ratio = torch.ones(2, 1, 4, 8), torch.tensor([1.0, 0.5])
    whole = network(image, image_mask=mask, valid_ratio=torch.ones(2))["features"]
    half = network(image, image_mask=mask, valid_ratio=ratio)["features"]
    torch.testing.assert_close(half[1], whole[1] / 2)
    assert not network(image, image_mask=0 * mask, valid_ratio=ratio)["features"].any()


@pytest.mark.parametrize(
    ("given", "found"),
    [((), "nothing"), (("image_mask",), "image_mask"), (("image_mask", "label"), "label")],
)
def test_what_is_missing_or_unknown_is_one_error(network, image, given, found):
    with pytest.raises(TypeError, match=rf"takes image_mask, valid_ratio, not .*{found}"):
        network(image, **{name: torch.ones(2) for name in given})


def test_results_come_in_the_order_of_the_exported_program(network, image):
    names = [name for name, _ in named_tensors("output", running.run_network(network, image))]
    assert names == ["output.text", "output.lengths", "output.features"]
    del Wide.results
    try:
        assert list(running.run_network(network, image)) == ["features", "lengths", "text"]
    finally:
        Wide.results = ("text", "lengths", "features")


def test_extra_inputs_flow_through_the_trace(network, image):
    given = running.extra_tensors(network, image)
    traced = trace(network, image, given=given)
    assert (len(traced.inputs), list(traced.given)) == (1, ["image_mask", "valid_ratio"])
    assert list(traced.outputs) == ["output.text", "output.lengths", "output.features"]


# The inputs of PaddleOCR's networks.


@pytest.mark.parametrize(
    ("head", "shapes"),
    [
        ("CTCHead", {}),
        ("SARHead", {"valid_ratio": (2,)}),
        ("RobustScannerHead", {"valid_ratio": (2,), "word_positions": (2, 5)}),
        ("CANHead", {"image_mask": (2, 1, 8, 16), "label": (2, 5)}),
        (
            "SRNHead",
            {
                "encoder_word_pos": (2, 2, 1),
                "gsrm_word_pos": (2, 5, 1),
                "gsrm_slf_attn_bias1": (2, 8, 5, 5),
                "gsrm_slf_attn_bias2": (2, 8, 5, 5),
            },
        ),
    ],
)
def test_every_extra_input_has_values(head, shapes):
    batch = np.zeros((2, 3, 8, 16), np.float32)
    adapter = adapter_for({"Head": {"name": head, "max_text_length": 5}})
    inputs = adapter.paddle_inputs(batch)
    assert {name: array.shape for name, array in inputs.items()} == {"x": batch.shape, **shapes}
    assert list(inputs) == ["x", *adapter.extra_inputs]


def test_a_character_sees_what_comes_before_it_or_after_it():
    batch = np.zeros((1, 1, 8, 8), np.float32)
    fed = adapter_for({"Head": {"name": "SRNHead", "max_text_length": 3}}).extra_values(batch)
    before, after = fed["gsrm_slf_attn_bias1"][0, 0], fed["gsrm_slf_attn_bias2"][0, 0]
    np.testing.assert_array_equal(before < 0, [[0, 1, 1], [0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(after, before.T)


@pytest.mark.parametrize("head", ADAPTERS)
def test_an_adapter_states_what_it_has_values_for(head):
    adapter = adapter_for({"Head": {"name": head, "max_text_length": 5}})
    image = np.zeros((2, 3, 16, 16), np.float32)
    if isinstance(adapter, TokenAdapter):
        image = adapter.tokens(2, 16, 0)
    assert tuple(adapter.extra_values(image)) == adapter.extra_inputs
    assert adapter.computed_inside <= set(adapter.extra_inputs)
    assert set(adapter.padded_values(image)) <= set(adapter.extra_inputs)
    for name, item in adapter.padded_values(image).items():
        filled = adapter.extra_values(image)[name]
        assert (item.values.shape, item.values.dtype) == (filled.shape, filled.dtype)
        assert (item.values != filled).any()


def test_paddle_takes_extra_inputs_in_one_list_with_the_image_or_in_a_second_argument():
    plain, can, sar = (adapter_for({"Head": {"name": f"{n}Head"}}) for n in ("CTC", "CAN", "SAR"))
    assert plain.paddle_arguments("x", []) == ["x"]
    assert can.paddle_arguments("x", ["mask", "label"]) == [["x", "mask", "label"]]
    assert sar.paddle_arguments("x", ["ratio"]) == ["x", ["ratio"]]


def test_records_hold_teacher_forced_tokens_behind_a_start_token():
    image = np.zeros((2, 1, 32, 64), np.float32)
    options = {"name": "UniMERNetHead", "vocab_size": 24}
    inputs = adapter_for({"Head": options}).recorded_inputs(image)
    assert list(inputs) == ["teacher_tokens", "causal_tokens"]
    for item in inputs.values():
        assert (item.values.shape, item.rule) == ((2, 12), "stored: a start token, then others")
        assert set(item.values[:, 0]) == {0}
        assert 3 <= item.values[:, 1:].min() < item.values.max() < 24
    (item,) = adapter_for({"Head": {"name": "LaTeXOCRHead"}}).recorded_inputs(image).values()
    assert set(item.values[:, 0]) == {1}


def test_adapters_import_neither_framework():
    files = {target.partition(":")[0] for target in ADAPTERS.values()}
    modules = ", ".join(["sys", *(f"converter.adapters.{file}" for file in sorted(files))])
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import {modules}; print({{'torch', 'paddle'}} & {{*sys.modules}})",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout == "set()\n"


# Records of such networks.


def test_a_record_gives_the_network_what_it_takes(network, image):
    ratio, mask = np.array([1, 0.5], np.float32), np.ones((2, 1, 4, 8), np.float32)
    held = {"valid_ratio": ratio, "image_mask": mask, "word_positions": ratio}
    found = observe(network, image.numpy(), (), running.record_run(network, held))
    whole = observe(network, image.numpy(), ())
    expected = whole["output.features"] * ratio[:, None, None]
    np.testing.assert_allclose(found["output.features"], expected, rtol=1e-6)
    with pytest.raises(SourceError, match="takes image_mask, which the record does not hold"):
        running.record_run(network, {"valid_ratio": ratio})


def test_calls_for_a_record_need_the_inputs_that_it_holds(network, image):
    tokens = np.ones((1, 3), np.float32)
    found = observe(
        network, image.numpy(), ["head.scale"], running.record_run(network, {"tokens": tokens})
    )
    assert list(found) == ["head.scale", "output.scored"]
    held = {name: array.numpy() for name, array in running.extra_tensors(network, image).items()}
    assert "output.text" in observe(network, image.numpy(), (), running.record_run(network, held))


def test_results_of_a_tuple_are_told_by_their_places():
    ours = ["output.text", "output.lengths"]
    assert by_our_names({"output.0": "a", "output.1": "b"}, ours) == {ours[0]: "a", ours[1]: "b"}
    named = by_our_names({"output.lengths": "b", "output.text": "a", "output.more": "c"}, ours)
    assert list(named.items()) == [(ours[0], "a"), (ours[1], "b"), ("output.more", "c")]
    assert by_our_names({"output.0": "a"}, ours) == {"output.0": "a"}


def test_integers_are_the_same_or_at_fault():
    expected = np.array([[3, 3], [3, 3]])
    alike = compare_integers("tokens", expected, expected.copy(), input_shape=(1,))
    assert (alike.fault, alike.difference) == ("", 0.0)
    other = expected + np.array([[0, 0], [0, 1]])
    found = compare_integers("tokens", expected, other, input_shape=(1,))
    assert found.where == (1, 1)
    assert found.fault == ("1 of 4 integers differ, the first at (1, 1): Paddle gives 3, PyTorch 4")
    floats = compare_integers("tokens", expected, expected.astype(np.float32), input_shape=(1,))
    assert floats.fault == "Paddle gives integers (int64), PyTorch float32"
    shorter = compare_integers("tokens", expected, expected[:1], input_shape=(1,))
    assert shorter.fault == "Paddle gives (2, 2), PyTorch (1, 2)"


def test_recorded_integers_are_compared_exactly():
    tokens = np.arange(2000).reshape(2, 1000)
    arrays, shape = {"0": tokens.ravel()}, (1, 1, 4, 4)
    row = OutputRow("0", (2, 1000), "int64", 999.5, 577.0, 1999.0, 1)
    other = tokens + (tokens == 1500)  # by a part in 2000, which the limit would not have seen
    assert not compare_output(arrays, row, tokens, None, 1e-2, shape)[0].fault
    assert compare_output(arrays, row, other, None, 1e-2, shape)[0].where == (1500,)


def test_the_text_is_decided_by_the_result_that_tells_it(network, image):
    results = observe(network, image.numpy(), ())
    same = compare_results(network, "rec", results, results, input_shape=(1,))
    assert not any(found.fault for found in same)
    other = {**results, "output.text": results["output.text"] + 1}
    faults = [
        found.probe
        for found in compare_results(network, "rec", results, other, input_shape=(1,))
        if found.fault
    ]
    assert faults == ["output.text", "decisions (text)"]


def test_records_of_table_master_hold_its_first_tokens():
    adapter = adapter_for({"Head": {"name": "TableMasterHead"}})

    class Head:
        max_text_length = 500

    class Network:
        head = Head()

        def __call__(self, image: object) -> dict[str, object]:
            return {"tokens": self.head.max_text_length, "image": image}

    network = Network()
    assert adapter.record_results(network, "image", {}) == {"tokens": 24, "image": "image"}
    assert network.head.max_text_length == 500


@pytest.mark.parametrize(("shape", "one"), [((1, 1), True), ((501, 501), False)])
@pytest.mark.parametrize("kind", ["tril", "tril_triu"])
def test_exports_of_table_master_that_were_traced_for_one_token(kind, shape, one):
    adapter = adapter_for({"Head": {"name": "TableMasterHead"}})
    mask = (
        Operation("full", {}, ("ones",), {"shape": shape}),
        Operation(kind, {"0": ("ones",)}, ("mask",), {}),
    )
    loop = Operation("while", {}, ("tokens",), {}, (Block(mask),))
    program = Program("pir", (loop,), {}, (), (), b"")

    class Head:
        max_text_length, stops_at_end, traced_for_one = 500, True, False

    class Network:
        head = Head()

    assert bool(adapter.faults_of(program)) == one
    with adapter.as_exported(Network(), program):
        assert (Head.max_text_length, Network.head.max_text_length) == (500, 24)
        assert not Network.head.stops_at_end
        assert Network.head.traced_for_one == one
    settings = (
        Network.head.max_text_length,
        Network.head.stops_at_end,
        Network.head.traced_for_one,
    )
    assert settings == (500, True, False)


def test_relations_of_paddlenlp_get_the_rows_of_our_network():
    torch.manual_seed(1)
    entities = torch.from_numpy(entities_of(np.ones((2, 40), np.int64)))
    entities[1, 0] = 0  # a page without entities has no relations
    decoder = RelationDecoder(8).eval()
    features, pairs = 9 * torch.randn(2, 40, 8), possible_pairs(entities[0])
    with torch.inference_mode():
        _, expected = decoder(features, entities, torch.zeros(2, 1, 2, dtype=torch.int64))
        is_found = decoder.score(features[0], entities[0], pairs).argmax(1) == 1
    assert 0 < is_found.sum() < len(pairs)
    relations = []
    for head, tail in pairs[is_found].tolist():
        relation = {"type": 1}
        for side, place in (("head", head), ("tail", tail)):
            start, end, label = entities[0, place + 1].tolist()
            relation |= {f"{side}_id": place, side: (start, end), f"{side}_type": label}
        relations.append(relation)
    assert np.array_equal(relation_rows([relations, []], entities.shape[1]), expected)
