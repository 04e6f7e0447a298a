"""Layout, tables and unwarping with two runtimes: their results as items with a box and a text.

So they are compared, drawn and reported as lines of text are:

- a region of a page is its label, with the score of the network;
- a table is its HTML, over the whole image, and each cell its place in the table;
- a flattened page is tiles, each with its mean brightness in the place of a score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from architectures.loading import ArtefactError
from converter.end_to_end.runtimes import (
    ReferenceSession,
    Runtimes,
    described_models,
    open_reference,
)
from converter.errors import SourceError, UsageError
from converter.sources.open import Source, open_source
from pipelines import LayoutDetector, TableRecognizer, TextLine, Unwarper
from pipelines.io.items import frame_of
from pipelines.layout.predictor import LayoutRegion
from pipelines.runtime import Network, TorchNetwork
from schemas.artefact import ArtefactCard

TILE = 64
"""The side of a tile of a flattened page, in pixels."""
THINGS: Mapping[str, str] = {"layout": "region", "table": "item", "unwarp": "tile"}
"""The items of each task, in words."""

Reader = Callable[[np.ndarray], list[TextLine]]


@contextmanager
def open_structure(task: str, weights: Path, export: Path) -> Iterator[Runtimes]:
    """Open both runtimes of a network; the Paddle process ends with the context.

    Args:
        task: layout, table or unwarp.
        weights: the converted weights.
        export: the file or folder with the exported program.

    Raises:
        SourceError: weights or program are missing or unreadable, or of another kind.
        UsageError: the weights are of another task.
        ReferenceUnavailable: Paddle is not installed, or cannot run the program.
    """
    source = open_source(export)
    with open_reference({task: source}) as session:  # it starts while the weights are loaded
        try:
            network = TorchNetwork(weights)
            program = ExportedProgram(session, task, source, network.card)
            torch = READERS[task](network)
            paddle = READERS[task](program)
        except (ArtefactError, OSError) as error:
            raise SourceError(str(error)) from error
        except ValueError as error:
            raise UsageError(str(error)) from error
        models = described_models({task: network}, {task: source})
        yield Runtimes(paddle, torch, session, models, THINGS[task])


class ExportedProgram:
    """An exported program, run by another process, with the interface of a pipeline's network.

    Args:
        session: the process of Paddle or ONNX Runtime.
        task: layout, table or unwarp; the process knows the program by it.
        source: files that hold the program.
        card: artefact card of the converted weights.

    Attributes:
        card: that card.
        gives_boxes: whether the program ends in boxes on the page, after its own suppression.

    Raises:
        SourceError: there is no program.
        ReferenceUnavailable: Paddle is not installed, or cannot run the program.
    """

    def __init__(
        self, session: ReferenceSession, task: str, source: Source, card: ArtefactCard
    ) -> None:
        export = source.export
        if export is None:
            raise SourceError(
                f"{source.path} holds no exported program (inference.pdmodel, inference.json or an "
                "ONNX file)"
            )
        self._session, self._task, self.card = session, task, card
        self._inputs = session.load_program(export.program, export.weights_file, name=task)
        self._outputs = len(export.program.outputs)
        self.gives_boxes = "scale_factor" in self._inputs

    def __call__(self, batch: np.ndarray) -> Any:
        """Run the program on an image, `(1, 3, H, W) float32`; several results are in a dict."""
        outputs = self._run({"image" if self.gives_boxes else self._inputs[0]: batch})
        if self.card.task == "table":
            return {"loc_preds": outputs["0"], "structure_probs": outputs["1"]}
        if self.card.task == "layout":
            levels = self._outputs // 2
            names = [f"{kind}.{n}" for kind in ("scores", "distances") for n in range(levels)]
            return {name: outputs[str(place)] for place, name in enumerate(names)}
        return outputs["0"]

    def detections(self, batch: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return what a program with suppression finds on a page, as detections `(N, 6)`.

        Args:
            batch: the page as the network takes it, `(1, 3, H, W) float32`.
            size: height and width of the page.
        """
        shape = np.array([batch.shape[2:]], np.float32)
        given = {"image": batch, "im_shape": shape, "scale_factor": shape / np.array(size, "f")}
        return self._run(given)["0"].reshape(-1, 6)

    def _run(self, given: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Run the program on those of the given inputs that it takes.

        Raises:
            SourceError: it takes others, or has fewer outputs than its task needs.
        """
        needed = {"layout": 1 if self.gives_boxes else 2, "table": 2}.get(self.card.task or "", 1)
        if not set(self._inputs) <= given.keys() or self._outputs < needed:
            raise SourceError(
                f"the program takes {', '.join(self._inputs)} and has {self._outputs} outputs, so "
                f"it is none of the task {self.card.task}"
            )
        return self._session.run({name: given[name] for name in self._inputs}, name=self._task)


def layout_reader(network: Network | ExportedProgram) -> Reader:
    """Return what finds the regions of a page as items."""
    find = regions_finder(network, LayoutDetector(network))
    return lambda page: [TextLine(each.box, each.label, each.score) for each in find(page)]


def regions_finder(
    network: Network | ExportedProgram, detect: LayoutDetector
) -> Callable[[np.ndarray], list[LayoutRegion]]:
    """Return what finds the regions of a page, also where the program suppresses boxes itself."""
    if not isinstance(network, ExportedProgram) or not network.gives_boxes:
        return detect

    def regions(page: np.ndarray) -> list[LayoutRegion]:
        size = page.shape[0], page.shape[1]
        return detect.regions(network.detections(detect.preprocess(page), size), size)

    return regions


def table_reader(network: Network | ExportedProgram) -> Reader:
    """Return what recognises an image of a table as items; its cells have no texts."""
    recognize = TableRecognizer(network)

    def items(image: np.ndarray) -> list[TextLine]:
        table = recognize(image)
        found = [TextLine(frame_of(image), table.html, table.score)]
        for cell in table.cells:
            if cell.box is not None:
                place = f"row {cell.row}, column {cell.column}, "
                place += f"{cell.row_span} x {cell.column_span}"
                found.append(TextLine(cell.box, place, table.score))
        return found

    return items


def unwarp_reader(network: Network | ExportedProgram) -> Reader:
    """Return what flattens a page as items."""
    unwarp = Unwarper(network)

    def tiles(page: np.ndarray) -> list[TextLine]:
        flat = unwarp(page)
        found = []
        for top in range(0, flat.shape[0], TILE):
            for left in range(0, flat.shape[1], TILE):
                tile = flat[top : top + TILE, left : left + TILE]
                box = frame_of(tile) + np.array([left, top], np.float32)
                found.append(TextLine(box, "", float(tile.mean()) / 255))
        return found

    return tiles


READERS: Mapping[str, Callable[[Network | ExportedProgram], Reader]] = {
    "layout": layout_reader,
    "table": table_reader,
    "unwarp": unwarp_reader,
}
"""For each task, what makes a network a reader of pages."""
