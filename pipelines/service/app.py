"""The application: endpoints, limits and errors. It runs on any ASGI server."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from pipelines.documents.writers.formats import FORMATS
from pipelines.io.files import DPI
from pipelines.service.engine import Engine, Job, Reading
from pipelines.service.limits import FAILED, Limits, RequestError
from pipelines.service.metrics import Metrics
from pipelines.service.readings import MEDIA_TYPES
from pipelines.service.schema import BODY, Health, OcrAnswer, Problem, document_schema
from pipelines.service.uploads import receive

DESCRIPTION = """Text and structure of images and PDFs. The body of a request is the file itself:

    curl --data-binary @page.png -H 'Content-Type: image/png' http://127.0.0.1:8000/ocr
"""
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "the body is empty"},
    408: {"model": Problem, "description": "the file did not arrive in time"},
    413: {"model": Problem, "description": "too many bytes, pixels or pages"},
    415: {"model": Problem, "description": "the Content-Type is none of an image or a PDF"},
    422: {"model": Problem, "description": "the file cannot be read, or the format is unknown"},
    429: {"model": Problem, "description": "too many requests wait; try again after Retry-After"},
    500: {"model": Problem, "description": "the service failed"},
    504: {"model": Problem, "description": "the answer was not ready in time"},
}


class _Admission:
    """The requests that were taken and are not answered yet.

    Args:
        limits: on their number.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.taken = 0
        self._seconds = 1.0  # between answers, on average

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a request.

        Raises:
            RequestError: there are too many.
        """
        if self.taken >= self._limits.requests:
            wait = max(1, math.ceil(self._seconds))
            raise RequestError(
                429, f"{self.taken} requests wait; try again in {wait} seconds", retry_after=wait
            )
        self.taken += 1
        start, before = time.monotonic(), self.taken
        try:
            yield
        finally:
            self.taken -= 1
            share = (time.monotonic() - start) / before
            self._seconds += (share - self._seconds) / 10


def create_app(
    readings: Mapping[str, Reading[Any]], limits: Limits | None = None, dpi: float = DPI
) -> FastAPI:
    """Build the application.

    Args:
        readings: `ocr`, `parse` or both: what the endpoints of these names do.
        limits: on requests.
        dpi: resolution of PDF pages, in pixels per inch.
    """
    limits = limits or Limits()
    admission = _Admission(limits)
    metrics = Metrics(lambda: admission.taken)
    computes = threading.Lock()
    engines: dict[str, Engine[Any]] = {
        name: Engine(reading, limits, computes, dpi, metrics.together.labels(name).observe)
        for name, reading in readings.items()
    }

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for engine in engines.values():
            await asyncio.to_thread(engine.close)

    app = FastAPI(title="paddleocr-to-torch", description=DESCRIPTION, lifespan=lifespan)

    async def answer(request: Request, name: str, ending: str) -> Response:
        start, status = time.monotonic(), 500
        try:
            with admission.place():
                content = await receive(request, limits)
                job: Job[Any] = Job(content, ending, time.monotonic() + limits.seconds)
                del content
                result = await _wait(request, engines[name], job, limits)
            status = 200
            return Response(result, media_type=MEDIA_TYPES[ending])
        except RequestError as error:
            status = error.status
            headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
            return JSONResponse({"error": error.reason}, status, headers)
        finally:
            metrics.requests.labels(name, status).inc()
            metrics.seconds.labels(name).observe(time.monotonic() - start)

    if "ocr" in engines:

        @app.post("/ocr", response_model=OcrAnswer, responses=ERRORS,
                  openapi_extra={"requestBody": BODY})  # fmt: skip
        async def ocr(request: Request) -> Response:
            """Read the text lines of an image or a PDF."""
            return await answer(request, "ocr", "json")

    if "parse" in engines:
        endings = tuple(name for name in FORMATS if not FORMATS[name].missing())
        schema = document_schema()
        parts = schema.pop("$defs")

        @app.post("/parse", responses={**ERRORS, 200: {"content": {"application/json": {
                  "schema": schema}}}}, openapi_extra={"requestBody": BODY})  # fmt: skip
        async def parse(
            request: Request,
            format: str = Query("json", description=f"of {', '.join(endings)}"),
        ) -> Response:
            """Turn an image or a PDF into a document: its blocks in reading order."""
            if format not in endings:
                raise HTTPException(
                    422, f"there is no format {format!r}; there are {', '.join(endings)}"
                )
            return await answer(request, "parse", format)

        _add_schemas(app, {f"document_{name}": part for name, part in parts.items()})

    @app.get("/health", responses={503: {"model": Health}})
    async def health() -> JSONResponse:
        """Report whether requests are read."""
        is_well = all(engine.is_alive for engine in engines.values())
        return JSONResponse({"status": "ok" if is_well else "failed"}, 200 if is_well else 503)

    @app.get("/metrics", include_in_schema=False)
    async def figures() -> Response:
        return Response(metrics.text(), media_type=metrics.content_type)

    @app.exception_handler(StarletteHTTPException)
    async def refused(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": error.errors()[0]["msg"]}, 422)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
        return JSONResponse({"error": FAILED}, 500)

    return app


async def _wait(request: Request, engine: Engine[Any], job: Job[Any], limits: Limits) -> bytes:
    """Return the answer to a request.

    Raises:
        RequestError: there is none, or not in time; the client is gone.
    """
    answer = asyncio.wrap_future(engine.submit(job))
    gone = asyncio.ensure_future(request.receive())  # which returns when the client has left
    either: set[asyncio.Future[Any]] = {answer, gone}
    try:
        await asyncio.wait(either, timeout=limits.seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        reason = "the client is gone" if gone.done() else f"no answer in {limits.seconds:g} seconds"
        raise RequestError(504, reason)
    finally:
        answer.cancel()
        gone.cancel()


def _add_schemas(app: FastAPI, schemas: Mapping[str, Any]) -> None:
    """Add schemas to the components of the OpenAPI page."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        page = made()
        page["components"]["schemas"] |= schemas
        return page

    app.openapi = openapi  # type: ignore[method-assign]
