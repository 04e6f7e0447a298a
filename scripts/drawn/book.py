"""A document of ten pages: what PP-StructureV3 distinguishes, each at least once.

One to three columns, a title over columns, headers, footers, numbers of pages, pictures with
captions, a footnote, formulas, tables with and without lines and with spans, a table over a page
break, vertical Chinese, and a page that was scanned sideways.
"""

from __future__ import annotations

from collections.abc import Sequence

from drawn.pages import (
    LEADING,
    NOTE_SIZE,
    SECTION_SIZE,
    SIZE,
    SPACE,
    TITLE_SIZE,
    DrawnPage,
    broken,
    letters,
)

LEFT, TOP, BETWEEN = 90, 130, 40
"""Where text begins on a page, and the space between two columns, in pixels."""
CHINESE = "潮汐每日两次涨落月亮经过海湾之后海水退去港口的人记录水位并把平均值写在表中"
CHINESE_TITLE = "海湾潮汐"
SENTENCES = (
    "The gauge stands at the end of the long pier.",
    "Its readings are sent to the harbour office every ten minutes.",
    "A single reading says little, since wind and waves disturb the water.",
    "The mean of one day removes most of this noise.",
    "Spring tides follow the new moon and the full moon.",
    "Neap tides come a week later, and their range is much smaller.",
    "In a narrow bay the water rises higher than on the open coast.",
    "Storms from the west have raised the level by almost two metres.",
    "The keeper cleans the float twice a year and checks the clock.",
    "Old records were written by hand in books of one hundred pages.",
    "They have been copied, and each number was read by two persons.",
    "Where both agree, the number is taken without further questions.",
    "Gaps of a few hours are filled from the gauge of the next harbour.",
    "Longer gaps stay empty, because a guess would change the mean.",
    "The ground below the pier sinks by one millimetre each year.",
    "This movement is measured from a mark in the rock behind the town.",
    "Fishermen know the tides well and need no table for the day.",
    "Visitors should ask before they walk out to the lighthouse.",
    "The path is dry for three hours around low water.",
    "A bell is rung when the sea returns to the second stone.",
)
HEAD = [("Harbour", 1, 2), ("Spring tide", 2, 1), ("Neap tide", 2, 1)]
SECOND_HEAD = [(name, 1, 1) for name in ("High", "Low", "High", "Low")]


def ten_pages() -> list[DrawnPage]:
    """Draw the document."""
    makers = (_first, _figures, _newspaper, _formulas, _wired, _wireless, _goes_on, _vertical,
              _sideways, _last)  # fmt: skip
    return [_furnished(make(), number) for number, make in enumerate(makers, 1)]


def _prose(start: int, count: int) -> str:
    """Return some of the sentences, from one of them on."""
    return " ".join(SENTENCES[(start + index) % len(SENTENCES)] for index in range(count))


def _furnished(page: DrawnPage, number: int) -> DrawnPage:
    """Add header, footer and number of a page."""
    before = len(page.blocks)
    if number > 1:
        page.text("header", LEFT, 50, 500, "Tides of the bay", size=NOTE_SIZE)
        page.blocks = [*page.blocks[before:], *page.blocks[:before]]
    page.text("footer", LEFT, page.height - 70, 500, "Harbour office", size=NOTE_SIZE)
    middle = page.width // 2
    page.text("number", middle - 20, page.height - 70, 80, f"- {number} -", size=NOTE_SIZE)
    return page


def _columns(page: DrawnPage, count: int) -> list[tuple[int, int]]:
    """Return left and width of each column."""
    width = (page.width - 2 * LEFT - BETWEEN * (count - 1)) // count
    return [(LEFT + index * (width + BETWEEN), width) for index in range(count)]


def _first() -> DrawnPage:
    page = DrawnPage()
    ((left, width),) = _columns(page, 1)
    y = page.text("doc_title", left, TOP, width, "Tides of the bay", size=TITLE_SIZE, centred=True)
    y = _section(page, left, y + SPACE, width, "1. Why to measure")
    for start, count in ((0, 4), (4, 3), (7, 3)):
        y = page.text("text", left, y, width, _prose(start, count))
    y = _section(page, left, y + SPACE, width, "2. The gauge")
    for start, count in ((10, 3), (13, 4), (17, 3)):
        y = page.text("text", left, y, width, _prose(start, count))
    return page


def _section(page: DrawnPage, left: int, top: int, width: int, title: str) -> int:
    return page.text("paragraph_title", left, top, width, title, size=SECTION_SIZE)


def _figures() -> DrawnPage:
    """Two columns, a picture with its caption, a footnote."""
    page = DrawnPage()
    (first, width), (second, _) = _columns(page, 2)
    y = _section(page, first, TOP, width, "3. Waves")
    y = page.text("text", first, y, width, _prose(2, 4))
    y = page.picture(first, y, width, 220)
    y = page.text("figure_title", first, y, width, "Figure 1: Waves at the pier", size=NOTE_SIZE,
                  centred=True)  # fmt: skip
    page.text("text", first, y, width, _prose(6, 5))
    y = _section(page, second, TOP, width, "4. Wind")
    for start in (11, 15, 1):
        y = page.text("text", second, y, width, _prose(start, 3))
    page.text("footnote", second, page.height - 160, width, "1 Measured from the mark in the rock.",
              size=NOTE_SIZE)  # fmt: skip
    return page


def _newspaper() -> DrawnPage:
    """A title over three columns."""
    page = DrawnPage()
    title = "A storm from the west"
    whole = page.width - 2 * LEFT
    y = page.text("doc_title", LEFT, TOP, whole, title, size=TITLE_SIZE, centred=True)
    for column, (left, width) in enumerate(_columns(page, 3)):
        top = y + SPACE
        for start in (0, 3, 6):
            top = page.text("text", left, top, width, _prose(column * 7 + start, 3))
    return page


def _formulas() -> DrawnPage:
    page = DrawnPage()
    ((left, width),) = _columns(page, 1)
    y = _section(page, left, TOP, width, "5. The level")
    y = page.text("text", left, y, width, _prose(3, 4))
    y = page.formula(left + 300, y, "h = a + b t^{2}",
                     [("h = a + b t", 28, 0), ("2", 17, 14)])  # fmt: skip
    y = page.text("text", left, y, width, _prose(8, 3))
    parts = [("E = m g h", 28, 0), ("0", 17, -8), ("- c", 28, 0), ("3", 17, 14)]
    y = page.formula(left + 280, y, "E = m g h_{0} - c^{3}", parts)
    page.text("text", left, y, width, _prose(12, 4))
    return page


def _wired() -> DrawnPage:
    """A table with lines and a head of two rows, below its caption."""
    page = DrawnPage()
    ((left, width),) = _columns(page, 1)
    y = _section(page, left, TOP, width, "6. Harbours")
    y = page.text("text", left, y, width, _prose(5, 4))
    y = page.text("table_title", left, y, width, "Table 1: Levels of four harbours in metres",
                  size=NOTE_SIZE, centred=True)  # fmt: skip
    rows = [HEAD, SECOND_HEAD, *_levels(("North pier", "South pier", "Old town", "Island"), 0)]
    y = page.table(left, y, width, rows)
    page.text("text", left, y, width, _prose(9, 5))
    return page


def _levels(names: Sequence[str], start: int) -> list[list[tuple[str, int, int]]]:
    """Return rows of a table: a name and four levels."""
    rows = []
    for number, name in enumerate(names, start):
        levels = [f"{value + number * 0.13:.2f}" for value in (4.21, 0.35, 3.07, 1.12)]
        rows.append([(text, 1, 1) for text in (name, *levels)])
    return rows


def _wireless() -> DrawnPage:
    """A table of few lines, and one that goes on on the next page."""
    page = DrawnPage()
    ((left, width),) = _columns(page, 1)
    y = page.text("text", left, TOP, width, _prose(14, 5))
    rows = [[(text, 1, 1) for text in ("Month", "Storms", "Calm days")]]
    rows += [[(text, 1, 1) for text in (month, storms, calm)]
             for month, storms, calm in (("March", "7", "12"), ("June", "1", "21"),
                                         ("October", "9", "8"))]  # fmt: skip
    y = page.table(left, y, width, rows, lines=False)
    y = page.text("text", left, y, width, _prose(0, 3))
    names = [f"Station {number}" for number in range(1, 10)]
    top = page.height - 130 - 38 * (len(names) + 1)
    page.text("text", left, y, width, _prose(16, 4))
    page.table(left, top, width, [_head_row(), *_levels(names, 0)])
    return page


def _head_row() -> list[tuple[str, int, int]]:
    return [(text, 1, 1) for text in ("Station", "First", "Second", "Third", "Fourth")]


def _goes_on() -> DrawnPage:
    page = DrawnPage()
    ((left, width),) = _columns(page, 1)
    names = [f"Station {number}" for number in range(10, 15)]
    y = page.table(left, TOP, width, [_head_row(), *_levels(names, 9)], goes_on=True)
    y = _section(page, left, y + SPACE, width, "7. Stations")
    for start in (18, 2, 6):
        y = page.text("text", left, y, width, _prose(start, 3))
    return page


def _vertical() -> DrawnPage:
    """Chinese in columns from right to left."""
    page = DrawnPage()
    right = page.width - LEFT
    for start in (0, 12):
        text = (CHINESE[start:] + CHINESE[:start]) * 4
        right = page.vertical(right, TOP, 900, text[: 33 * 4 + 17])
    return page


def _sideways() -> DrawnPage:
    """A wide page that was scanned sideways."""
    page = DrawnPage(1414, 1000)
    page.turned = 90
    y = _section(page, LEFT, TOP, 800, "8. The chart")
    for left, width in _columns(page, 2):
        top = y
        for start in (left % 7, left % 11 + 4):
            top = page.text("text", left, top, width, _prose(start, 4))
    return page


def _last() -> DrawnPage:
    """A paragraph that goes on in the next column, and a small table in a column."""
    page = DrawnPage()
    (first, width), (second, _) = _columns(page, 2)
    y = _section(page, first, TOP, width, "9. Outlook")
    y = page.text("text", first, y, width, _prose(4, 6))
    lines = broken(_prose(10, 26), width)
    room = (page.height - 120 - y) // round(SIZE * LEADING)
    ends = [number for number in range(room, 0, -1) if _is_full(lines[number - 1], lines)]
    page.text("text", first, y, width, " ".join(lines[: ends[0]]))
    rest = " ".join(lines[ends[0] :])
    y = page.text("text", second, TOP, width, rest, goes_on=True)
    texts = (("Year", "Mean"), ("1990", "2.31"), ("2000", "2.35"), ("2010", "2.41"))
    rows = [[(text, 1, 1) for text in row] for row in texts]
    y = page.table(second, y, width, rows)
    page.text("text", second, y, width, _prose(13, 4))
    return page


def _is_full(line: str, lines: Sequence[str]) -> bool:
    """Return whether a line is nearly as long as the longest one."""
    lengths = [letters(SIZE).getlength(each) for each in (line, *lines)]
    return lengths[0] > max(lengths[1:]) - 8
