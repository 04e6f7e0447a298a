"""How documents are parsed: the settings of PP-StructureV3 and of PP-Structure 2.

Values are those of PaddleX 3, configs/pipelines/PP-StructureV3.yaml, and of PaddleOCR 2.x,
ppstructure/utility.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TEXT_LAYER = ("auto", "layer", "ocr")
"""Where the text of a PDF comes from: from its text layer if that is sound, always, or never."""


@dataclass(frozen=True)
class ParseSettings:
    """How pages are parsed.

    Attributes:
        order: "xycut" finds the reading order by an XY cut with captions, titles and blocks across
            columns, "columns" by the left and right half of the page. The order that a network
            predicts takes the place of the first.
        levels: of titles: "document" compares the titles of the whole document, "number" counts
            the points in their numbers.
        table_rules: how texts find their cells, see `TableRecognizer`.
        preprocess: whether pages are turned and flattened, where there are networks for it.
        areas: whether the areas of a page are looked for, where there is a network for it.
        seals: whether seals are read, where there is a network for it.
        min_score: lines of a lower score are left out, 0 to 1.
        line_rules: "own" keeps a line that several regions share in one piece where a part of it
            would have too little of its height to be read, and puts a space between lines that
            are not Chinese, Japanese or Korean; lines in no region become regions. "paddlex" cuts
            all lines that are shared, puts a space after letters alone, and leaves out lines in no
            region.
        layout: settings of the layout network, where its decoder is PaddleX's; values by label
            count for the labels that it has.
        detection: settings of the detector of text lines, where it is one of DB.
        seal_detection: settings of the detector of the texts of seals.
    """

    order: Literal["xycut", "columns"] = "xycut"
    levels: Literal["document", "number"] = "document"
    table_rules: Literal["paddlex", "paddleocr"] = "paddlex"
    preprocess: bool = True
    areas: bool = True
    seals: bool = True
    min_score: float = 0.0
    line_rules: Literal["own", "paddlex"] = "own"
    layout: Mapping[str, Any] = field(default_factory=dict)
    detection: Mapping[str, Any] = field(default_factory=dict)
    seal_detection: Mapping[str, Any] = field(default_factory=dict)


_LAYOUT: Mapping[str, Any] = {
    "threshold": {"paragraph_title": 0.3, "text": 0.4, "formula": 0.3, "seal": 0.45},
    "layout_nms": True,
    "layout_unclip_ratio": (1.0, 1.0),
    "layout_merge_bboxes_mode": {
        "paragraph_title": "large",
        "image": "large",
        "formula": "large",
        "chart": "large",
    },
}
_DETECTION: Mapping[str, Any] = {
    "limit_side_len": 736,
    "limit_type": "min",
    "max_side_limit": 4000,
    "thresh": 0.3,
    "box_thresh": 0.6,
    "unclip_ratio": 1.5,
}
_SEALS = {**_DETECTION, "thresh": 0.2, "unclip_ratio": 0.5, "box_type": "poly"}

DEFAULT = ParseSettings(layout=_LAYOUT, detection=_DETECTION, seal_detection=_SEALS)
PRESETS: Mapping[str, ParseSettings] = {
    "default": DEFAULT,
    "pp-structurev3": ParseSettings(
        levels="number",
        preprocess=False,
        seals=False,
        line_rules="paddlex",
        layout=_LAYOUT,
        detection=_DETECTION,
        seal_detection=_SEALS,
    ),
    "pp-structure": ParseSettings(
        order="columns",
        levels="number",
        table_rules="paddleocr",
        preprocess=False,
        areas=False,
        seals=False,
        min_score=0.5,
        line_rules="paddlex",
    ),
}
"""Settings by the name of a preset; "default" is PP-StructureV3 with all models that there are."""
