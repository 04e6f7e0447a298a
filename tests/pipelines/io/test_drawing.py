"""Pictures of results, and text in them."""

import io

import cv2
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from pipelines.geometry import text_corners
from pipelines.io import fonts
from pipelines.io.drawing import (
    LONGEST_SIDE,
    MARGIN,
    colour_map,
    draw_boxes,
    draw_recognition,
    montage,
)
from pipelines.io.fonts import FontError, Typesetter
from pipelines.ocr import TextLine


def rectangle(left, top, width, height):
    right, bottom = left + width, top + height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


@pytest.fixture
def typesetter(monkeypatch):
    """One that has the font which comes with Pillow, whatever the system has."""
    monkeypatch.setattr(fonts, "FONTS", ())
    return Typesetter()


def test_boxes_are_drawn_on_a_copy():
    page = np.full((60, 80, 3), 255, np.uint8)
    box = np.array([[10, 10], [50, 10], [50, 40], [10, 40]], np.float32)
    drawn = draw_boxes(page, [box], (0, 0, 255), 1)
    assert (page == 255).all()
    np.testing.assert_allclose(drawn[10, 30], [0, 0, 255], atol=40)  # edges are smooth
    assert drawn[25, 30].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(draw_boxes(page, [], (0, 0, 0)), page)


def test_hot_is_bright():
    colours = colour_map(np.array([[0, 0.5, 1, 7, -7]], np.float32)).astype(int).sum(2)[0]
    assert colours[0] < colours[1] < colours[2]
    assert colours[3] == colours[2]
    assert colours[4] == colours[0]


def test_a_montage_has_one_height():
    panels = [
        ("a", np.zeros((50, 100, 3), np.uint8)),
        ("b", np.zeros((400, 200, 3), np.uint8)),
        ("c", np.zeros((900, 1, 3), np.uint8)),
    ]
    picture = montage(panels, 200)
    assert picture.shape == (200 + 34 + 12, 400 + 100 + 1 + 6 * 12, 3)
    assert picture[60, 12:412].max() == 0  # the first picture
    assert picture[60, 436:536].max() == 0  # the second
    assert picture[60, 412:436].min() == 255  # white between the two
    assert (picture[:34, 12:40] < 128).any()  # the caption


# The page beside what was read.


def test_a_reading_is_the_page_and_the_text_in_the_same_place(typesetter):
    page = np.full((100, 200, 3), 200, np.uint8)
    line = TextLine(rectangle(40, 30, 100, 20), "HHHHHHHHHHHHHHHH", 0.9)
    drawn = draw_recognition(page, [line], typesetter)
    assert (page == 200).all()
    assert drawn.shape == (100, 400 + MARGIN, 3)
    left, right = drawn[:, :200], drawn[:, 200 + MARGIN :]
    assert (left[:25] == 200).all()
    assert (left[40, 90] != 200).any()  # tinted
    dark = np.argwhere(right.max(2) < 100)
    assert len(dark) > 50
    assert (dark.min(0) >= (30, 40)).all()
    assert (dark.max(0) <= (50, 140)).all()
    assert dark[:, 1].max() > 120  # as wide as the box
    assert (right[60:] == 255).all()


def test_tall_boxes_have_text_that_runs_downwards(typesetter):
    line = TextLine(rectangle(20, 10, 20, 160), "HHHHHHHHHHHHHHHH", 0.9)
    drawn = draw_recognition(np.full((200, 60, 3), 255, np.uint8), [line], typesetter)
    dark = np.argwhere(drawn[:, 60 + MARGIN :].max(2) < 100)
    assert dark[:, 0].min() < 20
    assert dark[:, 0].max() > 100
    assert dark[:, 1].max() <= 40


def test_any_box_can_be_drawn(typesetter):
    page = np.full((50, 60, 3), 255, np.uint8)
    arc = np.array([[5, 30], [20, 10], [40, 10], [55, 30], [40, 20], [20, 20]], np.float32)
    boxes = [
        rectangle(50, 45, 40, 40),  # over the edge
        rectangle(-30, -20, 40, 30),
        rectangle(100, 100, 10, 10),  # outside
        rectangle(-100, -100, 10, 10),
        rectangle(10, 10, 1, 1),
        rectangle(10, 10, 0, 0),
        arc,
    ]
    for box in boxes:
        for text in ("Text", "", " ", "\u0301", "a\tb\nc", "🙂"):
            drawn = draw_recognition(page, [TextLine(box, text, 0.9)], typesetter)
            assert drawn.shape == (50, 120 + MARGIN, 3)
    assert draw_recognition(page[:1, :1], [], typesetter).shape == (1, 2 + MARGIN, 3)


def test_large_pages_are_drawn_smaller(typesetter):
    page = np.full((20, 2 * LONGEST_SIDE, 3), 255, np.uint8)
    line = TextLine(rectangle(LONGEST_SIDE, 4, 800, 12), "Text", 0.9)
    drawn = draw_recognition(page, [line], typesetter)
    assert drawn.shape == (10, 2 * LONGEST_SIDE + MARGIN, 3)
    assert (drawn[5, LONGEST_SIDE // 2 + 100] != 255).any()


# Which way text runs.


def test_text_runs_along_the_longer_side():
    flat, tall = rectangle(10, 20, 40, 30), rectangle(10, 20, 20, 30)
    np.testing.assert_array_equal(text_corners(flat), flat)
    # Downwards, its top to the right: what `crop` turns to the left before it is read.
    np.testing.assert_array_equal(text_corners(tall), [[30, 20], [30, 50], [10, 50], [10, 20]])


def test_a_polygon_is_taken_by_its_rectangle():
    polygon = np.array(
        [[10, 22], [30, 20], [50, 20], [70, 22], [70, 40], [50, 38], [30, 38], [10, 40]], np.float32
    )
    expected = rectangle(10, 20, 60, 20)
    np.testing.assert_allclose(text_corners(polygon), expected, atol=0.01)
    np.testing.assert_allclose(text_corners(np.roll(polygon, 3, axis=0)), expected, atol=0.01)


# Fonts.


def ink(mask):
    return (mask > 100).sum()


def test_text_fits_its_line(typesetter):
    short, long = typesetter.set("HH", 200, 40), typesetter.set("H" * 40, 200, 40)
    assert short.shape == long.shape == (40, 200)
    assert 20 < np.flatnonzero(short.any(0)).max() < 100
    assert 180 < np.flatnonzero(long.any(0)).max() < 200
    rows = np.flatnonzero(short.any(1))
    assert rows.min() + rows.max() == pytest.approx(39, abs=4)  # in the middle
    assert ink(typesetter.set("", 200, 40)) == ink(typesetter.set("  ", 200, 40)) == 0
    assert typesetter.set("H", 1, 1).shape == (1, 1)


def test_missing_glyphs_are_collected_and_drawn_as_boxes(typesetter):
    assert ink(typesetter.set("abc, 12", 200, 40)) > 0
    assert typesetter.missing == set()
    boxes = typesetter.set("漢字", 200, 40)
    assert ink(boxes) > 0
    assert typesetter.missing == {"漢", "字"}
    np.testing.assert_array_equal(boxes, typesetter.set("図書", 200, 40))


def test_each_character_has_the_first_font_with_it(typesetter, tmp_path):
    """A font of two letters, which are boxes of their own size, before the other."""
    file = tmp_path / "two.ttf"
    file.write_bytes(two_letters())
    both = Typesetter(file)
    assert ink(both.set("漢字", 100, 50)) > 500
    assert both.missing == set()
    both.set("語", 100, 50)
    assert both.missing == {"語"}
    # Letters that it lacks come from the next font, which draws them as it does alone.
    np.testing.assert_array_equal(both.set("abc", 100, 50), typesetter.set("abc", 100, 50))


def two_letters():
    def box(size):
        pen = TTGlyphPen(None)
        pen.moveTo((50, 0))
        for corner in ((50, size), (size, size), (size, 0)):
            pen.lineTo(corner)
        pen.closePath()
        return pen.glyph()

    glyphs = {".notdef": box(100), "one": box(700), "two": box(900)}
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap({ord("漢"): "one", ord("字"): "two"})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 50)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Two", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    stream = io.BytesIO()
    builder.save(stream)
    return stream.getvalue()


def test_a_file_that_is_no_font(tmp_path):
    (tmp_path / "a.ttf").write_text("no font")
    for name in ("a.ttf", "none.ttf"):
        with pytest.raises(FontError, match=f"{name} cannot be used as a font"):
            Typesetter(tmp_path / name)


def test_fonts_of_the_system_are_optional(monkeypatch):
    monkeypatch.setattr(fonts, "FONTS", (("No Such Font 123.ttf", 0),))
    typesetter = Typesetter()
    assert cv2.countNonZero(typesetter.set("H", 20, 20)) > 0
