"""Distillation checkpoints: the student by itself, any other network by its name."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import architectures
from converter.conversion.request import Request
from converter.conversion.steps import card_of, read
from converter.errors import ConfigError
from converter.mapping.rules import load_mapping
from tests.support.checkpoints import DET, save, weights
from tests.support.paddle_files import write_export

DISTILLED = "ch_PP-OCRv2_det"


@pytest.fixture(scope="module")
def networks():
    """Two students of one kind, told apart by one tensor."""
    student = weights(DET)
    other = {**student, "head.binarize.conv1.weight": -student["head.binarize.conv1.weight"]}
    return {"Student": student, "Student2": other}


@pytest.fixture
def checkpoint(tmp_path, networks):
    tensors = {f"{name}.{key}": a for name, part in networks.items() for key, a in part.items()}
    return save(tmp_path / "best_accuracy.pdparams", tensors)


@pytest.mark.parametrize("submodel", [None, "Student", "Student2"])
def test_each_network_of_the_checkpoint(convert, checkpoint, networks, tmp_path, submodel):
    out = tmp_path / "x.pth"
    option = ("--submodel", submodel) if submodel else ()
    done = convert(DISTILLED, "--paddle-dir", checkpoint, "--out", out, *option)
    assert (done.code, done.err) == (0, "")
    card = json.loads(out.with_suffix(".json").read_text())
    assert (card["name"], card["submodel"]) == (DISTILLED, submodel)
    found = architectures.load(out).state_dict()["head.binarize.conv1.weight"]
    expected = networks[submodel or "Student"]["head.binarize.conv1.weight"]
    assert torch.equal(found, torch.from_numpy(np.asarray(expected)))
    dropped = "the student" if submodel == "Student2" else "second student"
    assert any(why.startswith(dropped) for why in card["counts"]["dropped"])


def test_a_teacher_of_another_architecture(convert, networks, tmp_path):
    teacher = weights("det__ch_ppocr_v2.0__ch_det_res18_db_v2.0")
    parts = {**networks, "Teacher": teacher}
    tensors = {f"{name}.{key}": a for name, part in parts.items() for key, a in part.items()}
    file, out = save(tmp_path / "best_accuracy.pdparams", tensors), tmp_path / "teacher.pth"
    done = convert(DISTILLED, "--paddle-dir", file, "--out", out, "--submodel", "Teacher")
    assert (done.code, done.err) == (0, "")
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["architecture"]["Backbone"]["name"] == "ResNet_vd"
    assert card["counts"]["used"] == len(teacher)
    assert card["parity"]["status"] == "passed"
    assert architectures.load(out).architecture["Neck"]["out_channels"] == 256


def test_a_network_that_the_checkpoint_does_not_hold(convert, checkpoint, tmp_path):
    out = tmp_path / "x.pth"
    arguments = ("--paddle-dir", checkpoint, "--out", out, "--submodel")
    done = convert(DISTILLED, *arguments, "Student3")
    assert done.code == 2
    assert "there is no submodel 'Student3'; there are Student, Student2, Teacher" in done.err
    done = convert("ch_ppocr_mobile_v2.0_cls", *arguments, "Teacher")
    assert done.code == 2
    assert "checkpoints of this kind hold one network" in done.err
    assert not out.exists()


def test_bare_names_are_no_submodel(convert, networks, tmp_path):
    file = save(tmp_path / "best_accuracy.pdparams", networks["Student"])
    out = tmp_path / "x.pth"
    done = convert(DISTILLED, "--paddle-dir", file, "--out", out, "--submodel", "Student")
    assert done.code == 4
    assert "Student.**" in done.err


def test_an_export_holds_one_network(convert, export, tmp_path):
    done = convert(
        "ch_ppocr_mobile_v2.0_cls", "--paddle-dir", export, "--out", tmp_path / "x.pth",
        "--submodel", "Student",
    )  # fmt: skip
    assert done.code == 2
    assert "is an export, which holds one network" in done.err


def test_a_program_beside_the_checkpoint_proves_no_other_network(
    convert, checkpoint, export, tmp_path
):
    for file in export.iterdir():
        checkpoint.with_name(file.name).write_bytes(file.read_bytes())
    out = tmp_path / "x.pth"
    folder = checkpoint.parent
    arguments = (DISTILLED, "--paddle-dir", folder, "--out", out, "--submodel", "Student2")
    done = convert(*arguments, "--reference", "program")
    assert done.code == 6
    assert "holds no exported program of Student2" in done.err
    assert convert(*arguments).code == 0
    assert json.loads(out.with_suffix(".json").read_text())["parity"]["reference"] == "recorded"


@pytest.mark.parametrize("named", ["Teacher", "."])
def test_a_program_that_is_named_is_the_reference(checkpoint, tmp_path, named):
    """With `--program-dir` of the network, or of the folder in which each network has one."""
    for network in ("Student", "Student2", "Teacher"):
        (tmp_path / "export" / network).mkdir(parents=True)
        write_export(tmp_path / "export" / network, "inference")
    folder = tmp_path / "export" / named
    for wanted in ("auto", "program"):
        request = Request(
            DISTILLED, checkpoint, folder, submodel="Teacher", reference=wanted
        )  # fmt: skip
        model = read(request, card_of(request))
        assert model.reference == "program"
        assert model.source.export.program_file.parent.name == "Teacher"
    student = Request(DISTILLED, checkpoint, tmp_path / "export")
    assert read(student, card_of(student)).source.export.program_file.parent.name == "Student"
    alone = Request(DISTILLED, tmp_path / "export", submodel="Student2")
    model = read(alone, card_of(alone))
    assert (model.source.checkpoint, model.reference) == (None, "program")


def test_the_exports_of_a_distillation(convert, export, tmp_path):
    """The student's export is taken, with the settings above it, and proves itself."""
    folder, out = tmp_path / "export", tmp_path / "x.pth"
    shutil.copytree(export, folder / "Student")
    (folder / "Teacher").mkdir()
    write_export(folder / "Teacher", "inference")
    (folder / "inference.yml").write_text("PostProcess: {Topk: {topk: 1}}")
    done = convert("ch_ppocr_mobile_v2.0_cls", "--paddle-dir", folder, "--out", out)
    assert (done.code, done.err) == (0, "")
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["parity"]["reference"] == "program"
    assert "inference.yml" in card["source"]["files"]
    assert card["pipeline"]["cls_thresh"] == 0


def test_the_selection_of_each():
    mapping = load_mapping("db")
    teacher = mapping.of_submodel("Teacher")
    assert teacher.rules == mapping.rules
    assert teacher.select.prefix == "Teacher."
    assert not teacher.select.bare
    assert {rule.source.text for rule in teacher.select.siblings} == {"Student.**", "Student2.**"}
    with pytest.raises(ConfigError, match="there is no submodel 'Student9'"):
        mapping.of_submodel("Student9")
    with pytest.raises(ConfigError, match="hold one network"):
        load_mapping("cls").of_submodel("Teacher")
