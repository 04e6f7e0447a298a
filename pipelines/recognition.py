"""What a line says: line images -> probabilities per column -> characters.

Graves et al., "Connectionist Temporal Classification" (2006), decoded greedily. Numbers follow
PaddleOCR 2.x: tools/infer/predict_rec.py (`TextRecognizer`) and
ppocr/postprocess/rec_postprocess.py (`CTCLabelDecode`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from pipelines.lines import BATCH_SIZE, aspect_ratio, by_width, stack
from pipelines.networks import Network
from pipelines.settings import RecSettings

MIN_WIDTH = 320
BLANK = 0
# What runs from left to right within a line that is read from the right.
LEFT_TO_RIGHT = re.compile("[a-zA-Z0-9 :*./%+-]")


@dataclass(frozen=True)
class Character:
    """One character of a line.

    `score` is the probability of its class, 0 to 1; `column` is where the network's output has it.
    """

    text: str
    score: float
    column: int


@dataclass(frozen=True)
class Reading:
    """What a line says.

    Attributes:
        text: all characters, as they are read.
        score: mean probability of the characters, 0 for an empty text.
        characters: each with its own score and column.
        columns: how many columns of the network's output the line takes, without the padding.
    """

    text: str
    score: float
    characters: tuple[Character, ...]
    columns: float


def ctc_decode(
    probabilities: np.ndarray,
    characters: Sequence[str],
    *,
    share: float = 1.0,
    right_to_left: bool = False,
) -> Reading:
    """Read one line: the best class per column, repeats collapsed, blanks dropped.

    Args:
        probabilities: `(T, 1 + number of characters)`; class 0 is the blank.
        characters: what the classes after the blank stand for.
        share: how much of the columns the line takes; the rest is padding.
        right_to_left: whether the columns have to be read from the right.
    """
    best = probabilities.argmax(1)
    places = np.flatnonzero(np.append(True, best[1:] != best[:-1]) & (best != BLANK))
    scores = probabilities[places, best[places]]
    found = [
        Character(characters[best[place] - 1], float(score), int(place))
        for place, score in zip(places, scores, strict=True)
    ]
    if right_to_left:
        found = _from_the_right(found)
    text = "".join(character.text for character in found)
    mean = float(scores.mean()) if found else 0.0
    return Reading(text, mean, tuple(found), len(probabilities) * share)


def _from_the_right(characters: Sequence[Character]) -> list[Character]:
    """Put what stands from left to right into the order of reading: Arabic, but not its numbers."""
    runs: list[list[Character]] = []
    for kept, run in groupby(characters, _runs_rightwards):
        members = list(run)
        runs += [members] if kept else [[character] for character in members]
    return [character for run in reversed(runs) for character in run]


def _runs_rightwards(character: Character) -> bool:
    return LEFT_TO_RIGHT.search(character.text) is not None


class Recognizer:
    """A CTC network with its pre- and post-processing, as its weights' `.json` says.

    `characters` and `changes` take the place of what it says, such as `max_width=4000`. `batch` is
    how many lines the network takes at once.
    """

    def __init__(
        self,
        network: Network,
        characters: Sequence[str] | None = None,
        batch: int = BATCH_SIZE,
        **changes: Any,
    ) -> None:
        self.network = network
        self.settings = RecSettings.of(network, characters, **changes)
        self.batch = batch

    def __call__(self, lines: Sequence[np.ndarray]) -> list[Reading]:
        """Read each `(h, w, 3) uint8` line; the results come in the order of the lines.

        Raises:
            ValueError: a line has no pixels, or the network's output is not
                `(N, T, 1 + number of characters)`.
        """
        height, widest = self.settings.height, self.settings.max_width
        results: dict[int, Reading] = {}
        for batch in by_width(lines, self.batch):
            members = [lines[index] for index in batch]
            ratio = min(max(MIN_WIDTH / height, *map(aspect_ratio, members)), widest / height)
            images = stack(members, int(height * ratio), self.settings)
            probabilities = self.network(images)
            self._check(probabilities, len(batch))
            for index, line, columns in zip(batch, members, probabilities, strict=True):
                share = min(aspect_ratio(line) / ratio, 1.0)
                results[int(index)] = ctc_decode(
                    columns,
                    self.settings.characters,
                    share=share,
                    right_to_left=self.settings.right_to_left,
                )
        return [results[index] for index in range(len(lines))]

    def _check(self, probabilities: np.ndarray, size: int) -> None:
        shape, characters = probabilities.shape, len(self.settings.characters)
        if len(shape) != 3 or shape[0] != size:
            raise ValueError(
                f"the recogniser returned an array of shape {shape}, expected "
                f"({size}, T, {1 + characters}); is this a CTC recognition network?"
            )
        if shape[2] != 1 + characters:
            raise ValueError(
                f"the recogniser has {shape[2]} classes, but {characters} characters and "
                f"the blank make {1 + characters}; give the dictionary that it was trained with"
            )
