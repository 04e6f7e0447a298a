"""The networks of the service, each loaded once for all that uses it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.batching import BATCH_SIZE
from pipelines.documents.document import find_networks, losses
from pipelines.documents.networks import load_networks
from pipelines.documents.parser import PageParser
from pipelines.documents.settings import PRESETS
from pipelines.ocr import OCR
from pipelines.runtime import NetworkSource, as_network
from pipelines.service.readings import OcrReading, ParseReading

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """What the service reads with.

    Attributes:
        models: a folder of converted weights, of which the best for each role are taken.
        networks: networks by role, in place of those in `models`.
        preset: settings of documents.
        text: where the text of PDFs comes from in documents, see `TEXT_LAYER`.
        min_score: lines of a lower score are left out of `/ocr`.
        together: how many pages share batches of lines; None for 1 on a CPU, else 8.
        delay: how many seconds a page waits for others.
        batch_size: lines per call of a network.
        runtime: `device`, `half` and `compile`.
    """

    models: str | None = None
    networks: Mapping[str, NetworkSource] = field(default_factory=dict)
    preset: str = "default"
    text: str = "auto"
    min_score: float = 0.5
    together: int | None = None
    delay: float = 0.005
    batch_size: int = BATCH_SIZE
    runtime: Mapping[str, Any] = field(default_factory=dict)


def load_readings(setup: Setup) -> dict[str, OcrReading | ParseReading]:
    """Load the networks, and return what the endpoints do with them.

    Raises:
        SettingsError: there is neither a layout network nor one that reads text; a network is of
            another kind than its role.
        ArtefactError: weights are missing or damaged.
        DeviceError: the device is not available.
    """
    settings = PRESETS[setup.preset]
    found = find_networks(setup.models, setup.networks)
    networks = {name: as_network(source, **setup.runtime) for name, source in found.items()}
    readings: dict[str, OcrReading | ParseReading] = {}
    if {"detection", "recognition"} <= networks.keys():
        ocr = OCR(
            networks["detection"],
            networks["recognition"],
            networks.get("line_orientation"),
            networks.get("orientation"),
            min_score=setup.min_score,
            batch_size=setup.batch_size,
        )
        ocr.warm_up()
        is_cpu = str(setup.runtime.get("device", "cpu")) == "cpu"
        readings["ocr"] = OcrReading(ocr, setup.together or (1 if is_cpu else 8), setup.delay)
    if "layout" in networks:
        for line in losses(found, settings):
            logger.warning("/parse: %s", line)
        predictors = load_networks(networks, settings, batch_size=setup.batch_size)
        readings["parse"] = ParseReading(PageParser(predictors, settings), settings, setup.text)
    return readings
