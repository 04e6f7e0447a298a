"""The labels of blocks, in groups, and what other networks call them.

The labels are those of PP-DocLayout_plus-L. Networks with fewer or other classes are translated, so
that the later steps know one set of labels. Groups follow PaddleX 3,
inference/pipelines/layout_parsing/setting.py.
"""

from __future__ import annotations

from collections.abc import Mapping

TEXT, TABLE, FORMULA, SEAL, CHART = "text", "table", "formula", "seal", "chart"
IMAGE, DOCUMENT_TITLE, TITLE = "image", "doc_title", "paragraph_title"
FOOTNOTE, REFERENCE, ABSTRACT, CONTENT = "footnote", "reference", "abstract", "content"
CAPTION, REGION, PICTURE_NOTE = "figure_title", "region", "vision_footnote"

DOCUMENT_TITLES = frozenset({DOCUMENT_TITLE})
TITLES = frozenset({TITLE, "abstract_title", "reference_title", "content_title"})
PICTURES = frozenset({IMAGE, TABLE, CHART, "flowchart", "figure"})
CAPTIONS = frozenset({"table_title", "chart_title", CAPTION, "figure_table_chart_title"})
UNORDERED = frozenset({"aside_text", SEAL, "number", "formula_number"})
HEADERS = frozenset({"header", "header_image"})
FOOTERS = frozenset({"footer", "footer_image", FOOTNOTE})
FURNITURE = HEADERS | FOOTERS | {"number", "aside_text"}
"""What stands around the text of a page; Markdown and Word leave it out."""
KEPT_AS_IMAGE = frozenset({IMAGE, "figure", SEAL})
CUT_OUT = KEPT_AS_IMAGE | {TABLE, FORMULA, CHART, "header_image", "footer_image"}
"""What may become a figure."""
NUMBERED = (
    frozenset(
        {TEXT, FORMULA, "algorithm", REFERENCE, CONTENT, ABSTRACT, TITLE, DOCUMENT_TITLE}
        | {"abstract_title", "refer_title", "content_title"}
    )
    - FURNITURE
)
"""What has a number in reading order."""

TRANSLATIONS: Mapping[str, str] = {
    # PicoDet of PP-Structure 2; its "title" is that of a section.
    "title": TITLE,
    "list": TEXT,
    "figure": IMAGE,
    "figure_caption": CAPTION,
    "table_caption": "table_title",
    "equation": FORMULA,
    # PP-DocLayoutV2 and V3.
    "display_formula": FORMULA,
    "inline_formula": FORMULA,
    "vertical_text": TEXT,
    "reference_content": TEXT,
}


def common_label(label: str) -> str:
    """Return the label of PP-DocLayout_plus-L for that of any network."""
    name = label.lower()
    return TRANSLATIONS.get(name, name)
