"""`python -m pipelines table PATH...`: recognise tables, each an image or a part of a page."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipelines.cli.options import add_page_options, page_parser, runtime_options
from pipelines.cli.page_runner import run_pages
from pipelines.errors import UsageError
from pipelines.io.items import PageTable, frame_of
from pipelines.io.tables import TABLE_FORMATS
from pipelines.layout.predictor import LayoutDetector
from pipelines.ocr import OCR
from pipelines.table.networks import KINDS
from pipelines.table.predictor import TableRecognizer
from pipelines.table.results import TableKind

TABLE = "table"
"""The label of tables among the regions of a page, in lower case."""


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    purpose = (
        "Recognise tables: cells, spans and, with --det and --rec, texts. A page is one table, or "
        "with --layout holds those that a layout network finds."
    )
    parser = page_parser("table", purpose)
    add = parser.add_argument
    add("--weights", type=Path, metavar="X.pth", help="network of table structure")
    add("--cells", type=Path, metavar="C.pth", help="detector of cells")
    add("--classifier", type=Path, metavar="K.pth",
        help="tells wired from wireless tables; --weights and --cells: the wired")  # fmt: skip
    add("--wireless-weights", type=Path, metavar="X.pth", help="structure of wireless tables")
    add("--wireless-cells", type=Path, metavar="C.pth", help="detector of cells without lines")
    add("--orientation", type=Path, metavar="W.pth", help="classifier of page orientation")
    add("--layout", type=Path, metavar="L.pth", help="layout network that finds the tables")
    add("--det", type=Path, metavar="Y.pth", help="detector of text lines")
    add("--rec", type=Path, metavar="Z.pth", help="recogniser of text lines")
    add("--rules", choices=("paddleocr", "paddlex"),
        help="how texts find their cells (default: paddleocr; paddlex with --cells)")  # fmt: skip
    add("--sort-lines", action="store_true",
        help="sort the texts of a cell into lines; with --rules paddlex")  # fmt: skip
    add_page_options(parser, TABLE_FORMATS, texts=True, default="html")
    return parser


def run(options: argparse.Namespace) -> int:
    """Process all files, write their results, and return the exit code."""
    if (options.det is None) != (options.rec is None):
        raise UsageError("--det and --rec read the texts together; give both, or neither")
    if options.weights is None and options.cells is None:
        raise UsageError("--weights or --cells is needed, or both")
    if not options.classifier and (options.wireless_weights or options.wireless_cells):
        raise UsageError("--wireless-weights and --wireless-cells need --classifier")
    return run_pages(options, PageTableRecognizer)


class PageTableRecognizer:
    """Recognises a page as one table, or the tables on it."""

    def __init__(self, options: argparse.Namespace) -> None:
        runtime = runtime_options(options)
        self._layout = None
        if options.layout:
            self._layout = LayoutDetector(options.layout, **runtime)
            labels = self._layout.settings.labels
            if TABLE not in map(str.lower, labels):
                raise UsageError(f"--layout finds no tables, its labels are {', '.join(labels)}")
        ocr = OCR(options.det, options.rec, **runtime) if options.det else None
        self._recognizer = TableRecognizer(
            _by_kind(options.weights, options.wireless_weights),
            ocr,
            cells=_by_kind(options.cells, options.wireless_cells),
            classifier=options.classifier,
            orientation=options.orientation,
            rules=options.rules,
            sort_lines=options.sort_lines,
            **runtime,
        )

    def __call__(self, image: np.ndarray) -> Sequence[PageTable]:
        """Recognise the tables on an `(H, W, 3) uint8` BGR image."""
        if self._layout is None:
            return [PageTable(frame_of(image), self._recognizer(image))]
        regions = [region for region in self._layout(image) if region.label.lower() == TABLE]
        boxes = [
            region.box for region in sorted(regions, key=lambda each: tuple(each.box[0, ::-1]))
        ]
        tables = self._recognizer.on_page(image, boxes)
        return [PageTable(box, table) for box, table in zip(boxes, tables, strict=True)]


def _by_kind(wired: Path | None, wireless: Path | None) -> Path | Mapping[TableKind, Path] | None:
    """Return a network for all tables, or those of both kinds."""
    if wireless is None:
        return wired
    networks = zip(KINDS.values(), (wired, wireless), strict=True)
    return {kind: network for kind, network in networks if network is not None}
