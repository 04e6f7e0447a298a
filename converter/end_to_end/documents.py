"""Whole documents with two runtimes: the blocks of a page as items with a box and a text.

All steps of `pipelines.documents` run twice, with the same settings; only the networks differ. A
block is its label and its content: of a table the HTML with texts, of others what was read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from architectures.loading import ArtefactError
from converter.end_to_end.runtimes import (
    TASKS,
    PaddleNetwork,
    Runtimes,
    described_models,
    open_reference,
)
from converter.end_to_end.structure import ExportedProgram, Reader, regions_finder
from converter.errors import SourceError, UsageError
from converter.sources.open import open_source
from pipelines import TextLine
from pipelines.documents.networks import load_networks
from pipelines.documents.parser import PageParser
from pipelines.documents.settings import DEFAULT
from pipelines.runtime import TorchNetwork

ROLES: Mapping[str, str] = {
    "layout": "layout",
    "det": "detection",
    "rec": "recognition",
    "cls": "line_orientation",
    "table": "table",
    "unwarp": "unwarping",
}
"""The roles of the networks in a document, by their tasks."""


@contextmanager
def open_documents(weights: Mapping[str, Path], exports: Mapping[str, Path]) -> Iterator[Runtimes]:
    """Open both runtimes of the networks of a document; the Paddle process ends with the context.

    Args:
        weights: converted weights by task of `ROLES`; layout, det and rec are needed.
        exports: files or folders with the exported program, by the same tasks.

    Raises:
        SourceError: weights or programs are missing or unreadable, or of another kind.
        UsageError: weights are of another task than the one they are given for.
        ReferenceUnavailable: Paddle is not installed, or cannot run a program.
    """
    sources = {task: open_source(export) for task, export in exports.items()}
    with open_reference(sources) as session:  # it starts while the weights are loaded
        try:
            networks = {task: TorchNetwork(file) for task, file in weights.items()}
            programs: dict[str, Any] = {}
            for task, network in networks.items():
                kind = PaddleNetwork if task in TASKS else ExportedProgram
                programs[task] = kind(session, task, sources[task], network.card)
            torch, paddle = document_reader(networks), document_reader(programs)
        except (ArtefactError, OSError) as error:
            raise SourceError(str(error)) from error
        except ValueError as error:
            raise UsageError(str(error)) from error
        yield Runtimes(paddle, torch, session, described_models(networks, sources), "block")


def document_reader(networks: Mapping[str, Any]) -> Reader:
    """Return what parses a page into items, with networks by task."""
    predictors = load_networks({ROLES[task]: each for task, each in networks.items()}, DEFAULT)
    assert predictors.layout
    find = regions_finder(networks["layout"], predictors.layout)
    parse = PageParser(replace(predictors, layout=find), DEFAULT)  # type: ignore[arg-type]

    def blocks(image: np.ndarray) -> list[TextLine]:
        found = []
        for block in parse(image, "page", 1).page.blocks:
            left, top, right, bottom = block.box
            corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
            said = f"{block.label}: {block.text}"
            found.append(TextLine(np.array(corners, np.float32), said, block.score))
        return found

    return blocks
