"""Finding and reading text with one network: image -> PGNet's maps -> lines and what they say.

    from pipelines import Spotter

    spot = Spotter("en_server_pgnetA.pth")
    for line in spot("street.jpg"):
        print(line.text, line.box)

Numbers follow PaddleOCR 2.x: tools/infer/predict_e2e.py and ppocr/data/imaug/operators.py
(`E2EResizeForTest`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipelines.detection.postprocess.decoder import Outputs, Sizes
from pipelines.detection.postprocess.shapes import check_outputs
from pipelines.io.images import ImageLike, as_bgr
from pipelines.normalization import Normalizer
from pipelines.ocr import TextLine
from pipelines.runtime import Network, as_network
from pipelines.spotting.postprocess import PGDecoder
from pipelines.validation import COUNT, PIXELS, Check, card_of, characters_of, check, given, stated

SIDES = 128
"""The sides of the network's input are multiples of this."""
ENLARGED = 1.25
"""Images are enlarged by this, where the limit allows it."""

SPOTTING: Mapping[str, Check] = {
    "max_side_len": COUNT,
    "valid_set": PGDecoder.checks["valid_set"],
    **PIXELS,
}


@dataclass(frozen=True)
class SpotSettings:
    """How images are prepared for PGNet; `PGDecoder` says how its results are decoded.

    Attributes:
        max_side_len, valid_set: with "totaltext" images are enlarged by a quarter, or by what
            brings their height to the limit if that is less; with "partvgg" the longer side is
            brought to the limit. Sides then grow to multiples of 128.
        mean, std: of the values from 0 to 1, in the order of the network's channels, `color`.

    Raises:
        SettingsError: a value without a meaning.
    """

    max_side_len: int = 768
    valid_set: str = "totaltext"
    color: str = "BGR"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        check(self, SPOTTING)

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the network sees an image of this size."""
        limited = height if self.valid_set == "totaltext" else max(height, width)
        scale = self.max_side_len / limited
        if self.valid_set == "totaltext" and height * ENLARGED <= self.max_side_len:
            scale = ENLARGED
        # A side of no pixel, of an image like a thread, stops PaddleOCR.
        tall, wide = (max(math.ceil(int(side * scale) / SIDES), 1) for side in (height, width))
        return tall * SIDES, wide * SIDES


class Spotter:
    """Finds lines of text, curved ones too, and reads them, with one network.

    The network is a path to converted weights of PGNet, or any callable from `(N, 3, H, W) float32`
    to a dict of its four results. What it takes and gives is in the JSON beside the weights, or in
    an attribute `card` of a callable.

    Args:
        network: finds and reads.
        characters: what its classes stand for, without the blank; by default what its weights say.
        min_score: lines that score below it are left out.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision, on a device that can.
        compile: use `torch.compile`, slow to start, then faster.
        changes: what takes the place of what the weights say, by the names of `SpotSettings` and
            `PGDecoder`, such as max_side_len=1280.

    Raises:
        ValueError: no characters are known; a network of another kind; a device that is not there,
            or that computes no halves; a setting that is unknown or has no meaning.
    """

    def __init__(
        self,
        network: Network | str | Path,
        *,
        characters: Sequence[str] | None = None,
        min_score: float = 0.0,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        **changes: Any,
    ) -> None:
        self.network = as_network(network, device, half=half, compile=compile)
        self.min_score = min_score
        known = {**SPOTTING, **PGDecoder.checks}
        said = stated(self.network, known) | given(changes, known, "a network that finds and reads")
        card = card_of(self.network, "e2e", "a network that finds and reads text")
        self.settings = SpotSettings(**{name: said[name] for name in said if name in SPOTTING})
        self.decoder = PGDecoder(
            characters_of(card, characters, "network"),
            **{name: said[name] for name in said if name in PGDecoder.checks},
        )
        self._normalize = Normalizer(self.settings.color, self.settings.mean, self.settings.std)

    def network_input(self, image: np.ndarray) -> np.ndarray:
        """Resize and normalise an `(H, W, 3) uint8` BGR image to `(1, 3, h, w) float32`."""
        size = self.settings.network_size(*image.shape[:2])
        return self._normalize(cv2.resize(image, size[::-1]))

    def results(self, image: np.ndarray) -> Outputs:
        """Return what the network makes of an `(H, W, 3) uint8` BGR image.

        Raises:
            ValueError: that is not what PGNet returns, or not finite.
        """
        batch = self.network_input(image)
        expected = self.decoder.shapes(*batch.shape[2:])
        algorithm = f"PGNet with {len(self.decoder.characters)} characters"
        return check_outputs(self.network(batch), expected, "network", algorithm)

    def __call__(self, image: ImageLike) -> list[TextLine]:
        """Find and read the lines of an image, those first that begin highest.

        Args:
            image: `(H, W, 3) uint8` BGR, grey, or BGRA; a Pillow image; or the path of a file.

        Raises:
            ImageError: not an image.
            ValueError: the network's results are not PGNet's.
        """
        image = as_bgr(image)
        size = image.shape[:2]
        sizes = Sizes(size, size, self.settings.network_size(*size))
        found = self.decoder(self.results(image), sizes)
        lines = [TextLine(*spotted) for spotted in found if spotted.score >= self.min_score]
        return [lines[place] for place in np.argsort([line.box[:, 1].min() for line in lines])]
