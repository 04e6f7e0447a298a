"""The shipped configs, unknown names, and cards made from PaddleOCR's training YAMLs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from converter.catalog import cards as catalog
from converter.catalog.custom import custom_card, same_network, similar
from converter.errors import ConfigError, RefusedModel, UnknownModel
from converter.mapping.rules import load_mapping
from schemas.special_tokens import CLASSES
from tests.support.paths import RECORDS as RECORDED
from tests.support.paths import ROOT

DB = {
    "model_type": "det",
    "algorithm": "DB",
    "Transform": None,
    "Backbone": {"name": "PPLCNetV3", "scale": 0.5, "pretrained": True, "det": True},
    "Neck": {"name": "RSEFPN", "out_channels": 64, "shortcut": True},
    "Head": {"name": "DBHead", "k": 50},
}
CRNN = {
    "model_type": "rec",
    "algorithm": "CRNN",
    "Transform": None,
    "Backbone": {"name": "MobileNetV3", "scale": 0.5, "model_name": "small"},
    "Neck": {"name": "SequenceEncoder", "encoder_type": "rnn", "hidden_size": 64},
    "Head": {"name": "CTCHead", "fc_decay": 0.0004},
}
CLASSIFIER = {
    "model_type": "cls",
    "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
    "Head": {"name": "ClsHead"},
}
RESNET = {
    "model_type": "det",
    "Transform": {"name": "TPS"},
    "Backbone": {"name": "ResNet_vd", "layers": 50},
    "Neck": {"name": "DBFPN"},
    "Head": {"name": "DBHead"},
}


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A folder of configs of our own, in place of the shipped one; returns a writer."""
    monkeypatch.setattr(catalog, "FOLDER", tmp_path)
    (tmp_path / "cls").mkdir()
    shipped = ROOT / "configs" / "cls" / "cls_mv3.yaml"

    def write(name: str, **changes: object) -> None:
        content = yaml.safe_load(shipped.read_text()) | changes
        content = {key: value for key, value in content.items() if value is not None}
        (tmp_path / "cls" / f"{name}.yaml").write_text(yaml.safe_dump(content))

    caches = (catalog.configs, catalog._index, catalog._texts, catalog._read)
    for cached in caches:
        cached.cache_clear()
    yield write
    for cached in caches:
        cached.cache_clear()


def training(folder: Path, architecture: object, **settings: object) -> Path:
    """A training YAML as PaddleOCR's, with the sections that have no meaning here."""
    content = {
        "Global": {"use_gpu": True, "epoch_num": 500, **settings},
        "Architecture": architecture,
        "Loss": {"name": "CTCLoss"},
        "Train": {"dataset": {"name": "SimpleDataSet"}},
    }
    file = folder / "training.yml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def distilled(**models: object) -> dict[str, object]:
    return {"name": "DistillationModel", "algorithm": "Distillation", "Models": models}


class TestShipped:
    def test_every_name_stands_once(self):
        others = [other for card in catalog.cards() for other in card.aliases]
        known = [*catalog.names(), *catalog.vision_language(), *catalog.refused(), *others]
        assert len(known) == len(set(known))
        assert len(catalog.names()) > 90

    def test_cards_come_by_task(self):
        tasks = [card.task for card in catalog.cards()]
        assert tasks == sorted(tasks, key=catalog.TASKS.index)
        assert set(tasks) == set(catalog.TASKS)

    @pytest.mark.parametrize("name", catalog.names())
    def test_each_card_holds_together(self, name):
        card = catalog.card(name)
        assert card.name == name
        assert card.architecture["model_type"] == ("rec" if card.task == "formula" else card.task)
        assert load_mapping(card.mapping).name == card.mapping
        assert card.input.color in ("BGR", "RGB", "GRAY")
        assert len(card.input.mean) == len(card.input.std) == card.input.channels
        labelled = card.task in ("layout", "kie") and bool(card.class_counts)
        assert bool(card.labels) == (labelled or card.task == "cls")
        only = (card.input.height, card.input.width)  # some take one size alone
        assert len(set(card.proof.sizes)) >= 2 or set(card.proof.sizes) == {only}
        urls = [url for url in (card.train, card.infer) if url]
        # Of some, PaddleOCR released the configuration alone, or the weights on a cloud drive.
        assert urls or name in ("rec_efficientb3_fpn_pren", "rec_satrn")
        assert all(url.startswith("https://paddle") for url in urls)
        counted = card.task in catalog.READING and bool(card.class_counts)
        assert (card.classes is not None) == counted

    @pytest.mark.parametrize(
        "name", [card.name for card in catalog.cards() if card.dictionary and card.classes]
    )
    def test_a_shipped_dictionary_fits_the_classes_of_the_release(self, name):
        card = catalog.card(name)
        table = card.dictionary.fit_to_classes(card.classes, card.decoder)
        assert CLASSES[card.decoder].count(len(table.characters)) == card.classes

    @pytest.mark.parametrize("name", catalog.refused())
    def test_what_cannot_be_converted_says_why(self, name):
        reason = "quantised|are released for PyTorch already"
        with pytest.raises(RefusedModel, match=f"{name} is not converted: .*({reason})"):
            catalog.card(name)

    def test_a_vision_language_model_has_no_card(self):
        assert catalog.vision_language_name("PP-DocBee-2B") == "PP-DocBee-2B"
        assert catalog.vision_language_name("PaddleOCR-VL") is None
        assert catalog.vision_language_name("PP-OCRv4_mobile_det") is None
        with pytest.raises(RefusedModel, match="becomes a folder of its own: python -m conv"):
            catalog.card("PP-DocBee-2B")

    def test_another_name_of_a_model(self):
        for card in catalog.cards():
            for alias in card.aliases:
                assert catalog.card(alias) == card

    @pytest.mark.parametrize("name", catalog.names())
    def test_the_record_is_of_this_very_network(self, name):
        card = catalog.card(name)
        record = json.loads((RECORDED / card.recorded / "reference.json").read_text())
        ours = card.architecture
        assert same_network(record["architecture"], ours, card.recorded_sizes)

    @pytest.mark.parametrize(
        ("wrong", "near"),
        [
            ("ch_PP-OCRv4_dett", "ch_PP-OCRv4_det"),
            ("ch_PPOCRv4_rec", "ch_PP-OCRv4_rec"),
            ("en_number_mobile_rec", "en_number_mobile_v2.0_rec"),
            ("zzz", catalog.names()[0]),
            ("", "--list"),
        ],
    )
    def test_an_unknown_name_lists_the_nearest(self, wrong, near):
        with pytest.raises(UnknownModel, match=f"no model '{wrong}'; the nearest are .*{near}"):
            catalog.card(wrong)


class TestConfigs:
    def test_a_config_of_our_own(self, configs):
        configs("mine", models={"mine_a": {"release": "1"}, "mine_b": {"release": "2"}})
        assert catalog.names() == ["mine_a", "mine_b"]
        assert catalog.card("mine_b").release == "2"
        assert catalog.card("mine_b").train is None

    def test_a_network_without_released_models(self, configs):
        configs("mine", models={}, recorded="mine")
        assert catalog.names() == []
        card = similar({**CLASSIFIER, "Head": {"name": "ClsHead", "class_dim": 4}})
        assert (card.recorded, card.release, card.labels) == ("mine", "custom", ())

    def test_aliases(self, configs):
        configs("mine", models={"mine": {"release": "1", "aliases": ["old", "older"]}})
        assert catalog.names() == ["mine"]
        assert catalog.card("older") == catalog.card("mine")
        with pytest.raises(UnknownModel, match="the nearest are old"):
            catalog.card("olde")

    @pytest.mark.parametrize(
        "other", [{"a": {"release": "1"}}, {"other": {"release": "1", "aliases": ["a"]}}]
    )
    def test_an_alias_of_two_models(self, configs, other):
        configs("mine", models={"mine": {"release": "1", "aliases": ["a"]}} | other)
        with pytest.raises(ConfigError, match="two models of the configs have the name a"):
            catalog.card("mine")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"colour": 1}, "mine.yaml: unknown key colour; there are"),
            ({"input": {"chanels": 3}}, "mine.yaml, input: unknown key chanels"),
            ({"proof": {"size": []}}, "mine.yaml, proof: unknown key size"),
            ({"models": {"a": {"url": "x"}}}, "mine.yaml, a: unknown key url"),
            ({"models": {"a": {"labels": []}}}, "mine.yaml, a: the row lacks its release"),
            ({"mapping": None, "recorded": None}, "mine.yaml lacks mapping, recorded"),
            ({"paddlex": {"mapping": "m"}}, "mine.yaml: paddlex lacks form"),
            ({"paddlex": {"mapping": "m", "form": "deploy", "x": 1}}, "mine.yaml, paddlex"),
            ({"task": "ocr"}, "task is one of det, cls, .*, layout, unwarp, kie, not"),
            ({"proof": {"kind": "line", "sizes": [[1, 2]]}}, "needs two sizes"),
        ],
    )
    def test_what_does_not_hold_together(self, configs, changes, message):
        configs("mine", **changes)
        with pytest.raises(ConfigError, match=message):
            catalog.names()

    def test_one_name_in_two_configs(self, configs):
        configs("mine")
        configs("yours")
        with pytest.raises(
            ConfigError, match=r"two models of the configs have the name ch_ppocr_mobile"
        ):
            catalog.names()


class TestSameNetwork:
    def test_training_and_class_counts_make_no_difference(self):
        changed = {**CRNN, "algorithm": "x", "Neck": {**CRNN["Neck"], "lr_mult_list": [1]}}
        changed["Head"] = {"name": "CTCHead", "fc_decay": 0.1, "out_channels": 97}
        del changed["Transform"]
        assert same_network(CRNN, changed)

    @pytest.mark.parametrize(
        "change",
        [
            {"Backbone": {**CRNN["Backbone"], "scale": 0.35}},
            {"Backbone": {**CRNN["Backbone"], "small_stride": [1, 2, 2, 2]}},
            {"Neck": {"name": "SequenceEncoder", "encoder_type": "reshape"}},
            {"Head": {"name": "CTCHead", "mid_channels": 96}},
            {"Transform": {"name": "TPS"}},
            {"model_type": "det"},
        ],
    )
    def test_anything_else_does(self, change):
        assert not same_network(CRNN, {**CRNN, **change})

    def test_lists_are_compared_in_order(self):
        a = {**CRNN, "Head": {"name": "MultiHead", "head_list": [{"CTCHead": {"a": 1}}]}}
        b = {**CRNN, "Head": {"name": "MultiHead", "head_list": [{"CTCHead": {"a": 2}}]}}
        assert same_network(a, a)
        assert not same_network(a, b)


class TestCustom:
    def test_a_plain_detector(self, tmp_path):
        card = custom_card("mine", training(tmp_path, DB))
        released = catalog.card("ch_PP-OCRv4_det")
        assert (card.name, card.task, card.release) == ("mine", "det", "custom")
        assert card.architecture == DB
        assert (card.mapping, card.input) == (released.mapping, released.input)
        assert (card.train, card.infer, card.dictionary) == (None, None, None)

    def test_a_detector_is_used_as_its_yaml_evaluates_it(self, tmp_path):
        released = catalog.card("det_r50_vd_sast_totaltext_v2.0")
        file = training(tmp_path, released.architecture)
        resize = [{"DecodeImage": None}, {"DetResizeForTest": {"resize_long": 1024}}]
        decode = {"name": "SASTPostProcess", "sample_pts_num": 10, "expand_scale": 1}
        content = yaml.safe_load(file.read_text())
        content |= {"Eval": {"dataset": {"transforms": resize}}, "PostProcess": decode}
        file.write_text(yaml.safe_dump(content))
        card = custom_card("mine", file)
        assert card.pipeline == {"resize_long": 1024, "sample_pts_num": 10, "expand_scale": 1}
        content["PostProcess"]["nms_thresh"] = "low"
        file.write_text(yaml.safe_dump(content))
        with pytest.raises(
            ConfigError, match=f"{file}: the setting nms_thresh is 'low', expected a number from 0"
        ):
            custom_card("mine", file)

    def test_its_record_is_not_taken_for_another_scale(self, tmp_path):
        card = custom_card("mine", training(tmp_path, DB))
        record = json.loads((RECORDED / card.recorded / "reference.json").read_text())
        assert not same_network(record["architecture"], card.architecture)

    def test_a_classifier_brings_its_labels(self, tmp_path):
        architecture = catalog.card("ch_ppocr_mobile_v2.0_cls").architecture
        plain = custom_card("mine", training(tmp_path, architecture))
        assert plain.labels == ()
        file = training(tmp_path, architecture, label_list=[0, 90, 180, 270])
        assert custom_card("mine", file).labels == ("0", "90", "180", "270")

    def test_the_student_of_a_distillation(self, tmp_path):
        models = {"Teacher": RESNET, "Student": {**CRNN, "return_all_feats": True}}
        card = custom_card("mine", training(tmp_path, distilled(**models)))
        assert card.architecture == models["Student"]
        assert card.class_counts == {"ctc": "head.fc.bias"}

    @pytest.mark.parametrize("models", [{"Teacher": RESNET, "Other": DB}, {"Student": None}])
    def test_a_distillation_without_a_student(self, tmp_path, models):
        with pytest.raises(ConfigError, match="none of them a network Student"):
            custom_card("mine", training(tmp_path, distilled(**models)))

    def test_an_unsupported_network_is_named_with_its_parts(self, tmp_path):
        with pytest.raises(ConfigError) as caught:
            custom_card("mine", training(tmp_path, RESNET))
        text = str(caught.value)
        assert "for a network of det + TPS + ResNet_vd + DBFPN + DBHead; there are\n" in text
        assert "\n  det + MobileNetV3 + DBFPN + DBHead\n" in text
        assert "\n  rec + MobileNetV3 + SequenceEncoder + CTCHead + rnn" in text

    @pytest.mark.parametrize(
        "change",
        [
            {"model_type": "det"},
            {"Transform": {"name": "Rotation"}},
            {"Head": {"name": "AttentionHead"}},
        ],
    )
    def test_the_kind_must_be_known(self, tmp_path, change):
        with pytest.raises(ConfigError, match="no mapping is known for a network of"):
            custom_card("mine", training(tmp_path, {**CRNN, **change}))

    @pytest.mark.parametrize(
        ("change", "recorded"),
        [
            ({}, "rec__multi_language__rec_en_number_lite_train"),
            ({"Backbone": {"name": "ResNet", "layers": 18}},
             "rec__ch_ppocr_v2.0__rec_chinese_common_train_v2.0"),
            ({"Head": {"name": "CTCHead", "mid_channels": 48}, "Backbone": {"name": "x"}},
             "rec__ch_PP-OCRv2__ch_PP-OCRv2_rec"),
        ],
    )  # fmt: skip
    def test_of_a_kind_the_most_similar_counts(self, tmp_path, change, recorded):
        """The Neck of each is that of CRNN; the head tells where two backbones are as foreign."""
        card = custom_card("mine", training(tmp_path, {**CRNN, **change}))
        assert card.recorded == recorded

    @pytest.mark.parametrize("architecture", [None, "DB", ["DB"]])
    def test_no_architecture(self, tmp_path, architecture):
        with pytest.raises(ConfigError, match="has no Architecture section"):
            custom_card("mine", training(tmp_path, architecture))

    def test_sections_that_are_none(self, tmp_path):
        with pytest.raises(ConfigError, match="Head of an Architecture are sections"):
            custom_card("mine", training(tmp_path, {**DB, "Head": "DBHead"}))
        file = tmp_path / "other.yml"
        file.write_text(yaml.safe_dump({"Global": ["x"], "Architecture": DB}))
        with pytest.raises(ConfigError, match=r"Global in .* is \['x'\], expected a section"):
            custom_card("mine", file)
