"""Pages at random, as the networks' results: regions, areas, lines, formulas and tables.

They are data alone, as `paddlex_pages_child.py` reads them. Texts have no characters that Markdown
would have to escape.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import Any

WORDS = (
    "alpha",
    "beta,",
    "gamma.",
    "12",
    "delta-",
    "中文字",
    "end。",
    "a b",
    "Abstract",
    "References",
)
COLUMN_LABELS = (
    *("text",) * 6,
    *("paragraph_title", "image", "table", "figure_title", "formula", "reference", "abstract"),
    *("content", "algorithm", "chart", "seal", "formula_number"),
)
LABELS = (*COLUMN_LABELS, "number", "doc_title", "footnote", "header", "footer", "aside_text")
OVER_COLUMNS = ("paragraph_title", "text", "image", "table", "figure_title")
LATEX = ("x^2", "a+b", r"\frac{1}{2}")


@dataclass
class RandomPage:
    """What the networks found on a page."""

    size: list[int]
    regions: list[dict[str, Any]] = field(default_factory=list)
    areas: list[list[float]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    formulas: list[dict[str, Any]] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the page as JSON has it."""
        return asdict(self)


class Maker:
    """Makes one page."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._width, self._height = self.choose((600, 800), (800, 600), (500, 500))
        self._vertical = self.chance(0.15)
        self._page = RandomPage([self._height, self._width])

    def choose(self, *values: Any) -> Any:
        return self._random.choice(values)

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def page(self) -> RandomPage:
        """Make a page of columns, or of regions anywhere, or without regions."""
        if self.chance(0.75):
            self._columns()
        else:
            for _ in range(self.choose(1, 3, 8, 12)):
                x = self._random.uniform(0, self._width - 80)
                y = self._random.uniform(0, self._height - 50)
                right, bottom = x + self._random.uniform(30, 300), y + self._random.uniform(12, 150)
                label = self.choose(*(label for label in LABELS if label != "formula"))
                self._add(label, x, y, right, bottom, formulas=False)
        if self.chance(0.4):
            for _ in range(self.choose(1, 2, 3)):
                x, y = (self._random.uniform(0, side / 2) for side in (self._width, self._height))
                right = x + self._random.uniform(100, self._width / 2)
                bottom = y + self._random.uniform(100, self._height / 2)
                self._page.areas.append([x, y, right, bottom])
        if self.chance(0.1):
            self._page.regions, self._page.tables = [], []
        if self.chance(0.5):
            self._random.shuffle(self._page.regions)
        return self._page

    def _columns(self) -> None:
        width, y, count = self._width, 30.0, self.choose(1, 2, 3)
        if self.chance(0.5):
            self._add("header", 40, 8, width - 40, 22)
        if self.chance(0.5):
            self._add("doc_title", width * 0.2, y, width * 0.8, y + 30)
            y += 40
        if self.chance(0.3):
            self._add("text", width * 0.3, y, width * 0.7, y + 14)
            y += 24
        for _ in range(self.choose(1, 2, 3)):
            y = self._band(count, y)
            if self.chance(0.4):
                left, right = self.choose((30, width - 30), (width * 0.25, width * 0.75))
                self._add(self.choose(*OVER_COLUMNS), left, y, right, y + 30)
                y += 40
        if self.chance(0.5):
            self._add("footer", 40, y + 10, width / 2, y + 24)
        if self.chance(0.5):
            self._add("number", width / 2 + 10, y + 10, width / 2 + 40, y + 24)
        if self.chance(0.3):
            self._add("footnote", 40, y + 30, width / 2, y + 45)
        if self.chance(0.2):
            self._add("aside_text", 2, 100, 14, 400)
        self._page.size[0] = int(max(self._height, y + 80))

    def _band(self, count: int, top: float) -> float:
        width = (self._width - 60 - 20 * (count - 1)) / count
        ends = []
        for column in range(count):
            x, y = 30 + column * (width + 20), top
            for _ in range(self.choose(1, 2, 3, 4)):
                height = self.choose(16, 30, 60, 90)
                end = x + (width + self._random.uniform(-3, 3) if self.chance(0.8) else width / 2)
                left = x + self._random.uniform(-2, 2)
                self._add(self.choose(*COLUMN_LABELS), left, y, end, y + height)
                y += height + self.choose(4, 10, 20, 40)
            ends.append(y)
        return max(ends) + self.choose(0, 20, 50)

    def _add(self, label: str, left: float, top: float, right: float, bottom: float, *,
             formulas: bool = True) -> None:  # fmt: skip
        score = round(self._random.random(), 2)
        box = [left, top, right, bottom]
        self._page.regions.append({"label": label, "box": box, "score": score})
        if label == "table":
            cell = f"<td>{len(self._page.tables)}</td>"
            self._page.tables.append(f"<html><body><table><tr>{cell}</tr></table></body></html>")
        if label == "formula":
            self._page.formulas.append({"box": box, "latex": self.choose(*LATEX)})
        elif label not in ("table", "seal"):
            (self._vertical_lines if self._vertical else self._lines)(box, label, formulas=formulas)

    def _vertical_lines(self, box: list[float], *_: str, **__: bool) -> None:
        left, top, right, bottom = box
        x = right - 4
        while x - 14 > left:
            start, end = top + self.choose(0, 0, 20), bottom - self.choose(0, 0, 5, 60)
            if end > start + 5:
                self._line(x - 14, start, x, end, 1)
            x -= 20

    def _lines(self, box: list[float], label: str, *, formulas: bool) -> None:
        left, top, right, bottom = box
        height, y = self.choose(10, 12, 18), top + self._random.uniform(0, 3)
        while y + height < bottom + 4:
            start = left + self.choose(0, 0, 0, 3, 25)
            end = right - self.choose(0, 0, 0, 4, 60)
            if end <= start + 20:
                pass
            elif self.chance(0.2):
                middle = (start + end) / 2
                self._line(start, y, middle - 4, y + height, 1)
                self._line(middle, y + self.choose(0, 1, 2), end, y + height, 1)
            else:
                self._line(start, y, end, y + height, self.choose(1, 3))
                if formulas and label == "text" and end > start + 80 and self.chance(0.15):
                    x = self._random.uniform(start + 20, end - 50)
                    place = [x, y, x + 30, y + height]
                    self._page.formulas.append({"box": place, "latex": self.choose(*LATEX)})
            y += height * 1.4

    def _line(self, left: float, top: float, right: float, bottom: float, words: int) -> None:
        text = " ".join(self.choose(*WORDS) for _ in range(words))
        box = [int(left), int(top), int(right), int(bottom)]
        self._page.lines.append({"box": box, "text": text})
