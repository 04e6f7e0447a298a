"""Word, by python-docx (`pip install paddleocr-to-torch[documents]`).

Titles have Word's styles, so that its outline and its tables of contents know them; columns of a
page become columns of a section; tables keep their merged cells, figures their proportions, and
formulas can be edited.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, cast

from pipelines.documents.headings import heading, is_heading
from pipelines.documents.joined import Piece, by_page, pieces
from pipelines.documents.labels import CAPTIONS, FURNITURE, TEXT
from pipelines.documents.types import Block, Document, Figure, Formula, Page, Text
from pipelines.documents.writers.columns import Place, places_of
from pipelines.documents.writers.mathml import to_mathml
from pipelines.documents.writers.omml import to_omml
from pipelines.documents.writers.word_tables import add_table, clean
from pipelines.table.results import Table

if TYPE_CHECKING:
    from docx.document import Document as WordDocument
    from docx.section import Section
    from docx.text.paragraph import Paragraph

FONT, EAST_ASIAN_FONT, FONT_SIZE = "Times New Roman", "SimSun", 10.5
LONG_SIDE = 11.69
"""The longer side of a page, in inches: that of A4."""
MARGIN = 0.9
"""In inches."""
GAP = 0.3
"""Between columns, in inches."""
CENTRED = 0.03
"""How far from the middle of the page a title may be that is centred, as a share of the width."""
LETTERS = 0.85
"""The size of the letters of a line, as a share of its height."""
SMALLEST, LARGEST = 7.0, 14.0
"""Sizes of the letters of a text, in points."""


def to_docx(document: Document) -> bytes:
    """Write a document as a Word file."""
    import docx

    word = docx.Document()
    _set_fonts(word, font_size(document))
    writer = _Writer(word)
    for page, found in by_page(pieces(document, without=FURNITURE)):
        writer.add_page(page, found)
    stream = io.BytesIO()
    word.save(stream)
    return stream.getvalue()


def font_size(document: Document) -> float:
    """Return the size of the letters of most texts, in points, so that pages stay pages."""
    sizes = [
        block.flow.line_height / page.height * page_size(page)[1] * 72 * LETTERS
        for page, block in document.blocks()
        if block.label == TEXT and isinstance(block.content, Text) and block.flow.lines > 1
    ]
    size = median(sizes) if sizes else FONT_SIZE
    return min(LARGEST, max(SMALLEST, round(2 * size) / 2))


def _set_fonts(word: WordDocument, size: float) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.oxml.ns import qn
    from docx.shared import Pt

    style = cast("Any", word.styles["Normal"])
    style.font.name, style.font.size = FONT, Pt(size)
    style.element.rPr.rFonts.set(qn("w:eastAsia"), EAST_ASIAN_FONT)
    caption = cast("Any", word.styles["Caption"])
    caption.paragraph_format.alignment = WD_ALIGN_PARAGRAPH.CENTER


class _Writer:
    """Appends the pieces of one page after another to a Word document."""

    def __init__(self, word: WordDocument) -> None:
        self._word = word
        self._is_empty = True
        self._place = Place()
        self._columns_ahead = 0
        """How many columns further the next paragraph stands."""
        self._page: Page | None = None
        self._runs_down = False
        """Whether the lines of the page run from top to bottom."""
        self._places: dict[int, Place] = {}
        """Places of the blocks of the page, by their identity."""
        self._text_ends_on: Page | None = None
        """The page on which the last piece ends, if it is a text."""

    def add_page(self, page: Page, found: Sequence[Piece]) -> None:
        """Append the pieces of a page, which starts on a new one.

        A page whose text began on the page before starts below it.
        """
        blocks = [block for block in page.blocks if block.label not in FURNITURE]
        self._runs_down = _runs_down(blocks)
        places = places_of([block.box for block in blocks])
        if self._runs_down:  # its columns are lines
            places = [Place()] * len(blocks)
        self._places = {id(block): place for block, place in zip(blocks, places, strict=True)}
        starts_page, self._page = True, page
        for piece in found:
            self._go_to(self._places[id(piece.parts[0][1])], starts_page=starts_page)
            self._add(piece)
            ends_on, last = piece.parts[-1]
            self._text_ends_on = ends_on if isinstance(last.content, Text) else None
            if ends_on is page:
                self._place = self._places[id(last)]
            starts_page = self._is_empty = False

    def _go_to(self, place: Place, *, starts_page: bool) -> None:
        """Begin a section, or a column, if the next piece stands in another one."""
        ahead = place.column - self._place.column
        if starts_page or place.columns != self._place.columns or ahead < 0:
            self._start_section(place.columns, starts_page=starts_page)
            ahead = place.column
        self._columns_ahead, self._place = ahead, place

    def _start_section(self, columns: int, *, starts_page: bool) -> None:
        """Begin a section of one or more columns, on a new page or below what there is."""
        from docx.enum.section import WD_SECTION
        from docx.oxml.ns import qn

        assert self._page is not None
        if self._is_empty:
            section = self._word.sections[0]
        else:
            on_new_page = starts_page and self._text_ends_on is not self._page
            kind = WD_SECTION.NEW_PAGE if on_new_page else WD_SECTION.CONTINUOUS
            section = self._word.add_section(kind)
        _set_size(section, self._page)
        element = section._sectPr
        for name in ("w:cols", "w:textDirection"):
            for old in element.findall(qn(name)):
                element.remove(old)
        made = element.makeelement(qn("w:cols"))
        made.set(qn("w:num"), str(columns))
        made.set(qn("w:space"), str(round(GAP * 1440)))
        _insert_columns(element, made)
        if self._runs_down:
            direction = element.makeelement(qn("w:textDirection"))
            direction.set(qn("w:val"), "tbRl")
            made.addnext(direction)

    def _paragraph(self, style: str | None = None) -> Paragraph:
        """Append a paragraph, which begins in the column where the next piece stands."""
        from docx.enum.text import WD_BREAK

        paragraph = self._word.add_paragraph(style=style)
        for _ in range(self._columns_ahead):
            paragraph.add_run().add_break(WD_BREAK.COLUMN)
        self._columns_ahead = 0
        return paragraph

    def _add(self, piece: Piece) -> None:
        content = piece.block.content
        if isinstance(content, Table):
            self._add_table(piece, content)
        elif isinstance(content, Formula):
            self._add_formula(self._centred(), content, display=True)
        elif isinstance(content, Figure):
            self._add_figure(piece, content)
        else:
            self._add_text(piece, content)

    def _centred(self) -> Paragraph:
        from docx.enum.text import WD_ALIGN_PARAGRAPH

        paragraph = self._paragraph()
        paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER
        return paragraph

    def _add_text(self, piece: Piece, text: Text) -> None:
        from docx.enum.text import WD_ALIGN_PARAGRAPH

        if is_heading(piece.block):
            level, title = heading(piece.block)
            # Word's style of the document's title is no part of its outline; level 1 is.
            made = self._paragraph(f"Heading {level}")
            if self._place.columns == 1 and _is_centred(piece):
                made.alignment = WD_ALIGN_PARAGRAPH.CENTER
            self._fill(made, title)
        elif piece.block.label in CAPTIONS:
            self._fill(self._paragraph("Caption"), text)
        else:
            for paragraph in paragraphs_of(text):
                self._fill(self._paragraph(), paragraph)

    def _fill(self, paragraph: Paragraph, text: Text) -> None:
        for part in text.parts:
            if isinstance(part, Formula):
                self._add_formula(paragraph, part, display=False)
            else:
                paragraph.add_run(clean(part.replace("\n", " ")))

    def _add_formula(self, paragraph: Paragraph, formula: Formula, *, display: bool) -> None:
        """Append a formula, or its LaTeX where it cannot be read."""
        mathml = to_mathml(clean(formula.latex), display=display)
        if mathml is None:
            paragraph.add_run(clean(formula.latex))
        else:
            paragraph._p.append(to_omml(mathml))

    def _column_width(self) -> float:
        """Return the width of a column, in inches."""
        assert self._page is not None
        width = page_size(self._page)[0] - 2 * MARGIN
        return (width - GAP * (self._place.columns - 1)) / self._place.columns

    def _add_figure(self, piece: Piece, figure: Figure) -> None:
        from docx.shared import Inches

        left, _, right, _ = piece.block.box
        width = (right - left) / piece.page.width * page_size(piece.page)[0]
        run = self._centred().add_run()
        run.add_picture(io.BytesIO(figure.read()), Inches(min(width, self._column_width())))
        if figure.text and piece.block.label == "seal":
            self._fill(self._centred(), Text((figure.text,)))

    def _add_table(self, piece: Piece, table: Table) -> None:
        left, _, right, _ = piece.block.box
        width = (right - left) / piece.page.width * page_size(piece.page)[0]
        if self._columns_ahead:  # a table has no place for the break
            self._paragraph()
        if add_table(self._word, table, min(width, self._column_width())):
            self._paragraph()  # else two tables in a row become one


def _runs_down(blocks: Sequence[Block]) -> bool:
    """Return whether the lines of most texts of a page run from top to bottom."""
    down = [block.flow.direction == "vertical" for block in blocks if block.label == TEXT]
    return 2 * sum(down) > len(down)


def _is_centred(piece: Piece) -> bool:
    """Return whether a block stands in the middle of its page, and not at the left of its text."""
    (left, _, right, _), width = piece.block.box, piece.page.width
    start = min(block.box[0] for block in piece.page.blocks)
    return abs(left + right - width) < 2 * CENTRED * width and left - start > CENTRED * width


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
