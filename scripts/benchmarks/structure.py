"""Layout, table structure and RT-DETR against ONNX Runtime and Paddle Inference, on one thread.

    python scripts/benchmark.py structure --layout X.pth --layout-program DIR \\
        --layout-onnx X.onnx --table Y.pth --table-program DIR --table-onnx Y.onnx \\
        --detector Z.pth --detector-program DIR

Every side has a process of its own and gets the same array; they take turns in each round. A
network without its program or its ONNX file is measured without that side. Exports of layout
networks end in a suppression of boxes that is not in ours; it takes less than a hundredth.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pipeline import CLOCKS, OURS, ROOT, WARM_UP, Child, quartiles, ratios, spread
from benchmarks.structure_sides import SIDES, Files, Job
from converter.errors import SourceError, UsageError

HELP = "networks of document structure, against other runtimes"

MODULE = "benchmarks.structure_sides"
STAGES = {
    "layout": "PicoDet, such as picodet_lcnet_x1_0_fgd_layout_cdla",
    "table": "table structure, such as SLANet_plus",
    "detector": "RT-DETR, such as PP-DocLayout-L",
}
MOST = {
    ("layout", "onnxruntime"): 1.0,
    ("layout", "paddle"): 1.0,
    ("table", "onnxruntime"): 1.0,
    ("table", "paddle"): 1.0,
    ("detector", "paddle"): 1.2,
}
"""How many times as long as the other side this project takes at most, in the median round."""
SAME = 1e-3
"""How far the sides' results may be apart, relative to ours."""


@dataclass(frozen=True)
class Row:
    """What one side took for one network.

    Attributes:
        seconds: of each round.
        result: a number that equal outputs share.
        outputs: the last axis of each array that the network returned.
    """

    seconds: list[float]
    result: float
    outputs: list[int]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add = parser.add_argument
    for stage, what in STAGES.items():
        add(f"--{stage}", type=Path, metavar="X.pth", help=what)
        add(f"--{stage}-program", type=Path, metavar="DIR", help="Paddle's export of it")
        add(f"--{stage}-onnx", type=Path, metavar="X.onnx", help="the same for ONNX Runtime")
        add(f"--{stage}-image", type=Path, metavar="PATH", help="default: the sample page",
            default=ROOT / "pipelines/samples/page.png")  # fmt: skip
    add("--threads", type=int, default=1, metavar="N", help="of each side; default: 1")
    add("--clock", choices=CLOCKS, default="cpu",
        help="cpu (default): the time that all threads compute; wall: that passes")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write all figures there")


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
        job = Job(options.threads, CLOCKS[options.clock], folder, networks_of(options))
        stack.enter_context(Child("inputs", job, MODULE)).receive()
        sides: dict[str, tuple[Child, list[str]]] = {}
        versions, missing = {}, {}
        for name, (_, _, install) in SIDES.items():
            child = stack.enter_context(Child(name, job, MODULE))
            ready = child.receive()
            if "missing" in ready:
                missing[name] = f"{ready['missing']}: {install}"
            else:
                sides[name], versions[name] = (child, ready["stages"]), ready["version"]
        rows = take_turns(sides, list(job.networks), options.rounds)
    missed = print_tables(rows, options, versions, missing)
    if options.json:
        figures = {stage: {n: vars(row) for n, row in by.items()} for stage, by in rows.items()}
        options.json.write_text(json.dumps({"versions": versions, "rows": figures}, indent=1))
    return int(missed)


def networks_of(options: argparse.Namespace) -> dict[str, Files]:
    """Return the files of each network that is measured; SourceError where one is missing."""
    networks = {}
    for stage in STAGES:
        weights, program, onnx, image = (
            getattr(options, f"{stage}{part}") for part in ("", "_program", "_onnx", "_image")
        )
        if weights is None:
            if program or onnx:
                raise UsageError(f"--{stage}-program and --{stage}-onnx need --{stage}")
            continue
        for path in filter(None, (weights, program, onnx, image)):
            if not path.exists():
                raise SourceError(f"{path}: there is no such file")
        paths = (str(path.resolve()) if path else None for path in (program, onnx))
        networks[stage] = Files(str(weights.resolve()), str(image.resolve()), *paths)
    if not networks:
        raise UsageError(f"give one of {', '.join(f'--{stage}' for stage in STAGES)}")
    return networks


def take_turns(
    sides: Mapping[str, tuple[Child, list[str]]], stages: list[str], rounds: int
) -> dict[str, dict[str, Row]]:
    """Measure every network on every side once a round, after some rounds that do not count."""
    rows: dict[str, dict[str, Row]] = {stage: {} for stage in stages}
    for number in range(1 - WARM_UP, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        for stage in stages:
            for name, (child, measured) in sides.items():
                if stage not in measured:
                    continue
                child.send({"stage": stage})
                answer = child.receive()
                seconds = rows[stage][name].seconds if name in rows[stage] else []
                if number > 0:
                    seconds.append(answer["seconds"])
                rows[stage][name] = Row(seconds, answer["result"], answer["outputs"])
    return rows


def print_tables(
    rows: Mapping[str, Mapping[str, Row]],
    options: argparse.Namespace,
    versions: Mapping[str, str],
    missing: Mapping[str, str],
) -> bool:
    """Print the times, then the targets; return whether one was missed."""
    print(f"{options.threads} threads, {options.rounds} rounds, {options.clock} time; "
          "ratios within a round")  # fmt: skip
    targets: list[tuple[str, dict[str, float], float]] = []
    for stage, by_side in rows.items():
        ours = by_side[OURS]
        print(f"\n{stage:<24}{'time':>9}{'/ ' + OURS:>11}{'quartiles':>15}")
        for name, row in by_side.items():
            ratio = spread(ratios(row.seconds, ours.seconds))
            milliseconds = 1000 * statistics.median(row.seconds)
            print(f"{name:<24}{milliseconds:>6.0f} ms{ratio['median']:>11.2f}"
                  f"{quartiles(ratio):>15}{verdict(row, ours)}")  # fmt: skip
            if (most := MOST.get((stage, name))) is not None:
                own = spread(ratios(ours.seconds, row.seconds))
                targets.append((f"{stage}: {OURS} / {name}", own, most))
    print(f"\n{'target':<36}{'median':>9}{'quartiles':>15}{'limit':>8}")
    for name, values, most in targets:
        said = "ok" if values["median"] <= most else "MISSED"
        print(f"{name:<36}{values['median']:>9.2f}{quartiles(values):>15}{most:>8.2f}  {said}")
    print("\n" + ", ".join(f"{name} {number}" for name, number in versions.items()))
    for name, reason in missing.items():
        print(f"{name} is left out: {reason}")
    return any(values["median"] > most for _, values, most in targets)


def verdict(row: Row, ours: Row) -> str:
    """Return a remark where results that can be compared are not the same."""
    comparable = row.outputs == ours.outputs
    apart = abs(row.result - ours.result) > SAME * max(abs(ours.result), 1.0)
    return "  DIFFERS" if comparable and apart else ""
