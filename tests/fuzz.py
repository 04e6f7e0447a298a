"""Damage small files of every kind in many ways, and read them: `make fuzz`.

    python -m tests.fuzz [--seconds N] [--seed N] [--out DIR]

A reader may refuse a file by an error of the converter, or read it; a traceback, or a case that
takes longer than `SLOW`, is a failure. Its file is kept in DIR with the seed in its name.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import pickle
import random
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from converter.alignment.layer_graph import program_graph
from converter.errors import ConverterError
from converter.sources.onnx.model import with_outputs as onnx_with_outputs
from converter.sources.onnx.program import read_onnx
from converter.sources.open import open_source, read_pdparams, read_program
from converter.sources.pdiparams import read_info, read_pdiparams
from converter.sources.reader import with_outputs
from converter.sources.weight_folders import read_weights
from tests.support.onnx_files import recogniser
from tests.support.paddle_files import pir, program_desc, weights

SLOW = 10.0  # seconds for one file
_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x28, 0x7D, 0x5B, 0x2E, 0x30)
_NUMBERS = tuple(
    number.to_bytes(size, "little", signed=number < 0)
    for size in (4, 8)
    for number in (-1, 0, 1, 2**31 - 1, -(2**31))
)


def _checkpoint(protocol: int) -> bytes:
    tensors = {f"backbone.conv{i}.weight": np.full((2, 3), i, np.float32) for i in range(3)}
    return pickle.dumps({**tensors, "StructuredToParameterName@@": {"a": "b"}}, protocol)


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in (("net/best_accuracy.pdparams", _checkpoint(4)), ("net/readme", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _safetensors() -> bytes:
    return save({f"layers.{i}.weight": np.full((2, 3), i, np.float32) for i in range(3)})


def _program(file: Path) -> None:
    program = read_program(file)
    program_graph(program)
    with suppress(ValueError):  # an output that is not in the main block
        with_outputs(program, program.outputs)


def _onnx(file: Path) -> None:
    program = read_onnx(file).program
    program_graph(program, merged=True)
    with suppress(ValueError):  # an output that is not in the main graph
        onnx_with_outputs(file, program.outputs)


def _weights(file: Path) -> None:
    intact = file.with_name("intact.pdmodel")
    intact.write_bytes(program_desc().SerializeToString())
    read_pdiparams(file, read_program(intact))


# By the name of a file: its content, and what reads it.
KINDS: Mapping[str, tuple[bytes, Callable[[Path], object]]] = {
    "two.pdparams": (_checkpoint(2), read_pdparams),
    "four.pdparams": (_checkpoint(4), read_pdparams),
    "inference.pdmodel": (program_desc().SerializeToString(), _program),
    "inference.json": (json.dumps(pir()).encode(), _program),
    "inference.pdiparams": (weights(), _weights),
    "inference.onnx": (recogniser().SerializeToString(), _onnx),
    "x.safetensors": (_safetensors(), read_weights),
    "x.info": (pickle.dumps({"w_0": {"structured_name": "a"}}, 2), read_info),
    "x.tar": (_tar(), open_source),
    "x.tar.gz": (gzip.compress(_tar(), mtime=0), open_source),
}


def damage(content: bytes, chance: random.Random) -> bytes:
    """Return the content with one to four changes: bits, bytes, numbers, parts."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        part = data[place : place + chance.choice((1, 4, 16, 64, 512))]
        match chance.randrange(8):
            case 0 if place < len(data):
                data[place] ^= 1 << chance.randrange(8)
            case 1 if place < len(data):
                data[place] = chance.choice(_BYTES)
            case 2:
                number = chance.choice(_NUMBERS)
                data[place : place + len(number)] = number
            case 3:
                del data[place:]
            case 4:
                del data[place : place + len(part)]
            case 5:
                data[place:place] = part * chance.choice((1, 2, 100))
            case 6:
                other = chance.randrange(len(data) + 1)
                data[other : other + len(part)] = part
            case _:
                data[place:place] = chance.randbytes(chance.choice((1, 4, 16)))
    return bytes(data)


def run_case(name: str, seed: int, folder: Path) -> str:
    """Read one damaged file; return the fault of the reader, or nothing.

    Args:
        name: one of KINDS.
        seed: decides about the damage.
        folder: where the file is put.
    """
    content, read = KINDS[name]
    file = folder / name
    file.write_bytes(damage(content, random.Random(f"{name}:{seed}")))
    start = time.perf_counter()
    try:
        read(file)
    except ConverterError as error:
        if not str(error).strip():
            return "an error without a message"
    except Exception:
        return traceback.format_exc()
    seconds = time.perf_counter() - start
    return f"took {seconds:.1f} seconds" if seconds > SLOW else ""


def main() -> int:
    """Run until the time is over; return 1 if there were failures."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long (default 300)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the first seed")
    parser.add_argument(
        "--out", type=Path, default=Path("out/fuzz"), help="where failures are kept"
    )
    options = parser.parse_args()
    end, seed, failures = time.monotonic() + options.seconds, options.seed, 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        while time.monotonic() < end:
            for name in KINDS:
                if fault := run_case(name, seed, folder):
                    failures += 1
                    options.out.mkdir(parents=True, exist_ok=True)
                    kept = options.out / f"{seed}-{name}"
                    kept.write_bytes((folder / name).read_bytes())
                    print(f"{kept}:\n{fault}", file=sys.stderr)
            seed += 1
    cases = (seed - options.seed) * len(KINDS)
    print(f"{cases} cases from seed {options.seed}, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
