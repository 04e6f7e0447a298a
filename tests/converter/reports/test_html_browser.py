"""The page in a real browser: it shows, sorts, filters and opens, and asks for nothing.

`make test-browser` runs these; `make test` leaves them out, since they need a Chromium or Chrome.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converter.conversion.result import ModelResult
from converter.reports.html import COLUMNS
from converter.reports.write import write_report
from tests.support.many_results import proof, result, stopped

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EVIL = "<img src=http://example.invalid/x onerror=document.title='broken'>"
MANY = 250


def results() -> list[ModelResult]:
    """Return many that passed, each a little worse than the one before, and some that did not."""
    passed = [
        replace(
            result(f"model_{n}_{'rec' if n % 2 else 'det'}", proof((n + 1) * 1e-8)),
            seconds=float(MANY - n),
        )
        for n in range(MANY - 4)
    ]
    return [
        *passed,
        result("wrong_rec", proof(3e-3), error="Paddle and PyTorch disagree", exit_code=5),
        stopped("stopped_det", f"2 faults\n  {EVIL}"),
        stopped(EVIL, "no"),
        result("unproven_rec", status="unverified", parity=None, reference=None),
    ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser that is installed here."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail(f"no browser: install one of {', '.join(BROWSERS)} (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, results(), title="Parity of many")
    return folder / "parity.html"


@pytest.fixture
def page(browser, file) -> Iterator[Any]:
    """The opened page; at the end it has asked for nothing and complained of nothing."""
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_default_timeout(5000)
    page.goto(file.as_uri())
    yield page
    assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()]
    assert complaints == []
    assert page.title() == "Parity of many"
    page.close()


def names(page: Any) -> list[str]:
    return page.locator("tbody:visible > .model > .name").all_inner_texts()


def head(page: Any, title: str) -> Any:
    return page.locator("main > table > thead").get_by_role("button", name=title, exact=True)


def test_failures_come_first(page):
    shown = names(page)
    assert len(shown) == MANY
    assert shown[:4] == [EVIL, "stopped_det", "wrong_rec", "unproven_rec"]
    figures = dict(zip(page.locator("dt").all_inner_texts()[:4],
                       page.locator("dd").all_inner_texts()[:4], strict=True))  # fmt: skip
    assert figures == {"models": "250", "passed": "246", "unverified": "1", "failed": "3"}
    assert page.locator("img").count() == 0


def test_a_click_sorts_and_another_reverses(page):
    head(page, "Worst").click()
    assert names(page)[:3] == ["model_0_det", "model_1_rec", "model_2_det"]
    assert names(page)[-4] == "wrong_rec"
    sorted_by = page.locator("th[aria-sort=ascending]")
    assert sorted_by.inner_text() == "Worst"
    head(page, "Worst").click()
    assert names(page)[:2] == ["wrong_rec", "model_245_rec"]
    assert set(names(page)[-3:]) == {EVIL, "stopped_det", "unproven_rec"}  # without a number
    assert page.locator("th[aria-sort=descending]").inner_text() == "Worst"
    assert page.locator("th[aria-sort=ascending]").count() == 0


def test_numbers_in_names_sort_as_numbers(page):
    head(page, "Model").click()
    shown = [name for name in names(page) if name.startswith("model_")]
    assert shown == [f"model_{n}_{'rec' if n % 2 else 'det'}" for n in range(MANY - 4)]


def test_every_column_sorts_by_the_keyboard(page):
    for place, column in enumerate(COLUMNS, 1):
        head(page, column.head).focus()
        page.keyboard.press("Enter")
        (chosen,) = page.locator("th:not([aria-sort=none])[aria-sort]").all()
        assert chosen.inner_text() == column.head
        before = names(page)
        page.keyboard.press("Space")
        assert sorted(names(page)) == sorted(before)
        cells = page.locator(f"main > table > tbody > .model > :nth-child({place})")
        if len(set(cells.all_inner_texts()) - {"–"}) > 1:
            assert names(page) != before


def test_only_what_failed(page):
    page.locator("fieldset").get_by_text("Failed").click()
    assert names(page) == [EVIL, "stopped_det", "wrong_rec"]
    assert page.locator("[role=status]").inner_text() == "3 of 250 models"
    page.get_by_role("searchbox").fill("STOPPED")
    assert names(page) == ["stopped_det"]
    page.get_by_role("searchbox").fill("")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    assert names(page) == ["unproven_rec"]


def test_a_row_opens_to_all_probes(page):
    row = page.locator("tbody.failed").nth(2)
    button, probes = row.get_by_role("button"), row.locator(".probes tbody tr")
    assert probes.count() == 6
    assert not probes.first.is_visible()
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    assert probes.last.is_visible()
    assert row.locator("pre").inner_text() == "Paddle and PyTorch disagree"
    assert "backbone.conv1.bn: mean 0.1 in Paddle" in row.locator(".sheet").inner_text()
    assert row.locator(".probes svg").count() == 4
    assert probes.locator("th").all_inner_texts()[1] == "logits (head.fc)"
    head(page, "Time").click()
    assert probes.last.is_visible()
    button.click()
    assert not probes.first.is_visible()


def test_a_strangers_message_is_text(page):
    row = page.locator("tbody.failed").nth(1)
    row.get_by_role("button").click()
    assert row.locator("pre").inner_text() == f"2 faults\n  {EVIL}"


def test_heads_and_names_stay_in_sight(page):
    page.locator("main").evaluate("main => main.scrollTo(500, 3000)")
    title = head(page, "Model").bounding_box()
    name = page.locator("tbody:nth-of-type(120) .name button").bounding_box()
    assert title["x"] < 60
    assert name["x"] < 60
    assert page.locator("main").bounding_box()["y"] <= title["y"] < 260


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(page, scheme):
    """The contrast of every text with what it stands on is at least 4.5 to 1 (WCAG AA)."""
    page.emulate_media(color_scheme=scheme)
    page.locator("tbody.failed .name button").nth(2).click()
    assert page.evaluate(CONTRAST) == {}


CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = {};
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !element.checkVisibility() || element.closest("svg")) continue;
    let behind = element;
    while (numbers(getComputedStyle(behind).backgroundColor)[3] === 0)
      behind = behind.parentElement;
    const [a, b] = [light(getComputedStyle(element).color),
      light(getComputedStyle(behind).backgroundColor)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint[element.outerHTML.slice(0, 80)] = contrast;
  }
  return faint;
}"""
