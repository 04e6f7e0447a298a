"""Detection: image to boxes or polygons around its text lines.

Numbers follow PaddleOCR 2.x: tools/infer/predict_det.py.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from pipelines.detection.postprocess.ct import CTDecoder
from pipelines.detection.postprocess.db import DBDecoder
from pipelines.detection.postprocess.decoder import (
    Decoder,
    Outputs,
    Sizes,
    finish_polygons,
    finish_quads,
)
from pipelines.detection.postprocess.drrg import DRRGDecoder
from pipelines.detection.postprocess.east import EASTDecoder
from pipelines.detection.postprocess.fce import FCEDecoder
from pipelines.detection.postprocess.pse import PSEDecoder
from pipelines.detection.postprocess.sast import SASTDecoder
from pipelines.detection.postprocess.shapes import check_outputs
from pipelines.detection.preprocess import pad, resize
from pipelines.detection.tiles import grid_of, merge_tiles, widen
from pipelines.io.images import ImageLike, as_bgr
from pipelines.normalization import Normalizer
from pipelines.predictor import Predictor
from pipelines.runtime import NetworkSource
from pipelines.settings import detection_settings
from pipelines.validation import changed_settings, require_task, stated_settings
from schemas.artefact import ArtefactCard
from schemas.processing import DetectionSettings, SettingsError

logger = logging.getLogger(__name__)

ORDINARY_HEIGHT = 20
"""The height of ordinary lines on a page, in pixels: those of 10 points at 150 dpi."""
VISIBLE_HEIGHT = 5
"""The height, in pixels of the network's input, below which a detector misses lines.

Measured with ch_PP-OCRv4_det on 20 printed lines: at 4.8 pixels all are found, at 4.1 twelve, at
3.6 none.
"""
DISTORTION = 1.5
"""Lines may be missed where one side is shrunk by this much more than the other: that happens to
long strips, whose shorter side is not shrunk below the network's stride."""

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
"""The decoder for each head that a detector may end in, by PaddleOCR's name."""


class Detector(Predictor):
    """Finds the text lines of an image.

    Args:
        network: converted weights, a network, or a callable from `(1, 3, H, W) float32` to the maps
            of its algorithm. A network without a card is treated as one of DB.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).
        tiles: cut pages that are longer than the network's input into overlapping tiles, along
            both sides where they are much wider than it, too, so that they are not shrunk to the
            network's input as a whole.
        settings: settings of `DetectionSettings` and of the decoder that replace those of the
            weights, such as `box_thresh=0.5`.

    Raises:
        SettingsError: the network is no detector, or a setting is unknown or invalid.
        DeviceError: the device is not available.
    """

    task: ClassVar[str] = "det"
    title: ClassVar[str] = "a detector"

    def __init__(
        self,
        network: NetworkSource,
        *,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        tiles: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(network, device=device, half=half, compile=compile)
        self.tiles = tiles
        head, decoder = _head(self.card)
        preparing, decoding = DetectionSettings.checks(), decoder.checks()
        changes = changed_settings(settings, {**preparing, **decoding}, "this detector")
        self.settings = detection_settings(
            self.network, **{name: changes[name] for name in changes if name in preparing}
        )
        of_head = {name: head[name] for name in decoding if name in head}
        of_caller = {name: changes[name] for name in changes if name in decoding}
        self.decoder = decoder(**of_head | stated_settings(self.card, decoding) | of_caller)
        self._normalize = Normalizer(self.settings.color, self.settings.mean, self.settings.std)

    def preprocess(self, image: np.ndarray) -> tuple[np.ndarray, Sizes]:
        """Pad, resize and normalise an image.

        Args:
            image: `(H, W, 3) uint8` BGR.

        Returns:
            The batch, `(1, 3, h, w) float32`, and the sizes of the image on its way to it.
        """
        padded = pad(image, self.settings)
        resized = resize(padded, self.settings)
        sizes = Sizes(image.shape[:2], padded.shape[:2], resized.shape[:2])
        return self._normalize(resized)[np.newaxis], sizes

    def run(self, image: np.ndarray) -> tuple[Outputs, Sizes]:
        """Run the network on an image.

        Args:
            image: `(H, W, 3) uint8` BGR.

        Returns:
            The network's outputs by name, and the sizes of the image on its way to the network.

        Raises:
            ValueError: the outputs do not have the shapes of this algorithm, or are not finite.
        """
        batch, sizes = self.preprocess(image)
        expected = self.decoder.shapes(*batch.shape[2:])
        algorithm = type(self.decoder).__name__.removesuffix("Decoder")
        outputs = self.network(batch)
        title = f"a detection network of {algorithm}"
        return check_outputs(outputs, expected, "detector", title), sizes

    def probability_map(self, image: ImageLike) -> np.ndarray:
        """Return the probability of text at each pixel of the network's input.

        Args:
            image: an image, as `pipelines.io.images.as_bgr` accepts it.

        Returns:
            `(h, w) float32`, 0 to 1, at the network's resolution.

        Raises:
            ImageError: `image` is not an image.
            ValueError: the detector is not one of DB, or its output is not one such map.
        """
        if not isinstance(self.decoder, DBDecoder):
            raise ValueError(
                "only detectors of DB return a map of probabilities of the input's size; "
                "Detector.run returns the outputs of this one"
            )
        probabilities: np.ndarray = self.run(as_bgr(image))[0]["maps"][0, 0]
        return probabilities

    def __call__(self, image: ImageLike) -> list[np.ndarray]:
        """Find the text lines of an image.

        Args:
            image: an image, as `pipelines.io.images.as_bgr` accepts it.

        Returns:
            The lines, in no particular order: boxes `(4, 2) float32` or polygons `(N, 2) float32`,
            in pixels of the image as x, y.

        Raises:
            ImageError: `image` is not an image.
            ValueError: the outputs do not have the shapes of this algorithm, or are not finite.
        """
        page = as_bgr(image)
        return self._detect_on_tiles(page) if self.tiles else self._detect(page)

    def _detect(self, image: np.ndarray) -> list[np.ndarray]:
        """Find the lines of an image or a tile, `(H, W, 3) uint8` BGR."""
        outputs, sizes = self.run(image)
        self._warn_if_shrunk(sizes)
        return self.decoder(outputs, sizes)

    def _detect_on_tiles(self, image: np.ndarray) -> list[np.ndarray]:
        """Find the lines of each tile and merge those at the seams."""
        widened, origin = widen(image)
        height, width = widened.shape[:2]
        rows, columns = grid_of(height, width, self.settings)
        strips = []
        for row in rows:
            outlines = []
            for column in columns:
                part = widened[row.start : row.end, column.start : column.end]
                offset = np.array([column.start, row.start], np.float32) - origin
                outlines.append([line + offset for line in self._detect(part)])
            strips.append(merge_tiles(outlines, columns, vertical=False))
        logger.debug(
            "searched %d x %d tiles of %d x %d pixels",
            *(len(columns), len(rows), columns[0].end, rows[0].end),
        )
        lines = merge_tiles(strips, rows, vertical=True)
        if self.decoder.box_type == "poly":
            return finish_polygons(lines, image.shape[:2])
        return finish_quads(np.array(lines, np.float32).reshape(-1, 4, 2), image.shape[:2])

    def _warn_if_shrunk(self, sizes: Sizes) -> None:
        """Log a warning where lines of ordinary height become too small to be found."""
        (height, width), (new_height, new_width) = sizes.padded, sizes.input
        advice = "use tiles, or a larger limit_side_len"
        if ORDINARY_HEIGHT * min(sizes.ratio) < VISIBLE_HEIGHT:
            logger.warning(
                "the image of %d x %d pixels is shrunk to %d x %d for the detector, so that lines "
                "lower than %.0f pixels are missed; %s",
                *(width, height, new_width, new_height),
                VISIBLE_HEIGHT / min(sizes.ratio),
                advice,
            )
        elif self._is_distorted(sizes):
            logger.warning(
                "the image of %d x %d pixels is distorted to %d x %d for the detector, so that its "
                "lines may be missed; %s",
                *(width, height, new_width, new_height),
                advice,
            )

    def _is_distorted(self, sizes: Sizes) -> bool:
        """Return whether one side is shrunk by more than the other, other than by `image_shape`."""
        limit = min(1.0, max(sizes.ratio)) / DISTORTION
        return not self.settings.image_shape and min(sizes.ratio) < limit


def output_names(card: ArtefactCard) -> list[str]:
    """Return the names of a detector's outputs in the order of its export, which is sorted.

    Args:
        card: the description beside the detector's weights.
    """
    _, decoder = _head(require_task(card, Detector.task, Detector.title))
    return sorted(decoder().shapes(0, 0))


def _head(card: ArtefactCard) -> tuple[Mapping[str, Any], type[Decoder]]:
    """Return the configuration of the head that the card states, and the decoder for it."""
    head = card.architecture.get("Head")
    if not isinstance(head, Mapping):
        head = {}
    name = str(head.get("name", "DBHead"))
    if name not in DECODERS:
        raise SettingsError(
            f"the weights are of a network that ends in {name}; text is found with those of "
            f"{', '.join(DECODERS)}. Run the network itself: architectures.load(PATH)"
        )
    return head, DECODERS[name]
