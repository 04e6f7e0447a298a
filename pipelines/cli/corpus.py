"""`python -m pipelines corpus INPUT... --out DIR`: read many files into Parquet and JSON."""

from __future__ import annotations

import argparse
import hashlib
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from cores.threads import core_budget
from pipelines.cli.ocr import PagesOCR, add_networks
from pipelines.cli.options import add_runtime_options, positive
from pipelines.cli.page_runner import FAILED
from pipelines.cli.page_workers import most_workers
from pipelines.errors import SourceError, UsageError
from pipelines.io.files import DPI
from schemas.messages import escape_controls

SHOWN_FAILURES = 20
"""How many failures are printed; all are in failures.json."""

EPILOG = """INPUT is an image or a PDF, a folder (all images, PDFs and Parquet files below it),
a quoted pattern such as 'scans/**/*.pdf', a Parquet file with a column of images or PDFs, or a URL
of one of these that pyarrow reads, such as s3://bucket/scans. A run that was interrupted goes on
where it stopped; pages that were read before, with the same settings, are not read again.
exit codes: 0 all was read; 2 usage, or the output cannot be written; 3 weights, a page or a file
could not be read"""


class WarmOCR(PagesOCR):
    """Reads pages, with results that do not depend on which pages the process has read before."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self._ocr.warm_up()


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines corpus",
        usage="%(prog)s INPUT [INPUT ...] --out DIR --det X.pth --rec Y.pth [options]",
        description="Read the pages of many files, on all cores or on the machines of a Ray "
        "cluster, into Parquet and JSON: a row for each page.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(prog="corpus", words=False, together=1)  # so that pages do not matter
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="what to read")
    add("--out", required=True, metavar="DIR",
        help="folder or URL of the results; with --ray one that all machines reach")  # fmt: skip
    add("--ray", nargs="?", const="", metavar="ADDRESS",
        help="use the Ray cluster at this address, by default that of RAY_ADDRESS, else this "
        "machine")  # fmt: skip
    add("--workers", type=positive(int), metavar="N",
        help="processes, or with --ray actors (default: one for each core or GPU)")  # fmt: skip
    add("--column", metavar="NAME",
        help="column of Parquet files that holds images or PDFs (default: the first of "
        "bytes)")  # fmt: skip
    add("--dpi", type=positive(float), default=DPI, metavar="N",
        help=f"resolution of PDF pages, in pixels per inch (default: {DPI})")  # fmt: skip
    add("-v", "--verbose", action="store_true", help="print log messages and tracebacks")
    add_networks(parser)
    add_runtime_options(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Read all pages, write the results, and return the exit code."""
    _require("pyarrow", "the results are written by pyarrow", "corpus")
    if options.ray is not None:
        _require("ray", "--ray needs Ray", "ray")
    from tqdm import tqdm

    from pipelines.corpus.engines import Engine, LocalEngine, RayEngine
    from pipelines.corpus.run import run_corpus
    from pipelines.corpus.sources import find_sources
    from pipelines.corpus.store import Store, settings_key

    key = settings_key(_settings(options))
    _use_absolute_paths(options)
    sources, failures = find_sources(options.inputs, options.column)
    folder = options.out if "://" in options.out else str(Path(options.out).absolute())
    engine: Engine
    if options.ray is None:
        workers = options.workers or most_workers(options.device)
        engine = LocalEngine(workers, max(1, core_budget() // workers))
    else:
        gpus = 0 if options.device == "cpu" else 1
        engine = RayEngine(options.ray or None, options.workers, gpus=gpus)
    bar = tqdm(total=0, unit="page", leave=False, disable=not sys.stderr.isatty())

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        summary = run_corpus(sources, engine, Store(folder, key), WarmOCR, options, show)
    messages = [*failures, *(str(failure["error"]) for failure in summary.failures)]
    for message in messages[:SHOWN_FAILURES]:
        print(escape_controls(f"{options.prog}: {message}"), file=sys.stderr)
    if messages:
        print(
            f"{options.prog}: {len(messages)} could not be read; those of files are in "
            f"{escape_controls(options.out)}/failures.json",
            file=sys.stderr,
        )
    print(
        f"{summary.pages} pages are in {escape_controls(options.out)}, {summary.read} of them were "
        "read now"
    )
    return FAILED if messages else 0


def _require(package: str, reason: str, extra: str) -> None:
    if find_spec(package) is None:
        raise UsageError(f"{reason}; pip install paddleocr-to-torch[{extra}]")


def _use_absolute_paths(options: argparse.Namespace) -> None:
    """Make the paths of the weights absolute, since actors run in other folders."""
    for name in ("det", "rec", "cls", "doc"):
        if (path := getattr(options, name)) is not None:
            setattr(options, name, path.absolute())


def _settings(options: argparse.Namespace) -> dict[str, object]:
    """Return what the results depend on, besides the pages; JSON can hold it."""
    irrelevant = {"inputs", "out", "ray", "workers", "column", "verbose", "prog", "compile"}
    settings: dict[str, object] = {"version": _version()}
    for name, value in vars(options).items():
        if isinstance(value, Path):
            settings[name] = _hash(value)
        elif name not in irrelevant:
            settings[name] = value
    settings["device"] = str(options.device).partition(":")[0]
    return settings


def _version() -> str:
    try:
        return metadata.version("paddleocr-to-torch")
    except metadata.PackageNotFoundError:
        return ""


def _hash(weights: Path) -> str:
    """Return the hash of weights and of the JSON beside them, which has their settings."""
    digest = hashlib.sha256()
    for file in (weights, weights.with_suffix(".json")):
        try:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        except OSError as error:
            raise SourceError(f"{file}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()
