"""Where the text of a page is: image -> what the network returns -> boxes or polygons.

Numbers follow PaddleOCR 2.x: tools/infer/predict_det.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from pipelines.detection.postprocess.ct import CTDecoder
from pipelines.detection.postprocess.db import DBDecoder
from pipelines.detection.postprocess.decoder import Decoder, Outputs, Sizes
from pipelines.detection.postprocess.drrg import DRRGDecoder
from pipelines.detection.postprocess.east import EASTDecoder
from pipelines.detection.postprocess.fce import FCEDecoder
from pipelines.detection.postprocess.pse import PSEDecoder
from pipelines.detection.postprocess.sast import SASTDecoder
from pipelines.detection.postprocess.shapes import check_outputs
from pipelines.detection.preprocess import pad, resize
from pipelines.normalization import Normalizer
from pipelines.runtime import Network
from pipelines.settings import DETECTION, DetSettings
from pipelines.validation import SettingsError, card_of, given, stated

DECODERS: Mapping[str, type[Decoder]] = {
    "DBHead": DBDecoder,
    "PFHeadLocal": DBDecoder,
    "EASTHead": EASTDecoder,
    "PSEHead": PSEDecoder,
    "SASTHead": SASTDecoder,
    "FCEHead": FCEDecoder,
    "CT_Head": CTDecoder,
    "DRRGHead": DRRGDecoder,
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
        head, kind = _head(network)
        changes = given(changes, {**DETECTION, **kind.checks}, "this detector")
        prepared = {name: changes[name] for name in changes if name in DETECTION}
        self.settings = DetSettings.of(network, **prepared)
        decoded = {name: changes[name] for name in changes if name in kind.checks}
        built = {name: head[name] for name in kind.checks if name in head}
        self.decoder = kind(**built | stated(network, kind.checks) | decoded)
        self._normalize = Normalizer(self.settings.color, self.settings.mean, self.settings.std)

    def network_input(self, image: np.ndarray) -> np.ndarray:
        """Resize and normalise an `(H, W, 3) uint8` BGR image to `(1, 3, h, w) float32`."""
        return self._prepared(image)[0]

    def _prepared(self, image: np.ndarray) -> tuple[np.ndarray, Sizes]:
        padded = pad(image, self.settings)
        resized = resize(padded, self.settings)
        sizes = Sizes(image.shape[:2], padded.shape[:2], resized.shape[:2])
        return self._normalize(resized), sizes

    def results(self, image: np.ndarray) -> tuple[Outputs, Sizes]:
        """Return what the network makes of an `(H, W, 3) uint8` BGR image, and how it saw it.

        Raises:
            ValueError: that is not what a network of this kind returns, or not finite.
        """
        batch, sizes = self._prepared(image)
        expected = self.decoder.shapes(*batch.shape[2:])
        algorithm = type(self.decoder).__name__.removesuffix("Decoder")
        network = f"a detection network of {algorithm}"
        return check_outputs(self.network(batch), expected, "detector", network), sizes

    def probability_map(self, image: np.ndarray) -> np.ndarray:
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


def output_names(card: Mapping[str, Any]) -> list[str]:
    """Return what the results of a detector are called, in the order in which its export has them.

    An export has them sorted, whatever order PaddleOCR's network gives them.
    """
    _, kind = _head(SimpleNamespace(card=card))
    return sorted(kind().shapes(0, 0))


def _head(network: Any) -> tuple[Mapping[str, Any], type[Decoder]]:
    """The head as the weights' `.json` describes it, and the decoder that is chosen by its name."""
    card = card_of(network, "det", "a detector")
    head = (card.get("architecture") or {}).get("Head") or {}
    name = head.get("name", "DBHead")
    if name not in DECODERS:
        raise SettingsError(
            f"the weights are of a network that ends in {name}; text is found with those of "
            f"{', '.join(DECODERS)}. Run the network itself: architectures.load(PATH)"
        )
    return head, DECODERS[name]
