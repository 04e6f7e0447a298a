"""At which size networks are compared: that of the training YAML, or of an export that fixes it."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from converter.catalog import cards as catalog
from converter.catalog.custom import custom_card
from converter.conversion.steps import proof_batches
from converter.errors import ConfigError, ReferenceUnavailable
from converter.sources import framework_proto as schema
from pipelines.classification.predictor import Classifier
from tests.support.checkpoints import EXPORTS, fine_tuned
from tests.support.opened import opened

CLASSIFIER = "ch_ppocr_mobile_v2.0_cls"


def with_height(folder, height, width=320):
    """Let the training YAML of a fine-tuned recogniser state the size of lines."""
    content = yaml.safe_load((folder / "train.yml").read_text())
    resize = {"RecResizeImg": {"image_shape": [3, height, width]}}
    content["Eval"] = {"dataset": {"transforms": [resize]}}
    (folder / "train.yml").write_text(yaml.safe_dump(content))
    return folder / "train.yml"


def input_shapes(out):
    comparisons = json.loads(out.with_suffix(".json").read_text())["parity"]["comparisons"]
    return {tuple(comparison["input_shape"]) for comparison in comparisons}


@pytest.mark.parametrize(("height", "width"), [(32, 320), (48, 320), (64, 100)])
def test_the_height_of_a_training_yaml(tmp_path, height, width):
    card = custom_card("mine", with_height(fine_tuned(tmp_path), height, width))
    assert card.pipeline["height"] == height
    assert card.proof.sizes == ((height, 320), (height, 448))
    shapes = [batch.shape for batch in proof_batches(card)]
    assert shapes == [(2, 3, height, 320), (2, 3, height, 448)]


def classifier_yaml(folder, shape):
    content = {
        "Architecture": catalog.card(CLASSIFIER).architecture,
        "Eval": {"dataset": {"transforms": [{"ClsResizeImg": {"image_shape": shape}}]}},
        "PostProcess": {"name": "ClsPostProcess"},
    }
    file = folder / "train.yml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_a_classifier_of_other_lines(convert, export, tmp_path):
    config, out = classifier_yaml(tmp_path, [3, 32, 100]), tmp_path / "x.pth"
    done = convert("mine", "--config", config, "--paddle-dir", export, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert input_shapes(out) == {(2, 3, 32, 192), (2, 3, 32, 256)}
    settings = Classifier(out).settings
    assert (settings.height, settings.width) == (32, 100)


@pytest.mark.parametrize("shape", [[48, 192], "3, 48, 192", [3, 0, 192], [3, 48, None]])
def test_lines_of_a_classifier_that_are_none(tmp_path, shape):
    with pytest.raises(ConfigError, match="image_shape"):
        custom_card("mine", classifier_yaml(tmp_path, shape))


@pytest.mark.parametrize(
    ("name", "resize", "shape", "expected"),
    [
        ("rec_vit_parseq_synth", "SVTRRecResizeImg", [3, 48, 160], (48, 160)),
        ("rec_r31_sar", "SARRecResizeImg", [3, 32, 48, 120], (32, 120)),  # the width it pads to
        ("rec_r45_abinet", "ABINetRecResizeImg", [3, 48, 100], (48, 100)),
    ],
)
def test_a_network_of_one_size_has_the_size_of_its_yaml(tmp_path, name, resize, shape, expected):
    released = catalog.card(name)
    assert released.proof.only_size not in (None, expected)
    content = {
        "Global": {"character_dict_path": "ppocr/utils/dict/en_dict.txt"},
        "Architecture": released.architecture,
        "Eval": {"dataset": {"transforms": [{resize: {"image_shape": shape}}]}},
    }
    file = tmp_path / "train.yml"
    file.write_text(yaml.safe_dump(content))
    assert custom_card("mine", file).proof.sizes == (expected, expected)


def test_a_reader_of_32_pixels_is_compared_there(convert, real_models, tmp_path):
    """PP-OCRv4's released weights, which read lines of 32 pixels too; the export declares 48."""
    name, out = "ch_PP-OCRv4_rec", tmp_path / "x.pth"
    content = {
        "Global": {"character_dict_path": "ppocr/utils/ppocr_keys_v1.txt", "use_space_char": True},
        "Architecture": catalog.card(name).architecture,
        "Eval": {"dataset": {"transforms": [{"RecResizeImg": {"image_shape": [3, 32, 320]}}]}},
        "PostProcess": {"name": "CTCLabelDecode"},
    }
    config = tmp_path / "train.yml"
    config.write_text(yaml.safe_dump(content))
    export = real_models / EXPORTS[name]
    done = convert("mine", "--config", config, "--paddle-dir", export, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert input_shapes(out) == {(2, 3, 32, 320), (2, 3, 48, 480)}
    assert json.loads(out.with_suffix(".json").read_text())["pipeline"]["height"] == 32


@pytest.mark.parametrize("height", [32, 48])
def test_a_record_of_another_height(convert, tmp_path, height):
    folder, out = fine_tuned(tmp_path), tmp_path / "x.pth"
    config = with_height(folder, height)
    done = convert("mine", "--config", config, "--paddle-dir", folder, "--out", out)
    assert done.code == 0
    warning = "the record proves the network at a height of 32, but lines are read at 48"
    assert (warning in done.err) == (height == 48)


@pytest.fixture
def fixed(export, tmp_path):
    """Fix lengths of the image that the classifier's export takes."""

    def fixed(*shape):
        folder = tmp_path / "export"
        shutil.copytree(export, folder)
        program = schema.message("ProgramDesc").FromString(
            (folder / "inference.pdmodel").read_bytes()
        )
        (image,) = (v for v in program.blocks[0].vars if v.name == b"x")
        image.type.dense_tensor.tensor.dims[:] = shape
        (folder / "inference.pdmodel").write_bytes(program.SerializeToString())
        return folder

    return fixed


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((-1, 3, -1, -1), {(2, 3, 48, 192), (2, 3, 48, 256)}),
        ((1, 3, 48, 160), {(1, 3, 48, 160)}),
        ((-1, 3, 32, -1), {(2, 3, 48, 192), (2, 3, 32, 256)}),
        ((3, 3, -1, 128), {(3, 3, 48, 128)}),
    ],
)
def test_an_export_is_compared_at_the_size_that_it_fixes(convert, fixed, tmp_path, shape, expected):
    out = tmp_path / "x.pth"
    done = convert(CLASSIFIER, "--paddle-dir", fixed(*shape), "--out", out)
    assert (done.code, done.err) == (0, "")
    assert input_shapes(out) == expected


def test_an_export_of_a_size_is_traced_at_it(fixed):
    model = opened(CLASSIFIER, fixed(1, 3, 96, 64))
    assert model.card.proof.only_size == (96, 64)
    assert [batch.shape for batch in proof_batches(model.card)] == [(1, 3, 96, 64)] * 2
    first, second = proof_batches(model.card)
    assert (first != second).any()


def test_images_that_no_network_takes(fixed):
    with pytest.raises(ReferenceUnavailable, match="takes images of 1 x 3 x 4000 x 4000"):
        opened(CLASSIFIER, fixed(1, 3, 4000, 4000))
