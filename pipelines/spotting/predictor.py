"""Spotting: image to text lines, with polygons, by one network (PGNet).

    from pipelines import Spotter

    spot = Spotter("en_server_pgnetA.pth")
    for line in spot("street.jpg"):
        print(line.text, line.box)

Numbers follow PaddleOCR 2.x: tools/infer/predict_e2e.py and ppocr/data/imaug/operators.py
(`E2EResizeForTest`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import cv2
import numpy as np

from pipelines.detection.postprocess.decoder import Outputs, Sizes
from pipelines.detection.postprocess.shapes import check_outputs
from pipelines.io.images import ImageLike, as_bgr
from pipelines.normalization import Normalizer
from pipelines.ocr import TextLine
from pipelines.predictor import Predictor
from pipelines.runtime import NetworkSource
from pipelines.spotting.postprocess import PGDecoder
from pipelines.validation import characters_of
from schemas.processing import SpottingSettings

SIDE_STRIDE = 128
"""The sides of the network's input are multiples of this."""
ENLARGEMENT = 1.25
"""Images of curved text are enlarged by this factor, where `max_side_len` allows it."""


def network_size(height: int, width: int, settings: SpottingSettings) -> tuple[int, int]:
    """Return the height and width of the network's input for an image of this size."""
    limited = height if settings.valid_set == "totaltext" else max(height, width)
    scale = settings.max_side_len / limited
    if settings.valid_set == "totaltext" and height * ENLARGEMENT <= settings.max_side_len:
        scale = ENLARGEMENT
    # PaddleOCR fails where a side, of a very thin image, becomes 0.
    rows, columns = (max(math.ceil(int(side * scale) / SIDE_STRIDE), 1) for side in (height, width))
    return rows * SIDE_STRIDE, columns * SIDE_STRIDE


class Spotter(Predictor):
    """Finds and reads text lines, curved ones too, with one network.

    Args:
        network: converted weights of PGNet, a network, or a callable from `(1, 3, H, W) float32` to
            a dict of its four outputs.
        characters: the dictionary, in the order of the classes and without the blank; by default
            that of the weights.
        min_score: lines with a lower score are left out.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).
        settings: settings of `SpottingSettings` and `PGDecoder` that replace those of the weights,
            such as `max_side_len=1280`.

    Raises:
        SettingsError: the network is not one that spots text, has no dictionary, or a setting is
            unknown or invalid.
        DeviceError: the device is not available.
    """

    task: ClassVar[str] = "e2e"
    title: ClassVar[str] = "a text spotter"

    def __init__(
        self,
        network: NetworkSource,
        *,
        characters: Sequence[str] | None = None,
        min_score: float = 0.0,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(network, device=device, half=half, compile=compile)
        self.min_score = min_score
        preparing, decoding = SpottingSettings.checks(), PGDecoder.checks()
        merged = self._merge_settings({**preparing, **decoding}, settings)
        self.settings = SpottingSettings(
            **{name: merged[name] for name in merged if name in preparing}
        )
        self.decoder = PGDecoder(
            characters_of(self.card, characters, "network"),
            **{name: merged[name] for name in merged if name in decoding},
        )
        self._normalize = Normalizer(self.settings.color, self.settings.mean, self.settings.std)

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """Resize and normalise an image.

        Args:
            image: `(H, W, 3) uint8` BGR.

        Returns:
            `(1, 3, h, w) float32`.
        """
        size = network_size(image.shape[0], image.shape[1], self.settings)
        return self._normalize(cv2.resize(image, size[::-1]))[np.newaxis]

    def run(self, image: np.ndarray) -> Outputs:
        """Run the network on an image.

        Args:
            image: `(H, W, 3) uint8` BGR.

        Returns:
            PGNet's four maps by name.

        Raises:
            ValueError: the outputs are not those of PGNet, or not finite.
        """
        batch = self.preprocess(image)
        expected = self.decoder.shapes(*batch.shape[2:])
        algorithm = f"PGNet with {len(self.decoder.characters)} characters"
        return check_outputs(self.network(batch), expected, "network", algorithm)

    def __call__(self, image: ImageLike) -> list[TextLine]:
        """Find and read the lines of an image.

        Args:
            image: an image, as `pipelines.io.images.as_bgr` accepts it.

        Returns:
            The lines, sorted by their highest corner.

        Raises:
            ImageError: `image` is not an image.
            ValueError: the network's outputs are not those of PGNet.
        """
        array = as_bgr(image)
        size = array.shape[:2]
        sizes = Sizes(size, size, network_size(size[0], size[1], self.settings))
        spotted = self.decoder(self.run(array), sizes)
        lines = [TextLine(*line) for line in spotted if line.score >= self.min_score]
        return [lines[index] for index in np.argsort([line.box[:, 1].min() for line in lines])]
