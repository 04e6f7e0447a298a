"""ONNX files, converted and proved by ONNX Runtime; Paddle cannot even be imported."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import numpy_helper

import architectures
from converter.conversion.batch import convert_one
from converter.conversion.discovery import discover
from converter.conversion.examine import examine
from converter.conversion.request import Request
from converter.conversion.steps import run
from converter.errors import (
    ConfigError,
    ParityError,
    ReferenceUnavailable,
    SourceError,
    UnsafeSource,
)
from converter.references.onnxruntime.session import OnnxSession
from converter.references.paddle.session import PaddleSession, SharedSession
from converter.sources.onnx.program import read_onnx
from tests.support.checkpoints import CLS, save, weights
from tests.support.onnx_files import carried, model, node, weight

CLASSIFIER = "ch_ppocr_mobile_v2.0_cls"
FILES = {
    CLASSIFIER: "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "PP-OCRv6_small_det": "PP-OCRv6_det_small.onnx",
    "PP-OCRv6_small_rec": "PP-OCRv6_rec_small.onnx",
}
# Tensors used and counters filled, and the form.
FACTS = {
    CLASSIFIER: (213, 35, "deploy"),
    "PP-OCRv6_small_det": (162, 0, "fused"),
    "PP-OCRv6_small_rec": (151, 3, "fused"),
}


@pytest.fixture(autouse=True)
def _no_paddle(monkeypatch, tmp_path_factory):
    """Let the import of Paddle fail in this process and in its children."""
    folder = tmp_path_factory.mktemp("blocked")
    (folder / "paddle.py").write_text("raise ImportError('Paddle is blocked')\n")
    monkeypatch.setitem(sys.modules, "paddle", None)
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.fixture
def request_of(tmp_path):
    def request_of(name: str = CLASSIFIER, **fields) -> Request:
        fields = {"paddle_dir": carried() / FILES[name], "out": tmp_path / "x.pth", **fields}
        return Request(name, **fields)

    return request_of


@pytest.fixture
def edited(tmp_path):
    """Write the classifier's file with a change to the weights of one operation's operand."""

    def edited(name: str, change) -> Request:
        proto = onnx.load(carried() / FILES[CLASSIFIER])
        (single,) = [n.attribute[0].t for n in proto.graph.node if list(n.output) == [name]]
        array = np.array(numpy_helper.to_array(single))
        change(array)
        single.CopyFrom(numpy_helper.from_array(array, name))
        file = tmp_path / "edited.onnx"
        file.write_bytes(proto.SerializeToString())
        return Request(CLASSIFIER, file, out=tmp_path / "x.pth")

    return edited


@pytest.mark.parametrize("name", FILES)
def test_a_released_file(request_of, name):
    outcome = run(request_of(name))
    used, filled, form = FACTS[name]
    report = outcome.report
    assert (report.passed, report.reference) == (True, "program")
    assert max(comparison.difference for comparison in report.comparisons) <= 1e-4
    assert len({comparison.input_shape for comparison in report.comparisons}) == 2
    probes = {comparison.probe.split()[0] for comparison in report.comparisons}
    assert probes >= {"logits", "output", "decisions"}
    card = json.loads(outcome.written.with_suffix(".json").read_text(encoding="utf-8"))
    assert (card["status"], card["form"]) == ("VERIFIED", form)
    assert (card["counts"]["used"], card["counts"]["filled"]) == (used, filled)
    assert card["proof_scope"] == "These weights were run in ONNX Runtime and in PyTorch."
    assert card["versions"].keys() >= {"torch", "onnxruntime"}
    assert "paddle" not in card["versions"]
    assert card["source"]["files"].keys() == {FILES[name]}
    architectures.load(outcome.written)
    if name == "PP-OCRv6_small_rec":
        assert card["dictionary"]["file"] == FILES[name]
        assert len(card["dictionary"]["characters"]) == 18709
        assert card["dictionary"]["characters"][:3] == ["!", '"', "#"]


def test_the_weights_are_those_of_paddles_own_file(request_of, export, tmp_path):
    """Bit by bit: the classifier was released in Paddle's format, too."""
    files = {"onnx": carried() / FILES[CLASSIFIER], "paddle": export}
    states = {
        key: torch.load(run(request_of(paddle_dir=path, out=tmp_path / f"{key}.pth",
                                       reference="none")).written)
        for key, path in files.items()
    }  # fmt: skip
    assert states["onnx"].keys() == states["paddle"].keys()
    for name, tensor in states["onnx"].items():
        assert torch.equal(tensor, states["paddle"][name]), name


def test_a_checkpoint_is_proved_by_an_onnx_file_of_other_weights(request_of, tmp_path):
    checkpoint = save(tmp_path / "best_accuracy.pdparams", weights(CLS))
    request = request_of(paddle_dir=checkpoint, program_dir=carried() / FILES[CLASSIFIER])
    with pytest.raises(ParityError, match="the first layer that differs") as caught:
        run(request)
    assert str(caught.value).startswith("ONNX Runtime and PyTorch disagree at ")
    assert not request.out.exists()


def test_diagnose_compares_every_layer(request_of):
    examination = examine(request_of())
    assert examination.agrees
    assert len(examination.diagnosis.rows) > 80


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("conv1_weights", lambda a: a.__setitem__((0, 0, 0, 0), np.nan), "1 of 216 are NaN"),
        ("fc_0.b_0", lambda a: a.__setitem__(0, np.inf), "1 of 2 are infinite"),
        ("conv1_bn_variance", lambda a: a.__setitem__(2, -1), "1 of 8 are negative variances"),
    ],
)
def test_impossible_values(edited, name, change, fault):
    request = edited(name, change)
    with pytest.raises(SourceError, match=fault):
        run(request)
    assert not request.out.exists()


def test_variances_of_zero_are_warned_of(edited):
    request = edited("conv1_bn_variance", lambda a: a.__setitem__(2, 0))
    outcome = run(replace(request, reference="none"))
    assert any("variance of exactly 0" in warning for warning in outcome.warnings)


# What the characters stand for.


@pytest.fixture
def recogniser(tmp_path):
    """Write v6's recogniser with the characters cut off, or others, beside an inference.yml."""

    def recogniser(metadata: str | None, settings: list[str] | None = None) -> Request:
        proto = onnx.load(carried() / FILES["PP-OCRv6_small_rec"])
        del proto.metadata_props[:]
        if metadata is not None:
            proto.metadata_props.add(key="character", value=metadata)
        file = tmp_path / "inference.onnx"
        file.write_bytes(proto.SerializeToString())
        if settings is not None:
            content = {"PostProcess": {"name": "CTCLabelDecode", "character_dict": settings}}
            (tmp_path / "inference.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
        name = "PP-OCRv6_small_rec"
        return Request(name, tmp_path, out=tmp_path / "x.pth", reference="none")

    return recogniser


LINES = [chr(0x4E00 + i) for i in range(18708)]


def characters(outcome) -> tuple[str, list[str]]:
    card = json.loads(outcome.written.with_suffix(".json").read_text(encoding="utf-8"))
    return card["dictionary"]["file"], card["dictionary"]["characters"]


def test_characters_of_the_metadata_come_before_those_of_the_settings(recogniser):
    found = characters(run(recogniser("\n".join(LINES), LINES[::-1])))
    assert found == ("inference.onnx", [*LINES, " "])


def test_characters_of_the_settings(recogniser):
    assert characters(run(recogniser(None, LINES[::-1]))) == ("inference.yml", [*LINES[::-1], " "])


def test_a_dictionary_that_is_given_comes_first(recogniser, tmp_path):
    table = tmp_path / "own.txt"
    table.write_text("\n".join(LINES[::-1]), encoding="utf-8")
    request = replace(recogniser("\n".join(LINES)), dictionary=table)
    assert characters(run(request)) == ("own.txt", [*LINES[::-1], " "])


def test_characters_that_do_not_fit(recogniser):
    with pytest.raises(ConfigError, match=r"inference\.onnx has 3 characters.*have 18710"):
        run(recogniser("a\nb\nc"))


# The process of ONNX Runtime.


def test_a_program_in_its_process():
    read = read_onnx(carried() / FILES[CLASSIFIER])
    with OnnxSession() as session:
        assert session.versions["onnxruntime"][0].isdigit()
        assert not sys.platform.startswith("linux") or "file size" in session.confinement
        (name,) = session.load_program(read.program, read.weights_file)
        for width in (192, 256):
            (outputs,) = session.run({name: np.ones((2, 3, 48, width), np.float32)}).values()
            assert outputs.shape == (2, 2)
        with pytest.raises(ReferenceUnavailable, match=r"ONNX Runtime cannot run the reference: "):
            session.run({name: np.ones((1, 5, 48, 192), np.float32)})


def test_onnx_runtime_is_missing(tmp_path, monkeypatch, request_of):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake/onnxruntime.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    with pytest.raises(ReferenceUnavailable) as caught:
        run(request_of())
    assert str(caught.value) == (
        'ONNX Runtime cannot be imported (not here); install onnxruntime (pip install '
        '"paddleocr-to-torch[onnx]") for the live check, or give --reference recorded or none'
    )  # fmt: skip


def test_a_network_that_cannot_be_run_is_an_error(tmp_path):
    """The operands of an operation do not fit each other, which only running shows."""
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"w": weight(5, 2)}, shape=("n", 4))
    file = tmp_path / "x.onnx"
    file.write_bytes(proto.SerializeToString())
    read = read_onnx(file)
    with OnnxSession() as session, pytest.raises(ReferenceUnavailable, match="ONNX Runtime cannot"):
        session.load_program(read.program, file)


def test_custom_operators_reach_no_runtime(tmp_path, monkeypatch):
    proto = onnx.load(carried() / FILES[CLASSIFIER])
    proto.graph.node[-1].domain = "evil"
    file = tmp_path / "x.onnx"
    file.write_bytes(proto.SerializeToString())
    monkeypatch.setattr(OnnxSession, "__init__", lambda _: pytest.fail("a process was started"))
    monkeypatch.setattr(PaddleSession, "__init__", lambda _: pytest.fail("Paddle was started"))
    with pytest.raises(UnsafeSource, match="'evil'"):
        run(Request(CLASSIFIER, file, out=tmp_path / "x.pth"))


# Many models.


def test_many_files_by_rapidocrs_names(tmp_path):
    found = {files.name: files.path.name for files in discover(carried()).models}
    assert found == FILES
    request = Request(CLASSIFIER, carried() / FILES[CLASSIFIER], out=tmp_path / "x.pth")
    with SharedSession() as sessions:
        first, second = (convert_one(request, sessions) for _ in range(2))
    assert (first.status, first.fresh) == ("passed", True)
    assert (second.status, second.fresh) == ("passed", False)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ch_PP-OCRv4_det_infer", "ch_PP-OCRv4_det"),
        ("ch_PP-OCRv4_rec_mobile", "ch_PP-OCRv4_rec"),
        ("ch_PP-OCRv4_det_server", "ch_PP-OCRv4_det_server"),
        ("ch_PP-OCRv5_rec_server", "PP-OCRv5_server_rec"),
        ("PP-OCRv6_rec_tiny", "PP-OCRv6_tiny_rec"),
        ("arabic_PP-OCRv4_rec_mobile", "arabic_PP-OCRv4_rec"),
        ("korean_PP-OCRv5_rec_mobile", "korean_PP-OCRv5_mobile_rec"),
        ("multi_PP-OCRv3_det_mobile", "ml_PP-OCRv3_det"),
        ("ch_PP-LCNet_x1_0_textline_ori_cls_server", "PP-LCNet_x1_0_textline_ori"),
        ("layout_cdla", "picodet_lcnet_x1_0_fgd_layout_cdla"),
        ("slanet-plus", "SLANet_plus"),
    ],
)
def test_names_of_rapidocr(tmp_path, file, name):
    (tmp_path / f"{file}.onnx").write_bytes(b"\x08\x07")
    (files,) = discover(tmp_path).models
    assert (files.name, files.path.name) == (name, f"{file}.onnx")


def test_every_onnx_file_of_a_folder_is_a_model_of_its_own(tmp_path):
    for name in ("ch_PP-OCRv4_det_infer", "own", "other"):
        (tmp_path / f"{name}.onnx").write_bytes(b"\x08\x07")
    found = discover(tmp_path)
    assert [files.name for files in found.models] == ["ch_PP-OCRv4_det"]
    assert {path.name for path in found.unknown} == {"own.onnx", "other.onnx"}


def test_a_program_of_paddles_comes_before_an_onnx_file_beside_it(tmp_path):
    folder = tmp_path / "ch_PP-OCRv4_det_infer"
    folder.mkdir()
    for name in ("inference.pdmodel", "inference.pdiparams", "ch_PP-OCRv4_det_infer.onnx"):
        (folder / name).write_bytes(b"\x08\x07")
    (files,) = discover(tmp_path).models
    assert files.path == folder
