"""Readings in single and in half precision, and how many of their lines agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converter.cli.main import main
from converter.end_to_end.precision import Agreement, compare_pages
from pipelines import TextLine
from pipelines.io.files import Failure, Page

PAGE = Page(Path("page.png"), 1, 1, np.zeros((90, 90, 3), np.uint8))


def line(text, top):
    box = np.array([[0, top], [50, top], [50, top + 20], [0, top + 20]], np.float32)
    return TextLine(box, text, 0.9)


def test_lines_that_agree_are_counted():
    single = [line("one", 0), line("two", 30), line("three", 60)]
    half = [single[0], replace(single[1], text="tvo"), replace(single[2], box=single[2].box + 2)]
    half.append(line("\x1b", 200))  # on one side alone
    pages = [PAGE, Failure(Path("none.png"), None, "none.png: is missing")]
    compared = list(compare_pages(lambda _: single, lambda _: half, pages, 1.0))
    (name, agreement), failure = compared
    assert failure == ("none.png: is missing", None)
    assert (name, agreement.lines, agreement.texts, agreement.boxes) == ("page.png", 4, 2, 2)
    assert agreement.changed == ('"two" became "tvo"', '"" became "\\x1b"')
    assert agreement.share == 0.5
    assert (agreement + agreement).describe(1.0) == (
        "4 of 8 texts equal (50.0%), 4 boxes within 1 pixels (50.0%)"
    )
    assert Agreement().describe(1.0) == "no line"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--half", "--det", "d.pth"], "--half takes --det and --rec"),
        (["--half", "--det", "d.pth", "--rec", "r.pth", "--paddle-det", "d"], "neither exports"),
        (["--device", "cuda", "--det", "d.pth"], "go with --half"),
    ],
)
def test_options_that_do_not_go_together(arguments, message, capsys):
    assert main(["prove", "--images", "page.png", *arguments]) == 2
    assert message in capsys.readouterr().err
