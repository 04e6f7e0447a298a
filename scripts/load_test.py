"""Load the service with requests from many clients, some of them damaged.

    python scripts/load_test.py --models DIR [--requests N] [--clients N] [--damaged SHARE]

It starts `python -m pipelines serve`, sends pages that it draws, single and as PDFs, and damaged
files between them, and prints a row for every hundred answers: how many had which status, the time
of an answer, the pages a second, and the memory of the service. An answer has to be that of the
same page before, up to nothing; a damaged file has to be refused with one message; where the
service says 429, the client waits as it asks for and tries again. At the end the service is told to
stop while requests are under way, which it has to answer.

Exit code: 0; 1 where an answer is another one than expected, the service does not stop cleanly, or
its memory grows by more than --limit MB after the first fifth of the requests.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
from PIL import Image
from soak import page

PAGES, HEIGHT, WIDTH = 16, 120, 400
"""How many different pages there are, and their largest size in pixels: two lines, read fast."""
ROW = 100
"""Answers per row."""
MOST_TRIES = 100
START_SECONDS = 300


@dataclass(frozen=True)
class File:
    """What a request sends.

    Attributes:
        name: for messages.
        kind: its Content-Type.
        content: its bytes.
        statuses: of which the answer has to have one.
        pages: the number of its pages.
    """

    name: str
    kind: str
    content: bytes
    statuses: tuple[int, ...] = (200,)
    pages: int = 1


@dataclass
class Answers:
    """What came back.

    Attributes:
        statuses: how many answers had which status.
        seconds: the time of each answer with 200.
        tries: how many requests were sent again after 429.
        pages: how many pages were read.
        wrong: answers other than expected.
        first: the first answer for each file.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    tries: int = 0
    pages: int = 0
    wrong: list[str] = field(default_factory=list)
    first: dict[str, bytes] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, file: File, status: int, content: bytes, seconds: float) -> None:
        """Check an answer and count it."""
        with self.lock:
            self.statuses[status] += 1
            reason = self._wrong(file, status, content)
            if reason:
                self.wrong.append(f"{file.name}: {reason}")
            if status == 200:
                self.seconds.append(seconds)
                self.pages += file.pages

    def _wrong(self, file: File, status: int, content: bytes) -> str:
        if status not in file.statuses:
            return f"{status} instead of {file.statuses}: {content[:200]!r}"
        if status == 200:
            expected = self.first.setdefault(file.name, content)
            return "" if content == expected else "not the answer that it had before"
        try:
            error = json.loads(content)["error"]
        except (ValueError, KeyError, TypeError):
            return f"{status} without a message: {content[:200]!r}"
        return f"a traceback: {error}" if "Traceback" in error or "\n" in error else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the service and load it, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--models", type=Path, required=True, metavar="DIR", help="folder of converted weights")
    add("--requests", type=int, default=1000, metavar="N", help="default: 1000")
    add("--clients", type=int, default=32, metavar="N", help="default: 32")
    add("--damaged", type=float, default=0.05, metavar="SHARE", help="0 to 1; default: 0.05")
    add("--limit", type=float, default=100, metavar="MB", help="growth that is too much; "
        "default: 100")  # fmt: skip
    options, others = parser.parse_known_args(argv)
    port = free_port()
    command = [sys.executable, "-m", "pipelines", "serve", "--models", str(options.models)]
    process = subprocess.Popen([*command, "--port", str(port), *others])
    try:
        wait_until_up(port, process)
        rows: list[float] = []
        answers = load(
            port, options.requests, options.clients, options.damaged,
            lambda answers: rows.append(print_row(answers, port)),
        )  # fmt: skip
        stopped = stop_under_way(port, process, answers)
    finally:
        process.kill()
        process.wait()
    for line in answers.wrong[:20]:
        print(f"load_test: {line}", file=sys.stderr)
    grown = rows[-1] - rows[len(rows) // 5] if rows else 0.0
    ended = "stopped cleanly" if stopped else "DID NOT STOP CLEANLY"
    print(f"{len(answers.wrong)} wrong answers; after the first fifth memory grew by "
          f"{grown:.0f} MB; {ended}")  # fmt: skip
    return int(bool(answers.wrong) or grown > options.limit or not stopped)


def load(
    port: int,
    requests: int,
    clients: int,
    damaged: float,
    every_row: Callable[[Answers], object] = lambda answers: None,  # noqa: ARG005
) -> Answers:
    """Send requests to `/ocr` from several clients, and return what came back.

    Args:
        port: of the service on this machine.
        requests: their number.
        clients: how many send at the same time.
        damaged: the share of damaged files, 0 to 1.
        every_row: is called after every `ROW` answers.
    """
    good, bad = good_files(), damaged_files()
    dice = random.Random(0)
    files = [dice.choice(bad if dice.random() < damaged else good) for _ in range(requests)]
    answers, rest, done = Answers(), iter(files), Counter[str]()
    lock = threading.Lock()

    def client() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=600)
        while True:
            with lock:
                file = next(rest, None)
            if file is None:
                break
            send(connection, file, answers)
            with lock:
                done["all"] += 1
                if done["all"] % ROW == 0:
                    every_row(answers)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def send(connection: HTTPConnection, file: File, answers: Answers) -> None:
    """Send a file until the service takes it, and note the answer."""
    for _ in range(MOST_TRIES):
        start = time.monotonic()
        try:
            connection.request("POST", "/ocr", file.content, {"Content-Type": file.kind})
            response = connection.getresponse()
            status, content = response.status, response.read()
        except (OSError, HTTPException) as error:
            connection.close()
            answers.add(file, 0, repr(error).encode(), 0.0)
            return
        if status != 429:
            answers.add(file, status, content, time.monotonic() - start)
            return
        with answers.lock:
            answers.tries += 1
        time.sleep(float(response.headers["Retry-After"]))
    answers.add(file, 429, b"refused each time", 0.0)


def good_files() -> list[File]:
    """Return pages as PNG, JPEG and PDF."""
    pages = [page(number)[:HEIGHT, :WIDTH, ::-1] for number in range(PAGES)]
    drawn = [Image.fromarray(image) for image in pages]
    files = []
    for number, image in enumerate(drawn):
        kind = ("png", "jpeg")[number % 2]
        files.append(File(f"page {number}", f"image/{kind}", encoded(image, kind)))
    book = encoded(drawn[0], "pdf", save_all=True, append_images=drawn[1:3])
    return [*files, File("book", "application/pdf", book, pages=3)]


def damaged_files() -> list[File]:
    """Return files that cannot be read, with the statuses of their answers."""
    png = encoded(Image.fromarray(page(0)), "png")
    jpeg = encoded(Image.fromarray(page(1)), "jpeg")
    pdf = encoded(Image.fromarray(page(2)), "pdf")
    noise = np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes()
    huge = encoded(Image.new("1", (10_000, 6_000)), "png")
    return [
        File("half a PNG", "image/png", png[: len(png) // 2], (422,)),
        File("half a JPEG", "image/jpeg", jpeg[: len(jpeg) // 2], (422,)),
        File("the start of a PDF", "application/pdf", pdf[:200], (422,)),
        File("noise", "image/png", noise, (422,)),
        File("a text", "image/png", b"hello", (422,)),
        File("nothing", "image/png", b"", (400,)),
        File("a page too large", "image/png", huge, (413,)),
        File("another type", "text/plain", b"/etc/passwd", (415,)),
    ]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def print_row(answers: Answers, port: int) -> float:
    """Print what came back so far, and return the memory of the service in megabytes."""
    memory = resident(port)
    statuses = ", ".join(f"{status}: {n}" for status, n in sorted(answers.statuses.items()))
    median = statistics.median(answers.seconds or [0.0])
    worst = max(answers.seconds or [0.0])
    print(f"{sum(answers.statuses.values()):6} answers ({statuses}), {answers.tries} sent again, "
          f"median {median:.1f} s, at most {worst:.1f} s, {answers.pages} pages, "
          f"{memory:.0f} MB", flush=True)  # fmt: skip
    return memory


def resident(port: int) -> float:
    """Return the memory of the service, in megabytes, as its metrics tell."""
    text = get(port, "/metrics")
    found = re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
    return float(found[1]) / 1e6 if found else 0.0


def get(port: int, path: str) -> str:
    """Return the text of a page of the service."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_up(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the service answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            get(port, "/health")
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise SystemExit("load_test: the service did not start")


def stop_under_way(port: int, process: subprocess.Popen[bytes], answers: Answers) -> bool:
    """Stop the service while it reads; return whether it answered what it took and stopped."""
    file = good_files()[-1]
    before = len(answers.wrong), answers.statuses[200]
    threads = [
        threading.Thread(target=send, args=(HTTPConnection("127.0.0.1", port), file, answers))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.5)  # until they are taken
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    code = process.wait(60)
    after = len(answers.wrong), answers.statuses[200]
    return code == 0 and after == (before[0], before[1] + len(threads))


if __name__ == "__main__":
    sys.exit(main())
