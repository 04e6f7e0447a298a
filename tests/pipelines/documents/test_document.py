"""Whole documents: the command, breaks between pages, models by role, interrupted runs."""

from __future__ import annotations

import json
from pathlib import Path

import docx
import numpy as np
import openpyxl
import pytest
from drawn.tables import table_of
from PIL import Image

import pipelines
from pipelines.cli import page_workers, parsed_pages
from pipelines.documents import document as documents
from pipelines.documents.document import choose_networks, finish, losses
from pipelines.documents.networks import detection_settings, load_networks
from pipelines.documents.page_tables import join_tables
from pipelines.documents.roles import ROLES, find_models
from pipelines.documents.settings import DEFAULT, PRESETS
from pipelines.documents.types import Block, Document, Flow, Page, Text
from pipelines.documents.writers.markdown import page_markdown
from schemas.processing import SettingsError
from tests.support.cli_runs import run
from tests.support.drawn_pages import MARGIN, WIDTH, DrawnPage, Ideal
from tests.support.pool_here import PoolHere

__all__ = ["run"]  # fixtures

LEFT, RIGHT = MARGIN, WIDTH - MARGIN


# Breaks between pages.


def full(text, box, **values):
    """A text of several lines, whose last one reaches the right edge."""
    left, _, right, _ = box
    flow = Flow(lines=3, first=left, last=right)
    return Block("text", box, Text((text,)), flow=flow, **values)


def pages(*found):
    return [
        Page("a.pdf", number, 600, 800, 0, tuple(blocks)) for number, blocks in enumerate(found, 1)
    ]


def markdown(*found):
    return page_markdown(Document(tuple(finish(pages(*found), PRESETS["pp-structurev3"]))))


def test_a_paragraph_goes_on_in_the_next_column_and_on_the_next_page():
    first = [full("one", (40, 40, 280, 700)), full("two", (320, 40, 560, 700))]
    assert markdown(first, [full("three", (40, 40, 280, 300))]) == "one two three"


def test_what_stands_around_the_text_parts_no_paragraph():
    number = Block("number", (290, 770, 310, 790), Text(("7",)))
    header = Block("header", (40, 8, 200, 20), Text(("Tides",)))
    end, start = full("one", (40, 40, 560, 700)), full("two", (40, 40, 560, 300))
    assert markdown([end, number], [header, start]) == "one two"


def test_chinese_is_joined_without_a_space():
    ends = [full("潮汐", (40, 40, 560, 700))], [full("每日", (40, 40, 560, 300))]
    assert markdown(*ends) == "潮汐每日"


@pytest.mark.parametrize(
    "second",
    [
        Block("text", (40, 40, 560, 300), Text(("two",)), flow=Flow(lines=3, first=80, last=560)),
        Block("reference", (40, 40, 560, 300), Text(("two",)), flow=Flow(lines=3, first=40)),
    ],
    ids=["indented", "another label"],
)
def test_other_texts_are_not_joined(second):
    assert markdown([full("one", (40, 40, 560, 700))], [second]) == "one\n\ntwo"


def test_a_short_last_line_ends_a_paragraph():
    end = Block("text", (40, 40, 560, 700), Text(("one.",)), flow=Flow(lines=3, first=40, last=200))
    assert markdown([end], [full("two", (40, 40, 560, 300))]) == "one.\n\ntwo"


def table(rows, box=(40, 500, 560, 700)):
    return Block("table", box, table_of(rows, box))


HEAD = [("Day", 1, 1), ("High", 1, 1)]


def rows(*numbers):
    return [[(str(number), 1, 1), (f"{number} m", 1, 1)] for number in numbers]


def test_a_table_goes_on_over_two_page_breaks():
    parts = [table([HEAD, *rows(1, 2)])], [table([HEAD, *rows(3)])], [table([HEAD, *rows(4)])]
    number = Block("number", (290, 770, 310, 790), Text(("7",)))
    text = markdown([*parts[0], number], parts[1], parts[2])
    assert text.count("<table") == 1
    assert text.count("Day") == 1
    assert [text.count(f"<td>{n}</td>") for n in (1, 2, 3, 4)] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "second",
    [
        [table([HEAD, *rows(3)], (40, 40, 300, 200))],
        [Block("text", (40, 10, 560, 30), Text(("Another one",))), table([HEAD, *rows(3)])],
        [table([[("a", 1, 1), ("b", 1, 1), ("c", 1, 1)]])],
    ],
    ids=["another width", "a text before it", "other columns"],
)
def test_other_tables_are_not_joined(second):
    assert markdown([table([HEAD, *rows(1, 2)])], second).count("<table") == 2


def test_joined_tables_keep_their_rows():
    joined = join_tables(*(each.content for each in (table([HEAD, *rows(1)]), table(rows(2, 3)))))
    assert [(cell.row, cell.text) for cell in joined.cells if cell.column == 0] == [
        (0, "Day"), (1, "1"), (2, "2"), (3, "3")
    ]  # fmt: skip
    assert joined.html.count("<tr>") == joined.html.count("</tr>") == 4


def test_levels_of_titles_over_a_document():
    titles = [("Introduction", 20), ("Method of the day", 14), ("Data", 20), ("Tides and bays", 14)]
    blocks = [
        [Block("paragraph_title", (0, 0, 300, height), Text((title,)))] for title, height in titles
    ]
    levels = [block.level for page in finish(pages(*blocks), DEFAULT) for block in page.blocks]
    assert levels == [1, 2, 1, 2]


# Networks by role.


def test_every_released_name_of_a_role_is_known():
    from converter.catalog import cards

    names = {*cards.names(), "PP-DocLayoutV2"}  # it is listed with the reason why it is refused
    assert {name for role in ROLES.values() for name in role.names} <= names


def write_card(folder, name, task, labels=(), stem=None):
    folder.mkdir(exist_ok=True, parents=True)
    file = folder / f"{stem or name}.pth"
    file.write_bytes(b"weights")
    card = {"format": 1, "name": name, "task": task, "labels": list(labels)}
    file.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    return file


def test_the_best_model_of_each_role_is_taken(tmp_path):
    best = write_card(tmp_path / "b", "PP-DocLayout_plus-L", "layout", ["text"])
    write_card(tmp_path / "a", "PP-DocLayout-S", "layout", ["text"])
    cells = write_card(tmp_path, "RT-DETR-L_wired_table_cell_det", "layout", ["cell"])
    own = write_card(tmp_path, "mine", "cls", ["0", "90", "180", "270"])
    write_card(tmp_path, "ch_ppocr_mobile_v2.0_cls", "cls", ["0", "180"])  # only if it is named
    write_card(tmp_path, "PP-OCRv4_mobile_seal_det", "det")
    rec = write_card(tmp_path, "PP-OCRv5_mobile_rec", "rec")
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    (tmp_path / "other.pth").write_bytes(b"")
    found = find_models(tmp_path)
    seal = tmp_path / "PP-OCRv4_mobile_seal_det.pth"
    assert found == {
        "layout": best, "wired_cells": cells, "orientation": own, "recognition": rec, "seal": seal
    }  # fmt: skip


def test_what_is_lost_is_said_in_one_line_each():
    lines = list(losses({"layout": "x"}, DEFAULT))
    assert len(lines) == len(ROLES) - 1
    assert "without a network that reads formulas: formulas stay pictures" in " ".join(lines)
    assert all("\n" not in line for line in lines)
    assert len(list(losses({}, PRESETS["pp-structure"]))) == len(ROLES) - 7


def test_neither_layout_nor_reader(tmp_path):
    with pytest.raises(SettingsError, match="neither a layout network nor"):
        choose_networks(tmp_path, {}, DEFAULT)
    with pytest.raises(SettingsError, match="there is no preset x"):
        pipelines.parse("a.png", preset="x")
    with pytest.raises(SettingsError, match="text is x"):
        pipelines.parse("a.png", text="x")
    with pytest.raises(SettingsError, match="lay_out is no network"):
        load_networks({"lay_out": print}, DEFAULT)


class Detector:
    card = {"task": "det", "architecture": {"Head": {"name": "EASTHead"}}}


def test_settings_of_db_are_not_those_of_other_detectors():
    assert "thresh" not in detection_settings(Detector(), DEFAULT.detection)
    Detector.card = {"task": "det", "architecture": {"Head": {"name": "DBHead"}}}
    assert detection_settings(Detector(), DEFAULT.detection) == DEFAULT.detection


def test_settings_of_layout_reach_the_labels_that_there_are():
    class Layout:
        card = {"task": "layout", "labels": ["paragraph_title", "table"]}

        def __call__(self, _):
            return {}

    settings = load_networks({"layout": Layout()}, DEFAULT).layout.settings
    assert settings.threshold == {"paragraph_title": 0.3}
    assert settings.layout_nms


# The command.


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Images of ten pages, and the predictors that know them."""
    drawn = [ten_pages(number) for number in range(10)]
    ideal = Ideal(drawn)
    folder = tmp_path / "book"
    folder.mkdir()
    frames = [Image.fromarray(page.draw(key)[..., ::-1]) for key, page in enumerate(drawn)]
    frames[0].save(folder / "book.tif", save_all=True, append_images=frames[1:])
    monkeypatch.setattr("pipelines.cli.parse.choose_networks", lambda *_: {"layout": Path("x")})
    monkeypatch.setattr(parsed_pages, "load_predictors", lambda *_, **__: ideal.networks())
    return folder / "book.tif"


def ten_pages(number):
    """A page of a document: columns, and on some a title, a picture, a table over a break."""
    page = DrawnPage()
    top = 40
    if number == 0:
        top = page.text("doc_title", 150, 30, 450, 1, short=False, words=["Ten pages"])
    if number in (4, 5):
        box = (LEFT, top, RIGHT, top + 120)
        page.picture("table", *box[:3], 120)
        page.blocks[-1].table = table_of([HEAD, *rows(number, number + 10)], box)
        return page
    if number % 2:
        top = page.text("paragraph_title", LEFT, top, 300, 1, short=False, words=[f"Part {number}"])
    top = page.columns(1 + number % 3, top, lines=(3, 4))
    if number == 7:
        page.picture("image", LEFT, top, RIGHT, 100)
    page.text("number", 290, 770, 310, 1, short=False, words=[str(number + 1)])
    return page


def command(book, out, *words):
    return ("parse", book, "--models", ".", "--out", out, *words)


def test_ten_pages_in_all_formats(run, book, tmp_path):
    out = tmp_path / "out"
    done = run(*command(book, out, "--format", "md,html,docx,xlsx,json", "--visualize"))
    assert (done.code, done.err) == (0, "")
    names = {file.name for file in out.iterdir()}
    drawings = {f"book.page{number}.jpg" for number in range(1, 11)}
    assert names == {
        "book.md", "book.html", "book.docx", "book.xlsx", "book.json", "book_images"
    } | drawings  # fmt: skip
    assert [file.name for file in (out / "book_images").iterdir()] == ["page8-1.jpg"]
    text = (out / "book.md").read_text(encoding="utf-8")
    assert text.startswith("# Ten pages\n")
    assert [line for line in text.split("\n") if line.startswith("## ")] == [
        f"## Part {number}" for number in (1, 3, 7, 9)
    ]
    assert text.count("<table") == 1
    expected = [
        word
        for page in book_pages()
        for block in page.blocks
        if block.label not in ("table", "number", "image")
        for _, line in block.lines
        for word in line.split()
    ]
    plain = [
        word
        for line in text.split("\n")
        if not line.startswith("<div")
        for word in line.replace("#", "").split()
    ]
    assert plain == expected
    word = docx.Document(str(out / "book.docx"))
    assert [p.text for p in word.paragraphs if p.style.name == "Heading 2"] == [
        "Part 1", "Part 3", "Part 7", "Part 9"
    ]  # fmt: skip
    assert [len(each.rows) for each in word.tables] == [5]
    words = " ".join(p.text for p in word.paragraphs).split()
    assert [each for each in words if each] == expected
    book_ = openpyxl.load_workbook(out / "book.xlsx")
    assert book_.sheetnames == ["Page 5"]
    assert [row[0].value for row in book_["Page 5"].iter_rows()] == ["Day", "4", "14", "5", "15"]


def book_pages():
    return [ten_pages(number) for number in range(10)]


def test_an_interrupted_run_goes_on(run, book, tmp_path, monkeypatch):
    out, stops = tmp_path / "out", {"at": 4}
    parser = documents.PageParser.__call__

    def parse(self, image, source, number, **options):
        if number == stops["at"]:
            raise KeyboardInterrupt
        return parser(self, image, source, number, **options)

    monkeypatch.setattr(documents.PageParser, "__call__", parse)
    assert run(*command(book, out)).code == 130
    assert not (out / "book.md").exists()
    stored = {file.name for file in (out / ".book.pages").iterdir()}
    assert stored == {"run.json", "page1.json", "page2.json", "page3.json"}
    (out / ".book.pages" / "page2.json").write_text("{", encoding="utf-8")
    stops["at"] = 0
    test = book_ideal(monkeypatch)
    assert run(*command(book, out)).code == 0
    assert test.seen == [1, 3, 4, 5, 6, 7, 8, 9]  # keys from 0: the damaged page, and the rest
    whole = tmp_path / "whole"
    assert run(*command(book, whole)).code == 0
    assert (out / "book.md").read_bytes() == (whole / "book.md").read_bytes()
    assert not (out / ".book.pages").exists()


def book_ideal(monkeypatch):
    ideal = Ideal(book_pages())
    monkeypatch.setattr(parsed_pages, "load_predictors", lambda *_, **__: ideal.networks())
    return ideal


def test_other_options_start_anew(run, book, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(*command(book, out))
    (out / ".book.pages").mkdir()
    (out / ".book.pages" / "run.json").write_text("another", encoding="utf-8")
    (out / ".book.pages" / "page1.json").write_text("{}", encoding="utf-8")
    ideal = book_ideal(monkeypatch)
    assert run(*command(book, out, "--preset", "pp-structurev3")).code == 0
    assert ideal.seen == list(range(10))


def test_a_page_that_fails_is_listed(run, book, tmp_path, monkeypatch):
    out = tmp_path / "out"
    parser = documents.PageParser.__call__

    def parse(self, image, source, number, **options):
        if number == 3:
            raise MemoryError
        return parser(self, image, source, number, **options)

    monkeypatch.setattr(documents.PageParser, "__call__", parse)
    done = run(*command(book, out, "--format", "md,json"))
    assert done.code == 3
    assert f"{book}, page 3: MemoryError" in done.err
    assert "1 could not be read" in done.err
    written = json.loads((out / "book.json").read_text(encoding="utf-8"))
    assert written["pages"][2] == {"source": "book.tif", "page": 3, "error": "MemoryError"}
    assert len(written["pages"]) == 10


def test_pages_in_several_processes(run, book, tmp_path, monkeypatch):
    (book.parent / "a.pdf").write_bytes(b"no PDF")
    parser = documents.PageParser.__call__

    def parse(self, image, source, number, **options):
        if number == 6:
            raise MemoryError
        return parser(self, image, source, number, **options)

    monkeypatch.setattr(documents.PageParser, "__call__", parse)
    words = ("--models", ".")
    alone = run("parse", book.parent, "--out", tmp_path / "alone", *words)
    monkeypatch.setattr(page_workers, "Pool", PoolHere)
    out = tmp_path / "out"
    run("parse", book.parent, "--out", out, *words, "--workers", "2")
    assert_same(tmp_path / "alone", out)
    ideal = book_ideal(monkeypatch)
    monkeypatch.setattr(PoolHere, "most", 2)  # tasks of four pages
    stopped = run("parse", book.parent, "--out", out, *words, "--workers", "2")
    assert (stopped.code, ideal.seen) == (130, [0, 1, 2, 3, 4, 6])
    monkeypatch.setattr(PoolHere, "most", None)
    done = run("parse", book.parent, "--out", out, *words, "--workers", "2")
    assert ideal.seen[6:] == [7, 8, 9]
    assert (done.code, done.err) == (alone.code, alone.err)
    assert "page 6: MemoryError" in done.err
    assert_same(tmp_path / "alone", out)


def assert_same(folder, other):
    files = [
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (folder, other)
    ]
    assert files[0] == files[1]


def test_names_of_figures_come_from_numbers_alone(run, book, tmp_path):
    run(*command(book, tmp_path / "out", "--format", "docx"))
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"book.docx"}
    assert {file.name for file in tmp_path.iterdir()} == {"book", "out"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--format", "md,doc"), "there is no format 'doc'"),
        (("--preset", "x"), "invalid choice: 'x'"),
        (("--text", "x"), "invalid choice: 'x'"),
    ],
)
def test_usage(run, book, tmp_path, words, reason):
    done = run(*command(book, tmp_path / "out", *words))
    assert done.code == 2
    assert reason in done.err


def test_a_missing_package(run, book, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.documents.writers.formats.find_spec", lambda _: None)
    done = run(*command(book, tmp_path / "out", "--format", "docx"))
    assert done.code == 2
    assert "pip install paddleocr-to-torch[documents]" in done.err


def test_files_that_are_no_pages(run, book, tmp_path):
    (book.parent / "a.pdf").write_bytes(b"no PDF")
    done = run("parse", book.parent, "nowhere.png", "--models", ".", "--out", tmp_path / "out")
    assert done.code == 3
    assert "nowhere.png: there is no such file" in done.err
    assert "a.pdf: not a PDF" in done.err
    assert (tmp_path / "out" / "book.md").is_file()
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"book.md", "book_images"}


def test_python(book, monkeypatch):
    monkeypatch.setattr(documents, "load_networks", lambda *_, **__: Ideal(book_pages()).networks())
    parsed = pipelines.parse(book, layout="x", detection="x", recognition="x")
    assert len(parsed.pages) == 10
    assert not parsed.failures
    assert [figure.name for figure in parsed.figures()] == ["page8-1.jpg"]
    missing = pipelines.parse([book.parent / "b.png"], layout="x")
    assert missing.failures[0].error.endswith("there is no such file")


def test_pages_are_parsed_in_constant_memory(tmp_path):
    import tracemalloc

    drawn = [ten_pages(number) for number in range(10)]
    ideal = Ideal(drawn)
    images = [page.draw(key) for key, page in enumerate(drawn)]

    class Book:
        count = 50

        def read(self, number):
            return images[number % 10].copy()

    parser = documents.PageParser(ideal.networks())
    peaks = []
    tracemalloc.start()
    for number, parsed in enumerate(documents.parse_pages(parser, Book(), "a", folder=tmp_path), 1):
        assert np.array_equal(parsed.image[:9, :9], images[number % 10][:9, :9])
        if number in (10, 50):
            peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.1


@pytest.mark.parametrize(
    ("head", "expected"), [("PPDocLayoutV3", True), ("RTDETRTransformer", False)]
)
def test_networks_that_tell_the_order(head, expected):
    class Layout:
        card = {"task": "layout", "labels": ["text"], "architecture": {"Head": {"name": head}}}

        def __call__(self, _):
            boxes = np.array([[[0.5, 0.8, 0.9, 0.1], [0.5, 0.2, 0.9, 0.1]]], "f")
            logits = np.full((1, 2, 1), 3, "f")
            order = np.array([[[0, 5], [0, 0]]], "f")
            return {"boxes": boxes, "logits": logits} | ({"order": order} if expected else {})

    networks = load_networks({"layout": Layout()}, DEFAULT)
    assert networks.ordered == expected
    image = np.full((200, 100, 3), 255, np.uint8)
    blocks = documents.PageParser(networks)(image, "a.png", 1).page.blocks
    assert [block.box[1] > 100 for block in blocks] == [expected, not expected]
