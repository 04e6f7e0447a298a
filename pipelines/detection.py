"""Where the text of a page is: image -> what the network returns -> boxes or polygons.

Numbers follow PaddleOCR 2.x: tools/infer/predict_det.py and ppocr/data/imaug/operators.py
(`NormalizeImage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from pipelines.checks import SettingsError, card_of, given, stated
from pipelines.db import DBDecoder
from pipelines.decoding import Decoder, Results, Shape, Sizes
from pipelines.east import EASTDecoder
from pipelines.networks import Network
from pipelines.pse import PSEDecoder
from pipelines.resizing import pad, resize
from pipelines.settings import DETECTION, DetSettings

DECODERS: Mapping[str, type[Decoder]] = {
    "DBHead": DBDecoder,
    "PFHeadLocal": DBDecoder,
    "EASTHead": EASTDecoder,
    "PSEHead": PSEDecoder,
}
"""The head in which a detector ends, by PaddleOCR's name -> what decodes its results."""


class Detector:
    """A network that finds text with its pre- and post-processing, as its weights' `.json` says.

    `changes` take the place of what it says, such as `box_thresh=0.5`: settings of `DetSettings`
    and of the decoder. A network without a `.json` is taken for one of DB.

    Raises:
        SettingsError: it is no detector, a value without a meaning, a change of what is no setting.
    """

    def __init__(self, network: Network, **changes: Any) -> None:
        self.network = network
        kind = _decoder(network)
        changes = given(changes, {**DETECTION, **kind.checks}, "this detector")
        prepared = {name: changes[name] for name in changes if name in DETECTION}
        self.settings = DetSettings.of(network, **prepared)
        decoded = {name: changes[name] for name in changes if name in kind.checks}
        self.decoder = kind(**stated(network, kind.checks) | decoded)
        self._tables = _tables(self.settings)

    def network_input(self, image: np.ndarray) -> np.ndarray:
        """Resize and normalise an `(H, W, 3) uint8` BGR image to `(1, 3, h, w) float32`."""
        return self._prepared(image)[0]

    def _prepared(self, image: np.ndarray) -> tuple[np.ndarray, Sizes]:
        padded = pad(image, self.settings)
        resized = resize(padded, self.settings)
        batch = np.empty((1, 3, *resized.shape[:2]), np.float32)
        planes = cv2.split(resized)
        if self.settings.color == "RGB":
            planes = planes[::-1]
        for plane, table, place in zip(planes, self._tables, batch[0], strict=True):
            cv2.LUT(plane, table, place)
        return batch, Sizes(image.shape[:2], padded.shape[:2], resized.shape[:2])

    def results(self, image: np.ndarray) -> tuple[Results, Sizes]:
        """Return what the network makes of an `(H, W, 3) uint8` BGR image, and how it saw it.

        Raises:
            ValueError: that is not what a network of this kind returns, or not finite.
        """
        batch, sizes = self._prepared(image)
        returned = self.network(batch)
        expected = self.decoder.shapes(*batch.shape[2:])
        if isinstance(returned, np.ndarray) and len(expected) == 1:
            returned = dict.fromkeys(expected, returned)
        _check(returned, expected, type(self.decoder).__name__.removesuffix("Decoder"))
        return returned, sizes

    def heat_map(self, image: np.ndarray) -> np.ndarray:
        """Probability of text at the network's resolution, `(h, w) float32`.

        Args:
            image: `(H, W, 3) uint8` BGR.

        Raises:
            ValueError: the network's output is not one map of its input's size.
        """
        if not isinstance(self.decoder, DBDecoder):
            raise ValueError(
                "only detectors of DB return a map of probabilities of the input's size; "
                "Detector.results gives what this one returns"
            )
        heat: np.ndarray = self.results(image)[0]["maps"][0, 0]
        return heat

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """Find the text lines of an `(H, W, 3) uint8` image, in no order.

        Returns:
            For each a box, `(4, 2) float32`, or a polygon, `(N, 2) float32`.

        Raises:
            ValueError: what the network returns is not what one of its kind does, or not finite.
        """
        return self.decoder(*self.results(image))


def _decoder(network: Network) -> type[Decoder]:
    """Choose by the head that the weights' `.json` names."""
    card = card_of(network, "det", "a detector")
    head = ((card.get("architecture") or {}).get("Head") or {}).get("name", "DBHead")
    if head not in DECODERS:
        raise SettingsError(
            f"the weights are of a network that ends in {head}; text is found with those of "
            f"{', '.join(DECODERS)}. Run the network itself: architectures.load(PATH)"
        )
    return DECODERS[head]


def _check(returned: Any, expected: Mapping[str, Shape], algorithm: str) -> None:
    """Raise ValueError where a network returns something else, or numbers that are not finite."""
    arrays = returned if isinstance(returned, Mapping) else {"": returned}
    shapes = {name: array.shape for name, array in arrays.items()}
    if not shapes.keys() == expected.keys() or not all(
        _fits(shapes[name], shape) for name, shape in expected.items()
    ):
        raise ValueError(
            f"the detector returned {_said(shapes)}, expected {_said(expected)}; "
            f"is this a detection network of {algorithm}?"
        )
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError(
            "the detector returned values that are not finite numbers; in half precision they "
            "may have overflowed, else the weights are damaged"
        )


def _fits(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        wanted in (None, length) for length, wanted in zip(shape, expected, strict=True)
    )


def _said(shapes: Mapping[str, Shape]) -> str:
    """Shapes in words; an array of no name, and one alone, by its shape only."""
    named = [f"{name} of shape {shape}".replace("None", "any") for name, shape in shapes.items()]
    if len(shapes) == 1:
        return f"an array of shape {str(next(iter(shapes.values()))).replace('None', 'any')}"
    return ", ".join(named)


def _tables(settings: DetSettings) -> list[np.ndarray]:
    """For each channel, what each of the 256 values is when normalised, `(256,) float32`."""
    values = np.arange(256, dtype=np.float32) * np.float32(1 / 255)
    mean, std = np.array(settings.mean, np.float32), np.array(settings.std, np.float32)
    return [(values - mean[channel]) / std[channel] for channel in range(3)]
