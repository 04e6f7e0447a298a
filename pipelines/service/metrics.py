"""What the service counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
BATCHES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The figures of one application.

    Attributes:
        requests: by endpoint and status of HTTP.
        seconds: from the arrival of a request to its answer, by endpoint.
        together: how many pages were read together, by endpoint.

    Args:
        taken: returns how many requests arrive, wait and are read.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, taken: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "ocr_requests", "Requests", ("endpoint", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "ocr_request_seconds", "Time of requests", ("endpoint",), buckets=SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self.together = Histogram(
            "ocr_pages_together", "Pages that were read together", ("endpoint",), buckets=BATCHES,
            registry=self._registry,
        )  # fmt: skip
        gauge = Gauge(
            "ocr_requests_taken", "Requests that arrive, wait or are read", registry=self._registry
        )
        gauge.set_function(taken)

    def text(self) -> bytes:
        """Return all figures in Prometheus' format."""
        return generate_latest(self._registry)
