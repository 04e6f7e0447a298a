"""The process that renders the pages of one PDF file, so that a hostile page cannot do harm.

    python pdf_worker.py FILE SCALE MAX_PIXELS MEMORY SECONDS

A page may abort PDFium, take all memory or never end; then this process ends, and the process that
started it goes on. It answers with a line of JSON to standard output: first with `count`, the
number of pages, then, for each line of standard input with a page's number, with `width`, `height`,
`stride` and `channels`, followed by the pixels, `height * stride` bytes. For a line `text` with a
page's number, it has `lines`, each a text and its box, and `sound`. If that fails, the line holds
`error`. Needs the standard library and pypdfium2 alone.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import pypdfium2


TEXT = "text "
"""Before the number of a page whose text is asked for."""


def main() -> None:
    """Open the file, then render a page for each line of standard input."""
    file, scale, pixels, memory, seconds = sys.argv[1:6]
    del sys.path[0]  # the folder of this file, whose modules are not meant to be imported
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal signals all; the parent decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what PDFium may print is no answer
    limit(int(memory))
    limit_time(int(seconds))

    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        answer(answers, error=str(error), code=error.err_code)
        return
    document.init_forms()  # so that filled-in form fields are rendered
    answer(answers, count=len(document))
    for line in sys.stdin:
        limit_time(int(seconds))
        try:
            if line.startswith(TEXT):
                extract(document, int(line.removeprefix(TEXT)), answers)
            else:
                render(document, int(line), float(scale), int(pixels), answers)
        except (pypdfium2.PdfiumError, ValueError) as error:
            answer(answers, error=str(error))


def render(
    document: pypdfium2.PdfDocument, number: int, scale: float, pixels: int, answers: BinaryIO
) -> None:
    """Render a page on white and send it.

    Args:
        document: the PDF file.
        number: the number of the page, from 1.
        scale: its resolution, in pixels per point.
        pixels: pages of more pixels are rendered at a lower resolution.
        answers: the stream to the parent process.
    """
    page = document[number - 1]
    width, height = page.get_size()
    if width * height > 0:
        scale = min(scale, math.sqrt(pixels / (width * height)))
    bitmap = page.render(scale=scale)
    answer(
        answers,
        width=bitmap.width,
        height=bitmap.height,
        stride=bitmap.stride,
        channels=bitmap.n_channels,
    )
    answers.write(memoryview(bitmap.buffer).cast("B"))
    answers.flush()
    bitmap.close()
    page.close()


def extract(document: pypdfium2.PdfDocument, number: int, answers: BinaryIO) -> None:
    """Send the text layer of a page.

    Args:
        document: the PDF file.
        number: the number of the page, from 1.
        answers: the stream to the parent process.
    """
    file = Path(__file__).with_name("pdf_text.py")
    spec = spec_from_file_location("pdf_text", file)
    assert spec is not None
    assert spec.loader is not None
    layers = module_from_spec(spec)
    spec.loader.exec_module(layers)
    page = document[number - 1]
    lines = layers.lines_of(page)
    answer(answers, lines=lines, sound=layers.is_sound(page, lines))
    page.close()


def answer(answers: BinaryIO, **values: object) -> None:
    """Send a line of JSON."""
    answers.write(json.dumps(values).encode() + b"\n")
    answers.flush()


def limit(memory: int) -> None:
    """Limit this process's memory, in bytes, and write no core dump, where the system can."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def limit_time(seconds: int) -> None:
    """Limit the processor time from now on, for the case that the parent process has ended."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        soft = math.ceil(usage.ru_utime + usage.ru_stime) + seconds + 1
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


if __name__ == "__main__":
    main()
