"""Measure time and memory of this toolkit against other runtimes, alternating in one run.

    python scripts/benchmark.py convert [--rounds N] [--model NAME --paddle-dir PATH]
    python scripts/benchmark.py throughput [--minutes N] [--releases v4 v5 v6] [...]
    python scripts/benchmark.py pipeline [--images PATH ...] [--rounds N] [--threads N] [...]
    python scripts/benchmark.py decode [--rounds N] [--only NAME]
    python scripts/benchmark.py structure [--rounds N] --layout X.pth [--layout-onnx FILE] [...]
    python scripts/benchmark.py documents [--rounds N] --models DIR --paddlex-python FILE [...]

In each round all that is measured takes turns, and ratios are taken within a round, so that a
machine that is busy for a while slows all sides. Rounds that warm the caches do not count.

Exit codes: 0 within every limit, 1 beyond one, 2 wrong usage or something that fails.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks import conversion, decoding, documents, pipeline, structure, throughput

from converter.errors import ConverterError

BENCHMARKS = {
    "convert": conversion,
    "throughput": throughput,
    "pipeline": pipeline,
    "decode": decoding,
    "structure": structure,
    "documents": documents,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    chosen = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for name, benchmark in BENCHMARKS.items():
        options = chosen.add_parser(
            name,
            help=benchmark.HELP,
            description=benchmark.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        options.add_argument("--rounds", type=int, default=5, metavar="N", help="default: 5")
        benchmark.add_options(options)
        options.set_defaults(run=benchmark.run)
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error("--rounds is 1 at least")
    try:
        code: int = arguments.run(arguments)
    except ConverterError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    sys.exit(main())
