"""Recognising models by the names of their files, which need hold nothing for that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from converter.catalog import cards as catalog
from converter.conversion.discovery import ModelFiles, discover, recognise, stem_of
from converter.errors import SourceError, UnknownModel

DET, REC, CLS = "ch_PP-OCRv4_det", "ch_PP-OCRv4_rec", "ch_ppocr_mobile_v2.0_cls"
EXPORT = ("inference.pdmodel", "inference.pdiparams")
PIR = ("inference.json", "inference.pdiparams", "inference.yml")


@pytest.fixture
def tree(tmp_path) -> Callable[..., Path]:
    """Make empty files under a folder, and return it."""

    def tree(*files: str) -> Path:
        for file in files:
            path = tmp_path / "root" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "root"

    return tree


def inside(folder: str, *files: str) -> list[str]:
    return [f"{folder}/{file}" for file in files]


def test_every_released_file_is_recognised():
    for name, row in catalog.rows().items():
        urls = {"checkpoint": row.get("train"), "export": row.get("infer")}
        for kind, url in urls.items():
            if url:
                assert recognise(stem_of(url)) == (name, kind)
        for known in (name, *row.get("aliases", ())):
            assert recognise(known)[0] == name


def test_no_two_models_are_released_under_one_file_name():
    stems = [
        stem_of(row[key])
        for row in catalog.rows().values()
        for key in ("train", "infer")
        if row.get(key)
    ]
    assert len(stems) == len(set(stems))


@pytest.mark.parametrize(
    ("files", "name", "path"),
    [
        (inside(f"{DET}_train", "best_accuracy.pdparams", "best_accuracy.pdopt"), DET, ""),
        (inside(f"{DET}_train/{DET}_train", "best_accuracy.pdparams"), DET, f"/{DET}_train"),
        (inside(f"{DET}_train/checkpoints", "best_accuracy.pdparams"), DET, ""),
        (inside("ch_PP-OCRv2_det_distill_train", "best_accuracy.pdparams"), "ch_PP-OCRv2_det", ""),
        (inside(f"{REC}_infer", *EXPORT), REC, ""),
        (inside(f"{REC}_infer".upper(), *EXPORT), REC, ""),
        (inside("PP-OCRv5_mobile_det", *PIR), "PP-OCRv5_mobile_det", ""),
        ([f"{CLS}_infer.tar"], CLS, ""),
        ([f"{CLS}_train.tar.gz"], CLS, ""),
        (["PP-OCRv5_mobile_det_pretrained.pdparams"], "PP-OCRv5_mobile_det", ""),
        (inside("latin_ppocr_mobile_v2.0_rec_infer", *EXPORT), "latin_mobile_v2.0_rec", ""),
    ],
)
def test_one_model(tree, files, name, path):
    root = tree(*(f"official_models/{file}" for file in files))
    found = discover(root)
    top = root / "official_models" / files[0].partition("/")[0]
    assert found.models == (ModelFiles(name, Path(f"{top}{path}")),)
    assert not found.unknown
    assert not found.refused


def test_the_folder_itself_may_be_the_model(tree):
    root = tree(*inside(f"{DET}_infer", *EXPORT)) / f"{DET}_infer"
    assert discover(root).models == (ModelFiles(DET, root),)


@pytest.mark.parametrize(
    ("checkpoint", "export"),
    [
        (f"{DET}_train/best_accuracy.pdparams", f"{DET}_infer/inference.pdmodel"),
        (f"{DET}_train.tar", f"{DET}_infer.tar"),
        (f"{DET}/{DET}_train/best_accuracy.pdparams", f"{DET}/{DET}_infer/inference.pdmodel"),
        (f"{DET}_pretrained.pdparams", f"{DET}/inference.json"),
    ],
)
def test_a_checkpoint_is_proved_by_its_export(tree, checkpoint, export):
    root = tree(checkpoint, export, str(Path(export).with_suffix(".pdiparams")))

    def place(file: str) -> Path:
        path = root / file
        return path if path.suffix == ".tar" or "pretrained" in path.name else path.parent

    assert discover(root).models == (ModelFiles(DET, place(checkpoint), place(export)),)


def test_a_folder_with_both_is_taken_as_it_is(tree):
    root = tree(*inside(DET, *EXPORT, f"{DET}_pretrained.pdparams"))
    assert discover(root).models == (ModelFiles(DET, root / DET),)


def test_an_archive_beside_the_folder_it_was_unpacked_into(tree):
    root = tree(f"{DET}_infer.tar", *inside(f"{DET}_infer", *EXPORT))
    assert discover(root).models == (ModelFiles(DET, root / f"{DET}_infer"),)


def test_a_model_that_is_there_twice_is_not_guessed(tree):
    root = tree(*inside(f"a/{DET}_infer", *EXPORT), *inside(f"b/{DET}_infer", *EXPORT))
    found = discover(root)
    assert found.models == ()
    assert f"{root}/a/{DET}_infer\n  {root}/b/{DET}_infer" in found.ambiguous[DET]
    assert f"--map {DET}=PATH" in found.ambiguous[DET]
    one = discover(root, [(DET, root / f"b/{DET}_infer")])
    assert (one.models, one.ambiguous) == ((ModelFiles(DET, root / f"b/{DET}_infer"),), {})


def test_what_is_not_recognised(tree):
    root = tree(
        *inside("ch_PP-OCRv4_dett_infer", *EXPORT),
        *inside("ch_PP-OCRv9_det_slim_quant_infer", *EXPORT),
        "mine.tar",
        "notes/readme.txt",
        ".hidden/inference.pdmodel",
    )
    found = discover(root)
    advice = {path.name: text for path, text in found.unknown.items()}
    assert found.models == ()
    assert set(advice) == {"ch_PP-OCRv4_dett_infer", "ch_PP-OCRv9_det_slim_quant_infer", "mine.tar"}
    assert "the nearest are ch_PP-OCRv4_det, " in advice["ch_PP-OCRv4_dett_infer"]
    assert f"--map NAME={root}/ch_PP-OCRv4_dett_infer" in advice["ch_PP-OCRv4_dett_infer"]
    assert "only float32 networks are converted" in advice["ch_PP-OCRv9_det_slim_quant_infer"]
    assert advice["mine.tar"].startswith("not recognised; name it with")


def test_a_slim_release_is_refused_with_its_reason(tree):
    slim, reason = next(row for row in catalog.refused().items() if "slim" in row[0])
    (file,) = [stem_of(catalog.rows()[slim][key]) for key in ("infer",)]
    found = discover(tree(f"{file}.tar"))
    assert (found.models, found.refused, found.unknown) == ((), {slim: reason}, {})


def test_a_model_that_is_named(tree):
    root = tree(*inside("run7", "best_accuracy.pdparams"), *inside("run7_out", *PIR))
    found = discover(root, [(CLS, root / "run7"), (CLS, root / "run7_out")])
    assert found.models == (ModelFiles(CLS, root / "run7", root / "run7_out"),)
    assert not found.unknown
    (model,) = discover(None, [(CLS, root / "run7/best_accuracy.pdparams")]).models
    assert model.path.name == "best_accuracy.pdparams"
    alias = discover(None, [("latin_ppocr_mobile_v2.0_rec", root / "run7")])
    assert alias.models[0].name == "latin_mobile_v2.0_rec"


def test_only_some(tree):
    root = tree(f"{DET}_infer.tar", f"{REC}_infer.tar", f"{CLS}_infer.tar")
    names = [model.name for model in discover(root, only="_(rec|cls)$").models]
    assert names == [REC, CLS]


def test_links_that_lead_round_in_circles(tree):
    root = tree(*inside(f"{DET}_infer", *EXPORT))
    (root / "loop").symlink_to(root, target_is_directory=True)
    assert discover(root).models == (ModelFiles(DET, root / f"{DET}_infer"),)


def test_paths_and_names_that_are_none(tmp_path):
    with pytest.raises(SourceError, match="is not a folder"):
        discover(tmp_path / "none")
    with pytest.raises(SourceError, match="in --map, does not exist"):
        discover(None, [(DET, tmp_path / "none")])
    with pytest.raises(SourceError, match="in --map, cannot be read: File name too long"):
        discover(None, [(DET, Path("a" * 5000))])
    with pytest.raises(UnknownModel, match="the nearest are"):
        discover(None, [("ch_PP-OCRv4_dett", tmp_path)])
