"""Documents as files: what is written is read back by other libraries, and is only data."""

from __future__ import annotations

import io
import json
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import docx
import jsonschema
import openpyxl
import pytest
from docx.enum.section import WD_SECTION
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml.ns import qn
from drawn.tables import table_of

from pipelines.documents.types import Block, Document, Figure, Flow, Formula, Page, Text
from pipelines.documents.writers import columns
from pipelines.documents.writers.data import to_json
from pipelines.documents.writers.markdown import escape, escape_starts, page_markdown
from pipelines.documents.writers.mathml import MAX_DEPTH, mathml_text, to_mathml
from pipelines.documents.writers.omml import MATH, to_omml
from pipelines.documents.writers.web_page import to_html
from pipelines.documents.writers.word import font_size, to_docx
from pipelines.documents.writers.word_tables import column_shares
from pipelines.documents.writers.workbook import to_xlsx
from pipelines.table.results import TableCell
from tests.support.documents import CELLS, HOSTILE, document
from tests.support.drawn_pages import corners
from tests.support.paths import ROOT

SCHEMA = ROOT / "pipelines" / "documents" / "document.schema.json"


def one_block(block):
    return Document((Page("a.png", 1, 600, 800, 0, (block,)),))


# Markdown.


def test_markdown():
    lines = page_markdown(document(), "report_images").split("\n")
    assert lines[0] == "# On tides"
    assert "## 1 Introduction" in lines
    assert "### 1.1 Methods" in lines
    assert "where $a<b$ holds." in lines
    assert r"$$\sum_{i=1}^{n} \frac{x_i}{2}$$" in lines
    assert "It goes on to the next page." in lines
    assert not any("Running head" in line for line in lines)
    picture = '<img src="report_images/page1-1.jpg" alt="Image" width="40%" />'
    assert f'<div style="text-align: center;">{picture}</div>' in lines
    assert '<div style="text-align: center;">Figure 1: the &lt;bay&gt;</div>' in lines


def test_markdown_shows_characters_as_they_were():
    (line,) = [line for line in page_markdown(document()).split("\n") if "script" in line]
    assert line == (
        r"\<script>alert(1)\</script> \*b\* \[x\](y) \& "
        + '"q" '
        + r"\$5 \`c\` | \~s\~ a_b \_c\_ \\d"
    )
    assert r"\# second paragraph" in page_markdown(document()).split("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# no title", r"\# no title"),
        ("- no list", r"\- no list"),
        ("12. no list", r"12\. no list"),
        ("3) no list", r"3\) no list"),
        ("> no quote", r"\> no quote"),
        ("    no code", "no code"),
        ("---", r"\---"),
        ("===", r"\==="),
        ("| no | table", r"\| no | table"),
        ("in - between", "in - between"),
        ("3.14", r"3\.14"),
    ],
)
def test_starts_of_lines_are_escaped(text, expected):
    assert escape_starts(escape(text)) == expected


def test_latex_cannot_end_its_formula():
    markdown = page_markdown(one_block(Block("formula", (0, 0, 9, 9), Formula("a$$\n\n# b"))))
    assert markdown == r"$$a\$\$ # b$$"


def test_figures_are_linked_whatever_the_file_is_called():
    markdown = page_markdown(document(), 'a "b" #1<>_images')
    assert 'src="a%20%22b%22%20%231%3C%3E_images/page1-1.jpg"' in markdown


# HTML.


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


def read_html(content):
    reader = Reader()
    reader.feed(content.decode())
    return reader


def test_html():
    reader = read_html(to_html(document(), "<report>"))
    names = [tag for tag, _ in reader.tags]
    assert {"h1", "h2", "h3", "math", "mfrac", "munderover", "figure", "table"} <= set(names)
    assert "script" not in names
    assert "b" not in names
    assert HOSTILE in reader.texts
    assert "<report>" in reader.texts
    spans = [attributes for tag, attributes in reader.tags if tag == "td" and attributes]
    assert spans == [{"rowspan": "2"}, {"colspan": "2"}]
    images = [attributes["src"] for tag, attributes in reader.tags if tag == "img"]
    assert len(images) == 2
    assert all(image.startswith("data:image/jpeg;base64,") for image in images)
    assert "Running head" in reader.texts


@pytest.mark.parametrize(
    "latex",
    [r"\href{javascript:alert(1)}{x}", r"\text{</math><script>alert(1)</script>}", "a<b", "&lt;"],
)
def test_formulas_hold_no_markup(latex):
    content = to_html(one_block(Block("formula", (0, 0, 9, 9), Formula(latex))), "t")
    reader = read_html(content)
    assert "script" not in [tag for tag, _ in reader.tags]
    assert not any("href" in attributes for _, attributes in reader.tags)


@pytest.mark.parametrize(
    "latex", [r"\left(", "}{", "x^^", r"\begin{matrix} a", "{" * 5000, "x" * 20000]
)
def test_formulas_that_cannot_be_read_stay_latex(latex):
    block = one_block(Block("formula", (0, 0, 9, 9), Formula(latex)))
    assert to_mathml(latex, display=True) is None
    assert latex in "".join(read_html(to_html(block, "t")).texts)
    assert latex in paragraphs(to_docx(block))
    assert latex in page_markdown(block)


def test_nested_formulas_are_bounded():
    assert to_mathml("{" * (2 * MAX_DEPTH) + "x" + "}" * (2 * MAX_DEPTH), display=True) is None


# Word.


def open_docx(content):
    return docx.Document(io.BytesIO(content))


def paragraphs(content):
    return [paragraph.text for paragraph in open_docx(content).paragraphs]


def test_word():
    word = open_docx(to_docx(document()))
    styles = {paragraph.text: paragraph.style.name for paragraph in word.paragraphs}
    assert styles["On tides"] == "Heading 1"
    assert styles["1 Introduction"] == "Heading 2"
    assert styles["1.1 Methods"] == "Heading 3"
    assert styles["Figure 1: the <bay>"] == "Caption"
    assert styles[HOSTILE] == "Normal"
    assert "It goes on to the next page." in styles
    assert "Running head" not in styles
    assert len(word.inline_shapes) == 2
    assert len(word.tables) == 2


def test_tables_of_word_have_merged_cells():
    table = open_docx(to_docx(document())).tables[0]
    texts = [[cell.text for cell in row.cells] for row in table.rows]
    assert texts == [
        ["Name", "Tides", "Tides"],
        ["Name", "high", "=1+2"],
        ["<b>&", "+3", "@x"],
        ["-4", "", "ordinary"],
    ]
    assert table.cell(0, 0)._tc is table.cell(1, 0)._tc


def test_tables_that_word_cannot_open_are_cut_off_with_a_warning(caplog):
    rows = [[("x", 1, 1)] * 70, [("y", 1, 1)] * 70]
    block = Block("table", (0, 0, 9, 9), table_of(rows, (0, 0, 9, 9)))
    (table,) = open_docx(to_docx(one_block(block))).tables
    assert (len(table.rows), len(table.columns)) == (2, 63)
    assert "larger than Word opens" in caplog.text


def test_figures_of_word_keep_their_proportions():
    word = open_docx(to_docx(document()))
    in_column, alone = word.inline_shapes
    assert in_column.width / in_column.height == pytest.approx(2, rel=0.01)
    section = word.sections[1]
    inner = section.page_width - section.left_margin - section.right_margin
    assert 0.45 < in_column.width / inner < 0.5  # as wide as the column, at most
    assert alone.width / section.page_width == pytest.approx(80 / 600, rel=0.01)


def test_columns_of_word_are_sections():
    found = []
    for section in open_docx(to_docx(document())).sections:
        found.append((section.start_type, section._sectPr.find(qn("w:cols")).get(qn("w:num"))))
    # The title over two columns, the columns, and the second page, where a text goes on.
    assert [number for _, number in found] == ["1", "2", "1"]
    assert [kind for kind, _ in found][1:] == [WD_SECTION.CONTINUOUS] * 2


def text_block(text, box, **flow):
    return Block("text", box, Text((text,)), flow=Flow(**flow))


def test_columns_of_word_are_those_of_the_page():
    left, right = (40, 40, 280, 100), (320, 40, 560, 100)
    boxes = [left, right, (320, 120, 560, 180), (40, 300, 280, 360), (320, 300, 560, 360)]
    blocks = [text_block(text, box) for text, box in zip("abcde", boxes, strict=True)]
    pages = tuple(Page("a.pdf", n, 600, 800, 0, tuple(blocks)) for n in (1, 2))
    word = open_docx(to_docx(Document(pages)))
    breaks = [len(p._p.findall(f".//{qn('w:br')}")) for p in word.paragraphs if p.text.strip()]
    assert breaks == [0, 1, 0, 0, 1] * 2
    kinds = [section.start_type for section in word.sections]
    assert kinds[1:] == [WD_SECTION.CONTINUOUS, WD_SECTION.NEW_PAGE, WD_SECTION.CONTINUOUS]


@pytest.mark.parametrize(
    ("box", "centred"),
    [((200, 10, 400, 30), True), ((40, 10, 560, 30), False), ((40, 10, 240, 30), False)],
)
def test_titles_of_word_are_centred_as_on_the_page(box, centred):
    blocks = (Block("paragraph_title", box, Text(("a",))), text_block("b", (40, 40, 560, 90)))
    word = open_docx(to_docx(Document((Page("a.pdf", 1, 600, 800, 0, blocks),))))
    assert (word.paragraphs[0].alignment == WD_ALIGN_PARAGRAPH.CENTER) is centred


def test_vertical_texts_of_word_run_down():
    block = text_block("潮汐", (500, 40, 560, 700), direction="vertical")
    section = open_docx(to_docx(one_block(block))).sections[0]
    assert section._sectPr.find(qn("w:textDirection")).get(qn("w:val")) == "tbRl"


def test_letters_of_word_are_as_large_as_on_the_page():
    lines = text_block("a", (40, 40, 560, 700), lines=9, line_height=12)
    assert font_size(one_block(lines)) == 10.5  # of a page of 800 pixels
    assert font_size(Document()) == 10.5
    assert font_size(one_block(text_block("a", (0, 0, 9, 9), lines=2, line_height=1))) == 7


def test_columns_of_tables_are_as_wide_as_on_the_page():
    cells = [TableCell(corners((x, 0, right, 9)), 0, n) for n, (x, right) in
             enumerate([(0, 60), (60, 80), (80, 100)])]  # fmt: skip
    assert column_shares(cells, 3) == pytest.approx([0.6, 0.2, 0.2])
    assert column_shares([TableCell(None, 0, 0), TableCell(None, 0, 1)], 2) == [0.5, 0.5]
    assert column_shares([TableCell(corners((0, 0, 0, 9)), 0, n) for n in range(2)], 2) == [0.5] * 2


def test_formulas_of_word_are_omml():
    body = open_docx(to_docx(document())).element.body
    assert len(body.findall(f".//{{{MATH}}}nary")) == 1
    assert len(body.findall(f".//{{{MATH}}}f")) == 1
    texts = [each.text for each in body.iter(f"{{{MATH}}}t")]
    assert "<" in texts


def test_word_leaves_out_what_xml_cannot_hold():
    block = Block("text", (0, 0, 9, 9), Text(("a\x00b\x0bc\ud800\ufffe",)))
    assert paragraphs(to_docx(one_block(block))) == ["abc"]


def test_a_landscape_page_of_word():
    page = Page("a.png", 1, 800, 600, 0, (Block("text", (0, 0, 9, 9), Text(("x",))),))
    (section,) = open_docx(to_docx(Document((page,)))).sections
    assert section.page_width / section.page_height == pytest.approx(4 / 3, rel=0.01)


def test_every_part_of_word_is_xml():
    from lxml import etree

    with zipfile.ZipFile(io.BytesIO(to_docx(document()))) as archive:
        for name in archive.namelist():
            if name.endswith((".xml", ".rels")):
                etree.fromstring(archive.read(name))


# OMML.


@pytest.mark.parametrize(
    ("latex", "element"),
    [
        (r"\frac{a}{b}", "f"),
        (r"\sqrt{a}", "rad"),
        (r"\sqrt[3]{a}", "rad"),
        ("a_b", "sSub"),
        ("a^b", "sSup"),
        ("a_b^c", "sSubSup"),
        (r"\int_0^1 x", "nary"),
        (r"\overline{ab}", "bar"),
        (r"\hat{a}", "acc"),
        (r"\underbrace{a}_{n}", "groupChr"),
        (r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}", "m"),
        (r"\left( a \right)", "d"),
        (r"\binom{n}{k}", "f"),
        (r"\underset{n}{\max} a", "limLow"),
    ],
)
def test_elements_of_omml(latex, element):
    made = to_omml(to_mathml(latex, display=True))
    assert made.findall(f".//{{{MATH}}}{element}")
    letters = {
        letter for letter in mathml_text(to_mathml(latex, display=True)) if letter in "abcdnkx"
    }
    assert {text.text for text in made.iter(f"{{{MATH}}}t")} & letters


def test_no_symbol_is_lost_in_omml():
    latex = r"\lim_{x \to 0} \frac{\sin x}{x} = 1 \quad \forall x \in \mathbb{R} \text{ near } 0"
    mathml = to_mathml(latex, display=True)
    symbols = "".join("".join(mathml.itertext()).split())
    made = "".join(text.text for text in to_omml(mathml).iter(f"{{{MATH}}}t"))
    assert sorted("".join(made.split())) == sorted(symbols)


# Excel and JSON.


def test_excel():
    book = openpyxl.load_workbook(io.BytesIO(to_xlsx(document())))
    assert book.sheetnames == ["Page 1", "Page 2"]
    sheet = book["Page 1"]
    assert {str(merged) for merged in sheet.merged_cells.ranges} == {"A1:A2", "B1:C1"}
    written = {cell.value for row in sheet.iter_rows() for cell in row if cell.value}
    assert written == {text for row in CELLS for text, *_ in row if text}
    assert {cell.data_type for row in sheet.iter_rows() for cell in row if cell.value} == {"s"}


def test_a_workbook_without_tables():
    book = openpyxl.load_workbook(io.BytesIO(to_xlsx(Document())))
    assert book.sheetnames == ["No tables"]


def test_json_follows_its_schema():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    written = json.loads(to_json(document()))
    jsonschema.validate(written, schema)
    broken = json.loads(to_json(document()))
    broken["pages"][0]["blocks"][0]["type"] = "table"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_pages_are_read_from_json(tmp_path):
    written = json.loads(to_json(document()))
    for figure in document().figures():
        (tmp_path / figure.name).write_bytes(figure.read())
    pages = tuple(Page.from_dict(values, tmp_path) for values in written["pages"])
    again = Document(pages)
    assert to_json(again) == to_json(document())
    assert page_markdown(again) == page_markdown(document())
    assert [figure.read() for figure in again.figures()] == [f.read() for f in document().figures()]


def test_figures_may_be_files(tmp_path):
    file = tmp_path / "page1-1.jpg"
    file.write_bytes(next(document().figures()).read())
    block = Block("image", (0, 0, 9, 9), Figure("page1-1.jpg", 60, 30, Path(file)))
    assert b"base64" in to_html(one_block(block), "t")


# Columns.


def test_columns_are_counted():
    wide, left, right = (0, 0, 400, 20), (0, 30, 190, 200), (210, 30, 400, 200)
    lone = (0, 210, 190, 260)
    assert columns.places_of([wide, left, lone, right]) == [
        columns.Place(1, 0), columns.Place(2, 0), columns.Place(2, 0), columns.Place(2, 1)
    ]  # fmt: skip
    assert columns.places_of([wide, left]) == [columns.Place()] * 2
    assert columns.places_of([]) == []
