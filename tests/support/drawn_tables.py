"""Tables whose cells, texts and HTML are known, as images, and networks that recognise them."""

from __future__ import annotations

import html
from dataclasses import dataclass
from types import SimpleNamespace

import cv2
import numpy as np

from pipelines.table.structure import class_names
from schemas.processing import TableSettings

CHARACTERS = (
    *("<thead>", "<tr>", "<td>", "</td>", "</tr>", "</thead>", "<tbody>", "</tbody>", "<td"),
    *(' colspan="2"', ">", ' colspan="3"', ' rowspan="2"', ' rowspan="3"'),
)
CARD = {
    "task": "table",
    "input": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "dictionary": {"characters": list(CHARACTERS)},
}
COLUMN, ROW, MARGIN = 90, 40, 10


@dataclass(frozen=True)
class Cell:
    """A cell: its text, and how many rows and columns it covers."""

    text: str
    rows: int = 1
    columns: int = 1


@dataclass(frozen=True)
class DrawnCell:
    """A cell with its place: the first row and column, and left, top, right and bottom."""

    cell: Cell
    row: int
    column: int
    box: tuple[int, int, int, int]


def placed(rows: list[list[Cell]]) -> list[DrawnCell]:
    """The cells of a table with their places, row by row."""
    taken, cells = set(), []
    for row, line in enumerate(rows):
        column = 0
        for cell in line:
            while (row, column) in taken:
                column += 1
            left, top = MARGIN + column * COLUMN, MARGIN + row * ROW
            box = (left, top, left + cell.columns * COLUMN, top + cell.rows * ROW)
            cells.append(DrawnCell(cell, row, column, box))
            taken |= {(row + y, column + x) for y in range(cell.rows) for x in range(cell.columns)}
            column += cell.columns
    return cells


def draw(rows: list[list[Cell]]) -> np.ndarray:
    """The image of a wired table, `(H, W, 3) uint8` BGR."""
    boxes = np.array([drawn.box for drawn in placed(rows)])
    image = np.full((boxes[:, 3].max() + MARGIN, boxes[:, 2].max() + MARGIN, 3), 255, np.uint8)
    for drawn in placed(rows):
        left, top, right, bottom = drawn.box
        cv2.rectangle(image, (left, top), (right, bottom), (0, 0, 0))
        start = (left + 8, (top + bottom) // 2 + 5)
        cv2.putText(image, drawn.cell.text, start, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0))
    return image


def tokens_of(rows: list[list[Cell]]) -> list[str]:
    """The tokens of a table's structure."""
    tokens = []
    for line in rows:
        tokens.append("<tr>")
        for cell in line:
            spans = [f' rowspan="{cell.rows}"'] * (cell.rows > 1)
            spans += [f' colspan="{cell.columns}"'] * (cell.columns > 1)
            tokens += ["<td", *spans, ">", "</td>"] if spans else ["<td></td>"]
        tokens.append("</tr>")
    return tokens


def html_of(rows: list[list[Cell]]) -> str:
    """The HTML of a table."""
    texts = iter(html.escape(cell.text) for line in rows for cell in line)
    tokens = (
        "<td>" * (token == "<td></td>") + f"{next(texts)}</td>" if "</td>" in token else token
        for token in tokens_of(rows)
    )
    return f"<html><body><table>{''.join(tokens)}</table></body></html>"


class DrawnStructure:
    """Returns the structure of one table, with an end and one step after it, like an export."""

    card = CARD

    def __init__(self, rows: list[list[Cell]]) -> None:
        self._rows = rows

    def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        names = class_names(TableSettings(CHARACTERS))
        tokens = [*tokens_of(self._rows), "eos", "sos"]
        scores = np.full((1, len(tokens), len(names)), 0.1 / len(names), np.float32)
        boxes = np.zeros((1, len(tokens), 8), np.float32)
        height, width = draw(self._rows).shape[:2]
        corners = iter(drawn.box for drawn in placed(self._rows))
        for step, token in enumerate(tokens):
            scores[0, step, names.index(token)] = 0.9
            if token.startswith("<td"):
                left, top, right, bottom = next(corners)
                boxes[0, step] = np.array([left, top, right, top, right, bottom, left, bottom])
        assert batch.shape == (1, 3, 488, 488)
        return {"structure_probs": scores, "loc_preds": boxes / max(height, width)}


def reader(rows: list[list[Cell]]) -> SimpleNamespace:
    """Something like an `OCR` that finds the texts of a table, each in its cell."""
    drawn = [drawn for drawn in placed(rows) if drawn.cell.text]
    boxes = []
    for cell in drawn:
        left, top, right, bottom = cell.box
        left, top, right, bottom = left + 8, top + 12, right - 30, bottom - 12
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        boxes.append(np.array(corners, np.float32))
    return SimpleNamespace(
        detector=lambda _: list(boxes),
        recognizer=lambda lines: [
            SimpleNamespace(text=cell.cell.text, score=0.2)
            for cell, _ in zip(sorted(drawn, key=_in_order), lines, strict=True)
        ],
    )


def _in_order(drawn: DrawnCell) -> tuple[int, int]:
    """From top to bottom and left to right, by the first pixel of the text."""
    return drawn.box[1], drawn.box[0]
