"""`python -m pipelines layout PATH...`: find the regions of pages, such as titles and tables."""

from __future__ import annotations

import argparse

from pipelines.cli.options import network_parser, probability, runtime_options
from pipelines.cli.page_runner import run_pages
from pipelines.io.exporters import REGION_FORMATS
from pipelines.layout.predictor import LayoutDetector


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    purpose = "Find the regions of pages: texts, titles, tables, figures and others."
    parser = network_parser("layout", purpose, "layout network", REGION_FORMATS, texts=False)
    add = parser.add_argument
    add(
        "--threshold",
        type=probability,
        metavar="X",
        help="leave out regions with this or a lower score, 0 to 1 (default: 0.5)",
    )
    add(
        "--layout-nms",
        action="store_true",
        default=None,
        help="merge regions that overlap (networks of PP-Structure 2 always do)",
    )
    add(
        "--merge",
        choices=("union", "large", "small"),
        dest="layout_merge_bboxes_mode",
        help="of regions that lie in each other keep all, the outer or the inner ones "
        "(default: union)",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    """Process all files, write their results, and return the exit code."""
    return run_pages(options, _load)


def _load(options: argparse.Namespace) -> LayoutDetector:
    names = ("threshold", "layout_nms", "layout_merge_bboxes_mode")
    settings = {name: getattr(options, name) for name in names}
    return LayoutDetector(options.weights, **runtime_options(options), **settings)
