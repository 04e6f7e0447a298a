"""The command line: what it prints and what it writes when all goes well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest

import architectures
from converter.catalog import cards as catalog
from converter.references.seeded import seeded_weight
from tests.support.checkpoints import CLS, CRNN, fine_tuned, save, weights
from tests.support.onnx_files import carried
from tests.support.paths import ROOT

CLASSIFIER = "ch_ppocr_mobile_v2.0_cls"
LITE = "en_number_mobile_v2.0_rec"


def test_an_export(convert, export, tmp_path):
    out, report = tmp_path / "x.pth", tmp_path / "report.json"
    done = convert(CLASSIFIER, "--paddle-dir", export, "--out", out, "--report", report)
    assert (done.code, done.err) == (0, "")
    counts, last = done.out.splitlines()
    assert counts == "213 tensors used, 35 filled"
    assert last.startswith(f"wrote {out} (0.6 MB): worst difference ")
    assert last.endswith("(program reference, 8 comparisons)")
    card = json.loads(out.with_suffix(".json").read_text())
    assert json.loads(report.read_text()) == {"model": CLASSIFIER, **card["parity"]}
    assert card["parity"]["status"] == "passed"
    assert architectures.load(out).class_counts == {"cls": 2}


def test_quiet_fused_in_another_format(convert, export, tmp_path):
    out = tmp_path / "x.safetensors"
    done = convert(CLASSIFIER, "--paddle-dir", export, "--out", out, "--fuse", "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") == 1
    assert done.out.startswith(f"wrote {out} ")
    assert architectures.load(out).form == "fused"


def test_verbose(convert, classifier, tmp_path):
    done = convert(CLASSIFIER, "--paddle-dir", classifier, "--out", tmp_path / "x.pth", "-v")
    assert done.code == 0
    _, *probes, last = done.out.splitlines()
    assert [line.split()[0] for line in probes][:2] == ["out", "head.fc"]
    assert all("2x3x48x192" in line for line in probes)
    assert "(recorded reference, " in last
    assert last.endswith("these weights were not run in Paddle.")


@pytest.mark.parametrize("fuse", [[], ["--fuse"]])
def test_a_checkpoint_alone_is_proved_by_the_record(convert, classifier, tmp_path, fuse):
    out = tmp_path / "x.pth"
    done = convert(CLASSIFIER, "--paddle-dir", classifier, "--out", out, *fuse)
    assert (done.code, done.err) == (0, "")
    card = json.loads(out.with_suffix(".json").read_text())
    assert (card["status"], card["form"]) == ("VERIFIED", "fused" if fuse else "train")
    assert card["parity"]["reference"] == "recorded"


def test_an_archive(convert, classifier, tmp_path):
    archive = tmp_path / "release.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(classifier, "ch_ppocr_mobile_v2.0_cls_train/best_accuracy.pdparams")
    out = tmp_path / "x.pth"
    assert convert(CLASSIFIER, "--paddle-dir", archive, "--out", out).code == 0
    card = json.loads(out.with_suffix(".json").read_text())
    assert list(card["source"]["files"]) == ["best_accuracy.pdparams"]


def test_without_a_reference(convert, classifier, paddle_is, tmp_path):
    paddle_is(f"open({str(tmp_path / 'started')!r}, 'w')")
    out, report = tmp_path / "x.pth", tmp_path / "report.json"
    done = convert(
        CLASSIFIER, "--paddle-dir", classifier, "--out", out, "--reference", "none",
        "--report", report,
    )  # fmt: skip
    assert done.code == 0
    assert done.out.splitlines()[-1].endswith("UNVERIFIED: no reference was wanted")
    card = json.loads(out.with_suffix(".json").read_text())
    assert (card["status"], card["parity"]) == ("UNVERIFIED", None)
    assert json.loads(report.read_text()) == {"model": CLASSIFIER, "status": "unverified"}
    assert not (tmp_path / "started").exists()


def test_a_fine_tuned_model(convert, tmp_path):
    """Bare names, another dictionary, and the YAML that PaddleOCR trained it with."""
    folder, out = fine_tuned(tmp_path), tmp_path / "own.pth"
    arguments = ("--config", folder / "train.yml", "--paddle-dir", folder, "--out", out)
    done = convert("my_own", *arguments)
    assert (done.code, done.err) == (0, "")
    card = json.loads(out.with_suffix(".json").read_text())
    assert (card["name"], card["release"], card["status"]) == ("my_own", "custom", "VERIFIED")
    assert card["class_counts"] == {"ctc": 8}
    assert card["dictionary"]["characters"] == [*"abcxyz", " "]
    assert card["counts"]["second_names"] == 16
    assert architectures.load(out).class_counts == {"ctc": 8}


def test_a_dictionary_of_ones_own(convert, tmp_path):
    folder, out = fine_tuned(tmp_path, "abcdef"), tmp_path / "own.pth"
    other = tmp_path / "other.txt"
    other.write_text("1\n2\n3\n4\n5\n6\n")
    done = convert(
        LITE, "--paddle-dir", folder, "--out", out, "--dict", other, "--reference", "none"
    )
    assert done.code == 0, done
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["dictionary"]["characters"] == [*"123456", " "]
    assert card["dictionary"]["file"] == "other.txt"


def test_a_head_whose_classes_are_in_another_layer_than_the_releases(convert, tmp_path):
    folder, out = fine_tuned(tmp_path), tmp_path / "own.pth"
    tensors = weights(CRNN)
    for name in ("head.fc.weight", "head.fc.bias"):
        del tensors[name]
    shapes = {"head.fc1": (96, 24), "head.fc2": (24, 8)}
    for layer, shape in shapes.items():
        tensors[f"{layer}.weight"] = seeded_weight(0, layer, shape)
        tensors[f"{layer}.bias"] = seeded_weight(0, layer, shape[1:])
    save(folder / "best_accuracy.pdparams", tensors)
    text = (folder / "train.yml").read_text()
    (folder / "train.yml").write_text(
        text.replace("name: CTCHead", "name: CTCHead\n    mid_channels: 24")
    )
    arguments = ("--config", folder / "train.yml", "--paddle-dir", folder, "--out", out)
    done = convert("my_own", *arguments, "--reference", "none")
    assert (done.code, done.err) == (0, "")
    assert architectures.load(out).class_counts == {"ctc": 8}


def test_plan(convert, export, classifier, paddle_is, tmp_path):
    paddle_is(f"open({str(tmp_path / 'started')!r}, 'w')")
    by_name = convert(CLASSIFIER, "--paddle-dir", classifier, "--plan")
    assert (by_name.code, by_name.err) == (0, "")
    assert "head.fc.weight -> head.fc.weight  Transpose()" in by_name.out
    by_flow = convert(CLASSIFIER, "--paddle-dir", export, "--plan")
    assert by_flow.code == 0
    assert "fc_0.w_0" in by_flow.out
    assert not (tmp_path / "started").exists()


def test_list(convert):
    done = convert("--list")
    assert (done.code, done.err) == (0, "")
    listed = [line.split()[0] for line in done.out.splitlines() if line.startswith("  ")]
    known = [*catalog.names(), *catalog.vision_language(), *catalog.refused()]
    assert sorted(listed) == sorted(known)
    *titles, last = [line for line in done.out.splitlines() if not line.startswith("  ")]
    assert titles[:3] == ["text detection (det)", "classification (cls)", "text recognition (rec)"]
    tasks = [*dict.fromkeys(card.task for card in catalog.cards()), "vlm"]
    assert [title.rpartition("(")[2] for title in titles] == [f"{task})" for task in tasks]
    assert last == "known, but not converted"
    assert "97 classes, dictionary en_dict.txt" in done.out
    assert "latin_mobile_v2.0_rec (latin_ppocr_mobile_v2.0_rec)" in done.out


def test_a_reader_that_has_seen_enough():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "converter", "--list"]
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


# What is imported.


@pytest.mark.parametrize("arguments", [["--help"], ["--list"], ["--version"], ["verify", "--help"]])
def test_answers_without_the_frameworks(arguments):
    code = (
        "import sys\nfrom converter.cli.main import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print({'torch', 'paddle', 'cv2'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.endswith("set()\n")


def test_exit_codes_stand_in_the_help(convert):
    done = convert("--help")
    assert done.code == 0
    for code, meaning in (
        (3, "source"),
        (4, "names or layers"),
        (5, "Paddle and PyTorch disagree"),
        (6, "no refer"),
    ):
        assert f"{code} {meaning}" in " ".join(done.out.split())


# Values that no trained network has.

DAMAGED = {
    "NaN": ("head.fc.bias", np.nan, "NaN"),
    "infinity": ("backbone.conv1.bn._variance", np.inf, "infinite"),
    "minus infinity": ("backbone.conv1.conv.weight", -np.inf, "infinite"),
    "a negative variance": ("backbone.conv1.bn._variance", -1e-6, "negative variances"),
}


@pytest.mark.parametrize("reference", ["recorded", "none"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_values_with_which_nothing_is_computed(convert, tmp_path, damage, reference):
    name, value, kind = DAMAGED[damage]
    tensors = weights(CLS)
    tensors[name] = tensors[name].copy()
    tensors[name].flat[0] = value
    file, out = save(tmp_path / "x.pdparams", tensors), tmp_path / "x.pth"
    done = convert(CLASSIFIER, "--paddle-dir", file, "--out", out, "--reference", reference)
    assert done.code == 3
    ours = name.replace("_variance", "running_var")
    assert f"  {ours}: 1 of {tensors[name].size} are {kind}\n" in done.err
    assert "Traceback" not in done.err
    assert not out.exists()


def test_an_export_with_such_values(convert, export, tmp_path):
    """An export's weights are used under the program's names."""
    (tmp_path / "nan").mkdir()
    for file in export.iterdir():
        content = bytearray(file.read_bytes())
        if file.suffix == ".pdiparams":
            content[-4:] = np.float32(np.nan).tobytes()
        (tmp_path / "nan" / file.name).write_bytes(content)
    done = convert(CLASSIFIER, "--paddle-dir", tmp_path / "nan", "--out", tmp_path / "x.pth")
    assert done.code == 3
    assert "head.fc.weight: 1 of 400 are NaN" in done.err


def test_values_that_folding_makes_infinite(convert, tmp_path):
    tensors = weights(CLS)
    norm = "backbone.conv1.bn"
    tensors[f"{norm}.weight"] = np.full_like(tensors[f"{norm}.weight"], 3e38)
    tensors[f"{norm}._variance"] = np.full_like(tensors[f"{norm}._variance"], 1e-5)
    file = save(tmp_path / "x.pdparams", tensors)
    done = convert(CLASSIFIER, "--paddle-dir", file, "--out", tmp_path / "x.pth", "--fuse")
    assert done.code == 3
    assert "infinite" in done.err
    assert "brought into its fused form" in done.err


def test_values_that_are_only_unusual(convert, tmp_path):
    tensors = weights(CLS)
    tensors["backbone.conv1.bn._variance"] = np.zeros(8, np.float32)
    tensors["head.fc.weight"] = np.zeros_like(tensors["head.fc.weight"])
    file, out = save(tmp_path / "x.pdparams", tensors), tmp_path / "x.pth"
    done = convert(CLASSIFIER, "--paddle-dir", file, "--out", out)
    assert done.code == 0
    assert "warning: channels have a variance of exactly 0" in done.err
    assert "backbone.conv1.bn.running_var (8 of 8)" in done.err
    assert "warning: weights are zero throughout, so these layers compute nothing:" in done.err
    scope = json.loads(out.with_suffix(".json").read_text())["proof_scope"]
    assert scope.endswith("these weights were not run in Paddle.")


ONNX = carried() / "ch_ppocr_mobile_v2.0_cls_mobile.onnx"


def test_an_onnx_file(convert, tmp_path):
    done = convert(CLASSIFIER, "--onnx", ONNX, "--out", tmp_path / "x.pth")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("213 tensors used, 35 filled\nwrote ")
    assert done.out.endswith("(program reference, 8 comparisons)\n")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--onnx", "x.pdmodel"], "--onnx x.pdmodel should name a file that ends in .onnx"),
        (["--onnx", ONNX, "--program-dir", "y"], "--program-dir belongs to a checkpoint"),
        (["--onnx", ONNX, "--paddle-dir", "x", "--program-dir", "y"], "both name the reference"),
        ([], "--paddle-dir is missing (or --onnx)"),
    ],
)
def test_files_that_do_not_go_together(convert, tmp_path, options, fault):
    done = convert(CLASSIFIER, *options, "--out", tmp_path / "x.pth")
    assert done.code == 2
    assert fault in done.err
