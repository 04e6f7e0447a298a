"""The export of seeded models, from a small checkout with a toy for a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from converter.errors import ConfigError, MappingError
from converter.references.seeded import seeded_weight
from converter.sources.open import open_source
from tests.scripts.test_scripts import ROOT, script
from tests.support.checkpoints import save

export_seeded = script("export_seeded")

BASE_MODEL = """
from paddle import nn

class Branches(nn.Layer):
    def __init__(self):
        super().__init__()
        self.main, self.side, self.merged = nn.Conv2D(3, 4, 1), nn.Conv2D(3, 4, 1), None

    def forward(self, x):
        return self.main(x) + self.side(x) if self.merged is None else self.merged(x)

    def rep(self):
        self.merged = nn.Conv2D(3, 4, 1)
        self.merged.weight.set_value(self.main.weight + self.side.weight)
        self.merged.bias.set_value(self.main.bias + self.side.bias)

class BaseModel(nn.Layer):
    def __init__(self, config):
        super().__init__()
        self.stem = nn.Conv2D(3, 3, 1)
        self.conv = Branches()
        self.fc = nn.Linear(4, config["Head"]["out_channels"])

    def forward(self, x):
        return self.fc(self.conv(self.stem(x)).flatten(2).transpose([0, 2, 1]))
"""
ARCHITECTURE = {"model_type": "rec", "algorithm": "CRNN", "Head": {"name": "CTCHead"}}
TRAINING = {
    "Global": {
        "model_name": "toy",
        "character_dict_path": "ppocr/utils/toy.txt",
        "use_space_char": True,
    },
    "Architecture": {
        "model_type": "rec",
        "Models": dict.fromkeys(("Teacher", "Student"), ARCHITECTURE),
    },
    "Eval": {"dataset": {"transforms": [{"DecodeImage": {"img_mode": "BGR"}}]}},
    "PostProcess": {"name": "CTCLabelDecode"},
}
CONV, BIAS = (4, 3, 1, 1), (4,)
SHAPES = {
    "stem.weight": (3, 3, 1, 1),
    "stem.bias": (3,),
    "conv.main.weight": CONV,
    "conv.main.bias": BIAS,
    "conv.side.weight": CONV,
    "conv.side.bias": BIAS,
    "fc.weight": (4, 5),
    "fc.bias": (5,),
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("PaddleOCR")
    source = folder / "ppocr/modeling/architectures/base_model.py"
    source.parent.mkdir(parents=True)
    source.write_text(BASE_MODEL)
    (folder / "ppocr/utils").mkdir()
    (folder / "ppocr/utils/toy.txt").write_text("a\n \nb\n", encoding="utf-8")
    (folder / "train.yml").write_text(yaml.safe_dump(TRAINING), encoding="utf-8")
    single = {**TRAINING, "Architecture": ARCHITECTURE}
    (folder / "single.yml").write_text(yaml.safe_dump(single), encoding="utf-8")
    return folder


def export(checkout, config, out, *more):
    arguments = [str(checkout / config), "--paddleocr", str(checkout), "--out", str(out), *more]
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "scripts/export_seeded.py"), *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(checkout, tmp_path_factory) -> Path:
    """All that there is of a network with its teacher."""
    out = tmp_path_factory.mktemp("out")
    done = export(checkout, "train.yml", out, "--format", "both", "--train", "--salt", "3")
    assert done.returncode == 0, done.stderr
    return out


def test_a_checkpoint_has_every_tensor_under_its_name(written):
    checkpoint = open_source(written / "train").checkpoint
    assert checkpoint.file.name == "best_accuracy.pdparams"
    assert {name: array.shape for name, array in checkpoint.tensors.items()} == {
        f"{model}.{name}": shape
        for model in ("Teacher", "Student")
        for name, shape in SHAPES.items()
    }
    exponents = set()
    for name, array in checkpoint.tensors.items():
        factor = array / seeded_weight(3, name, array.shape)
        np.testing.assert_array_equal(factor, factor.flat[0])
        exponents.add(float(np.log2(factor.flat[0])))
    assert all(exponent.is_integer() for exponent in exponents)
    assert exponents != {0.0}  # calibrated


@pytest.mark.parametrize("form", ["pdmodel", "json"])
def test_an_export_is_the_student_deployed(written, form):
    export = open_source(written / form).export
    assert export.program_file.name == ("inference.json" if form == "json" else "inference.pdmodel")
    (image,) = export.program.inputs
    assert tuple(image.shape) == (-1, 3, 32, -1)
    kinds = [op.kind for op in export.program.operations]
    assert sum("conv" in kind for kind in kinds) == 2
    trained = open_source(written / "train").checkpoint.tensors
    merged = trained["Student.conv.main.weight"] + trained["Student.conv.side.weight"]
    (kernel,) = (array for array in export.tensors.values() if array.shape == CONV)
    np.testing.assert_allclose(kernel, merged, rtol=1e-6)
    settings = yaml.safe_load((written / form / "inference.yml").read_text(encoding="utf-8"))
    assert settings == {
        "Global": {"model_name": "toy"},
        "PreProcess": {"transform_ops": TRAINING["Eval"]["dataset"]["transforms"]},
        "PostProcess": {"name": "CTCLabelDecode", "character_dict": ["a", " ", "b"]},
    }


def test_given_weights_are_exported(checkout, tmp_path):
    given = {name: np.full(shape, 0.5, np.float32) for name, shape in SHAPES.items()}
    file = save(tmp_path / "mine.pdparams", given)
    done = export(checkout, "single.yml", tmp_path / "out", "--weights", str(file))
    assert done.returncode == 0, done.stderr
    exported = open_source(tmp_path / "out/json").export.tensors
    assert {float(array.max()) for array in exported.values() if array.shape == CONV} == {1.0}


def job(checkout, config="train.yml", **options):
    fields = {"out": checkout, "classes": {}, "weights": None, "salt": 0, "old_paddle": None}
    return export_seeded.Job(checkout / config, checkout, **{**fields, **options})


def test_a_dictionary_of_as_many_lines_as_the_classes_take(checkout):
    def lines(classes, training=TRAINING):
        return export_seeded.characters_of(training, job(checkout, classes=classes))

    assert lines({}) == ["a", " ", "b"]
    assert lines({"ctc": 4}) == ["a", " "]
    assert lines({}, {**TRAINING, "Architecture": {"model_type": "e2e"}}) == ["a", " ", "b"]
    assert lines({}, {**TRAINING, "Architecture": {"model_type": "det"}}) is None
    assert lines({"ctc": 9}, {**TRAINING, "Global": {}}) is None
    for count in (2, 6):
        with pytest.raises(ConfigError, match=f"ctc={count} needs {count - 2} lines .* has 3"):
            lines({"ctc": count})


def test_weights_of_another_network_are_listed(tmp_path):
    class Network:
        def state_dict(self):
            return {"a": None, "b": None, "second_name": None}

    given = {name: np.zeros(3, np.float32) for name in ("b", "c", "second_name")}
    file = save(tmp_path / "x.pdparams", given)
    wanted = {name: np.zeros(2, np.float32) for name in "ab"}
    with pytest.raises(MappingError) as raised:
        export_seeded.load(file, {"": wanted}, {"": Network()})
    assert str(raised.value).splitlines()[1:] == [
        "  a is missing", "  c is not in the network", "  b has shape (3,), the network (2,)",
    ]  # fmt: skip


def test_what_an_export_takes():
    assert export_seeded.input_of({"model_type": "rec", "algorithm": "SVTR_HGNet"}) == (3, 48, -1)
    square = {"model_type": "rec", "Backbone": {"name": "SVTRNet", "img_size": [48, 320]}}
    assert export_seeded.input_of(square) == (3, 48, 320)
    straightened = {"model_type": "rec", "algorithm": "SVTR", **square}
    for name, size in (("STN_ON", (3, 64, 256)), ("TPS", (3, 32, 100))):
        assert export_seeded.input_of({**straightened, "Transform": {"name": name}}) == size
    assert export_seeded.input_of({"model_type": "cls", "algorithm": "CLS"}) == (3, -1, -1)
    assert export_seeded.input_of({"model_type": "e2e", "algorithm": "PGNet"}) == (3, -1, -1)
    assert export_seeded.input_of({"model_type": "rec", "algorithm": "SRN"}) == (1, 64, 256)
    assert export_seeded.input_of({"model_type": "rec", "algorithm": "CRNN"}) == (3, 32, -1)
    assert export_seeded.input_of({"model_type": "sr", "algorithm": "Gestalt"}) == (3, 16, 64)
    assert export_seeded.input_of({"model_type": "det", "algorithm": "SAST"}) == (3, -1, -1)
    with pytest.raises(ConfigError, match="no image size is known for the algorithm 'SDMGR'"):
        export_seeded.input_of({"model_type": "kie", "algorithm": "SDMGR"})
    assert (
        export_seeded.deployed_prefix({"Teacher.": 0, "Student.": 0}, Path("a.yml")) == "Student."
    )
    with pytest.raises(
        ConfigError, match=r"a\.yml has the networks Teacher\.; expected one called Student"
    ):
        export_seeded.deployed_prefix({"Teacher.": 0}, Path("a.yml"))


def test_export_errors(checkout, tmp_path, capsys):
    arguments = [str(checkout / "train.yml"), "--out", str(tmp_path), "--paddleocr"]
    assert export_seeded.main([*arguments, str(tmp_path)]) == 6
    assert "is no PaddleOCR checkout" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        export_seeded.main([*arguments, str(checkout), "--format", "none"])
    assert "writes nothing" in capsys.readouterr().err
    broken = checkout / "broken.yml"
    broken.write_text("Architecture: {model_type: det, algorithm: DB, Head: {name: DBHead}}")
    done = export(checkout, "broken.yml", tmp_path)
    assert done.returncode == 6
    assert "cannot build this network: KeyError: 'out_channels'." in done.stderr.splitlines()[-1]
    done = export(checkout, "missing.yml", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("export_seeded: cannot read ")
