"""What a line says: line images -> probabilities per column -> text.

Graves et al., "Connectionist Temporal Classification" (2006), decoded greedily. Numbers follow
PaddleOCR 2.x: tools/infer/predict_rec.py (`TextRecognizer`) and
ppocr/postprocess/rec_postprocess.py (`CTCLabelDecode`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.lines import BATCH_SIZE, HEIGHT, aspect_ratio, by_width, stack
from pipelines.networks import Network

MIN_WIDTH = 320
BLANK = 0


def ctc_decode(probabilities: np.ndarray, characters: Sequence[str]) -> tuple[str, float]:
    """Read one line: the best class per column, repeats collapsed, blanks dropped.

    Args:
        probabilities: `(T, 1 + len(characters))`; class 0 is the blank.
        characters: what the classes after the blank stand for.

    Returns:
        The text and the mean probability of the columns that gave a character, 0 for an empty text.
    """
    best = probabilities.argmax(1)
    starts = np.append(True, best[1:] != best[:-1]) & (best != BLANK)
    text = "".join(characters[index - 1] for index in best[starts])
    return text, float(probabilities.max(1)[starts].mean()) if text else 0.0


class Recognizer:
    """A CTC network with its pre- and post-processing.

    `characters` has no blank; `height` is that of the network's input in pixels, `batch` how many
    lines it takes at once.
    """

    def __init__(
        self,
        network: Network,
        characters: Sequence[str],
        height: int = HEIGHT,
        batch: int = BATCH_SIZE,
    ) -> None:
        self.network = network
        self.characters = characters
        self.height = height
        self.batch = batch

    def __call__(self, lines: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        """Text and score, 0 to 1, of each `(h, w, 3) uint8` line.

        Raises:
            ValueError: the network's output is not `(N, T, 1 + number of characters)`.
        """
        results = [("", 0.0)] * len(lines)
        for batch in by_width(lines, self.batch):
            members = [lines[index] for index in batch]
            ratio = max(MIN_WIDTH / self.height, *map(aspect_ratio, members))
            images = stack(members, int(self.height * ratio), self.height)
            probabilities = self.network(images)
            self._check(probabilities, len(batch))
            for index, columns in zip(batch, probabilities, strict=True):
                results[index] = ctc_decode(columns, self.characters)
        return results

    def _check(self, probabilities: np.ndarray, size: int) -> None:
        shape, classes = probabilities.shape, 1 + len(self.characters)
        if len(shape) != 3 or shape[0] != size:
            raise ValueError(
                f"the recogniser returned an array of shape {shape}, expected "
                f"({size}, T, {classes}); is this a CTC recognition network?"
            )
        if shape[2] != classes:
            raise ValueError(
                f"the recogniser has {shape[2]} classes, but {len(self.characters)} characters and "
                f"the blank make {classes}; give the dictionary that it was trained with"
            )
