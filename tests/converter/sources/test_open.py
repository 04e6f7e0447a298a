"""Finding a model in a folder, and the one type that stands for it."""

from __future__ import annotations

import gc
import hashlib
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from converter.errors import SourceError
from converter.sources.open import open_source
from tests.support.paddle_files import write_export

WEIGHTS = pickle.dumps({"w": np.arange(3, dtype="f4")}, 4)


@pytest.fixture
def folder(tmp_path):
    """A folder; calling it writes empty-handed checkpoints by name."""

    def write(*names):
        for name in names:
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(WEIGHTS)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["best_accuracy", "latest", "student", "a_pretrained"], "best_accuracy"),
        (["latest", "student", "a_pretrained", "iter_1"], "a_pretrained"),
        (["latest", "student", "iter_1"], "student"),
        (["latest", "iter_1", "iter_2"], "latest"),
        (["iter_1"], "iter_1"),
        (["iter_1", "._iter_1"], "iter_1"),
        (["iter_1", "below/best_accuracy"], "iter_1"),
        (["below/best_accuracy", "below/latest"], "best_accuracy"),
        (["below/best_accuracy", "other/latest"], "best_accuracy"),
    ],
)
def test_which_checkpoint(folder, names, chosen):
    source = open_source(folder(*(f"{name}.pdparams" for name in names)))
    assert source.checkpoint.file.stem == chosen
    assert source.export is None


@pytest.mark.parametrize(
    "names",
    [
        ["iter_1", "iter_2"],
        ["a_pretrained", "b_pretrained"],
        ["one/best_accuracy", "two/best_accuracy"],
    ],
)
def test_several_without_a_priority(folder, names):
    with pytest.raises(SourceError, match="several models") as error:
        open_source(folder(*(f"{name}.pdparams" for name in names)))
    assert all(f"{name}.pdparams" in str(error.value) for name in names)


@pytest.mark.parametrize("format", ["pdmodel", "pir"])
@pytest.mark.parametrize("stem", ["inference", "model", "ch_det"])
def test_export_by_folder_and_by_file(tmp_path, format, stem):
    program = write_export(tmp_path, stem, format=format)
    (tmp_path / "config.json").write_text("{}")
    for path in (tmp_path, program):
        source = open_source(path)
        assert source.path == path
        assert source.checkpoint is None
        assert source.export.program_file == program
        assert source.export.weights_file.name == f"{stem}.pdiparams"
        assert list(source.files) == [program.name, f"{stem}.pdiparams"]


def test_old_names_of_an_export(tmp_path):
    program = write_export(tmp_path)
    program.rename(tmp_path / "__model__")
    (tmp_path / "inference.pdiparams").rename(tmp_path / "__params__")
    for path in (tmp_path, tmp_path / "__model__"):
        assert open_source(path).export.weights_file.name == "__params__"


def test_program_of_paddle_3_comes_first(tmp_path):
    write_export(tmp_path)
    write_export(tmp_path, format="pir")
    assert open_source(tmp_path).export.program.format == "pir"


def test_checkpoint_with_export(folder, tmp_path):
    write_export(tmp_path / "inference")
    (tmp_path / "inference" / "inference.pdiparams.info").write_bytes(pickle.dumps({}, 2))
    source = open_source(folder("best_accuracy.pdparams"))
    assert source.checkpoint
    assert source.export
    files = [
        tmp_path / "best_accuracy.pdparams",
        *(tmp_path / "inference" / f"inference.{end}" for end in ("pdmodel", "pdiparams")),
        tmp_path / "inference" / "inference.pdiparams.info",
    ]
    content = {file.name: file.read_bytes() for file in files}
    assert source.files == {n: hashlib.sha256(raw).hexdigest() for n, raw in content.items()}
    assert source.size == sum(map(len, content.values()))
    alone = open_source(tmp_path / "best_accuracy.pdparams")
    assert alone.checkpoint
    assert alone.export is None


def test_links_inside_a_folder_are_fine(tmp_path):
    program = write_export(tmp_path / "store")
    shown = tmp_path / "shown"
    shown.mkdir()
    for file in program.parent.iterdir():
        (shown / file.name).symlink_to(file)
    assert open_source(shown).export


def test_models_of_different_folders_are_not_mixed(folder, tmp_path):
    write_export(tmp_path / "det")
    with pytest.raises(SourceError, match="models in det and rec"):
        open_source(folder("rec/best_accuracy.pdparams"))


@pytest.mark.parametrize("checkpoint", [(), ("best_accuracy.pdparams",)])
def test_program_without_weights(folder, tmp_path, checkpoint):
    (write_export(tmp_path).parent / "inference.pdiparams").unlink()
    with pytest.raises(SourceError, match=r"inference\.pdiparams is missing"):
        open_source(folder(*checkpoint))


def test_weights_without_program(tmp_path):
    write_export(tmp_path).unlink()
    with pytest.raises(SourceError, match=r"without its program; expected inference\.pdmodel or"):
        open_source(tmp_path)
    with pytest.raises(SourceError, match="weights without names"):
        open_source(tmp_path / "inference.pdiparams")


def test_weights_of_another_program(tmp_path):
    weights = write_export(tmp_path).with_suffix(".pdiparams")
    raw = bytearray(weights.read_bytes())
    at = raw.index(b"\x08\x05\x10\x04\x10\x03")  # float32 (4, 3)
    raw[at : at + 6] = b"\x08\x05\x10\x03\x10\x04"
    weights.write_bytes(raw)
    with pytest.raises(SourceError, match=r"'w_0' is float32 \(3, 4\); the program expects"):
        open_source(tmp_path)


def test_nothing_to_read(tmp_path):
    with pytest.raises(SourceError, match="holds no Paddle model; found nothing"):
        open_source(tmp_path)
    (tmp_path / "readme.md").write_text("")
    with pytest.raises(SourceError, match=r"found readme\.md"):
        open_source(tmp_path)
    with pytest.raises(SourceError, match="is no file of Paddle's"):
        open_source(tmp_path / "readme.md")


def test_optimizer_file(tmp_path):
    file = tmp_path / "latest.pdopt"
    file.write_bytes(WEIGHTS)
    with pytest.raises(SourceError, match="an optimizer's state; name the"):
        open_source(file)


def test_missing_path(folder, tmp_path):
    folder("latest.pdparams")
    with pytest.raises(SourceError, match=r"Did you mean .*latest\.pdparams"):
        open_source(tmp_path / "latest")
    with pytest.raises(SourceError, match=r"does not exist\.$"):
        open_source(tmp_path / "other")


def test_neither_framework_is_imported(tmp_path):
    code = """
import sys
from pathlib import Path
from converter.sources.open import open_source
late = {"google.protobuf", "tarfile", "json"} & set(sys.modules)
open_source(Path(sys.argv[1]))
print(sorted(late), sorted({"paddle", "torch", "cv2"} & set(sys.modules)))
"""
    program = write_export(tmp_path)
    command = [sys.executable, "-c", code, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"


def test_a_checkpoint_and_its_export_elsewhere(folder, tmp_path):
    path = folder("trained/best_accuracy.pdparams")
    write_export(tmp_path / "exported")
    source = open_source(path / "trained", tmp_path / "exported")
    assert source.path == path / "trained"
    assert source.checkpoint.file.name == "best_accuracy.pdparams"
    assert source.export.program_file.name == "inference.pdmodel"
    assert set(source.files) == {
        "best_accuracy.pdparams", "inference.pdmodel", "inference.pdiparams"
    }  # fmt: skip
    export = open_source(tmp_path / "exported")
    assert source.size == export.size + len(WEIGHTS)


def test_two_places_hold_one_kind_each(folder, tmp_path):
    trained = folder("trained/best_accuracy.pdparams") / "trained"
    exported = write_export(tmp_path / "exported").parent
    with pytest.raises(SourceError, match="exported holds no checkpoint that the export in"):
        open_source(exported, exported)
    with pytest.raises(SourceError, match="trained holds no exported program"):
        open_source(trained, trained)


def test_archives_that_are_joined_stay_unpacked(folder, tmp_path):
    trained = folder("trained/best_accuracy.pdparams") / "trained"
    exported = write_export(tmp_path / "exported").parent
    with tarfile.open(tmp_path / "exported.tar", "w") as archive:
        archive.add(exported, "exported")
    source = open_source(trained, tmp_path / "exported.tar")
    gc.collect()
    assert source.export.weights_file.is_file()
    unpacked = source.export.weights_file.parent
    del source
    gc.collect()
    assert not unpacked.exists()


# Distillations: an export for each network, with the settings above them


@pytest.fixture
def distillation(tmp_path):
    """What PaddleOCR's tools/export_model.py writes for a distillation."""
    export = tmp_path / "export"
    for network in ("Student", "Student2", "Teacher"):
        (export / network).mkdir(parents=True)
        write_export(export / network, "inference")
    (export / "inference.yml").write_text("PostProcess: {character_dict: [a, b]}")
    return export


@pytest.mark.parametrize("submodel", [None, "Student", "Student2", "Teacher"])
def test_the_export_of_each_network(distillation, submodel):
    for path in (distillation, distillation / (submodel or "Student")):
        source = open_source(path, submodel=submodel)
        assert source.export.program_file.parent == distillation / (submodel or "Student")
        assert source.settings == distillation / "inference.yml"
        assert "inference.yml" in source.files


def test_the_settings_above_a_program_by_its_file(distillation, monkeypatch):
    (program,) = (distillation / "Teacher").glob("inference.[jp]*[nl]")
    assert open_source(program).settings == distillation / "inference.yml"
    monkeypatch.chdir(program.parent)
    assert open_source(Path(program.name)).settings == distillation / "inference.yml"


def test_settings_beside_a_program_come_first(distillation):
    own = distillation / "Student" / "inference.yml"
    own.write_text("{}")
    assert open_source(distillation).settings == own


def test_the_settings_of_another_model_above(distillation):
    write_export(distillation, "inference")
    assert open_source(distillation / "Student").settings is None
    assert open_source(distillation).export.program_file.parent == distillation


def test_an_archive_of_a_distillation(distillation, tmp_path):
    archive = tmp_path / "export.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(distillation, "export")
    source = open_source(archive, submodel="Teacher")
    assert source.export.program_file.parent.name == "Teacher"
    assert source.settings is not None


def test_exports_of_networks_without_a_student(distillation):
    (distillation / "Student").rename(distillation / "Student3")
    with pytest.raises(SourceError, match="several models"):
        open_source(distillation)
    assert open_source(distillation, submodel="Student3").export is not None


# PaddleX's output: a folder for each epoch, its export below it


@pytest.fixture
def output(folder):
    names = ("best_accuracy/best_accuracy", "best_accuracy/best_model/model", "latest/latest")
    tree = folder(*(f"{name}.pdparams" for name in (*names, "iter_epoch_5/iter_epoch_5")))
    for epoch in ("best_accuracy", "latest", "iter_epoch_5"):
        (tree / epoch / "inference").mkdir()
        write_export(tree / epoch / "inference", "inference")
        (tree / epoch / "inference" / "inference.yml").write_text("{}")
        (tree / epoch / f"{epoch}.info.json").write_text("{}")
    (tree / "train_result.json").write_text("{}")
    (tree / "config.yaml").write_text("{}")
    return tree


@pytest.mark.parametrize("below", [".", "best_accuracy", "latest"])
def test_the_output_of_paddlex(output, below):
    source = open_source(output / below)
    epoch = output / ("best_accuracy" if below == "." else below)
    assert source.checkpoint.file == epoch / f"{epoch.name}.pdparams"
    assert source.export.program_file.parent == epoch / "inference"
    assert source.settings == epoch / "inference" / "inference.yml"


def test_the_output_of_paddlex_without_exports(output):
    for epoch in ("best_accuracy", "latest", "iter_epoch_5"):
        shutil.rmtree(output / epoch / "inference")
    source = open_source(output)
    assert (source.checkpoint.file.stem, source.export) == ("best_accuracy", None)
    assert open_source(output / "best_accuracy/best_model").checkpoint.file.stem == "model"
