"""Labels of detectors: from the file beside an export, as many as the weights have classes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from converter.catalog import cards as catalog
from converter.catalog.processing import labels_of_export
from converter.conversion.planning import plan_checkpoint
from converter.errors import ConfigError
from converter.mapping.plan import Signature
from converter.references.recorded.record import shipped_record
from converter.sources.open import DETECTION_SETTINGS


def test_labels_of_an_export(tmp_path):
    file = tmp_path / DETECTION_SETTINGS
    file.write_text("arch: PicoDet\nlabel_list: [text, title]\n")
    assert labels_of_export(file) == ("text", "title")
    file.write_text("arch: PicoDet\n")
    assert labels_of_export(file) == ()


@pytest.mark.parametrize("text", ["label_list: text", "label_list: [1, 2]", "label_list: {a: b}"])
def test_labels_that_are_no_list_of_texts(tmp_path, text):
    file = tmp_path / DETECTION_SETTINGS
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"label_list in {file} is ")):
        labels_of_export(file)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("picodet_lcnet_x1_0_fgd_layout_cdla", 10),
        ("PicoDet-S_layout_3cls", 3),
        ("RT-DETR-L_wired_table_cell_det", 1),
    ],
)
def test_as_many_labels_as_classes(name, classes):
    card = catalog.card(name)
    record = shipped_record(card.recorded)
    assert record is not None
    source = {row.name: Signature(row.shape, row.dtype) for row in record.facts.parameters}
    assert plan_checkpoint(card, source).network.class_counts == {"layout": classes}
    more = replace(card, labels=(*card.labels, "other"))
    message = f"{name} has {classes + 1} labels, the weights {classes} classes"
    with pytest.raises(ConfigError, match=message):
        plan_checkpoint(more, source)
