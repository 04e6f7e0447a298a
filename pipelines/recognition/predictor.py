"""What a line says: line images -> what a network answers -> characters.

Numbers follow PaddleOCR 2.x: tools/infer/predict_rec.py (`TextRecognizer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from architectures.special_tokens import CLASSES
from pipelines.recognition.batching import BATCH_SIZE, by_width
from pipelines.recognition.postprocess import (
    RecognizedText,
    ctc_decode,
    decode_autoregressive,
    visionlan_decode,
)
from pipelines.recognition.preprocess import LineInputs, line_inputs
from pipelines.runtime import Network, as_network, run_network
from pipelines.settings import RecSettings


class Recognizer:
    """A network that reads lines with its pre- and post-processing, as its weights' `.json` says.

    The network is a callable, or the path of converted weights, which then run on the CPU; one
    without a `.json` is taken for one of CTC. `characters` and `changes` take the place of what it
    says, such as `max_width=4000`. `batch` is how many lines the network takes at once.
    """

    def __init__(
        self,
        network: Network | str | Path,
        characters: Sequence[str] | None = None,
        batch_size: int = BATCH_SIZE,
        **changes: Any,
    ) -> None:
        self.network = as_network(network)
        self.settings = RecSettings.of(self.network, characters, **changes)
        self.batch_size = batch_size

    @property
    def locates_characters(self) -> bool:
        """Whether a character's column is where it stands in the line."""
        return self.settings.decoder == "CTCLabelDecode"

    def __call__(self, lines: Sequence[np.ndarray]) -> list[RecognizedText]:
        """Read each `(h, w, 3) uint8` line; the results come in the order of the lines.

        Raises:
            ValueError: a line has no pixels, or the network's output is not that of its kind, as
                `(N, T, 1 + number of characters)` is of CTC.
        """
        results: dict[int, RecognizedText] = {}
        for batch in by_width(lines, self.batch_size):
            inputs = line_inputs([lines[index] for index in batch], self.settings)
            answers = run_network(self.network, inputs.images, inputs.given)
            results |= zip(map(int, batch), self._read(answers, inputs), strict=True)
        return [results[index] for index in range(len(lines))]

    def _read(self, answers: Any, inputs: LineInputs) -> list[RecognizedText]:
        """Read the lines of one batch."""
        decoder, characters = self.settings.decoder, self.settings.characters
        size = len(inputs.images)
        if decoder == "CTCLabelDecode":
            self._check(answers, size)
            return [
                ctc_decode(
                    columns,
                    characters,
                    share=share,
                    right_to_left=self.settings.right_to_left,
                )
                for columns, share in zip(answers, inputs.shares, strict=True)
            ]
        if decoder == "VLLabelDecode":
            steps = next(iter(answers.values())).swapaxes(0, 1)
            self._check(steps, size)
            return [visionlan_decode(scores, characters) for scores in steps]
        if isinstance(answers, np.ndarray) and decoder != "RFLLabelDecode":
            self._check(answers, size)
        return decode_autoregressive(
            decoder, answers, size, characters, rm_symbol=self.settings.rm_symbol
        )

    def _check(self, scores: Any, size: int) -> None:
        layout, characters = CLASSES[self.settings.decoder], len(self.settings.characters)
        classes = layout.scores(characters)
        kind = self.settings.decoder.removesuffix("LabelDecode")
        shape = getattr(scores, "shape", type(scores).__name__)
        if len(shape) != 3 or shape[0] != size:
            raise ValueError(
                f"the recogniser returned an array of shape {shape}, expected "
                f"({size}, T, {classes}); is this a recognition network of {kind}?"
            )
        if shape[2] != classes:
            raise ValueError(
                f"the recogniser has {shape[2]} classes, but {characters} characters and "
                f"{layout.in_words(scored=True)} make {classes}; give the dictionary that it was "
                "trained with"
            )
