"""Lines of text at twice their size, sharper: images -> Text Telescope or Text Gestalt -> images.

Numbers follow PaddleOCR 2.x: tools/infer/predict_sr.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.io.images import ImageLike, as_bgr
from pipelines.runtime import Network, as_network
from pipelines.validation import COUNT, Check, card_of, check, given, stated

_UPSCALING: Mapping[str, Check] = {"height": COUNT, "width": COUNT}


@dataclass(frozen=True)
class UpscaleSettings:
    """The size that a network of super-resolution sees, in pixels; it gives twice that.

    Raises:
        SettingsError: a value without a meaning.
    """

    height: int = 16
    width: int = 64

    def __post_init__(self) -> None:
        check(self, _UPSCALING)


class Upscaler:
    """Draws blurred lines anew, each at the one size that the network gives.

    Args:
        network: converted weights, or a callable from `(1, 3, H, W) float32` to a dict with
            `sr_img`, `(1, 3, 2 H, 2 W)`.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision, on a device that can.
        compile: use `torch.compile`, slow to start, then faster.
        changes: what takes the place of what the weights say: `height` and `width`.

    Raises:
        ValueError: a network of another kind; a device that is not there, or that computes no
            halves; a setting that is unknown or has no meaning.
    """

    def __init__(
        self,
        network: Network | str | Path,
        *,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        **changes: Any,
    ) -> None:
        self.network = as_network(network, device, half=half, compile=compile)
        kind = "a network of super-resolution"
        card_of(self.network, "sr", kind)
        said = stated(self.network, _UPSCALING) | given(changes, _UPSCALING, kind)
        self.settings = UpscaleSettings(**said)

    def network_input(self, image: np.ndarray) -> np.ndarray:
        """Resize an `(H, W, 3) uint8` BGR image, `(1, 3, h, w) float32`, red first, 0 to 1."""
        picture = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
        size = (self.settings.width, self.settings.height)
        pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
        return (pixels.astype(np.float32).transpose(2, 0, 1) / 255)[None]

    def __call__(self, image: ImageLike) -> np.ndarray:
        """Return a line at the network's size, `(2 h, 2 w, 3) uint8` BGR.

        Values beyond black and white become these; in PaddleOCR they wrap around.

        Args:
            image: `(H, W, 3) uint8` BGR, grey, or BGRA; a Pillow image; or the path of a file.

        Raises:
            ImageError: not an image.
            ValueError: the network's result is not that of its kind.
        """
        results = self.network(self.network_input(as_bgr(image)))
        expected = (1, 3, 2 * self.settings.height, 2 * self.settings.width)
        drawn = results.get("sr_img") if isinstance(results, Mapping) else None
        if drawn is None or drawn.shape != expected:
            raise ValueError(
                f"the network returned no sr_img of shape {expected}; is this one of "
                "super-resolution?"
            )
        pixels = np.clip(drawn[0] * 255, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0)[..., ::-1])
