"""What a line says: line images -> probabilities per column -> characters.

Numbers follow PaddleOCR 2.x: tools/infer/predict_rec.py (`TextRecognizer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.labels import Reading, ctc_decode
from pipelines.lines import BATCH_SIZE, aspect_ratio, by_width, stack
from pipelines.networks import Network
from pipelines.settings import RecSettings

MIN_WIDTH = 320


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
