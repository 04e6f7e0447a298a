"""Whole pages to Markdown against PaddleX's PP-StructureV3, with the same weights on one thread.

    python -m venv px && px/bin/pip install "paddlex[ocr]==3.7.2" paddlepaddle==3.2.2
    python scripts/benchmark.py documents --models DIR --paddlex-python px/bin/python \\
        --paddlex-layout DIR --paddlex-detection DIR --paddlex-recognition DIR --paddlex-table DIR

`--models` holds the converted weights, the other folders the exports that they come from, in the
form of PaddleX: with `inference.yml`, which is written for a detector and a recogniser without it.
Both sides parse the pages of `scripts/drawn` with layout, text and tables, and without the other
networks. They get the same regions: the layout network is run by both, but PaddleX has no decoder
for an export of PicoDet without suppression. It takes the time that all threads compute, so that a
busy machine counts little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import yaml
from drawn.book import ten_pages

from benchmarks.pipeline import quartiles, ratios, spread
from converter.errors import SourceError, UsageError
from pipelines.documents.document import finish
from pipelines.documents.networks import load_networks
from pipelines.documents.parser import PageParser
from pipelines.documents.roles import find_models
from pipelines.documents.settings import PRESETS
from pipelines.documents.steps import find_regions
from pipelines.documents.types import Document
from pipelines.documents.writers.markdown import page_markdown

HELP = "whole pages to Markdown, against PaddleX"

ROLES = ("layout", "detection", "recognition", "table")
SETTINGS = PRESETS["pp-structurev3"]
MOST = 1.0
"""How many times as long as PaddleX this project takes at most, in the median page."""
NAMES = {"detection": "PP-OCRv4_mobile_det", "recognition": "PP-OCRv4_mobile_rec"}
"""What PaddleX calls networks of one architecture, where the folder does not state it."""
DETECTOR: Mapping[str, Any] = {
    "PreProcess": {"transform_ops": [
        {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
        {"DetResizeForTest": {"resize_long": 960}},
        {"NormalizeImage": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
                            "order": "hwc", "scale": "1./255."}},
        {"ToCHWImage": None},
    ]},
    "PostProcess": {"name": "DBPostProcess", "thresh": 0.3, "box_thresh": 0.6,
                    "max_candidates": 1000, "unclip_ratio": 1.5},
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add = parser.add_argument
    add("--models", type=Path, required=True, metavar="DIR", help="folder of converted weights")
    add("--paddlex-python", type=Path, required=True, metavar="FILE", help="a Python with PaddleX")
    for role in ROLES:
        add(f"--paddlex-{role}", type=Path, required=True, metavar="DIR", help="its export")
    add("--only", type=lambda text: [int(number) for number in text.split(",")],
        default=range(1, 11), metavar="N,...", help="numbers of pages; default: all")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write all figures there")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, and return 0 if this project is ahead, else 1.

    Raises:
        SourceError: a file is missing.
        UsageError: PaddleX's side failed.
    """
    sources = {role: file for role, file in find_models(options.models).items() if role in ROLES}
    if missing := [role for role in ROLES if role not in sources]:
        raise SourceError(f"{options.models} holds no network for {', '.join(missing)}")
    networks = load_networks(sources, SETTINGS)
    parser = PageParser(networks, SETTINGS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pages = draw(options.only, folder)
        regions = {
            path: [
                {"cls_id": 0, "label": r.label, "score": r.score, "coordinate": list(r.box)}
                for r in find_regions(image, networks.layout)
            ]
            for path, image in pages.items()
        }
        job = {"models": exports(options, sources, folder), "regions": regions, "threads": 1}
        paddlex = stack.enter_context(PaddleX(options.paddlex_python, job))
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(options.rounds + 1):  # the first one does not count
            print(f"round {number} of {options.rounds}", file=sys.stderr, flush=True)
            for path, image in pages.items():
                seconds = (timed(parser, image), paddlex.parse(path))
                if number:
                    ours.append(seconds[0])
                    theirs.append(seconds[1])
    ratio = spread(ratios(ours, theirs))
    print(f"{len(pages)} pages, {options.rounds} rounds, one thread, processor time\n")
    print(f"{'':<24}{'a page':>9}{'/ paddlex':>11}{'quartiles':>15}")
    print(f"{'this project':<24}{statistics.mean(ours):>7.2f} s{ratio['median']:>11.2f}"
          f"{quartiles(ratio):>15}")  # fmt: skip
    print(f"{'paddlex':<24}{statistics.mean(theirs):>7.2f} s\n\n{paddlex.versions}")
    if options.json:
        figures = {"versions": paddlex.versions, "ours": ours, "paddlex": theirs}
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return int(ratio["median"] > MOST)


def draw(numbers: list[int], folder: Path) -> dict[str, np.ndarray]:
    """Draw pages upright into a folder, and return their images by path."""
    drawn, pages = ten_pages(), {}
    for number in numbers:
        page, path = drawn[number - 1], folder / f"{number}.png"
        page.turned = 0
        page.image().save(path)
        image = cv2.imread(str(path))
        assert image is not None
        pages[str(path)] = image
    return pages


def timed(parser: PageParser, image: np.ndarray) -> float:
    """Return how long this project takes for a page."""
    start = time.process_time()
    page = parser(image, "page.png", 1).page
    page_markdown(Document(tuple(finish([page], SETTINGS))))
    return time.process_time() - start


def exports(
    options: argparse.Namespace, sources: Mapping[str, Any], folder: Path
) -> dict[str, str]:
    """Return the folder of each export as PaddleX takes it; a missing `inference.yml` is made."""
    found = {}
    for role in ROLES:
        source: Path = getattr(options, f"paddlex_{role}")
        if not source.is_dir():
            raise SourceError(f"{source}: there is no such folder")
        found[role] = str(source.resolve())
        if role in NAMES and not (source / "inference.yml").is_file():
            made = folder / role
            made.mkdir()
            for file in source.glob("inference.*"):
                (made / file.name).symlink_to(file.resolve())
            text = yaml.safe_dump(settings_of(role, sources[role]), allow_unicode=True)
            (made / "inference.yml").write_text(text, encoding="utf-8")
            found[role] = str(made)
    return found


def settings_of(role: str, weights: Path) -> dict[str, Any]:
    """Return the `inference.yml` of a detector, or of a recogniser with its characters."""
    named = {"Global": {"model_name": NAMES[role]}}
    if role == "detection":
        return {**named, **DETECTOR}
    card = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    characters = card["dictionary"]["characters"]
    return {
        **named,
        "PreProcess": {"transform_ops": [{"RecResizeImg": {"image_shape": [3, 48, 320]}}]},
        "PostProcess": {"name": "CTCLabelDecode", "character_dict": characters},
    }


class PaddleX:
    """The process of PaddleX's side; `with` ends it.

    Args:
        python: a Python that has PaddleX.
        job: as `paddlex_side.py` reads it.

    Attributes:
        versions: of its packages.
    """

    def __init__(self, python: Path, job: Mapping[str, Any]) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive",
                       "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}  # fmt: skip
        environment.pop("PYTHONPATH", None)
        side = Path(__file__).with_name("paddlex_side.py")
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", str(side)], text=True, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
        )  # fmt: skip
        self.versions = self._ask(job)

    def __enter__(self) -> PaddleX:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def parse(self, path: str) -> float:
        """Return how long it takes for a page."""
        return float(self._ask(path)["seconds"])

    def _ask(self, request: object) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout  # noqa: PT018
        with suppress(BrokenPipeError):  # then it does not answer either
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip().splitlines() or ["nothing"]
            raise UsageError(f"PaddleX's side ended: {said[-1]}")
        answer: dict[str, Any] = json.loads(line)
        return answer
