"""Word, by python-docx (`pip install paddleocr-to-torch[documents]`).

Titles have Word's styles, so that its outline and its tables of contents know them; columns of a
page become columns of a section; tables keep their merged cells, figures their proportions, and
formulas can be edited.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from pipelines.documents.headings import heading, is_heading
from pipelines.documents.joined import Piece, by_page, pieces
from pipelines.documents.labels import CAPTIONS, FURNITURE
from pipelines.documents.types import Document, Figure, Formula, Page, Text
from pipelines.documents.writers.columns import column_counts
from pipelines.documents.writers.mathml import to_mathml
from pipelines.documents.writers.omml import to_omml
from pipelines.table.results import Table

if TYPE_CHECKING:
    from docx.document import Document as WordDocument
    from docx.section import Section
    from docx.text.paragraph import Paragraph

logger = logging.getLogger(__name__)

FONT, EAST_ASIAN_FONT, FONT_SIZE = "Times New Roman", "SimSun", 10.5
LONG_SIDE = 11.69
"""The longer side of a page, in inches: that of A4."""
MARGIN = 0.9
"""In inches."""
GAP = 0.3
"""Between columns, in inches."""
LARGEST_TABLE = 63
"""The most columns of a table in Word."""
MAX_ROWS = 5000
"""Longer tables are cut off; Word takes minutes to open them."""
_FORBIDDEN = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML cannot hold."""


def to_docx(document: Document) -> bytes:
    """Write a document as a Word file."""
    import docx

    word = docx.Document()
    _set_fonts(word)
    writer = _Writer(word)
    for page, found in by_page(pieces(document, without=FURNITURE)):
        writer.add_page(page, found)
    stream = io.BytesIO()
    word.save(stream)
    return stream.getvalue()


def _set_fonts(word: WordDocument) -> None:
    from docx.oxml.ns import qn
    from docx.shared import Pt

    style = cast("Any", word.styles["Normal"])
    style.font.name, style.font.size = FONT, Pt(FONT_SIZE)
    style.element.rPr.rFonts.set(qn("w:eastAsia"), EAST_ASIAN_FONT)


class _Writer:
    """Appends the pieces of one page after another to a Word document."""

    def __init__(self, word: WordDocument) -> None:
        self._word = word
        self._is_empty = True
        self._columns = 1
        self._page: Page | None = None

    def add_page(self, page: Page, found: Sequence[Piece]) -> None:
        """Append the pieces of a page, which starts on a new one."""
        counts = column_counts([piece.block.box for piece in found])
        self._page = page
        starts_page = True
        for piece, count in zip(found, counts, strict=True):
            if starts_page or count != self._columns:
                self._start_section(page, count, starts_page=starts_page)
            starts_page = False
            self._add(piece)
            self._is_empty = False

    def _start_section(self, page: Page, columns: int, *, starts_page: bool) -> None:
        """Begin a section of one or more columns, on a new page or below what there is."""
        from docx.enum.section import WD_SECTION
        from docx.oxml.ns import qn

        if self._is_empty:
            section = self._word.sections[0]
        else:
            kind = WD_SECTION.NEW_PAGE if starts_page else WD_SECTION.CONTINUOUS
            section = self._word.add_section(kind)
        _set_size(section, page)
        element = section._sectPr
        for old in element.findall(qn("w:cols")):
            element.remove(old)
        made = element.makeelement(qn("w:cols"))
        made.set(qn("w:num"), str(columns))
        made.set(qn("w:space"), str(round(GAP * 1440)))
        _insert_columns(element, made)
        self._columns = columns

    def _add(self, piece: Piece) -> None:
        content = piece.block.content
        if isinstance(content, Table):
            self._add_table(content)
        elif isinstance(content, Formula):
            self._add_formula(self._centred(), content, display=True)
        elif isinstance(content, Figure):
            self._add_figure(piece, content)
        else:
            self._add_text(piece, content)

    def _centred(self) -> Paragraph:
        from docx.enum.text import WD_ALIGN_PARAGRAPH

        paragraph = self._word.add_paragraph()
        paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER
        return paragraph

    def _add_text(self, piece: Piece, text: Text) -> None:
        if is_heading(piece.block):
            level, title = heading(piece.block)
            # Word's style of the document's title is no part of its outline; level 1 is.
            self._fill(self._word.add_heading(level=level), title)
        elif piece.block.label in CAPTIONS:
            self._fill(self._word.add_paragraph(style="Caption"), text)
        else:
            for paragraph in paragraphs_of(text):
                self._fill(self._word.add_paragraph(), paragraph)

    def _fill(self, paragraph: Paragraph, text: Text) -> None:
        for part in text.parts:
            if isinstance(part, Formula):
                self._add_formula(paragraph, part, display=False)
            else:
                paragraph.add_run(clean(part.replace("\n", " ")))

    def _add_formula(self, paragraph: Paragraph, formula: Formula, *, display: bool) -> None:
        """Append a formula, or its LaTeX where it cannot be read."""
        mathml = to_mathml(_FORBIDDEN.sub("", formula.latex), display=display)
        if mathml is None:
            paragraph.add_run(clean(formula.latex))
        else:
            paragraph._p.append(to_omml(mathml))

    def _column_width(self) -> float:
        """Return the width of a column, in inches."""
        assert self._page is not None
        width = page_size(self._page)[0] - 2 * MARGIN
        return (width - GAP * (self._columns - 1)) / self._columns

    def _add_figure(self, piece: Piece, figure: Figure) -> None:
        from docx.shared import Inches

        left, _, right, _ = piece.block.box
        width = (right - left) / piece.page.width * page_size(piece.page)[0]
        run = self._centred().add_run()
        run.add_picture(io.BytesIO(figure.read()), Inches(min(width, self._column_width())))
        if figure.text and piece.block.label == "seal":
            self._fill(self._centred(), Text((figure.text,)))

    def _add_table(self, table: Table) -> None:
        cells = [c for c in table.cells if c.row < MAX_ROWS and c.column < LARGEST_TABLE]
        if len(cells) < len(table.cells):
            logger.warning(
                "a table is larger than Word opens: only its first %d rows and %d columns are "
                "written; use html or xlsx",
                MAX_ROWS,
                LARGEST_TABLE,
            )
        rows = min(MAX_ROWS, max((c.row + c.row_span for c in cells), default=0))
        columns = min(LARGEST_TABLE, max((c.column + c.column_span for c in cells), default=0))
        if not rows or not columns:
            return
        made = self._word.add_table(rows, columns, style="Table Grid")
        grid = [list(row.cells) for row in made.rows]
        for cell in cells:
            first = grid[cell.row][cell.column]
            last_row = min(cell.row + cell.row_span, rows) - 1
            last_column = min(cell.column + cell.column_span, columns) - 1
            if (last_row, last_column) != (cell.row, cell.column):
                first = first.merge(grid[last_row][last_column])
            first.text = clean(cell.text)
        self._word.add_paragraph()  # else two tables in a row become one


def _set_size(section: Section, page: Page) -> None:
    from docx.enum.section import WD_ORIENT
    from docx.shared import Inches

    width, height = page_size(page)
    section.page_width, section.page_height = Inches(width), Inches(height)
    section.orientation = WD_ORIENT.LANDSCAPE if width > height else WD_ORIENT.PORTRAIT
    for side in ("left_margin", "right_margin", "top_margin", "bottom_margin"):
        setattr(section, side, Inches(MARGIN))


def _insert_columns(element: Any, columns: Any) -> None:
    """Insert `w:cols` where the schema of a section has it: after the size and the margins."""
    from docx.oxml.ns import qn

    before = [element.find(qn(name)) for name in ("w:pgSz", "w:pgMar", "w:pgNumType")]
    places = [element.index(child) for child in before if child is not None]
    element.insert(max(places, default=-1) + 1, columns)


def page_size(page: Page) -> tuple[float, float]:
    """Return width and height of a page of Word in inches, in the proportion of the page."""
    longest = max(page.width, page.height)
    sides = [max(side / longest, 0.35) * LONG_SIDE for side in (page.width, page.height)]
    return sides[0], sides[1]


def paragraphs_of(text: Text) -> list[Text]:
    """Return the paragraphs of a text."""
    found: list[list[str | Formula]] = [[]]
    for part in text.parts:
        if isinstance(part, Formula):
            found[-1].append(part)
            continue
        first, *others = part.split("\n")
        found[-1].append(first)
        found += [[other] for other in others]
    return [Text(tuple(parts)) for parts in found if any(parts)]


def clean(text: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return _FORBIDDEN.sub("", text)
