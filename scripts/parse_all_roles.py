"""Parse a drawn page with a network in every role of a document, and print what each one did.

    python scripts/parse_all_roles.py --models DIR [--out DIR]

The best converted weights of DIR for each role are taken, as `parse` does; a role without weights
gets a released network with seeded weights. What networks with such weights find means nothing, so
the page stays as it lies, whatever their classifiers and their unwarping say, its tables count as
wired and wireless in turns, and besides the regions that the layout network finds, a formula and a
seal are given, where they were drawn. For
each role the table tells the network, how often it ran, on what input, with what output, and in
what time; then come the blocks of the page, and the sizes of the files in all formats.

Exit code: 0; 1 where a network never ran; 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from drawn.book import ten_pages

import architectures
from architectures.loading import ArtefactError
from converter.catalog import cards
from pipelines.documents.document import finish
from pipelines.documents.networks import Networks, load_networks
from pipelines.documents.parser import PageParser
from pipelines.documents.roles import ROLES, find_models
from pipelines.documents.settings import DEFAULT
from pipelines.documents.types import Document, Page
from pipelines.documents.writers.formats import FORMATS
from pipelines.io.items import frame_of
from pipelines.layout.predictor import LayoutRegion
from pipelines.runtime import NetworkOutput, TorchNetwork, describe_outputs
from schemas.artefact import ArtefactCard
from schemas.processing import SettingsError

SEEDED: Mapping[str, str] = {
    "layout": "PP-DocLayout-S",
    "region": "PP-DocBlockLayout",
    "orientation": "PP-LCNet_x1_0_doc_ori",
    "unwarping": "UVDoc",
    "detection": "PP-OCRv5_mobile_det",
    "recognition": "en_PP-OCRv4_rec",
    "line_orientation": "PP-LCNet_x0_25_textline_ori",
    "table_classifier": "PP-LCNet_x1_0_table_cls",
    "table": "SLANet_plus",
    "wired_table": "SLANeXt_wired",
    "wired_cells": "RT-DETR-L_wired_table_cell_det",
    "formula": "PP-FormulaNet-S",
    "seal": "PP-OCRv4_mobile_seal_det",
}
"""The network of each role that has no weights."""
PAGE, TABLE = 6, "table"
"""The number of the drawn page, one with two tables, and the label of their regions."""
ANSWERS: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "orientation": lambda batch, _: one_class(batch, 0, 4),
    "line_orientation": lambda batch, _: one_class(batch, 0, 2),
    "table_classifier": lambda batch, call: one_class(batch, call % 2, 2),
    "unwarping": lambda batch, _: batch,
}
"""What stands for the output of seeded networks on which all others depend, in each call."""


class Watched:
    """A network that notes what it does.

    Args:
        network: the network.
        answer: what stands for its output; None for the output itself.
    """

    def __init__(
        self, network: TorchNetwork, answer: Callable[[np.ndarray, int], np.ndarray] | None
    ) -> None:
        self._network, self._answer = network, answer
        self.card, self.extra_inputs = network.card, network.extra_inputs
        self.calls, self.seconds, self.did = 0, 0.0, ""

    def __call__(self, batch: np.ndarray, **extra: np.ndarray) -> NetworkOutput:
        """Run the network."""
        start = time.process_time()
        output = self._network(batch, **extra)
        self.seconds += time.process_time() - start
        self.calls += 1
        self.did = f"{'x'.join(map(str, batch.shape))} -> {describe_outputs(output)}"
        return self._answer(batch, self.calls) if self._answer else output


def one_class(batch: np.ndarray, number: int, classes: int) -> np.ndarray:
    """Return scores by which every image is of one class, `(N, classes) float32`."""
    return np.eye(classes, dtype=np.float32)[np.full(len(batch), number)]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the page, print the tables, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--models", type=Path, required=True, metavar="DIR", help="folder of converted weights")
    add("--out", type=Path, metavar="DIR", help="write the document there, in all formats")
    options = parser.parse_args(argv)
    try:
        real = find_models(options.models)
        watched = {name: watch(name, real.get(name)) for name in ROLES}
        networks = load_networks(watched, DEFAULT)
    except (OSError, SettingsError, ArtefactError) as error:
        parser.error(str(error))
    image, given = draw()
    page = parse(image, networks, given)
    for name, network in watched.items():
        kind = "real" if name in real else "seeded"
        print(f"{name:<17}{kind:<8}{network.card.name or real.get(name, ''):<34}"
              f"{network.calls:>4} x {network.seconds:>6.1f} s  {network.did}")  # fmt: skip
    print()
    for block in page.blocks:
        print(f"{block.order or '':>3} {block.label:<16}{block.box!s:<26}{block.text[:60]!r}")
    print()
    write(Document(tuple(finish([page], DEFAULT))), options.out)
    idle = [name for name, network in watched.items() if not network.calls]
    if idle:
        print(f"parse_all_roles: {', '.join(idle)} never ran", file=sys.stderr)
    return int(bool(idle))


def watch(role: str, weights: Path | None) -> Watched:
    """Load the network of a role, or make one with seeded weights."""
    if weights is not None:
        return Watched(TorchNetwork(weights), None)
    with tempfile.TemporaryDirectory() as folder:
        return Watched(TorchNetwork(seeded(SEEDED[role], Path(folder))), ANSWERS.get(role))


def seeded(name: str, folder: Path) -> Path:
    """Write a released network with seeded weights, and return its path."""
    card = cards.card(name)
    counts = {head: card.classes or len(card.labels) for head in card.class_counts}
    torch.manual_seed(0)
    network = architectures.build(card.architecture, class_counts=counts)
    path = folder / f"{name}.pth"
    described = ArtefactCard(
        name=name, task=card.task, input=card.input, pipeline=dict(card.pipeline),
        dictionary=card.dictionary.entry() if card.dictionary else None, labels=card.labels,
        architecture=network.architecture, class_counts=network.class_counts, form=network.form,
    )  # fmt: skip
    architectures.save(network, path, card=described)
    return path


def draw() -> tuple[np.ndarray, list[LayoutRegion]]:
    """Draw a page with two tables, a formula and a seal; return it with the regions of these."""
    page = ten_pages()[PAGE - 1]
    page.turned = 0
    drawn = np.asarray(page.image())[..., ::-1]
    image = np.full((drawn.shape[0] + 300, *drawn.shape[1:]), 255, np.uint8)
    image[: drawn.shape[0]] = drawn
    top, bottom = drawn.shape[0], image.shape[0]
    cv2.circle(image, (200, top + 150), 110, (0, 0, 200), 6)
    cv2.putText(image, "SEAL", (140, top + 165), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (0, 0, 200), 4)
    cv2.putText(image, "E = m c + a", (480, top + 160), cv2.FONT_HERSHEY_COMPLEX, 1.8, (0,) * 3, 3)
    boxes = {"seal": (70, top + 20, 330, bottom - 20), "formula": (460, top + 90, 900, top + 200)}
    tables = [(TABLE, block.box) for block in page.blocks if block.table]
    given = [*boxes.items(), *tables]
    return image, [LayoutRegion(label, 0.9, corners(box)) for label, box in given]


def corners(box: Sequence[float]) -> np.ndarray:
    """Return the corners of left, top, right and bottom, `(4, 2) float32`."""
    left, top, right, bottom = box
    return frame_of(np.empty((int(bottom - top), int(right - left), 0))) + np.array(
        [left, top], np.float32
    )


def parse(image: np.ndarray, networks: Networks, given: Sequence[LayoutRegion]) -> Page:
    """Parse the page, with the given regions besides those that the layout network finds."""
    layout = networks.layout
    assert layout is not None

    def find(image: np.ndarray) -> list[LayoutRegion]:
        found = layout(image)
        tables = {region.label for region in found if region.label.lower() == TABLE}
        return [*found, *(region for region in given if not (tables and region.label == TABLE))]

    networks = replace(networks, layout=find)  # type: ignore[arg-type]
    return PageParser(networks, DEFAULT)(image, "drawn.png", 1).page


def write(document: Document, folder: Path | None) -> None:
    """Write the document in all formats, and print the sizes of the files."""
    for ending, each in FORMATS.items():
        if missing := each.missing():
            print(f"{ending:<6}needs {', '.join(missing)}")
            continue
        content = each.write(document, "drawn", "drawn_images")
        print(f"{ending:<6}{len(content)} bytes")
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"drawn.{ending}").write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
