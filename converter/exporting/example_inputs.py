"""The inputs that graphs are made with and compared on: rendered images, or the tokens of pages.

A batch is an array of the network's first input; `Artefact.arguments` makes all others of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from converter.adapters.layoutlm import TokenAdapter
from converter.adapters.sdmgr import SDMGRAdapter
from converter.exporting.artefact import Artefact

FREE: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "line": (("batch", "width"), ("batch",), ()),
    "page": (("batch", "height", "width"), ("batch",), ()),
    "table": (("batch",), ()),
}
"""The axes that are tried to be free, the most first, by what a network's images show."""

LINES = ("rec", "cls", "sr")
"""The tasks whose networks read lines as wide as they are, whatever width their card states."""

MULTIPLES = {"line": 8, "page": 32, "table": 32}
"""Of what a free side is a multiple, unless the model's card states it or its images are of other
sizes; in pixels."""

SIDES = {"height": 2, "width": 3}
"""The axes of images (N, C, H, W) that are sides."""

POSITIONS = "embeddings.position_embeddings"
"""How the name of the table of a text's positions ends."""


@dataclass(frozen=True)
class FreeAxis:
    """An axis of an input, of which a graph can take any size.

    Attributes:
        name: of the axis.
        input: the name of the input.
        number: which of its axes it is.
        letter: its size in messages.
        multiple: of what the size is a multiple.
        most: the largest size; None for any.
    """

    name: str
    input: str
    number: int
    letter: str
    multiple: int = 1
    most: int | None = None

    @property
    def symbol(self) -> str:
        """The size in messages, such as `32*H`."""
        return self.letter if self.multiple == 1 else f"{self.multiple}*{self.letter}"

    def dim(self) -> Any:
        """Return the size as `torch.export` takes it."""
        dim = torch.export.Dim(self.name, min=1, max=self.most)
        return dim if self.multiple == 1 else self.multiple * dim


class ExampleInputs(Protocol):
    """The inputs of a network, in several sizes."""

    noun: ClassVar[str]
    """What batches are, in messages."""

    def tried(self) -> tuple[tuple[str, ...], ...]:
        """Return the sets of axes that are tried to be free, the largest first."""

    def axes(self, free: Sequence[str]) -> tuple[FreeAxis, ...]:
        """Return the free axes of these names."""

    def batches(self, free: Sequence[str]) -> tuple[np.ndarray, ...]:
        """Return batches of three sizes, which differ in every free axis."""

    def describe(self, shapes: Mapping[str, str]) -> str:
        """Return what a graph takes.

        Args:
            shapes: of its inputs by name, with letters for free sizes.
        """


@dataclass(frozen=True)
class Images:
    """Rendered images, (N, C, H, W) float32."""

    artefact: Artefact
    noun: ClassVar[str] = "images"

    @property
    def multiple(self) -> int:
        """Of what free sides are multiples, in pixels."""
        if stated := self.artefact.card.input.multiple_of:
            return stated
        most, *_ = self.tried()
        shape = self.artefact.inputs()[0].shape
        sides = (shape[SIDES[axis]] for axis in most if axis in SIDES)
        return math.gcd(MULTIPLES[self.artefact.kind], *sides)

    def tried(self) -> tuple[tuple[str, ...], ...]:
        """Return the free axes; of the sides none where the card states both, except for lines."""
        stated = self.artefact.card.input
        if self.artefact.card.task not in LINES and stated.height and stated.width:
            return FREE["table"]
        return FREE[self.artefact.kind]

    def axes(self, free: Sequence[str]) -> tuple[FreeAxis, ...]:
        """Return the free axes of these names."""
        known = (
            FreeAxis("batch", self.artefact.adapter.first_input, 0, "N"),
            FreeAxis(
                "height", self.artefact.adapter.first_input, SIDES["height"], "H", self.multiple
            ),
            FreeAxis(
                "width", self.artefact.adapter.first_input, SIDES["width"], "W", self.multiple
            ),
        )
        return tuple(axis for axis in known if axis.name in free)

    def batches(self, free: Sequence[str]) -> tuple[np.ndarray, ...]:
        """Render images of three sizes, or of one if no axis is free."""
        count, _, height, width = self.artefact.inputs()[0].shape
        count = 2 if "batch" in free else count
        sizes = [(count, height, width)]
        if free:
            for number in (1, 2):
                sizes.append(
                    (
                        (1, 3)[number - 1] if "batch" in free else count,
                        height + number * self.multiple if "height" in free else height,
                        width + 3 * number * self.multiple if "width" in free else width,
                    )
                )
        return tuple(self.artefact.images(h, w, n) for n, h, w in sizes)

    def describe(self, shapes: Mapping[str, str]) -> str:
        """Return the shape of the images, such as `(N, 3, 48, 8*W)`."""
        return shapes[self.artefact.adapter.first_input]


@dataclass(frozen=True)
class Tokens:
    """Tokens of pages, (N, T) int64, the last text of each batch shorter than the others."""

    artefact: Artefact
    adapter: TokenAdapter
    noun: ClassVar[str] = "tokens"

    @property
    def longest(self) -> int:
        """How many tokens of a page the network reads at most."""
        modules = self.artefact.network.named_modules()
        return int(next(each for name, each in modules if name.endswith(POSITIONS)).weight.shape[0])

    def tried(self) -> tuple[tuple[str, ...], ...]:
        """Return the free axes: number of pages, number of tokens."""
        return (("batch", "length"), ("batch",), ())

    def axes(self, free: Sequence[str]) -> tuple[FreeAxis, ...]:
        """Return the free axes of these names."""
        known = (
            FreeAxis("batch", self.artefact.adapter.first_input, 0, "N"),
            FreeAxis("length", self.artefact.adapter.first_input, 1, "T", most=self.longest),
        )
        return tuple(axis for axis in known if axis.name in free)

    def batches(self, free: Sequence[str]) -> tuple[np.ndarray, ...]:
        """Return seeded tokens, of one batch as many as the network reads."""
        counts = (2, 1, 3) if "batch" in free else (1, 1, 1)
        lengths = [self.longest] * 3
        if "length" in free:
            lengths[0], lengths[2] = self.longest * 3 // 4, self.longest // 2
        return tuple(
            self.adapter.tokens(count, length, seed)
            for seed, (count, length) in enumerate(zip(counts, lengths, strict=True))
        )

    def describe(self, shapes: Mapping[str, str]) -> str:
        """Return the shapes of all inputs, and the most tokens."""
        return f"{named_shapes(shapes)}; T at most {self.longest}"


@dataclass(frozen=True)
class BoxedPages:
    """Images of single pages, (1, 3, H, W) float32, of which SDMGR takes boxes and texts, too."""

    artefact: Artefact
    noun: ClassVar[str] = "images"

    def tried(self) -> tuple[tuple[str, ...], ...]:
        """Return the free axes: sides, number of boxes, length of the longest text."""
        return (("height", "width", "boxes", "length"), ())

    def axes(self, free: Sequence[str]) -> tuple[FreeAxis, ...]:
        """Return the free axes of these names."""
        known = (
            FreeAxis("height", "x", SIDES["height"], "H", MULTIPLES["page"]),
            FreeAxis("width", "x", SIDES["width"], "W", MULTIPLES["page"]),
            FreeAxis("boxes", "boxes", 1, "B"),
            FreeAxis("length", "texts", 2, "L"),
        )
        return tuple(axis for axis in known if axis.name in free)

    def batches(self, free: Sequence[str]) -> tuple[np.ndarray, ...]:
        """Render pages of three sizes, with other numbers of boxes and other lengths of texts."""
        sizes = ((160, 192), (256, 288), (320, 352)) if free else ((160, 192),)
        return tuple(self.artefact.images(*size, 1) for size in sizes)

    def describe(self, shapes: Mapping[str, str]) -> str:
        """Return the shapes of all inputs."""
        return named_shapes(shapes)


def named_shapes(shapes: Mapping[str, str]) -> str:
    """Return inputs with their shapes, such as `input_ids (N, T), bbox (N, T, 4)`."""
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def examples_of(artefact: Artefact) -> ExampleInputs:
    """Return the example inputs of a network."""
    if isinstance(artefact.adapter, TokenAdapter):
        return Tokens(artefact, artefact.adapter)
    if isinstance(artefact.adapter, SDMGRAdapter):
        return BoxedPages(artefact)
    return Images(artefact)
