"""Recognition: line images to text.

Numbers follow PaddleOCR 2.x: tools/infer/predict_rec.py (`TextRecognizer`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from pipelines.batching import BATCH_SIZE, by_width
from pipelines.io.images import ImageLike, as_bgr
from pipelines.predictor import Predictor
from pipelines.recognition.postprocess import (
    RecognizedText,
    ctc_decode,
    decode_autoregressive,
    visionlan_decode,
)
from pipelines.recognition.preprocess import LineBatch, preprocess
from pipelines.runtime import (
    NetworkOutput,
    NetworkSource,
    describe_outputs,
    require_finite,
    run_network,
)
from pipelines.settings import recognition_settings
from schemas.special_tokens import CLASSES


class Recognizer(Predictor):
    """Reads images of one text line each.

    Args:
        network: converted weights, a network, or a callable from `(N, C, H, W) float32` to the
            scores of its classes. A network without a card is treated as one of CTC.
        characters: the dictionary, in the order of the classes and without special tokens; by
            default that of the weights.
        batch_size: the number of lines per call of the network.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).
        settings: settings of `RecognitionSettings` that replace those of the weights, such as
            `max_width=4000`.

    Raises:
        SettingsError: the network is no recogniser, has no dictionary, or a setting is unknown or
            invalid.
        DeviceError: the device is not available.
    """

    task: ClassVar[str] = "rec"
    title: ClassVar[str] = "a recogniser"

    def __init__(
        self,
        network: NetworkSource,
        characters: Sequence[str] | None = None,
        batch_size: int = BATCH_SIZE,
        *,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(network, device=device, half=half, compile=compile)
        self.settings = recognition_settings(self.network, characters, **settings)
        self.batch_size = batch_size

    @property
    def locates_characters(self) -> bool:
        """Whether the column of a character in the output is its position in the line."""
        return self.settings.decoder == "CTCLabelDecode"

    def __call__(self, lines: Sequence[ImageLike]) -> list[RecognizedText]:
        """Read lines.

        Args:
            lines: images of one line each, as `pipelines.io.images.as_bgr` accepts them.

        Returns:
            The text of each line, in the order of `lines`.

        Raises:
            ImageError: a line is not an image.
            ValueError: the network's output does not fit its decoder and its dictionary, such as
                `(N, T, 1 + number of characters)` for CTC, or holds NaN or infinite values.
        """
        images = [as_bgr(line) for line in lines]
        texts: dict[int, RecognizedText] = {}
        for indices in by_width(images, self.batch_size):
            batch = preprocess([images[index] for index in indices], self.settings)
            outputs = run_network(self.network, batch.images, batch.extra_inputs)
            require_finite(outputs, "recogniser")
            texts |= zip(map(int, indices), self._decode(outputs, batch), strict=True)
        return [texts[index] for index in range(len(images))]

    def _decode(self, outputs: NetworkOutput, batch: LineBatch) -> list[RecognizedText]:
        """Decode the network's output for one batch."""
        decoder, characters = self.settings.decoder, self.settings.characters
        size = len(batch.images)
        if decoder == "CTCLabelDecode":
            probabilities = self._check(outputs, size)
            return [
                ctc_decode(
                    line,
                    characters,
                    width_ratio=width_ratio,
                    right_to_left=self.settings.right_to_left,
                )
                for line, width_ratio in zip(probabilities, batch.width_ratios, strict=True)
            ]
        if decoder == "VLLabelDecode":
            steps = next(iter(outputs.values())) if isinstance(outputs, Mapping) else outputs
            logits = self._check(steps.swapaxes(0, 1) if steps.ndim > 1 else steps, size)
            return [visionlan_decode(line, characters) for line in logits]
        if isinstance(outputs, np.ndarray) and decoder != "RFLLabelDecode":
            self._check(outputs, size)
        rm_symbol = self.settings.rm_symbol
        return decode_autoregressive(decoder, outputs, size, characters, rm_symbol=rm_symbol)

    def _check(self, scores: NetworkOutput, size: int) -> np.ndarray:
        """Return scores if they are `(size, T, classes)`, else raise ValueError."""
        layout, characters = CLASSES[self.settings.decoder], len(self.settings.characters)
        classes = layout.scores(characters)
        algorithm = self.settings.decoder.removesuffix("LabelDecode")
        if not isinstance(scores, np.ndarray) or scores.ndim != 3 or len(scores) != size:
            raise ValueError(
                f"the recogniser returned {describe_outputs(scores)}, expected an array of shape "
                f"({size}, T, {classes}); is this a recognition network of {algorithm}?"
            )
        if scores.shape[2] != classes:
            raise ValueError(
                f"the recogniser has {scores.shape[2]} classes, but {characters} characters and "
                f"{layout.in_words(scored=True)} make {classes}; give the dictionary that it was "
                "trained with"
            )
        return scores
