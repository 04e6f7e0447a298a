"""Unwarping: the photograph of a bent page to a flat page, with UVDoc.

from pipelines import Unwarper

flat = Unwarper("UVDoc.pth")("photo.jpg")

Numbers follow PaddleX 3, inference/models/image_unwarping.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from pipelines.io.images import ImageLike, as_bgr
from pipelines.normalization import Normalizer, scale_and_shift
from pipelines.predictor import Predictor
from pipelines.runtime import NetworkSource, describe_outputs, require_finite
from schemas.processing import UnwarpSettings


class Unwarper(Predictor):
    """Flattens photographs of pages.

    Args:
        network: converted weights of UVDoc, a network, or a callable from `(1, 3, H, W) float32`,
            blue first and 0 to 1, to the flat page in the same form.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).
        settings: settings of `UnwarpSettings` that replace those of the weights.

    Raises:
        SettingsError: the network is not one of unwarping, or a setting is unknown or invalid.
        DeviceError: the device is not available.
    """

    task: ClassVar[str] = "unwarp"
    title: ClassVar[str] = "a network of unwarping"

    def __init__(
        self,
        network: NetworkSource,
        *,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(network, device=device, half=half, compile=compile)
        self.settings = UnwarpSettings(**self._merge_settings(UnwarpSettings.checks(), settings))
        self._normalize = Normalizer(
            self.settings.color, self.settings.mean, self.settings.std, scale_and_shift
        )

    def __call__(self, image: ImageLike) -> np.ndarray:
        """Flatten a page.

        Args:
            image: an image, as `pipelines.io.images.as_bgr` accepts it.

        Returns:
            `(H, W, 3) uint8` BGR, of the size of `image`; black where the flat page goes beyond it.

        Raises:
            ImageError: `image` is not an image.
            ValueError: the network's output is not an image of this size.
        """
        batch = self._normalize(as_bgr(image))[np.newaxis]
        outputs = self.network(batch)
        page = outputs.get("output") if isinstance(outputs, Mapping) else outputs
        if page is None or page.shape != batch.shape:
            raise ValueError(
                f"the network returned {describe_outputs(outputs)}, expected a page of shape "
                f"{batch.shape}; is this a network of unwarping?"
            )
        require_finite(page, "network")
        return to_pixels(page[0], self.settings.color)


def to_pixels(page: np.ndarray, color: str = "BGR") -> np.ndarray:
    """Turn a page into pixels, with fractions cut off.

    Half precision may exceed 0 to 255 a little, which is clipped; PaddleX lets it overflow.

    Args:
        page: `(3, H, W) float32`, 0 to 1.
        color: the order of its channels.

    Returns:
        `(H, W, 3) uint8` BGR.
    """
    pixels = np.clip(page.transpose(1, 2, 0) * np.float32(255), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels if color == "BGR" else pixels[..., ::-1])
