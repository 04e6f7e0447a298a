"""The levels of titles, from their numbers, their heights and their words, over a whole document.

The rules are those of PaddleX 3, inference/pipelines/layout_parsing/title_level.py. Heights are put
into groups by the best partition there is, where PaddleX's k-means starts at random places.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations, pairwise

from pipelines.documents.labels import TITLE
from pipelines.documents.types import Block, Page

MOST_GROUPS = 4
MOST_HEIGHTS = 40
"""Of more different heights, groups are found from this many, evenly chosen."""
_NUMBERS: Sequence[tuple[str, re.Pattern[str], int]] = (
    ("bracket", re.compile(r"\s*(?:[(（])?(\d+(?:\.\d+)*)[)）]"), 4),
    ("roman", re.compile(r"\s*([IVX]+)(?:[.．)\s]|$)", re.IGNORECASE), 1),
    (
        "chinese",
        re.compile(
            r"\s*(?:第|[（(])?([一二三四五六七八九十]{1,2})"
            r"(?:[章节篇卷部条题讲课回）)]|(?![a-zA-Z\u4e00-\u9fa5]))",
            re.IGNORECASE,
        ),
        1,
    ),
    ("letter", re.compile(r"\s*([A-Z])(?:[.．)\s])", re.IGNORECASE), 2),
    ("points", re.compile(r"\s*(\d+(?:\.\d+)*)(?![）)])(?:[.]?\s*|(?=[A-Z]))"), 0),
)
"""Kinds of numbers, tried in this order, and the level that they stand for; 0: by their points."""
FIRST_LEVEL = frozenset(
    {"ABSTRACT", "ACKNOWLEDGMENTS", "APPENDICES", "APPENDIX", "BACKGROUND", "CONCLUSION"}
    | {"BACKGROUNDANDRELATEDWORK", "CONCLUSIONS", "CONTENTS", "DATA", "DISCUSSION"}
    | {"INTRODUCTION", "LIMITATIONS", "METHOD", "METHODOLOGY", "METHODS", "REFERENCE"}
    | {"REFERENCES", "RELATEDWORK", "RESULT", "RESULTS", "RESUME", "SUMMARY"}
    | {"THEORETICALMODELS", "TOPICANALYSIS", "绪论", "引言", "参考文献", "附录", "研究背景"}
    | {"相关工作", "研究方法", "实验结果", "讨论", "结论", "致谢", "目录"}
)
"""Titles of the first level, in capitals and without spaces."""


def number_of(title: str) -> tuple[str | None, int]:
    """Return the kind of the number of a title and the level it stands for; None and -1 without."""
    text = title.strip()
    for kind, pattern, level in _NUMBERS:
        if match := pattern.match(text):
            return kind, level or match[1].count(".") + 1
    return None, -1


def height_of(block: Block) -> int:
    """Return the height of a line of a title, in pixels."""
    left, top, right, bottom = block.box
    width, height = right - left, bottom - top
    lines = block.text.strip().count("\n") + 1
    return int((height if width >= height else width) / lines)


def levels_of(titles: Sequence[Block]) -> list[int]:
    """Return the level of each title, from 1.

    Args:
        titles: of a document, in reading order.
    """
    groups = group_heights([height_of(title) for title in titles])
    places: dict[str, int] = {}  # kind of number -> its place among those of the document
    first_points = 0
    levels = []
    for title in titles:
        group = groups[height_of(title)]
        kind, level = number_of(title.text)
        if kind is None:
            words = title.text.upper().strip().rstrip("：: ").replace(" ", "")
            levels.append(1 if words in FIRST_LEVEL else group)
            continue
        place = places.setdefault(kind, len(places) + 1)
        if kind == "points":
            first_points = first_points or level
            place += level - first_points
        ((voted, votes),) = Counter([level, place, group]).most_common(1)
        levels.append(voted if votes > 1 else place)
    return [max(1, level) for level in levels]


def group_heights(heights: Sequence[int]) -> dict[int, int]:
    """Return the group of each height: 1 for the largest ones, 4 at most."""
    counts = Counter(heights)
    distinct = sorted(counts, reverse=True)
    if not distinct:
        return {}
    chosen = distinct
    if len(chosen) > MOST_HEIGHTS:
        step = len(chosen) / MOST_HEIGHTS
        chosen = [distinct[math.floor(n * step)] for n in range(MOST_HEIGHTS)]
    count = min(MOST_GROUPS, len(chosen))
    best = min(
        (
            [0, *cuts, len(chosen)]
            for cuts in combinations(range(1, len(chosen)), max(0, count - 1))
        ),
        key=lambda ends: sum(_spread(chosen[start:end], counts) for start, end in pairwise(ends)),
    )
    limits = [chosen[end - 1] for end in best[1:]]
    return {
        height: next((n for n, limit in enumerate(limits, 1) if height >= limit), len(limits))
        for height in distinct
    }


def _spread(group: Sequence[int], counts: Counter[int]) -> float:
    """Return the sum of squared distances of the heights of a group from their mean."""
    total = sum(counts[height] for height in group)
    mean = sum(height * counts[height] for height in group) / total
    return sum(counts[height] * (height - mean) ** 2 for height in group)


def assign_levels(pages: Iterable[Page]) -> list[Page]:
    """Set the levels of the titles of a document."""
    found = list(pages)
    titles = [block for page in found for block in page.blocks if block.label == TITLE]
    levels = dict(zip(map(id, titles), levels_of(titles), strict=True))
    return [
        page.with_blocks([replace(block, level=levels.get(id(block))) for block in page.blocks])
        for page in found
    ]
