"""Compare networks with Paddle's at many sizes of images.

    python scripts/sweep_sizes.py EXPORT WEIGHTS [--sizes 32x320 48x333 ...]
    python scripts/sweep_sizes.py --paddleocr CHECKOUT [--full-size] [--only REGEX] [--json FILE]

EXPORT is a folder with `inference.pdmodel` or `inference.json` and its `.pdiparams`; WEIGHTS the
artefact converted from it. Networks that take more than an image are not supported there. With a
CHECKOUT of PaddleOCR, its own network of each family, that is, of each combination of transform,
backbone, neck and head among the shipped records, is compared with ours, both with the record's
seeded weights, at the record's size and at others, odd ones too. The records of LaTeX-OCR,
UniMERNet and PP-FormulaNet hold smaller networks than its classes build: with --full-size, those of
its configurations are compared, which takes minutes and gigabytes of memory. PaddleX's and
PaddleDetection's networks are not in a checkout: their exports can be given as EXPORT. Networks of
key information that take tokens and no image are left out.

At each size both run on one seeded image. A row of the table says `equal` with the largest
difference (`equal within rounding` where a change of the image by rounding moves the result as
far), `both refuse`, or `Paddle refuses, PyTorch accepts`: ours must equal Paddle's at every size
that Paddle accepts, so this is no fault. Faults are results that differ and sizes that Paddle alone
accepts. The exit code is 1 if there is one, or if no size at all is equal.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

import architectures
from architectures import Model
from architectures.loading import ArtefactError
from converter.adapters.base import RecordRows
from converter.adapters.registry import adapter_for
from converter.adapters.running import record_run
from converter.alignment.trace import OUTPUT
from converter.catalog.custom import parts
from converter.catalog.paddledetection import is_paddledetection
from converter.errors import ConverterError, ReferenceUnavailable, UsageError
from converter.parity import noise, rendered_inputs
from converter.parity.comparison import common_steps
from converter.references import seeded
from converter.references.hooks import by_our_names, observe
from converter.references.network import with_guides
from converter.references.paddle import checkout
from converter.references.paddle.session import PaddleSession
from converter.references.program import PaddleProgram
from converter.references.recorded.network import build_recorded, is_paddlex
from converter.references.recorded.record import SHIPPED, Record, find_records, read_record
from converter.sources.open import open_source

LIMIT = 1e-4  # of the largest value
LARGE = 100_000  # pixels of an image of which few sizes are tried
RECORDER = Path(__file__).with_name("record_reference.py")
SMALLER = ("LaTeXOCR", "UniMERNet", "PP-FormulaNet-S", "PP-FormulaNet-L", "PP-FormulaNet_plus-M")
"""The algorithms whose records hold networks with options that PaddleOCR's classes do not have."""
SIDES = (16, 31, 32, 33, 48, 61, 64, 95, 96, 100, 160, 224, 320)
Size = tuple[int, int]
EQUAL, ROUNDING, BOTH_REFUSE = "equal", "equal within rounding", "both refuse"
OURS_ALONE, FAULT = "Paddle refuses, PyTorch accepts", "fault"
DIFFER = "results differ by "


@dataclass(frozen=True)
class Outcome:
    """How the two sides compare at one size.

    Attributes:
        kind: EQUAL, ROUNDING, BOTH_REFUSE, OURS_ALONE or FAULT.
        detail: the largest difference, Paddle's error, or the fault.
    """

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        if self.kind == FAULT:
            return self.detail
        return f"{self.kind}, {self.detail}" if self.detail else self.kind


@dataclass(frozen=True)
class Row:
    """One row of the table: a record's name or the weights' path, a size, and the outcome."""

    name: str
    height: int
    width: int
    outcome: Outcome


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("export", type=Path, nargs="?", metavar="EXPORT", help="a folder")
    add("weights", type=Path, nargs="?", metavar="WEIGHTS", help="X.pth or X.safetensors")
    add("--sizes", type=read_size, nargs="+", metavar="HxW", help="default: square and oblong ones")
    add("--paddleocr", type=Path, metavar="CHECKOUT", help="compare its networks, by family")
    add("--full-size", action="store_true", help="compare what records hold in small only, too")
    add("--only", default="", metavar="REGEX", help="with --paddleocr: records whose names match")
    add("--json", type=Path, metavar="FILE", help="write the rows to FILE, too")
    options = parser.parse_args(argv)
    if (options.weights is None) == (options.paddleocr is None):
        parser.error("give EXPORT and WEIGHTS, or --paddleocr CHECKOUT")
    try:
        if options.paddleocr is not None:
            rows = sweep_families(options.paddleocr, options.only, options.full_size)
        else:
            sizes = options.sizes or default_sizes()
            rows = sweep(options.export, options.weights, sizes)
    except (ConverterError, ArtefactError) as error:
        print(f"sweep_sizes: {error}", file=sys.stderr)
        return 2
    if options.json is not None:
        text = json.dumps([asdict(row) for row in rows], indent=1) + "\n"
        options.json.write_text(text, encoding="utf-8")
    counts = Counter(row.outcome.kind for row in rows)
    print(f"{len(rows)} sizes: " + "; ".join(f"{counts[kind]} {kind}" for kind in counts))
    return int(counts[FAULT] > 0 or not counts[EQUAL] + counts[ROUNDING])


def read_size(text: str) -> Size:
    """Return height and width from `48x320`."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text} is no size; write HEIGHTxWIDTH, such as 48x320")
    return int(height), int(width)


def default_sizes() -> list[Size]:
    """Return each side as a square, and with one of the others as the width."""
    return [*zip(SIDES, SIDES, strict=True), *zip(SIDES, SIDES[::-1], strict=True)]


def sweep(export: Path, weights: Path, sizes: Sequence[Size]) -> list[Row]:
    """Compare at each size, print the rows, and return them."""
    network = architectures.load(weights)
    if network.extra_inputs:
        raise UsageError(f"{weights} takes {', '.join(network.extra_inputs)} beside the image")
    source = open_source(export)
    if source.export is None:
        raise UsageError(f"{export} holds no exported program")
    rows = []
    with PaddleProgram(source.export.program_file, source.export.weights_file) as program:
        for size in sizes:
            batch = image_of(network, size)
            theirs = run_paddle(program, batch)
            ours = run_network(network, batch)
            if network.stepwise and not isinstance(theirs, str) and not isinstance(ours, str):
                pairs = zip(theirs, ours, strict=True)
                theirs = [common_steps(expected, actual) for expected, actual in pairs]
            rows.append(Row(str(weights), *size, compare(theirs, ours)))
            print(f"{size[0]:5} x {size[1]:<5} {rows[-1].outcome}", flush=True)
    return rows


def sweep_families(paddleocr: Path, only: str, full_size: bool) -> list[Row]:
    """Compare PaddleOCR's network of each family at several sizes, print the rows, return them."""
    checkout.require_checkout(paddleocr)
    rows: list[Row] = []
    left_out = 0
    families = dict[tuple[str, ...], Record]()
    for folder in find_records(SHIPPED, only):
        record = read_record(folder)
        if (family := family_of(record)) is not None:
            families.setdefault(family, record)
    for small in families.values():
        try:
            record = fitting(paddleocr, small, full_size)
            for size, outcome in compare_family(paddleocr, record):
                rows.append(Row(record.name, *size, outcome))
                print(f"{record.name:40} {size[0]:4} x {size[1]:<4} {outcome}", flush=True)
        except CannotBuild as error:
            left_out += 1
            print(f"{small.name:40} left out: {error}", flush=True)
    print(f"{len(families) - left_out} families compared, {left_out} left out")
    return rows


class CannotBuild(Exception):
    """The checkout does not build or run the network.

    Some records hold smaller networks than its classes build; some classes do not run with newer
    versions of Paddle.
    """


def fitting(paddleocr: Path, record: Record, full_size: bool) -> Record:
    """Return a record whose network the checkout builds: this one, or one that is recorded now.

    Raises:
        CannotBuild: the network is smaller than those of the checkout's classes, and the others
            are not asked for or cannot be recorded.
    """
    algorithm = record.facts.architecture.get("algorithm", "")
    if algorithm not in SMALLER:
        return record
    if not full_size:
        raise CannotBuild("the record holds a smaller network than PaddleOCR's classes build")
    config = paddleocr / "configs" / record.facts.config
    with tempfile.TemporaryDirectory() as folder:
        command: list[str | Path] = [sys.executable, RECORDER, config]
        command += ["--paddleocr", paddleocr, "--out", folder]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            said = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
            raise CannotBuild(f"cannot be recorded at full size: {said[-1]}")
        return read_record(Path(folder, record.name))


def family_of(record: Record) -> tuple[str, ...] | None:
    """Return the parts of a record's network.

    None if a checkout of PaddleOCR has none such, or if the network takes no image.
    """
    architecture = record.facts.architecture
    if len(record.facts.inputs[0].shape) != 4:
        return None
    if "Models" in architecture or is_paddlex(architecture) or is_paddledetection(architecture):
        return None
    return parts(architecture)


def sizes_of(record: Record) -> list[Size]:
    """Return the record's size, and smaller, larger and odd ones; fewer of a large image."""
    height, width = record.facts.inputs[0].shape[2:]
    few = [(height, width), (height // 2, width)]
    if height * width > LARGE:
        return few
    odd = [(height // 2 + 1, width // 2 + 1), (height + 7, width + 13), (height, width // 3)]
    # Detectors take multiples of 32, or of 64, only.
    even = [(max(height - 32, 32), max(width - 64, 32)), (128, 192), (height, width + 32)]
    return [*few, *odd, *even]


def compare_family(paddleocr: Path, record: Record) -> Iterator[tuple[Size, Outcome]]:
    """Yield each size of a record's network, and the outcome.

    Raises:
        CannotBuild: the checkout does not build the record's network.
    """
    architecture = record.facts.architecture
    adapter = adapter_for(architecture)
    network, _ = build_recorded(record, "", architecture)
    weights = record.weights()
    channels = record.facts.inputs[0].shape[1]
    # Of inputs that the image does not determine: the graph of DRRG.
    own = adapter.record_call_inputs or ()
    stored = {name: array for name, array in record.inputs().items() if name in own}
    with PaddleSession() as session:
        try:
            session.load_network(paddleocr.resolve(), with_guides(architecture), weights)
        except ReferenceUnavailable as error:
            raise CannotBuild(error) from error
        for size in sizes_of(record):
            image = seeded.waves(record.facts.salt, "image", (1, channels, *size))
            rows = adapter.recorded_inputs(image)
            given = stored | {name: row.values for name, row in rows.items()}
            ours: dict[str, np.ndarray] | str
            theirs: dict[str, np.ndarray] | str
            try:
                theirs = session.run({"x": image, **given}, for_record=True)
            except ReferenceUnavailable as error:
                if size == sizes_of(record)[0]:
                    raise CannotBuild(f"not even at its own size: {error}") from error
                theirs = str(error)
            run = partial(observe, network, names=(), run=record_run(network, given))
            try:
                ours = run(image)
            except (RuntimeError, AssertionError, ValueError) as error:  # of PyTorch's operators
                ours = str(error)
            if isinstance(theirs, str) or isinstance(ours, str):
                yield (
                    size,
                    compare(
                        theirs if isinstance(theirs, str) else [],
                        ours if isinstance(ours, str) else [],
                    ),
                )
                continue
            theirs = by_our_names(renamed(theirs, adapter.record_rows), ours)
            if sorted(theirs) != sorted(ours):
                names = f"Paddle gives {sorted(theirs)}, PyTorch {sorted(ours)}"
                yield size, Outcome(FAULT, names)
                continue
            outcome = compare(list(theirs.values()), [ours[name] for name in theirs])
            if outcome.detail.startswith(DIFFER):
                calmer = noise.subtract_noise(network, run, image, ours, theirs, LIMIT)
                left = compare(list(theirs.values()), [calmer[name] for name in theirs])
                outcome = Outcome(ROUNDING, left.detail) if left.kind == EQUAL else outcome
            yield size, outcome


def renamed(theirs: Mapping[str, np.ndarray], rows: RecordRows) -> dict[str, np.ndarray]:
    """Return Paddle's results by our names, without those that are not compared."""
    if len(theirs) == 1:
        return dict(theirs)
    plain = {name.removeprefix(f"{OUTPUT}."): array for name, array in theirs.items()}
    return {
        f"{OUTPUT}.{rows.names.get(name, name)}": array
        for name, array in plain.items()
        if name not in rows.left_out
    }


def image_of(network: Model, size: Size) -> np.ndarray:
    """Return a seeded page, or line for a recogniser or classifier, (1, C, H, W) float32."""
    card = network.card
    task = "" if card is None or card.task is None else card.task
    draw = rendered_inputs.line if task in ("rec", "cls") else rendered_inputs.page
    image = draw(*size, seed=7).astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    channels = 3 if card is None else card.input.channels
    return np.ascontiguousarray(image[:, :channels])


def run_paddle(program: PaddleProgram, batch: np.ndarray) -> list[np.ndarray] | str:
    """Return the program's outputs, or why it refuses the image."""
    try:
        return program.run({program.input_names[0]: batch})
    except ReferenceUnavailable as error:
        return str(error)


def run_network(network: Model, batch: np.ndarray) -> list[np.ndarray] | str:
    """Return the network's outputs in the order of the program's, or why it refuses the image."""
    try:
        with torch.inference_mode():
            result = network(torch.from_numpy(batch))
    except (RuntimeError, AssertionError, ValueError) as error:  # of PyTorch's operators
        return str(error)
    values = result.values() if isinstance(result, Mapping) else [result]
    return [value.numpy() for value in values]


def compare(theirs: list[np.ndarray] | str, ours: list[np.ndarray] | str) -> Outcome:
    """Return how the two sides compare.

    Args:
        theirs: Paddle's outputs, or its error.
        ours: the network's outputs, or its error.
    """
    if isinstance(theirs, str):
        if isinstance(ours, str):
            return Outcome(BOTH_REFUSE)
        return Outcome(OURS_ALONE, theirs.splitlines()[-1])
    if isinstance(ours, str):
        return Outcome(FAULT, f"only Paddle accepts it; PyTorch: {ours.splitlines()[0]}")
    shapes = [array.shape for array in theirs], [array.shape for array in ours]
    if shapes[0] != shapes[1]:
        return Outcome(FAULT, f"shapes {shapes[0]} in Paddle, {shapes[1]} in PyTorch")
    worst = max(
        float(np.abs(a - b).max(initial=0) / max(np.abs(a).max(initial=0), 1e-9))
        for a, b in zip(theirs, ours, strict=True)
    )
    if worst <= LIMIT:  # False for NaN, too
        return Outcome(EQUAL, f"{worst:.1e}")
    return Outcome(FAULT, f"{DIFFER}{worst:.1e}")


if __name__ == "__main__":
    sys.exit(main())
