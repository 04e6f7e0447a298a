"""Render the sample page and lines of `pipelines/samples` from an openly licensed font.

    python scripts/render_samples.py [--font FILE] [--face NUMBER] [--out DIR]

The default font is that of Debian's package `fonts-noto-cjk` (Noto Sans CJK, SIL Open Font License
1.1); face 2 of its collection has simplified Chinese shapes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL import Image

FONT = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
SAMPLES = Path(__file__).resolve().parent.parent / "pipelines" / "samples"
PAGE_SIZE = (900, 1200)
LINE_HEIGHT = 48
PAPER, INK = 250, 30  # grey levels


class Text(NamedTuple):
    """A line: its words, its top left corner on the page and its size in pixels, its tilt."""

    words: str
    left: int
    top: int
    size: int
    degrees: float = 0  # anticlockwise; 180 is upside down


PAGE = (
    Text("河畔图书馆", 70, 60, 72),
    Text("Riverside Library", 510, 86, 42),
    Text("开放时间", 70, 200, 40),
    Text("Opening hours", 470, 204, 32),
    Text("星期一至星期五", 70, 270, 32),
    Text("09:00 - 20:30", 470, 270, 32),
    Text("星期六和星期日", 70, 325, 32),
    Text("10:00 - 17:00", 470, 325, 32),
    Text("请保持安静，爱护书籍。", 70, 420, 36),
    Text("Please keep quiet and handle the books with care.", 70, 480, 26),
    Text("每位读者最多可借阅十二本图书，借期为三十天。", 70, 550, 30),
    Text("Borrow up to 12 books for 30 days; renew online at any time.", 70, 605, 24),
    Text("自习室位于三楼，共有 86 个座位", 70, 690, 28),
    Text("The reading room is on floor 3 (86 seats).", 70, 740, 22),
    Text("本月讲座：纸张与印刷的历史", 90, 830, 34, 5),
    Text("No. 2024-0315    Price: 25.80    Total: 1,096", 70, 955, 26),
    Text("小字说明：过期图书每天收取 0.10 元", 70, 1010, 20),
    Text("Small print: lost cards are replaced within 5 working days.", 70, 1045, 18),
    Text("请从另一侧阅读此行", 520, 1110, 34, 180),
    Text("A7-B09-C64", 70, 1115, 30),
)
LINES = {
    "line_chinese.png": Text("春天的河边有许多新书", 0, 0, 32),
    "line_english.png": Text("Room 305, open 09:00 - 20:30", 0, 0, 30),
    "line_upside_down.png": Text("请将此页旋转过来阅读", 0, 0, 32, 180),
}


def main() -> None:
    """Write the page and the lines."""
    parser = argparse.ArgumentParser(description="Render the sample page and lines.")
    parser.add_argument("--font", type=Path, default=FONT, help="a font with Chinese glyphs")
    parser.add_argument("--face", type=int, default=2, help="the face in a font collection")
    parser.add_argument("--out", type=Path, default=SAMPLES)
    arguments = parser.parse_args()
    if not arguments.font.is_file():
        parser.error(f"{arguments.font}: no such font; install fonts-noto-cjk or give --font")
    arguments.out.mkdir(parents=True, exist_ok=True)
    save(render_page(arguments.font, arguments.face), arguments.out / "page.png")
    for name, text in LINES.items():
        save(render_line(text, arguments.font, arguments.face), arguments.out / name)


def save(image: Image.Image, path: Path) -> None:
    """Write a grey image as PNG with 16 levels, enough for smooth edges, and name the file."""
    image.quantize(16).save(path, optimize=True)
    print(f"{path} ({image.width} x {image.height}, {path.stat().st_size / 1000:.0f} kB)")


def render_page(font: Path, face: int) -> Image.Image:
    """Draw the sample page, 900 x 1200 grey."""
    from PIL import Image

    page = Image.new("L", PAGE_SIZE, PAPER)
    for text in PAGE:
        ink = ink_mask(text, font, face).rotate(text.degrees, Image.Resampling.BICUBIC, expand=True)
        page.paste(INK, (text.left, text.top), ink)
    return page


def render_line(text: Text, font: Path, face: int) -> Image.Image:
    """Draw one line, 48 pixels high, grey."""
    from PIL import Image

    ink = ink_mask(text, font, face)
    line = Image.new("L", (ink.width + 24, LINE_HEIGHT), PAPER)
    line.paste(INK, (12, (LINE_HEIGHT - ink.height) // 2), ink)
    return line.rotate(text.degrees)


def ink_mask(text: Text, font: Path, face: int) -> Image.Image:
    """The words of a line, unturned, as coverage from 0 to 255."""
    from PIL import Image, ImageDraw, ImageFont

    typeface = ImageFont.truetype(font, text.size, index=face)
    left, top, right, bottom = (round(edge) for edge in typeface.getbbox(text.words))
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), text.words, fill=255, font=typeface)
    return mask


if __name__ == "__main__":
    main()
