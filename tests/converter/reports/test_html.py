"""The HTML page as text: nothing from elsewhere, nothing unescaped, a table fit to be read out."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from converter.parity.comparison import DECADES
from converter.reports.formatting import duration
from converter.reports.html import BAR, BINS, COLUMNS, _histogram
from converter.reports.write import write_report
from tests.support.many_results import proof, result, stopped

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 9973*9967 }}"


class Page(HTMLParser):
    """What a page consists of: its tags with their attributes, and the text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(tmp_path):
    def page(*results, title="Parity") -> tuple[str, Page]:
        write_report(tmp_path, results, title=title)
        text = (tmp_path / "parity.html").read_text("utf-8")
        return text, Page(text)

    return page


def test_nothing_comes_from_elsewhere(page):
    text, parsed = page(result("a"), result("b", proof(3e-3)))
    assert [tag for tag, _ in parsed.tags if tag in ("img", "iframe", "object", "base")] == []
    for tag, attributes in parsed.tags:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert "style" not in attributes  # the policy would refuse it
        if tag != "link":
            assert "href" not in attributes
    assert [link["href"][:5] for link in parsed.all("link")] == ["data:"]
    assert re.findall(r"@import|url\(|https?://(?!www\.w3\.org/2000/svg)", text) == []


def test_the_policy_knows_script_and_style_by_their_hashes(page):
    text, parsed = page(result("a"))
    (policy,) = [m["content"] for m in parsed.all("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_a_strangers_text_is_shown_as_it_is(page):
    plain, before = page(result("a", proof(3e-3)), stopped("b", "no"))
    report = proof(3e-3)
    parity = report.to_dict() | {"worst_probe": EVIL, "first_difference": EVIL}
    parity["comparisons"] = [c | {"probe": EVIL, "fault": EVIL} for c in parity["comparisons"]]
    full = result(
        EVIL, report, task=EVIL, parity=parity, versions={EVIL: EVIL, "paddle": EVIL},
        sources={EVIL: EVIL}, weights={"file": EVIL, "format": EVIL, "sha256": EVIL},
        counts={"used": 1, "filled": 0, "dropped": {EVIL: 3}},
    )  # fmt: skip
    text, parsed = page(full, stopped(EVIL, EVIL), title=EVIL)
    assert text.count("<script") == plain.count("<script") == 1
    assert {tag for tag, _ in parsed.tags} == {tag for tag, _ in before.tags}
    assert {name for _, a in parsed.tags for name in a} == {n for _, a in before.tags for n in a}
    assert sum(EVIL in piece for piece in "".join(parsed.texts).split("\n")) >= 10
    assert str(9973 * 9967) not in text


def test_every_head_has_a_scope_and_every_column_a_cell(page):
    _, parsed = page(result("a"), stopped("b", "no"))
    assert all(attributes.get("scope") in ("col", "row") for attributes in parsed.all("th"))
    heads = [a for a in parsed.all("th") if "aria-sort" in a]
    assert [a["aria-sort"] for a in heads].count("ascending") == 1
    assert [a["class"] for a in heads] == [column.key for column in COLUMNS]
    rows = "".join(
        f"<{tag} {a.get('class')}>" for tag, a in parsed.tags if tag in ("tr", "th", "td")
    )
    for row in re.findall(r"<tr model>(.*?)<tr details>", rows):
        assert re.findall(r"<t[hd] (\w+)>", row) == [column.key for column in COLUMNS]
    opened = [a["aria-controls"] for a in parsed.all("button") if "aria-controls" in a]
    assert opened == [a["id"] for a in parsed.all("tr") if "id" in a]


def test_all_of_a_model_is_there(page):
    one = result("a", proof(3e-3))
    text, _ = page(one)
    for shown in (
        "1×3×640×640", "1×3×736×960", "logits (head.fc)", "decisions (text)", "NRTR guide", "58",
        "paddle 3.3.1, torch 2.13.0+cpu", one.weights["sha256"], *one.sources.values(), "4.5 s",
        "backbone.conv1.bn: mean 0.1 in Paddle, 0.2 in PyTorch", "1e-3",
    ):  # fmt: skip
        assert shown in text


def test_without_models_the_page_still_stands(page):
    text, parsed = page()
    assert parsed.all("tbody") == []
    assert "worst that passed</dt><dd>–</dd>" in text


def test_what_was_not_converted_again_takes_no_time(page):
    text, _ = page(result("a", seconds=30.0), replace(result("b", seconds=90.0), fresh=False))
    assert "<dt>time</dt><dd>30.0 s</dd>" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (99.94, "99.9 s"), (100, "1 min 40 s"),
                          (4080.4, "1 h 08 min")],
)  # fmt: skip
def testdurations(seconds, text):
    assert duration(seconds) == text


# The histogram.


def drawn(paths: str) -> list[int]:
    """Return which bins a path draws."""
    return [int(left) // BAR for left in re.findall(r"M(\d+) ", paths)]


def test_bars_within_the_limit_and_over_it():
    counts = [5, 0, 0, 0, 7, 900_000, 1, 0, 0, 2]
    found = _histogram(counts, 1e-4)
    assert drawn(found["within"]) == [0, 4, 5]  # up to 1e-4
    assert drawn(found["over"]) == [6, 9]
    assert found["line"] == 6 * BAR - 0.5
    assert found["label"] == "900,015 elements, most 1e-5 to 1e-4, the largest above 1e-1"


def test_one_element_over_the_limit_is_seen():
    found = _histogram([0, 0, 10**9, 0, 0, 0, 1, 0, 0, 0], 1e-4)
    (height,) = re.findall(r"v-([\d.]+)", found["over"])
    assert float(height) >= 2


@pytest.mark.parametrize(("limit", "line"), [(1e-12, -0.5), (1e-9, 7.5), (3e-4, 51.3), (0.5, 77.1)])
def test_the_line_of_the_limit_stays_inside(limit, line):
    assert _histogram([1] * BINS, limit)["line"] == pytest.approx(line, abs=0.1)


@pytest.mark.parametrize("counts", [(), [0] * BINS, [1, 2, 3]])
def test_no_counts_no_histogram(counts):
    assert _histogram(counts, 1e-4) is None


def test_the_logits_of_all_inputs_are_added_up(page):
    text, _ = page(result("a"))
    assert "2,000 elements" in text  # 2 × 500 for each of two inputs
    assert len(DECADES) + 1 == BINS
