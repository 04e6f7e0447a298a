"""Table recognition: the image of a table to HTML and cells.

from pipelines import OCR, TableRecognizer

read = TableRecognizer("SLANet_plus.pth", OCR("PP-OCRv5_mobile_det.pth", "PP-OCRv5_mobile_rec.pth"))
table = read("table.png")
print(table.html)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pipelines.io.images import ImageLike, as_bgr
from pipelines.ocr import OCR
from pipelines.predictor import Predictor
from pipelines.runtime import (
    NetworkOutput,
    NetworkSource,
    describe_outputs,
    require_finite,
)
from pipelines.table.grid import grid_cells
from pipelines.table.master_matching import join_master_texts, match_master_texts
from pipelines.table.matching import (
    below_top,
    bold_cells,
    cell_texts,
    match_texts,
    table_html,
)
from pipelines.table.preprocess import resize_ratio, table_input
from pipelines.table.structure import TableStructure, class_names, decode_structure
from pipelines.table.texts import read_texts
from pipelines.validation import characters_of
from schemas.processing import TableSettings


@dataclass(frozen=True, eq=False)
class TableCell:
    """A cell of a table.

    Attributes:
        box: `(4, 2) float32`, x and y of its corners in pixels of the image, clockwise from the top
            left; None where the network tells none, as for empty cells of TableMASTER.
        row, column: of its top left corner in the table, from 0.
        row_span, column_span: how many rows and columns it covers.
        text: its text; empty without OCR.
    """

    box: np.ndarray | None
    row: int
    column: int
    row_span: int = 1
    column_span: int = 1
    text: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the cell as plain Python values, which `json.dumps` accepts."""
        return {**vars(self), "box": None if self.box is None else self.box.tolist()}


@dataclass(frozen=True, eq=False)
class Table:
    """A recognised table.

    Attributes:
        html: the table as HTML, `<html><body><table>...</table></body></html>`.
        cells: its cells, row by row.
        score: mean probability of the tokens of its structure, 0 to 1.
    """

    html: str
    cells: tuple[TableCell, ...]
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain Python values, which `json.dumps` accepts."""
        cells = [cell.to_dict() for cell in self.cells]
        return {"html": self.html, "score": self.score, "cells": cells}


class TableRecognizer(Predictor):
    """Recognises images of one table each.

    Args:
        structure: converted weights of SLANet, SLANet_plus, SLANeXt, TableMASTER or EDD, or a
            network or callable with the JSON of such weights as its `card`.
        ocr: reads the texts, with its detector and its recogniser; without it, cells have no text.
        device: cpu, cuda, cuda:N or mps, for the structure.
        half: compute the structure in half precision, on other devices than a CPU.
        compile: use `torch.compile` for the structure.
        settings: settings of `TableSettings` that replace those of the weights.

    Raises:
        SettingsError: the network is not one of table structure, has no dictionary, or a setting is
            unknown or invalid.
        DeviceError: the device is not available.
    """

    task: ClassVar[str] = "table"
    title: ClassVar[str] = "a network of table structure"

    def __init__(
        self,
        structure: NetworkSource,
        ocr: OCR | None = None,
        *,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(structure, device=device, half=half, compile=compile)
        merged = self._merge_settings(TableSettings.checks(), settings)
        characters = characters_of(self.card, None, "network of table structure")
        self.settings = TableSettings(characters, **merged)
        self._ocr = ocr

    def __call__(self, image: ImageLike) -> Table:
        """Recognise an image of one table.

        Args:
            image: an image, as `pipelines.io.images.as_bgr` accepts it.

        Raises:
            ImageError: `image` is not an image.
            ValueError: the network's output does not fit its dictionary.
        """
        page = as_bgr(image)
        structure = self.structure(page)
        boxes, texts = read_texts(self._ocr, page) if self._ocr else (np.zeros((0, 4)), [])
        if self.settings.decoder == "TableMasterLabelDecode":
            return assemble_master_table(structure, boxes, texts)
        return assemble_table(structure, boxes, texts)

    def structure(self, image: np.ndarray) -> TableStructure:
        """Return the structure of a table.

        Args:
            image: `(H, W, 3) uint8` BGR.

        Raises:
            ValueError: the network's output does not fit its dictionary.
        """
        outputs = self._check(self.network(table_input(image, self.settings)))
        height, width = image.shape[:2]
        return decode_structure(
            outputs["structure_probs"][0],
            outputs["loc_preds"][0],
            self.settings,
            (height, width),
            resize_ratio(image, self.settings.max_len),
        )

    def _check(self, outputs: NetworkOutput) -> Mapping[str, np.ndarray]:
        """Return the outputs if they are those of one table, else raise ValueError."""
        classes = len(class_names(self.settings))
        sides = (4,) if self.settings.decoder == "TableMasterLabelDecode" else (4, 8)
        if isinstance(outputs, Mapping) and outputs.keys() >= {"structure_probs", "loc_preds"}:
            tokens, boxes = outputs["structure_probs"].shape, outputs["loc_preds"].shape
            is_table = len(tokens) == len(boxes) == 3 and tokens[:2] == boxes[:2]
            if is_table and tokens[0] == 1 and tokens[2] == classes and boxes[2] in sides:
                require_finite(outputs, "network of table structure")
                return outputs
        raise ValueError(
            f"the network returned {describe_outputs(outputs)}, expected structure_probs of shape "
            f"(1, L, {classes}), by its dictionary and merge_no_span_structure, and loc_preds of "
            f"shape (1, L, {' or '.join(map(str, sides))}); is this a network of table structure?"
        )


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
    return Table(html, _cells(structure, of_cells), structure.score)


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
    return Table(html, _cells(structure, of_cells), structure.score)


def _cells(structure: TableStructure, texts: Mapping[int, str]) -> tuple[TableCell, ...]:
    """Return the cells of a table with their boxes and texts."""
    boxes = dict(enumerate(map(_corners, structure.boxes)))
    return tuple(
        TableCell(
            None if cell.index is None else boxes.get(cell.index),
            cell.row,
            cell.column,
            cell.row_span,
            cell.column_span,
            "" if cell.index is None else texts.get(cell.index, ""),
        )
        for cell in grid_cells(structure.tokens)
    )


def _corners(box: np.ndarray) -> np.ndarray:
    """Return the corners `(4, 2)` of a box `(8,)`, or of `(4,)`: left, top, right, bottom."""
    if len(box) == 4:
        left, top, right, bottom = box
        box = np.array([left, top, right, top, right, bottom, left, bottom])
    return box.reshape(4, 2).astype(np.float32)
