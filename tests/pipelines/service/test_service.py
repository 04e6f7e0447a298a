"""The service: answers, limits, damaged files, shutdown, and many clients at once."""

from __future__ import annotations

import asyncio
import io
import threading
import time
import zlib
from contextlib import contextmanager

import httpx
import jsonschema
import load_test
import numpy as np
import pytest
import uvicorn
from PIL import Image

from pipelines import OCR
from pipelines.cli.serve import limits_of
from pipelines.cli.serve_on_ray import options_of
from pipelines.documents.networks import Networks, load_networks
from pipelines.documents.parser import PageParser
from pipelines.documents.settings import DEFAULT
from pipelines.io.exporters import JsonWriter
from pipelines.io.files import Page
from pipelines.service import app as service
from pipelines.service import uploads
from pipelines.service.app import create_app
from pipelines.service.limits import Limits
from pipelines.service.loading import Setup, load_readings
from pipelines.service.readings import OcrReading, ParseReading
from pipelines.service.schema import OcrAnswer
from tests.support import pdf_files
from tests.support.cli_runs import run
from tests.support.page_networks import DETECTOR, READER, WHOLE, layout
from tests.support.pages import bar_page

__all__ = ["run"]  # fixtures

PNG = {"content-type": "image/png"}
SMALL = Limits(bytes=200_000, pixels=300_000, pages=3, seconds=20, upload_seconds=0.2, requests=2)


def png(image, kind="png", **options):
    stream = io.BytesIO()
    Image.fromarray(image[..., ::-1]).save(stream, kind, **options)
    return stream.getvalue()


class Held(OcrReading):
    """Reads pages when it may, and notes how many together."""

    def __init__(self, together=1, delay=0.0):
        super().__init__(OCR(DETECTOR, READER), together, delay)
        self.may, self.batches = threading.Event(), []
        self.may.set()

    def read(self, pages):
        self.may.wait(10)
        self.batches.append([page.number for page in pages])
        return super().read(pages)


def parsing():
    networks = load_networks({"layout": layout(("text", WHOLE))}, DEFAULT)
    ocr = OCR(DETECTOR, READER)
    return ParseReading(PageParser(Networks(networks.layout, ocr=ocr)), DEFAULT)


@contextmanager
def client_of(readings, limits=SMALL):
    """Send requests to an application in this process."""
    app = create_app(readings, limits, dpi=72)

    def send(*requests):
        async def run():
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await asyncio.gather(
                    *(
                        each(client) if callable(each) else client.request(**each)
                        for each in requests
                    )
                )

        return asyncio.run(run())

    yield send
    asyncio.run(closed(app))


async def closed(app):
    async with app.router.lifespan_context(app):
        pass


def post(content, path="/ocr", **headers):
    return {"method": "POST", "url": path, "content": content, "headers": {**PNG, **headers}}


@pytest.fixture(scope="module")
def send():
    with client_of({"ocr": Held(), "parse": parsing()}) as send:
        yield send


def test_an_image_as_the_command_line_reads_it(send):
    (answer,) = send(post(png(bar_page())))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    page = bar_page()
    writer = JsonWriter(uploads.NAME)
    writer.add(Page(uploads.NAME, 1, 1, page), OCR(DETECTOR, READER)(page))
    assert answer.content == writer.content()
    read = OcrAnswer.model_validate_json(answer.content)
    assert [line.text for line in read.pages[0].lines] == ["green", "red", "blue"]


def test_a_file_of_several_pages(send):
    frame = Image.fromarray(bar_page()[..., ::-1])
    stream = io.BytesIO()
    frame.save(stream, "tiff", save_all=True, append_images=[frame], compression="tiff_deflate")
    book = pdf_files.pages((72, 72), (72, 36))
    tiff, pdf = send(post(stream.getvalue()), post(book, **{"content-type": "application/pdf"}))
    assert [len(page.lines) for page in OcrAnswer(**tiff.json()).pages] == [3, 3]
    assert [(page.width, page.height) for page in OcrAnswer(**pdf.json()).pages] == [
        (72, 72), (72, 36)
    ]  # fmt: skip


def test_a_document(send):
    page, text, wrong = send(
        post(png(bar_page()), "/parse"),
        post(png(bar_page()), "/parse?format=md"),
        post(png(bar_page()), "/parse?format=doc"),
    )
    schema = send({"method": "GET", "url": "/openapi.json"})[0].json()
    given = schema["paths"]["/parse"]["post"]["responses"]["200"]["content"]["application/json"]
    jsonschema.validate(page.json(), {**given["schema"], "components": schema["components"]})
    assert page.json()["pages"][0]["source"] == "upload"
    assert "green" in text.text
    assert text.headers["content-type"].startswith("text/markdown")
    assert (wrong.status_code, "no format 'doc'" in wrong.json()["error"]) == (422, True)


def slow():
    async def parts():
        yield png(bar_page())[:100]
        await asyncio.sleep(1)

    return parts()


def endless():
    async def parts():
        while True:
            yield bytes(50_000)

    return parts()


def png_head(width, height, color=2):
    """The head of a PNG, 8 bits a channel, and no data."""
    sizes = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    head = b"IHDR" + sizes + bytes([8, color, 0, 0, 0])
    sum_ = zlib.crc32(head).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + head + sum_ + b"\0\0\0\0IDAT"


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (post(b""), 400, "the body is empty"),
        (post(png(bar_page())[:500]), 422, "may be damaged"),
        (post(b"hello"), 422, "not an image of a known format"),
        (post(b"%PDF-1.4 hello"), 422, "the PDF: not a PDF"),
        (post(b"/etc/passwd", **{"content-type": "text/plain"}), 415, "is text/plain"),
        (post(b"a=b", **{"content-type": "multipart/form-data"}), 415, "multipart/form-data"),
        (post(bytes(200_001)), 413, "larger than 0.2 MB"),
        (post(endless()), 413, "larger than 0.2 MB"),
        (post(png(np.zeros((600, 600, 3), np.uint8))), 413, "600 x 600 pixels; at most 0.3 mil"),
        (post(png_head(13_000, 13_000)), 413, "13000 x 13000 pixels; at most 0.3 mil"),
        (post(png_head(60_000, 60_000)), 413, "more than 150 million pixels"),
        (post(png_head(100_000, 2)), 413, "a side may have at most 65500"),
        (post(png_head(100_000, 2), "/parse"), 413, "a side may have at most 65500"),
        (post(pdf_files.pages(*[(9, 9)] * 4)), 413, "4 pages; at most 3"),
        (post(slow()), 408, "within 0.2 seconds"),
        ({"method": "GET", "url": "/ocr"}, 405, "Method Not Allowed"),
        ({"method": "GET", "url": "/../etc/passwd"}, 404, "Not Found"),
    ],
)  # fmt: skip
def test_what_is_refused(send, request_, status, reason):
    (answer,) = send(request_)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert reason in answer.json()["error"]
    assert "Traceback" not in answer.text


def test_images_that_only_the_reader_of_images_finds_too_large():
    with client_of({"ocr": Held()}, Limits(pixels=1_000_000_000)) as send:
        pixels, memory = send(post(png_head(15_001, 10_000)), post(png_head(12_000, 12_000, 6)))
    assert (pixels.status_code, memory.status_code) == (413, 413)
    assert "at most 150 million are read" in pixels.json()["error"]
    assert "takes 576 MB when decoded" in memory.json()["error"]


@pytest.mark.parametrize("path", ["/ocr", "/parse"])
def test_too_little_memory_is_an_error_of_the_service(send, monkeypatch, caplog, path):
    def read(*_):
        raise MemoryError

    monkeypatch.setattr("pipelines.io.images.ImageFile.read", read)
    (answer,) = send(post(png(bar_page()), path))
    assert answer.status_code == 500
    assert answer.json() == {"error": "the service failed; its log says why"}
    assert "no page could be read" in caplog.text


def test_pages_that_fail_stand_beside_the_others(send, monkeypatch):
    def read(_, number):
        if number == 2:
            raise MemoryError
        return bar_page()

    monkeypatch.setattr("pipelines.io.images.ImageFile.read", read)
    frame = Image.new("L", (9, 9))
    stream = io.BytesIO()
    frame.save(stream, "tiff", save_all=True, append_images=[frame])
    (answer,) = send(post(stream.getvalue()))
    first, second = answer.json()["pages"]
    assert len(first["lines"]) == 3
    assert second == {"page": 2, "error": "MemoryError"}


def test_too_many_requests_and_late_answers():
    held = Held()
    held.may.clear()
    content = png(bar_page())
    limits = Limits(seconds=0.5, requests=2)

    async def late(client):
        await asyncio.sleep(0.2)
        return await client.request(**post(content))

    with client_of({"ocr": held}, limits) as send:
        first, second, third = send(post(content), post(content), late)
        assert [first.status_code, second.status_code] == [504, 504]
        assert "no answer in 0.5 seconds" in first.json()["error"]
        assert (third.status_code, int(third.headers["retry-after"])) == (429, 1)
        held.may.set()
        (again,) = send(post(content))
        assert again.status_code == 200
    assert held.batches == [[1], [1]]  # nobody waits for the second one any more


def test_pages_of_several_requests_share_batches():
    held = Held(together=3, delay=0.5)
    with client_of({"ocr": held}, Limits()) as send:
        answers = send(*[post(png(bar_page()))] * 3, post(pdf_files.pages(*[(72, 72)] * 3)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers[:3]}) == 1
    assert [page["page"] for page in answers[3].json()["pages"]] == [1, 2, 3]
    assert sorted(map(len, held.batches)) == [3, 3]


def test_a_long_file_does_not_hold_up_the_others():
    held = Held()
    held.may.clear()
    with client_of({"ocr": held}, Limits()) as send:
        threading.Timer(0.3, held.may.set).start()
        book = pdf_files.pages(*[(72, 72)] * 4)
        send(post(book), post(png(bar_page())), post(png(bar_page())))
    assert [numbers[0] for numbers in held.batches].index(4) == 5


def test_networks_of_another_kind_are_an_error_of_the_service(caplog):
    reading = OcrReading(OCR(lambda _: np.zeros((1, 2, 3)), READER))
    with client_of({"ocr": reading}) as send:
        first, health = send(post(png(bar_page())), {"method": "GET", "url": "/health"})
    assert first.json() == {"error": "the service failed; its log says why"}
    assert (first.status_code, health.status_code) == (500, 200)
    assert "a page could not be read" in caplog.text


def test_health_and_metrics(send):
    send(post(png(bar_page())), post(b"x"))
    health, figures, openapi = send(
        *({"method": "GET", "url": path} for path in ("/health", "/metrics", "/openapi.json"))
    )
    assert health.json() == {"status": "ok"}
    assert 'ocr_requests_total{endpoint="ocr",status="422"}' in figures.text
    assert "process_resident_memory_bytes" in figures.text
    assert set(openapi.json()["paths"]) == {"/ocr", "/parse", "/health"}
    with client_of({"ocr": Held()}) as other:
        (openapi,) = other({"method": "GET", "url": "/openapi.json"})
    assert set(openapi.json()["paths"]) == {"/ocr", "/health"}


def test_a_thread_that_died_is_told(monkeypatch):
    monkeypatch.setattr(service.Engine, "_run", lambda _: None)
    with client_of({"ocr": Held()}) as send:
        time.sleep(0.05)
        (health,) = send({"method": "GET", "url": "/health"})
    assert (health.status_code, health.json()) == (503, {"status": "failed"})


# A server, as users run it.


@contextmanager
def served(readings, limits):
    port = load_test.free_port()
    config = uvicorn.Config(create_app(readings, limits, dpi=72), port=port, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield port, server
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def test_many_clients_with_damaged_files():
    with served({"ocr": Held(together=4)}, Limits(requests=6)) as (port, _):
        answers = load_test.load(port, 64, 8, 0.05)
    assert not answers.wrong
    assert sum(answers.statuses.values()) == 64
    assert answers.statuses[200] > 55
    assert set(answers.statuses) - {200} <= {400, 413, 415, 422}


def test_what_was_taken_is_answered_before_the_end():
    held = Held()
    held.may.clear()
    found = []

    def ask(port):
        found.append(httpx.post(f"http://127.0.0.1:{port}/ocr", **asked, timeout=20).status_code)

    asked = {"content": png(bar_page()), "headers": PNG}
    with served({"ocr": held}, Limits()) as (port, server):
        threads = [threading.Thread(target=ask, args=(port,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        while "taken 3.0" not in httpx.get(f"http://127.0.0.1:{port}/metrics").text:
            time.sleep(0.02)
        server.should_exit = True
        time.sleep(0.1)
        held.may.set()
        for thread in threads:
            thread.join()
    assert found == [200] * 3


# The command.


def test_the_command(run, monkeypatch, tmp_path):
    seen = {}

    def serve(self):
        seen.update(vars(self.config))

    networks = {"detection": DETECTOR, "recognition": READER}
    monkeypatch.setattr("pipelines.service.loading.find_networks", lambda *_: networks)
    monkeypatch.setattr(uvicorn.Server, "run", serve)
    done = run("serve", "--models", tmp_path, "--port", 8123, "--max-requests", 3)
    assert (done.code, done.err) == (0, "serve: listening on http://127.0.0.1:8123\n")
    assert (seen["host"], seen["port"]) == ("127.0.0.1", 8123)
    monkeypatch.setattr("pipelines.cli.serve.find_spec", lambda _: None)
    done = run("serve", "--models", tmp_path)
    assert (done.code, "pip install paddleocr-to-torch[serve]" in done.err) == (2, True)


def test_the_options_of_ray_serve(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = options_of({"models": "models", "max-pages": "3", "layout": "x.pth"})
    assert (options.models, options.layout) == (tmp_path / "models", tmp_path / "x.pth")
    assert limits_of(options) == Limits(pages=3)


def test_the_networks_of_the_endpoints():
    networks = {"detection": DETECTOR, "recognition": READER}
    assert list(load_readings(Setup(networks=networks))) == ["ocr"]
    found = load_readings(Setup(networks={**networks, "layout": layout(("text", WHOLE))}))
    assert list(found) == ["ocr", "parse"]
    assert found["ocr"].together == 1
