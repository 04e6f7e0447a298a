"""`python -m pipelines serve --models DIR`: answer requests over HTTP."""

from __future__ import annotations

import argparse
import signal
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pipelines.batching import BATCH_SIZE
from pipelines.cli.log_printer import printed_log
from pipelines.cli.options import (
    add_min_score,
    add_roles,
    add_runtime_options,
    given_roles,
    positive,
    runtime_options,
)
from pipelines.documents.settings import PRESETS, TEXT_LAYER
from pipelines.errors import UsageError
from pipelines.io.files import DPI
from pipelines.page_reading import load_networks

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pipelines.service.limits import Limits

NEEDED = ("fastapi", "prometheus_client", "uvicorn")
"""The modules of the extra `serve`."""
EPILOG = """POST an image or a PDF as the body of a request to /ocr or /parse; /docs describes the
endpoints, /health reports whether requests are read, /metrics has figures for Prometheus. SIGTERM
and Ctrl-C stop the service after the requests that it took.
exit codes: 0 stopped; 2 usage, or the port cannot be used; 3 weights could not be read"""


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines serve",
        usage="%(prog)s --models DIR [--host ADDRESS] [--port N] [options]",
        description="Answer requests over HTTP: the text of images and PDFs at /ocr, and where "
        "there is a layout network their structure at /parse.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(prog="serve")
    add = parser.add_argument
    add("--host", default="127.0.0.1", metavar="ADDRESS",
        help="where to listen (default: 127.0.0.1, this machine alone); whoever reaches the port "
        "can use the service")  # fmt: skip
    add("--port", type=positive(int), default=8000, metavar="N", help="default: 8000")
    add("--preset", choices=PRESETS, default="default", help="settings of /parse")
    add("--text", choices=TEXT_LAYER, default="auto",
        help="take the text layer of PDFs in /parse where it is sound (auto, default), always, "
        "or never")  # fmt: skip
    add("--dpi", type=positive(float), default=DPI, metavar="N",
        help=f"resolution of PDF pages, in pixels per inch (default: {DPI})")  # fmt: skip
    add("--batch-size", type=positive(int), default=BATCH_SIZE, metavar="N",
        help=f"lines per call of a network (default: {BATCH_SIZE})")  # fmt: skip
    add_min_score(parser, 0.5)
    add("--together", type=positive(int), metavar="N",
        help="pages of /ocr, also of several requests, whose lines share batches (default: 1 on a "
        "CPU, where more are no faster, else 8)")  # fmt: skip
    add("--delay", type=positive(float), default=5.0, metavar="MS",
        help="milliseconds that a page waits for others with --together (default: 5)")  # fmt: skip
    add("-v", "--verbose", action="store_true", help="print log messages and requests")
    add_runtime_options(parser)
    add_roles(parser)
    group = parser.add_argument_group("limits", "Requests beyond them are refused.")
    add = group.add_argument
    add("--max-mb", type=positive(float), default=20.0, metavar="N",
        help="size of a file in MB (default: 20)")  # fmt: skip
    add("--max-megapixels", type=positive(float), default=40.0, metavar="N",
        help="size of a page in millions of pixels (default: 40)")  # fmt: skip
    add("--max-pages", type=positive(int), default=50, metavar="N",
        help="pages of a file (default: 50)")  # fmt: skip
    add("--timeout", type=positive(float), default=120.0, metavar="SECONDS",
        help="time to the answer (default: 120)")  # fmt: skip
    add("--upload-timeout", type=positive(float), default=30.0, metavar="SECONDS",
        help="time in which a file has to arrive (default: 30)")  # fmt: skip
    add("--max-requests", type=positive(int), default=64, metavar="N",
        help="requests that are taken at the same time (default: 64)")  # fmt: skip
    return parser


def run(options: argparse.Namespace) -> int:
    """Answer requests until a signal comes, and return the exit code."""
    if missing := [name for name in NEEDED if not find_spec(name)]:
        raise UsageError(f"serve needs {', '.join(missing)}; pip install paddleocr-to-torch[serve]")
    import uvicorn

    with printed_log(options.prog, verbose=options.verbose):
        limits = limits_of(options)
        server = uvicorn.Server(
            uvicorn.Config(
                build_app(options, limits),
                options.host,
                options.port,
                log_level="info" if options.verbose else "warning",
                server_header=False,
                timeout_graceful_shutdown=round(limits.seconds + limits.upload_seconds),
            )
        )
        for number in (signal.SIGINT, signal.SIGTERM):  # which uvicorn sends again at its end
            signal.signal(number, lambda *_: None)
        print(
            f"{options.prog}: listening on http://{options.host}:{options.port}",
            file=sys.stderr,
            flush=True,
        )
        try:
            server.run()
        except SystemExit as stopped:  # with a message of its own, such as that the port is taken
            return UsageError.exit_code if stopped.code else 0
    return 0


def limits_of(options: argparse.Namespace) -> Limits:
    """Return the limits that the options set."""
    from pipelines.service.limits import Limits

    return Limits(
        int(options.max_mb * 1e6),
        int(options.max_megapixels * 1e6),
        options.max_pages,
        options.timeout,
        options.upload_timeout,
        options.max_requests,
    )


def build_app(options: argparse.Namespace, limits: Limits) -> FastAPI:
    """Load the networks, and build the application."""
    from pipelines.service.app import create_app
    from pipelines.service.loading import Setup, load_readings

    setup = Setup(
        options.models,
        given_roles(options),
        options.preset,
        options.text,
        options.min_score,
        options.together,
        options.delay / 1000,
        options.batch_size,
        runtime_options(options),
    )
    return create_app(load_networks(lambda: load_readings(setup)), limits, options.dpi)
