"""Table recognition: the image of a table, or the tables of a page, to HTML and cells.

from pipelines import OCR, TableRecognizer

ocr = OCR("PP-OCRv5_mobile_det.pth", "PP-OCRv5_mobile_rec.pth")
table = TableRecognizer("SLANet_plus.pth", ocr)("table.png")
print(table.html)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from pipelines.classification.predictor import Classifier
from pipelines.geometry import rotate
from pipelines.io.images import ImageLike, as_bgr
from pipelines.ocr import OCR, TextLine, require_angles
from pipelines.runtime import NetworkSource
from pipelines.table.cells import fit_cells, structure_of_cells
from pipelines.table.master_matching import join_master_texts, match_master_texts
from pipelines.table.matching import (
    below_top,
    bold_cells,
    cell_texts,
    match_texts,
    table_html,
)
from pipelines.table.networks import KINDS, CellDetector, StructureNetwork, TableClassifier
from pipelines.table.paddlex import by_cells, by_structure, on_page, texts_on, texts_within
from pipelines.table.results import Table, TableKind, Texts, placed_cells
from pipelines.table.splitting import split_texts
from pipelines.table.structure import TableStructure
from pipelines.table.texts import read_texts, texts_of_lines
from pipelines.table.turning import turn_back, turned_place, turned_texts
from schemas.processing import SettingsError

Rules = Literal["paddleocr", "paddlex"]
ByKind: TypeAlias = "NetworkSource | Mapping[TableKind, NetworkSource]"
"""A network for all tables, or one for each kind that has one."""


@dataclass(frozen=True)
class _Networks:
    """What recognises tables of one kind: one of both at least."""

    structure: StructureNetwork | None
    cells: CellDetector | None


class TableRecognizer:
    """Recognises tables: an image of one, or those of a page.

    What is given decides how a table is recognised:

    - `structure` alone: the network predicts the tokens and the boxes of the cells. Texts go to the
      cells by the rules of PaddleOCR 2 or of PaddleX's first pipeline, as `rules` says.
    - `structure` and `cells`: texts go to the detected cells, and these into the rows of the
      structure, by the rules of PaddleX's second pipeline.
    - `cells` alone: lines through the sides of the detected cells give rows and columns.

    Args:
        structure: converted weights of SLANet, SLANet_plus, SLANeXt, TableMASTER or EDD, or a
            network or callable with the JSON of such weights as its `card`; with a classifier
            also such networks by kind, `{"wired": ..., "wireless": ...}`.
        ocr: reads the texts; without it, cells have no text.
        cells: a detector of cells, such as RT-DETR-L_wired_table_cell_det; or such by kind.
        classifier: PP-LCNet_x1_0_table_cls, which predicts the kind of a table.
        orientation: a classifier of page orientation, which predicts how a table has to be turned.
        rules: "paddleocr" or "paddlex"; None for the first with `structure` alone, else the second.
        sort_lines: with PaddleX's rules and `structure` alone, sort the texts of a cell into lines.
        device: cpu, cuda, cuda:N or mps, for these networks.
        half: compute them in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile them, which are then faster (`TorchNetwork`).
        settings: settings of `TableSettings` that replace those of the structure networks.

    Raises:
        SettingsError: a network is of another kind than is needed there, has no dictionary or no
            labels; a setting is unknown or invalid; the arguments contradict each other;
            scikit-learn is missing, which fits detected cells to a structure.
        DeviceError: the device is not available.
    """

    def __init__(
        self,
        structure: ByKind | None,
        ocr: OCR | None = None,
        *,
        cells: ByKind | None = None,
        classifier: NetworkSource | None = None,
        orientation: NetworkSource | None = None,
        rules: Rules | None = None,
        sort_lines: bool = False,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        **settings: Any,
    ) -> None:
        runtime: dict[str, Any] = {"device": device, "half": half, "compile": compile}
        structures = {
            kind: StructureNetwork(source, **runtime, **settings)
            for kind, source in _by_kind(structure).items()
        }
        detectors = {
            kind: CellDetector(source, **runtime) for kind, source in _by_kind(cells).items()
        }
        self._networks = {
            kind: _Networks(structures.get(kind), detectors.get(kind))
            for kind in (*structures, *detectors)
        }
        self._ocr = ocr
        self._classifier = None if classifier is None else TableClassifier(classifier, **runtime)
        self._orientation = None
        if orientation is not None:
            self._orientation = Classifier(orientation, **runtime)
            require_angles(self._orientation, {0, 90, 180, 270}, "orientation= turns tables")
        self._sort_lines = sort_lines
        self._rules = _rules(rules, bool(detectors))
        self._check()

    def _check(self) -> None:
        """Raise SettingsError for networks that do not go together."""
        if not self._networks:
            raise SettingsError("structure= or cells= is needed, else nothing finds the cells")
        kinds = set(self._networks)
        if kinds != {None} and not (self._classifier and kinds == set(KINDS.values())):
            raise SettingsError(
                "with classifier=, structure= or cells= has a network for each of "
                '"wired" and "wireless", or one for both; without it, one network and no mapping'
            )
        self._check_pairs()

    def _check_pairs(self) -> None:
        """Raise SettingsError for a detector of cells beside a structure network it cannot join."""
        for networks in self._networks.values():
            if networks.structure is None or networks.cells is None:
                continue
            if networks.structure.is_master:
                raise SettingsError("TableMASTER has boxes of its own; it takes no cells=")
            if not find_spec("sklearn"):
                raise SettingsError(
                    "structure= with cells= needs scikit-learn; "
                    "pip install paddleocr-to-torch[cells]"
                )

    def __call__(self, image: ImageLike) -> Table:
        """Recognise an image of one table.

        Args:
            image: an image, as `pipelines.io.images.as_bgr` accepts it.

        Raises:
            ImageError: `image` is not an image.
            ValueError: a network's output does not fit its card.
        """
        page = as_bgr(image)
        height, width = page.shape[:2]
        place = np.array([0, 0, width - 1, height - 1])
        return self._recognize(page, page, place, None)

    def on_page(
        self,
        image: ImageLike,
        boxes: Sequence[np.ndarray],
        lines: Sequence[TextLine] | None = None,
    ) -> list[Table]:
        """Recognise the tables of a page.

        Args:
            image: the page, as `pipelines.io.images.as_bgr` accepts it.
            boxes: where its tables are, each `(4, 2)`, x and y of the corners in pixels, such as
                `LayoutRegion.box`.
            lines: the texts of the page, if they have been read; else `ocr` reads them, inside of
                each table by the rules of PaddleOCR, on the whole page by those of PaddleX.

        Returns:
            A table for each box, with its `box`; cells are in pixels of the page.

        Raises:
            ImageError: `image` is not an image.
            ValueError: a box holds no pixel of the page, or a network's output does not fit.
        """
        page = as_bgr(image)
        texts = None if lines is None else texts_of_lines(lines)
        if texts is None and boxes and self._ocr and self._rules == "paddlex":
            texts = texts_of_lines(self._ocr(page))
        tables = []
        for box in boxes:
            place = np.array([*box.min(0), *box.max(0)], np.float64)
            left, top, right, bottom = map(int, place.clip(0))
            crop = page[top:bottom, left:right]
            if not crop.size:
                raise ValueError(f"the table at {place.tolist()} holds no pixel of the page")
            tables.append(replace(self._recognize(page, crop, place, texts), box=box))
        return tables

    def _recognize(
        self, page: np.ndarray, crop: np.ndarray, place: np.ndarray, texts: Texts | None
    ) -> Table:
        """Recognise the table at a place of a page, in the way it is turned.

        Args:
            page: `(H, W, 3) uint8` BGR.
            crop: the part of the page at that place.
            place: left, top, right and bottom in pixels.
            texts: the texts of the page, if they have been read.
        """
        angle = self._orientation([crop])[0] if self._orientation else 0
        if not angle:
            return self._upright(page, crop, place, texts)
        # The texts of a turned table are read anew on the turned page, as in PaddleX.
        texts = None if self._ocr or not texts else turned_texts(texts, angle, page.shape)
        turned = turned_place(place, angle, page.shape)
        table = self._upright(rotate(page, angle), rotate(crop, angle), turned, texts)
        return turn_back(table, angle, page.shape)

    def _upright(
        self, page: np.ndarray, crop: np.ndarray, place: np.ndarray, texts: Texts | None
    ) -> Table:
        """Recognise an upright table; the arguments are those of `_recognize`."""
        kind = self._classifier(crop) if self._classifier else None
        networks = self._networks.get(kind) or self._networks[None]
        structure, cells = networks.structure, networks.cells
        if structure and (self._rules == "paddleocr" or structure.is_master):
            table = self._by_paddleocr(structure, crop, place, texts)
            return replace(table, kind=kind)
        if texts is None:
            texts = texts_of_lines(self._ocr(page)) if self._ocr else Texts.none()
        size = page.shape[0], page.shape[1]
        if structure and not cells:
            found = structure(crop, whole_pixels=True)
            boxes, on_table = on_page(found.boxes, place, size), texts_on(texts, place)
            return replace(
                by_structure(found, boxes, on_table, sort_lines=self._sort_lines), kind=kind
            )
        assert cells
        boxes, scores = cells(crop)
        if structure:
            found = structure(crop)
            boxes = fit_cells(boxes, scores, texts_within(texts, place), len(found.boxes))
        else:
            score = float(scores.mean()) if len(scores) else 0.0
            found = TableStructure(structure_of_cells(boxes), boxes, score)
        boxes = on_page(boxes, place, size)
        on_table = texts_on(texts, place)
        if self._ocr:
            on_table = split_texts(on_table, boxes, page, self._read_line)
        return replace(by_cells(found, boxes, on_table), kind=kind)

    def _by_paddleocr(
        self, network: StructureNetwork, crop: np.ndarray, place: np.ndarray, texts: Texts | None
    ) -> Table:
        """Recognise a table by the rules of PaddleOCR 2."""
        structure = network(crop)
        left, top = map(int, place[:2].clip(0))
        if texts is not None:
            texts = texts_on(texts, place).shift(-left, -top)
        elif self._ocr:
            texts = read_texts(self._ocr, crop)
        else:
            texts = Texts.none()
        assemble = assemble_master_table if network.is_master else assemble_table
        table = assemble(structure, texts.boxes, texts.texts)
        return table if not (left or top) else _shift(table, left, top)

    def _read_line(self, image: np.ndarray) -> str:
        """Return the text in an image of one line."""
        assert self._ocr
        return self._ocr.recognizer([image])[0].text


def _by_kind(networks: ByKind | None) -> Mapping[TableKind | None, NetworkSource]:
    """Return networks by kind, under None where they are for all tables."""
    if networks is None:
        return {}
    if isinstance(networks, Mapping):
        return cast("Mapping[TableKind | None, NetworkSource]", networks)
    return {None: networks}


def _rules(rules: Rules | None, detects_cells: bool) -> Rules:
    """Return the rules that apply; SettingsError where they are unknown or contradict the rest."""
    if rules not in (None, "paddleocr", "paddlex"):
        raise SettingsError(f'rules is {rules!r}, expected "paddleocr" or "paddlex"')
    if rules == "paddleocr" and detects_cells:
        raise SettingsError("the rules of PaddleOCR have no detected cells; leave out cells=")
    return rules or ("paddlex" if detects_cells else "paddleocr")


def _shift(table: Table, x: int, y: int) -> Table:
    """Move the cells of a table."""
    cells = tuple(
        cell if cell.box is None else replace(cell, box=cell.box + np.array([x, y], np.float32))
        for cell in table.cells
    )
    return replace(table, cells=cells)


def assemble_table(structure: TableStructure, boxes: np.ndarray, texts: Sequence[str]) -> Table:
    """Put texts into the cells of a table; those above the topmost cell are left out.

    Args:
        structure: the table.
        boxes: of the texts, `(N, 4)`, left, top, right and bottom in pixels of the image.
        texts: one for each box.
    """
    matches: dict[int, list[int]] = {}
    if len(structure.boxes):
        kept = np.flatnonzero(below_top(structure.boxes, boxes))
        boxes, texts = boxes[kept], [texts[index] for index in kept.tolist()]
        matches = match_texts(structure.boxes, boxes)
    of_cells = cell_texts(matches, texts)
    html = table_html(structure.tokens, of_cells, bold_cells(matches, texts))
    cells = placed_cells(structure.tokens, dict(enumerate(structure.boxes)), of_cells)
    return Table(html, cells, structure.score)


def assemble_master_table(
    structure: TableStructure, boxes: np.ndarray, texts: Sequence[str]
) -> Table:
    """Put texts into the cells of a table of TableMASTER.

    Args:
        structure: the table.
        boxes: of the texts, `(N, 4)`, left, top, right and bottom in pixels of the image.
        texts: one for each box.
    """
    of_cells = join_master_texts(match_master_texts(structure.boxes, boxes), texts)
    html = table_html(structure.tokens, of_cells)
    cells = placed_cells(structure.tokens, dict(enumerate(structure.boxes)), of_cells)
    return Table(html, cells, structure.score)
