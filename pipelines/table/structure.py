"""Decoding of table structure: class scores to tokens of HTML, and the boxes of the cells.

Rules and precision are those of PaddleOCR 2.x, ppocr/postprocess/table_postprocess.py
(`TableLabelDecode`, `TableMasterLabelDecode`), and, for boxes that are relative to the image
without its padding, those of PaddleX 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.processing import TableSettings
from schemas.special_tokens import CLASSES

PLAIN_CELL = "<td>"
WHOLE_CELL = "<td></td>"
CELL_STARTS = (PLAIN_CELL, "<td", WHOLE_CELL)
"""The tokens with which a cell begins; each has a box."""
EMPTY_CELLS = {
    "<eb></eb>": "<td></td>",
    "<eb1></eb1>": "<td> </td>",
    "<eb2></eb2>": "<td><b> </b></td>",
    "<eb3></eb3>": "<td>\u2028\u2028</td>",
    "<eb4></eb4>": "<td><sup> </sup></td>",
    "<eb5></eb5>": "<td><b></b></td>",
    "<eb6></eb6>": "<td><i> </i></td>",
    "<eb7></eb7>": "<td><b><i></i></b></td>",
    "<eb8></eb8>": "<td><b><i> </i></b></td>",
    "<eb9></eb9>": "<td><i></i></td>",
    "<eb10></eb10>": "<td><b> \u2028 \u2028 </b></td>",
}
"""TableMASTER's tokens for cells without a text, which have no box, and their HTML."""
_END = {"TableLabelDecode": "eos", "TableMasterLabelDecode": "<EOS>"}


@dataclass(frozen=True, eq=False)
class TableStructure:
    """The structure of a table, without texts.

    Attributes:
        tokens: pieces of HTML, those between `<table>` and `</table>`.
        boxes: one for each token of `CELL_STARTS`, in pixels of the image: `(N, 8) float32`, the
            corners clockwise from the top left, or `(N, 4)`, left, top, right and bottom.
        score: mean probability of the tokens, 0 to 1.
    """

    tokens: tuple[str, ...]
    boxes: np.ndarray
    score: float


def structure_tokens(characters: Sequence[str], *, merge_no_span: bool) -> tuple[str, ...]:
    """Return the tokens of a dictionary in the order of their classes.

    Args:
        characters: the lines of the dictionary.
        merge_no_span: whether `<td></td>`, at the end, replaces `<td>`.
    """
    if not merge_no_span:
        return tuple(characters)
    tokens = list(characters)
    if WHOLE_CELL not in tokens:
        tokens.append(WHOLE_CELL)
    if PLAIN_CELL in tokens:
        tokens.remove(PLAIN_CELL)
    return tuple(tokens)


def class_names(settings: TableSettings) -> tuple[str, ...]:
    """Return the token of each class, special ones included."""
    tokens = structure_tokens(settings.characters, merge_no_span=settings.merge_no_span_structure)
    return CLASSES[settings.decoder].names(tokens)


def decode_structure(
    probabilities: np.ndarray,
    locations: np.ndarray,
    settings: TableSettings,
    size: tuple[int, int],
    ratio: float,
    *,
    whole_pixels: bool = False,
) -> TableStructure:
    """Decode the output of a network for one table.

    Args:
        probabilities: `(L, classes) float32`, the probability of each token.
        locations: `(L, 8)` or `(L, 4) float32`, relative boxes: corners, or left, top, right and
            bottom; of TableMASTER the centre, width and height.
        settings: the dictionary, the decoder and what the boxes are relative to.
        size: height and width of the image, in pixels.
        ratio: the factor by which it was resized for the network.
        whole_pixels: whether boxes are rounded down to whole pixels, as in PaddleX.
    """
    names = class_names(settings)
    special = CLASSES[settings.decoder]
    ignored = {*special.before, *special.after}
    classes, scores = probabilities.argmax(1), probabilities.max(1)
    is_end = classes == names.index(_END[settings.decoder])
    is_end[:1] = False  # the first token is not the end
    length = int(is_end.argmax()) if is_end.any() else len(classes)
    kept = [step for step in range(length) if names[classes[step]] not in ignored]
    tokens = tuple(names[classes[step]] for step in kept)
    starts = [step for step, token in zip(kept, tokens, strict=True) if token in CELL_STARTS]
    scale = _scale_to_whole_pixels if whole_pixels else _scale_boxes
    boxes = scale(locations[starts], settings, size, ratio)
    if settings.decoder == "TableMasterLabelDecode":
        boxes = _corners_of_centred(boxes)
    return TableStructure(tokens, boxes, float(np.mean(scores[kept])) if kept else 0.0)


def _scale_boxes(
    locations: np.ndarray, settings: TableSettings, size: tuple[int, int], ratio: float
) -> np.ndarray:
    """Turn relative boxes `(N, 4 or 8)` into pixels of the image."""
    boxes: np.ndarray = locations.copy()
    height, width = size
    if settings.box_scale == "image":
        boxes[:, 0::2] *= np.float64(width)
        boxes[:, 1::2] *= np.float64(height)
        return boxes
    # Two steps, as in PaddleOCR: each rounds to float32.
    boxes *= np.float64(settings.max_len)
    boxes /= np.float64(ratio)
    return boxes


def _scale_to_whole_pixels(
    locations: np.ndarray, settings: TableSettings, size: tuple[int, int], ratio: float
) -> np.ndarray:
    """Turn relative boxes `(N, 4 or 8)` into whole pixels of the image, as PaddleX does."""
    height, width = size
    side = settings.max_len / ratio
    scales = (width, height) if settings.box_scale == "image" else (side, side)
    factors = np.tile(np.array(scales, np.float64), locations.shape[1] // 2)
    return (locations * factors).astype(int)


def _corners_of_centred(boxes: np.ndarray) -> np.ndarray:
    """Turn centre, width and height into left, top, right and bottom; halves are rounded down."""
    centres, halves = boxes[:, :2], boxes[:, 2:] // 2
    return np.concatenate([centres - halves, centres + halves], 1)
