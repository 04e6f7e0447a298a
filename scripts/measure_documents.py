"""Measure how well drawn pages become documents: order, texts, tables and Markdown.

    python scripts/measure_documents.py --models DIR [--only N,N,...] [--json FILE]

Ten pages whose blocks, order, texts and tables are known (`scripts/drawn`) are parsed with the
converted weights of a folder. Without a classifier of page orientation, the page that was scanned
sideways is turned by what is known. Formulas count as texts where no network reads them.

order     whether the blocks of a page come in the order in which they were drawn
text      1 - edit distance / length, of the characters of a page without white space
spaces    the same with spaces
TEDS      similarity of the trees of a table's HTML with texts; TEDS-S without texts
Markdown  1 - edit distance / length, of the Markdown of the whole document

It needs `pip install "paddleocr-to-torch[measure]"`. Exit code: 0, or 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from drawn.book import ten_pages
from drawn.pages import DrawnBlock, DrawnPage
from drawn.source import markdown_of

from pipelines.documents.document import choose_networks, finish
from pipelines.documents.labels import FURNITURE
from pipelines.documents.networks import Networks, load_networks
from pipelines.documents.parser import PageParser
from pipelines.documents.rectangles import shared_area
from pipelines.documents.settings import DEFAULT
from pipelines.documents.types import Block, Document, Formula, Page
from pipelines.documents.writers.markdown import page_markdown
from pipelines.table.results import Table
from schemas.processing import SettingsError

HEAD = re.compile("</?(thead|tbody)>")
"""What networks write in some tables, and the source has not."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and measure, print a line for each page, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, metavar="DIR",
                        help="folder of converted weights")  # fmt: skip
    parser.add_argument("--only", type=lambda text: [int(n) for n in text.split(",")],
                        default=range(1, 11), metavar="N,...", help="numbers of pages")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args(argv)
    if find_spec("table_recognition_metric") is None:
        parser.error('table_recognition_metric is missing: pip install ".[measure]"')
    try:
        networks = load_networks(choose_networks(options.models, {}, DEFAULT), DEFAULT)
    except SettingsError as error:
        parser.error(str(error))
    drawn = ten_pages()
    chosen = [(number, drawn[number - 1]) for number in options.only]
    pages, seconds = [], 0.0
    for number, page in chosen:
        start = time.process_time()
        pages.append(parse(page, number, networks))
        seconds += time.process_time() - start
    pages = finish(pages, DEFAULT)
    rows = [measure(page, source) for page, (_, source) in zip(pages, chosen, strict=True)]
    written = page_markdown(Document(tuple(pages)))
    similarity = alike(without_figures(written), markdown_of([source for _, source in chosen]))
    print_rows(rows, similarity, seconds)
    if options.json:
        figures = {"pages": rows, "markdown": similarity, "seconds": seconds}
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0


def parse(page: DrawnPage, number: int, networks: Networks) -> Page:
    """Parse a page; without a classifier of orientation, its rotation is given."""
    if networks.orientation is None:
        networks = replace(networks, orientation=lambda images: [page.turned] * len(images))  # type: ignore[arg-type]
    image = np.asarray(page.image())[..., ::-1].copy()
    return PageParser(networks, DEFAULT)(image, "drawn.pdf", number).page


def measure(page: Page, source: DrawnPage) -> dict[str, Any]:
    """Return the figures of a page."""
    found = [block for block in page.blocks if block.label not in FURNITURE]
    drawn = [block for block in source.blocks if block.label not in FURNITURE]
    places = [nearest(block, drawn) for block in found]
    order = [place for place in places if place is not None]
    written, expected = ["\n".join(map(text_of, found)), "\n".join(map(source_text, drawn))]
    return {
        "page": page.number,
        "blocks": [len(found), len(drawn)],
        "in_order": order == sorted(order),
        "text": alike("".join(written.split()), "".join(expected.split())),
        "spaces": alike(" ".join(written.split()), " ".join(expected.split())),
        "tables": [teds(block, found) for block in drawn if block.table],
    }


def nearest(block: Block, drawn: Sequence[DrawnBlock]) -> int | None:
    """Return the place of the drawn block that a block shares most with; None without one."""
    shares = [shared_area(block.box, other.box) for other in drawn]
    return int(np.argmax(shares)) if any(shares) else None


def text_of(block: Block) -> str:
    """Return the text of a block without that of a table, which counts as TEDS."""
    if isinstance(block.content, Table):
        return ""
    return block.content.latex if isinstance(block.content, Formula) else block.text


def source_text(block: DrawnBlock) -> str:
    """Return the text that a drawn block has."""
    return "" if block.table else block.latex or block.text


def teds(source: DrawnBlock, found: Sequence[Block]) -> tuple[float, float]:
    """Return TEDS and TEDS-S of the table that was found where one was drawn; 0 without one."""
    from table_recognition_metric import TEDS

    tables = [block for block in found if isinstance(block.content, Table)]
    tables.sort(key=lambda block: shared_area(block.box, source.box))
    assert source.table
    if not tables or not shared_area(tables[-1].box, source.box):
        return 0.0, 0.0
    pair = HEAD.sub("", tables[-1].text), source.table.html
    return float(TEDS()(*pair)), float(TEDS(structure_only=True)(*pair))


def alike(text: str, other: str) -> float:
    """Return 1 - edit distance / length of the longer one."""
    from Levenshtein import distance

    return 1 - distance(text, other) / max(len(text), len(other), 1)


def without_figures(markdown: str) -> str:
    """Return Markdown with one name for all figures, since names are arbitrary."""
    return re.sub(r'<img src="[^"]*"[^>]*>', "<img>", HEAD.sub("", markdown))


def print_rows(rows: Sequence[dict[str, Any]], similarity: float, seconds: float) -> None:
    """Print the table."""
    print(f"{'page':>4}{'blocks':>9}{'order':>7}{'text':>9}{'spaces':>9}  TEDS, TEDS-S")
    for row in rows:
        found, drawn = row["blocks"]
        tables = "; ".join(f"{with_text:.3f}, {bare:.3f}" for with_text, bare in row["tables"])
        order = "same" if row["in_order"] else "OTHER"
        print(f"{row['page']:>4}{f'{found}/{drawn}':>9}{order:>7}{row['text']:>9.4f}"
              f"{row['spaces']:>9.4f}  {tables}")  # fmt: skip
    scores = [table for row in rows for table in row["tables"]]
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("text", "spaces")}
    print(f"\n{sum(row['in_order'] for row in rows)} of {len(rows)} pages in order, "
          f"text {means['text']:.4f}, with spaces {means['spaces']:.4f}, "
          f"TEDS {np.mean([score[0] for score in scores] or [1]):.4f}, "
          f"TEDS-S {np.mean([score[1] for score in scores] or [1]):.4f}, "
          f"Markdown {similarity:.4f}; "
          f"{seconds / len(rows):.1f} s of processor time a page")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
