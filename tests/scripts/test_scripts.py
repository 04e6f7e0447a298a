"""The developers' scripts: the recorder of references, drafts of mappings."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from converter.catalog import cards as catalog
from converter.errors import ConfigError, SourceError
from converter.mapping.pattern import Pattern
from converter.mapping.plan import Signature, Target, resolve, targets_of
from converter.mapping.rules import FOLDER, load_mapping
from converter.references.recorded.record import read_record
from tests.support.paths import NAMES, ROOT


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    return module


draft_mapping = script("draft_mapping")
record_reference = script("record_reference")


# draft_mapping.py


@pytest.mark.parametrize(
    ("names", "chosen", "expected"),
    [
        (["a.b", "a.c"], ["a.b", "a.c"], ["a.**"]),
        (["a.b", "a.c"], ["a.c"], ["a.c"]),
        (["a.b.x", "a.c.x", "a.c.y"], ["a.c.x", "a.c.y"], ["a.c.**"]),
        (["a", "b.c"], ["a", "b.c"], ["a", "b.**"]),
        (["a.0.x", "a.1.x", "a.0.y"], ["a.0.x", "a.1.x"], ["a.0.x", "a.1.**"]),
        (["a.0.x", "a.1.x", "a.0.y", "a.1.y"], ["a.0.x", "a.1.x"], ["a.*.x"]),
        (["a.0.x", "a.1.x", "a.0.y", "a.1.y", "a.2.x", "a.2.y"], ["a.0.x", "a.1.x"],
         ["a.0.x", "a.1.x"]),
        (["a.b"], [], []),
    ],
)  # fmt: skip
def test_patterns_match_the_chosen_names_alone(names, chosen, expected):
    found = list(draft_mapping.patterns(names, chosen))
    assert found == expected
    rules = list(map(Pattern, found))
    matched = [name for name in names for rule in rules if rule.match(name) is not None]
    assert sorted(matched) == sorted(chosen)


def names_of(text):
    return {name: Signature(tuple(shape)) for name, shape in yaml.safe_load(text).items()}


SOURCE = names_of("""
  Student.backbone.conv.weight: [4, 3, 3, 3]
  Student.backbone.bn._mean: [4]
  Student.head.fc.weight: [4, 2]
  Student.head.guide.0.weight: [4, 9]
  Student.head.guide.1.weight: [4, 9]
  Teacher.backbone.conv.weight: [8, 3, 3, 3]
""")
TARGETS = {
    "backbone.conv.weight": Target(Signature((4, 3, 3, 3)), ("Conv2d",), 1),
    "backbone.bn.running_mean": Target(Signature((4,)), ("BatchNorm2d",), 2),
    "head.fc.weight": Target(Signature((2, 4)), ("Linear",), 3),
}


def test_a_draft_loads_when_its_reasons_are_written(tmp_path):
    draft = draft_mapping.draft(SOURCE, TARGETS, load_mapping("_base"))
    assert 'same_name: ["backbone.**", "head.fc.**"]' in draft
    assert '  "head.guide.**": ""  # TODO: why' in draft
    assert "#   Student.head.guide.{0..1}.weight  unclaimed, shape (4, 9), 2 tensors" in draft
    (tmp_path / "_base.yaml").write_bytes((FOLDER / "_base.yaml").read_bytes())
    file = tmp_path / "draft.yaml"
    file.write_text(draft)
    with pytest.raises(ConfigError, match="needs a reason"):
        load_mapping("draft", tmp_path)
    file.write_text(draft.replace('""  # TODO: why', "guides the training"))
    plan = resolve(load_mapping("draft", tmp_path), SOURCE, TARGETS)
    assert plan.counts()["used"] == 3
    assert plan.counts()["dropped"] == {"guides the training": 3}


def test_a_draft_tells_what_stays_unfilled_and_what_does_not_fit():
    targets = {
        **TARGETS,
        "head.fc.weight": Target(Signature((5, 4)), ("Linear",), 3),
        "head.new.weight": Target(Signature((7,)), ("LayerNorm",), 4),
    }
    draft = draft_mapping.draft(SOURCE, targets, load_mapping("_base"))
    assert "#   head.new.weight  unfilled, shape (7,)" in draft
    assert "#   head.fc.weight  has shape (5, 4), the source (4, 2) (as (2, 4))" in draft


def test_the_draft_of_a_known_network_is_its_mapping(capsys):
    names = NAMES / "en_number_mobile_v2.0_rec.txt"
    config = ROOT / "configs" / "rec" / "rec_mv3_bilstm_lite.yaml"
    assert draft_mapping.main([str(names), "--config", str(config)]) == 0
    expected = 'extends: [_base]\nsame_name: ["backbone.**", "neck.**", "head.**"]\n'
    assert capsys.readouterr().out == expected  # second names of the LSTM included


def test_draft_errors(tmp_path, capsys):
    names, config = tmp_path / "names.txt", tmp_path / "config.yaml"
    names.write_text("a.b\t1,2\n")
    config.write_text("task: det\n")
    with pytest.raises(SourceError, match="name<TAB>32,3,3,3<TAB>float32"):
        draft_mapping.read_names(names)
    names.write_text("a.b\t1,2\tfloat32\na.c\t\tint64\n")
    assert draft_mapping.read_names(names) == {
        "a.b": Signature((1, 2)), "a.c": Signature((), "int64"),
    }  # fmt: skip
    assert draft_mapping.main([str(names), "--config", str(config)]) == 2
    assert "no section" in capsys.readouterr().err
    config.write_text("Architecture: {model_type: det, Backbone: {name: Nothing}, Head: {name: X}}")
    assert draft_mapping.main([str(names), "--config", str(config)]) == 2
    assert "unknown" in capsys.readouterr().err


# record_reference.py


@pytest.mark.parametrize("size", [1, 7, 4096, 4097, 35840, 265_000, 1_920_000])
def test_samples_walk_through_all_columns(size):
    stride = record_reference.stride_of(size)
    assert len(record_reference.sample(np.arange(size))) <= record_reference.MAX_VALUES
    assert stride == 1 or np.gcd(stride, size) == 1


def test_arguments_of_a_recording():
    assert record_reference.image_shape("1x3x32x96") == (1, 3, 32, 96)
    for text in ("3x32x96", "1x3x0x96"):
        with pytest.raises(record_reference.argparse.ArgumentTypeError, match="should read"):
            record_reference.image_shape(text)
    place = record_reference.path_below_configs
    assert place(Path("/any/configs/det/PP-OCRv4/x.yml")) == Path("det/PP-OCRv4/x.yml")
    assert place(Path("/any/x.yml")) == Path("x.yml")


# A checkout of one file: a network with what a record must tell apart.
BASE_MODEL = """
import paddle
from paddle import nn

class BaseModel(nn.Layer):
    def __init__(self, config):
        super().__init__()
        config["Backbone"]["in_channels"] = 3  # as PaddleOCR does; the record must not show it
        self.backbone = nn.Conv2D(3, 8, 3)
        self.norm = nn.BatchNorm2D(8)
        self.neck = nn.Conv2D(8, 8, 1)
        self.neck.weight.set_value(self.neck.weight * 0)
        self.twin = nn.Layer()
        self.twin.add_sublayer("same", self.neck)
        self.register_buffer("table", paddle.arange(8, dtype="float32"))
        self.head = nn.Sequential(nn.Linear(8, 5), nn.Linear(5, 6))
        self.scale = config["Head"]["scale"]

    def forward(self, x):
        x = self.norm(self.backbone(x))
        x = self.neck(self.neck(x)).mean([2, 3]) + self.table
        return {"scores": self.head(x * self.scale)}
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkout")
    source = folder / "ppocr" / "modeling" / "architectures" / "base_model.py"
    source.parent.mkdir(parents=True)
    source.write_text(BASE_MODEL)
    return folder


def record(checkout, out, scale, *more):
    config = out / "configs" / "toys" / f"toy_{scale}.yml"
    config.parent.mkdir(parents=True, exist_ok=True)
    architecture = {"model_type": "cls", "Backbone": {"name": "T"}, "Head": {"scale": scale}}
    config.write_text(json.dumps({"Architecture": architecture}))
    arguments = [str(config), "--paddleocr", str(checkout), "--out", str(out), *more]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "scripts/record_reference.py"), *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done, out / f"toys__toy_{scale}", architecture


def test_a_record_reproduces_the_network(checkout, tmp_path):
    done, folder, architecture = record(checkout, tmp_path, 1, "--input", "2x3x6x7", "--salt", "3")
    assert done.returncode == 0, done.stderr
    found = read_record(folder)
    facts, arrays, weights = found.facts, found.arrays, found.weights()
    assert (facts.config, facts.salt) == ("toys/toy_1.yml", 3)
    assert facts.architecture == architecture
    assert facts.aliases == tuple((f"twin.same.{n}", f"neck.{n}") for n in ("weight", "bias"))
    assert facts.trace == (
        ("backbone", "Conv2D", 1, (2, 8, 4, 5)),
        ("norm", "BatchNorm2D", 1, (2, 8, 4, 5)),
        ("neck", "Conv2D", 2, (2, 8, 4, 5)),
        ("head.0", "Linear", 1, (2, 5)),
        ("head.1", "Linear", 1, (2, 6)),
    )
    assert [row.name for row in facts.constants] == ["table"]
    np.testing.assert_array_equal(arrays["constant:table"], np.arange(8))

    w = {name: torch.from_numpy(array) for name, array in weights.items()}
    first = F.conv2d(
        torch.from_numpy(found.inputs()["image"]), w["backbone.weight"], w["backbone.bias"]
    )
    x = F.batch_norm(first, w["norm._mean"], w["norm._variance"], w["norm.weight"], w["norm.bias"])
    second = F.conv2d(x, w["neck.weight"], w["neck.bias"])
    x = F.conv2d(second, w["neck.weight"], w["neck.bias"]).mean((2, 3)) + torch.arange(8)
    hidden = x @ w["head.0.weight"] + w["head.0.bias"]
    scores = hidden @ w["head.1.weight"] + w["head.1.bias"]
    np.testing.assert_allclose(arrays["scores"], scores.ravel(), rtol=1e-4, atol=1e-5)
    given = (first, second, hidden, scores)
    for row, ours in zip(arrays["trace"][[0, 2, 3, 4]], given, strict=True):
        np.testing.assert_allclose(row[1], ours.std(unbiased=False), rtol=1e-4)
        np.testing.assert_allclose(row[3:], ours.ravel()[np.linspace(0, ours.numel() - 1, 8)
                                   .astype(int)], rtol=1e-4, atol=1e-5)  # fmt: skip
        assert 2**-0.5 <= row[1] <= 2**0.5  # calibrated
    exponents = {row.name: row.exponent for row in facts.parameters}
    assert exponents["head.0.weight"] == exponents["head.0.bias"] != 0
    assert exponents["norm.weight"] == exponents["norm._mean"] == 0


def test_a_record_is_the_same_each_time(checkout, tmp_path):
    shape = ("--input", "1x3x6x7")
    folders = [record(checkout, tmp_path / name, 1, *shape)[1] for name in "ab"]
    for file in ("reference.json", "outputs.npz"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


def test_a_network_that_ignores_the_image_is_not_recorded(checkout, tmp_path):
    done, folder, _ = record(checkout, tmp_path, 0)
    assert done.returncode == 6
    assert "scores hardly changes with the image" in done.stderr
    assert not folder.exists()


def test_recording_errors(checkout, tmp_path, capsys):
    config = tmp_path / "c.yml"
    config.write_text("Architecture: {model_type: kie, Head: {name: X}}")
    common = [str(config), "--out", str(tmp_path), "--paddleocr"]
    assert record_reference.main([*common, str(tmp_path)]) == 6
    assert "no PaddleOCR checkout" in capsys.readouterr().err
    assert record_reference.main([*common, str(checkout)]) == 2
    assert "'kie'; give --input" in capsys.readouterr().err
    config.write_text("Architecture: {Models: {Student: {Head: {}}, Teacher: {Head: {}}}}")
    assert record_reference.main([*common, str(checkout)]) == 2
    assert "distils" in capsys.readouterr().err


def test_known_networks_are_drafted_whole():
    """Every mapping's own names are found to be the network's, by the rules of types alone."""
    card = catalog.card("ch_ppocr_mobile_v2.0_cls")
    source = draft_mapping.read_names(NAMES / f"{card.name}.txt")
    network = draft_mapping.build(ROOT / "configs" / "cls" / "cls_mv3.yaml", source)
    targets = targets_of(network)
    assert "TODO" not in draft_mapping.draft(source, targets, load_mapping("_base"))
