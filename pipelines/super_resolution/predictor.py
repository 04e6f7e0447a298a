"""Super-resolution of text lines: image to an image of twice the network's size.

The networks are Text Telescope and Text Gestalt. Numbers follow PaddleOCR 2.x:
tools/infer/predict_sr.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from pipelines.io.images import ImageLike, as_bgr
from pipelines.normalization import Normalizer, divide
from pipelines.predictor import Predictor
from pipelines.runtime import NetworkSource, require_finite
from schemas.processing import SuperResolutionSettings


class Upscaler(Predictor):
    """Super-resolves low-resolution images of one text line each.

    Args:
        network: converted weights, a network, or a callable from `(1, 3, H, W) float32` to a dict
            with `sr_img`, `(1, 3, 2 * H, 2 * W)`.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).
        settings: settings of `SuperResolutionSettings` that replace those of the weights.

    Raises:
        SettingsError: the network is not one of super-resolution, or a setting is unknown or
            invalid.
        DeviceError: the device is not available.
    """

    task: ClassVar[str] = "sr"
    title: ClassVar[str] = "a network of super-resolution"

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
        merged = self._merge_settings(SuperResolutionSettings.checks(), settings)
        self.settings = SuperResolutionSettings(**merged)
        self._normalize = Normalizer("RGB", (0, 0, 0), (1, 1, 1), divide)

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """Resize an image and scale its values to 0 to 1.

        Args:
            image: `(H, W, 3) uint8` BGR.

        Returns:
            `(1, 3, height, width) float32`, RGB.
        """
        size = (self.settings.width, self.settings.height)
        resized = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
        return self._normalize(np.asarray(resized))[np.newaxis]

    def __call__(self, image: ImageLike) -> np.ndarray:
        """Super-resolve an image of one line.

        Values below 0 and above 255 are clipped; PaddleOCR lets them overflow.

        Args:
            image: an image, as `pipelines.io.images.as_bgr` accepts it.

        Returns:
            `(2 * height, 2 * width, 3) uint8` BGR, of the height and width in the settings.

        Raises:
            ImageError: `image` is not an image.
            ValueError: the network's output is not an image of that size, or not finite.
        """
        outputs = self.network(self.preprocess(as_bgr(image)))
        expected = (1, 3, 2 * self.settings.height, 2 * self.settings.width)
        sr_output = outputs.get("sr_img") if isinstance(outputs, Mapping) else None
        if sr_output is None or sr_output.shape != expected:
            raise ValueError(
                f"the network returned no sr_img of shape {expected}; is this one of "
                "super-resolution?"
            )
        require_finite(sr_output, "network")
        upscaled = np.clip(sr_output[0] * 255, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(upscaled.transpose(1, 2, 0)[..., ::-1])
