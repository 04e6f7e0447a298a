"""Classification of orientation: images of lines or pages to angles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pipelines.batching import BATCH_SIZE, by_width
from pipelines.classification.preprocess import preprocess
from pipelines.io.images import ImageLike, as_bgr
from pipelines.predictor import Predictor
from pipelines.runtime import NetworkSource, describe_outputs, require_finite
from pipelines.settings import classification_settings


@dataclass(frozen=True)
class Orientation:
    """How an image is oriented.

    Attributes:
        angle: the degrees counter-clockwise by which it has to be rotated to be upright.
        score: the probability of that, 0 to 1.
    """

    angle: int
    score: float


class Classifier(Predictor):
    """Predicts by how many degrees images have to be rotated to be upright.

    Args:
        network: converted weights, a network, or a callable from `(N, 3, H, W) float32` to class
            probabilities `(N, classes) float32`.
        batch_size: the number of images per call of the network.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).
        settings: settings of `ClassificationSettings` that replace those of the weights, such as
            `cls_thresh=0.8`.

    Raises:
        SettingsError: the network is no classifier of orientation, or a setting is unknown or
            invalid.
        DeviceError: the device is not available.
    """

    task: ClassVar[str] = "cls"
    title: ClassVar[str] = "a classifier"

    def __init__(
        self,
        network: NetworkSource,
        batch_size: int = BATCH_SIZE,
        *,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(network, device=device, half=half, compile=compile)
        self.settings = classification_settings(self.network, **settings)
        self.batch_size = batch_size

    def __call__(self, images: Sequence[ImageLike]) -> list[int]:
        """Classify images.

        Args:
            images: images of any size, as `pipelines.io.images.as_bgr` accepts them.

        Returns:
            For each image the angle, in degrees counter-clockwise, that makes it upright; 0 also
            where no class is more probable than the setting `cls_thresh`.

        Raises:
            ImageError: an item is not an image.
            ValueError: the network's output is not `(N, classes)`, or not finite.
        """
        threshold = np.float32(self.settings.cls_thresh)  # in single precision, as in PaddleOCR
        return [
            found.angle if np.float32(found.score) > threshold else 0
            for found in self.orientations(images)
        ]

    def orientations(self, images: Sequence[ImageLike]) -> list[Orientation]:
        """Classify images, whatever the setting `cls_thresh`.

        Args:
            images: images of any size, as `pipelines.io.images.as_bgr` accepts them.

        Returns:
            The most probable orientation of each.

        Raises:
            ImageError: an item is not an image.
            ValueError: the network's output is not `(N, classes)`, or not finite.
        """
        arrays = [as_bgr(image) for image in images]
        found: dict[int, Orientation] = {}
        classes = len(self.settings.angles)
        for indices in by_width(arrays, self.batch_size):
            batch = preprocess([arrays[index] for index in indices], self.settings)
            outputs = self.network(batch)
            expected = (len(indices), classes)
            if not isinstance(outputs, np.ndarray) or outputs.shape != expected:
                raise ValueError(
                    f"the classifier returned {describe_outputs(outputs)}, expected an array of "
                    f"shape {expected}; is this a network for orientation?"
                )
            require_finite(outputs, "classifier")
            for index, probabilities in zip(indices, outputs, strict=True):
                angle = self.settings.angles[probabilities.argmax()]
                found[int(index)] = Orientation(angle, float(probabilities.max()))
        return [found[index] for index in range(len(arrays))]
