"""What the networks of a document do, and which of the models in a folder is the best for each.

Of the models in a folder, the first one of the list of a role is taken; without any of these, one
whose card fits, as of fine-tuned weights, by the name of its file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.table.networks import CELL, KINDS
from schemas.artefact import ArtefactCard, CardError, read_card
from schemas.artefact_files import SUFFIXES

REGION_LABEL = "region"
"""The label of the areas of a page, in lower case."""


@dataclass(frozen=True)
class Role:
    """What a network does in a document.

    Attributes:
        title: the network in words, for messages.
        task: of its card.
        names: the models that do it, the best first.
        lost: what a document lacks without it.
        fits: whether a model of that task with another name does it.
        named_alone: models that fit, but are not taken from a folder.
    """

    title: str
    task: str
    names: tuple[str, ...]
    lost: str
    fits: Callable[[ArtefactCard], bool] = lambda card: False  # noqa: ARG005
    named_alone: frozenset[str] = frozenset()


def _angles(*degrees: int) -> Callable[[ArtefactCard], bool]:
    """Return whether the labels of a card are those of angles, in degrees."""
    expected = sorted(map(str, degrees))
    return lambda card: sorted(label.split("_")[0] for label in card.labels) == expected


def _labels(card: ArtefactCard) -> set[str]:
    return {label.lower() for label in card.labels}


def _is_page_layout(card: ArtefactCard) -> bool:
    return bool(_labels(card) - {CELL, REGION_LABEL, "table"})


ROLES: Mapping[str, Role] = {
    "layout": Role(
        "layout network",
        "layout",
        (
            "PP-DocLayoutV3", "PP-DocLayoutV2", "PP-DocLayout_plus-L", "PP-DocLayout-L",
            "RT-DETR-H_layout_17cls", "PP-DocLayout-M", "PicoDet-L_layout_17cls",
            "PP-DocLayout-S", "PicoDet-S_layout_17cls",
            "picodet_lcnet_x1_0_fgd_layout_cdla", "PicoDet_layout_1x",
            "picodet_lcnet_x1_0_fgd_layout", "RT-DETR-H_layout_3cls", "PicoDet-L_layout_3cls",
            "PicoDet-S_layout_3cls",
        ),
        "every line is a block of its own: no titles, tables, figures or formulas are found",
        _is_page_layout,
    ),
    "region": Role(
        "network of areas",
        "layout",
        ("PP-DocBlockLayout",),
        "a page is read as one area, so that the articles of a newspaper may mix",
        lambda card: REGION_LABEL in _labels(card),
    ),
    "orientation": Role(
        "classifier of page orientation",
        "cls",
        ("PP-LCNet_x1_0_doc_ori",),
        "pages are read as they lie, and so are tables",
        _angles(0, 90, 180, 270),
    ),
    "unwarping": Role("network of unwarping", "unwarp", ("UVDoc",), "bent pages stay bent"),
    "detection": Role(
        "detector of text lines",
        "det",
        (
            "PP-OCRv5_server_det", "PP-OCRv6_medium_det", "PP-OCRv4_server_det",
            "PP-OCRv5_mobile_det", "PP-OCRv6_small_det", "PP-OCRv6_tiny_det",
            "PP-OCRv4_mobile_det", "ch_PP-OCRv4_det", "PP-OCRv3_server_det",
            "PP-OCRv3_mobile_det", "ch_PP-OCRv3_det", "ch_PP-OCRv2_det",
        ),
        "no text is read, but for text layers of PDFs",
        lambda card: "seal" not in (card.name or ""),
    ),
    "recognition": Role(
        "recogniser of text lines",
        "rec",
        (
            "PP-OCRv5_server_rec", "PP-OCRv6_medium_rec", "PP-OCRv4_server_rec_doc",
            "PP-OCRv4_server_rec", "PP-OCRv5_mobile_rec", "PP-OCRv6_small_rec",
            "PP-OCRv6_tiny_rec", "PP-OCRv4_mobile_rec", "ch_PP-OCRv4_rec", "ch_PP-OCRv3_rec",
            "ch_PP-OCRv2_rec",
        ),
        "no text is read, but for text layers of PDFs",
        lambda card: True,  # noqa: ARG005
    ),
    "line_orientation": Role(
        "classifier of upside-down lines",
        "cls",
        ("PP-LCNet_x1_0_textline_ori", "PP-LCNet_x0_25_textline_ori"),
        "lines that are upside down are misread",
        _angles(0, 180),
        # It takes many long lines for lines that are upside down.
        named_alone=frozenset({"ch_ppocr_mobile_v2.0_cls"}),
    ),
    "table_classifier": Role(
        "classifier of tables",
        "cls",
        ("PP-LCNet_x1_0_table_cls",),
        "tables with and without lines are recognised by one network",
        lambda card: _labels(card) == set(KINDS),
    ),
    "table": Role(
        "network of table structure",
        "table",
        ("SLANet_plus", "SLANet_lcnetv2", "ch_ppstructure_mobile_v2.0_SLANet", "SLANet",
         "en_ppstructure_mobile_v2.0_SLANet", "table_structure_tablemaster",
         "en_ppocr_mobile_v2.0_table_structure"),
        "tables stay pictures",
        lambda card: "SLANeXt" not in (card.name or ""),
    ),
    "wired_table": Role(
        "network of the structure of wired tables",
        "table",
        ("SLANeXt_wired",),
        "wired tables are recognised as the others",
    ),
    "wired_cells": Role(
        "detector of the cells of wired tables",
        "layout",
        ("RT-DETR-L_wired_table_cell_det",),
        "wired tables are recognised as the others",
    ),
    "formula": Role(
        "network that reads formulas",
        "formula",
        ("PP-FormulaNet_plus-L", "PP-FormulaNet-L", "PP-FormulaNet_plus-M",
         "PP-FormulaNet_plus-S", "PP-FormulaNet-S", "UniMERNet", "LaTeX_OCR_rec"),
        "formulas stay pictures, and those within lines are read as text",
        lambda card: "can" not in (card.name or ""),
    ),
    "seal": Role(
        "detector of the texts of seals",
        "det",
        ("PP-OCRv4_server_seal_det", "PP-OCRv4_mobile_seal_det"),
        "seals stay pictures without text",
        lambda card: "seal" in (card.name or ""),
    ),
}  # fmt: skip
"""What networks do, by the name of the option that takes one."""


def find_models(folder: Path) -> dict[str, Path]:
    """Return the best model in a folder for each role that has one.

    Args:
        folder: which `convert-all` wrote; models may lie in folders within it.

    Raises:
        OSError: the folder cannot be read.
    """
    artefacts = list(_artefacts(folder))
    found = {}
    for name, role in ROLES.items():
        of_task = [item for item in artefacts if item[1].task == role.task]
        if best := _best(role, of_task):
            found[name] = best
    return found


def _artefacts(folder: Path) -> Iterable[tuple[Path, ArtefactCard]]:
    """Yield the weights in a folder with their cards; other JSON files are left out."""
    for weights in sorted(folder.rglob("*")):
        described = weights.with_suffix(".json")
        if weights.suffix in SUFFIXES and described.is_file():
            try:
                yield weights, read_card(described)
            except CardError:
                continue


def _best(role: Role, artefacts: Iterable[tuple[Path, ArtefactCard]]) -> Path | None:
    """Return the weights of the first name of a role, else those whose card fits."""
    known = {name: place for place, name in enumerate(role.names)}
    ranked = [
        (known.get(card.name or "", len(known)), path)
        for path, card in artefacts
        if card.name not in role.named_alone and (card.name in known or role.fits(card))
    ]
    return min(ranked, default=(0, None), key=lambda item: (item[0], str(item[1])))[1]
