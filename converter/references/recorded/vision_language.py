"""Records of vision-language models: what PaddleX's networks computed with seeded weights.

A record is two files, `NAME.json` and `NAME.npz`, in `records/vision_language/`. It has the
configuration of a small network, the names and shapes of its tensors in Paddle's layouts, inputs,
and the logits of each. `scripts/record_vision_language.py` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from converter.references.recorded.record import SHIPPED
from converter.references.seeded import seeded_weight, uniform

FOLDER = SHIPPED / "vision_language"


@dataclass(frozen=True)
class Question:
    """One input: tokens that stand for text and for places of images, and the images.

    Attributes:
        name: the seed of the pixels, and the name of the logits.
        tokens: (N, T).
        pixels: the shape of the pixel values: (P, C * F * H * W) patches where there are `grids`,
            else (N, C, H, W).
        grids: the frames, rows and columns of patches of each image.
    """

    name: str
    tokens: tuple[tuple[int, ...], ...]
    pixels: tuple[int, ...]
    grids: tuple[tuple[int, int, int], ...] = ()

    def pixel_values(self) -> np.ndarray:
        """Return the pixel values, float32, between -1 and 1."""
        return uniform(0, self.name, self.pixels)


@dataclass(frozen=True)
class VisionLanguageRecord:
    """What a network of PaddleX computed.

    Attributes:
        network: PaddleX's class.
        paddlex: the version of PaddleX.
        paddle: the version of Paddle.
        config: the configuration, as the `config.json` of a release has it.
        parameters: of each tensor the shape, and the exponent of two that its seeded value is
            multiplied by. Small embeddings let the epsilons of normalisations count.
        aliases: further names of tensors, each with the first one.
        questions: the inputs.
        logits: of each question, by its name, (N, T, V).
    """

    network: str
    paddlex: str
    paddle: str
    config: Mapping[str, Any]
    parameters: Mapping[str, tuple[tuple[int, ...], int]]
    aliases: Mapping[str, str]
    questions: tuple[Question, ...]
    logits: Mapping[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def tensors(self) -> Mapping[str, np.ndarray]:
        """The seeded weights by Paddle's names, in Paddle's layouts."""
        made = {
            name: seeded_weight(0, name, shape, exponent)
            for name, (shape, exponent) in self.parameters.items()
        }
        return made | {name: made[of] for name, of in self.aliases.items()}

    def answers(self) -> Iterator[tuple[Question, np.ndarray]]:
        """Yield each question with its logits."""
        for question in self.questions:
            yield question, self.logits[question.name]


@cache
def read(name: str) -> VisionLanguageRecord:
    """Read a record that comes along."""
    content = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as archive:
        logits = dict(archive)
    parameters = {
        tensor: (tuple(shape), exponent)
        for tensor, (shape, exponent) in content.pop("parameters").items()
    }
    questions = tuple(
        Question(
            row["name"],
            tuple(map(tuple, row["tokens"])),
            tuple(row["pixels"]),
            tuple((frames, rows, columns) for frames, rows, columns in row["grids"]),
        )
        for row in content.pop("questions")
    )
    return VisionLanguageRecord(
        **content, parameters=parameters, questions=questions, logits=logits
    )


def write(name: str, record: VisionLanguageRecord, folder: Path) -> None:
    """Write a record into a folder."""
    content = asdict(record)
    logits = content.pop("logits")
    text = json.dumps(content, indent=1)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    np.savez_compressed(folder / f"{name}.npz", **logits)
