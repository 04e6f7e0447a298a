"""Formula recognition: image to LaTeX.

from pipelines import FormulaReader

read = FormulaReader("PP-FormulaNet-S.pth")
print(read("formula.png"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pipelines.formula.postprocess import TokenDecoder
from pipelines.formula.preprocess import can_input, latexocr_input, unimernet_input
from pipelines.io.images import ImageLike, as_bgr
from pipelines.predictor import Predictor
from pipelines.recognition.postprocess import can_decode
from pipelines.runtime import NetworkSource, run_network
from pipelines.validation import (
    COUNT,
    Check,
    SettingsError,
    check,
    is_number,
    numbers,
    one_of,
)

_FORMULA: Mapping[str, Check] = {
    "decoder": one_of("UniMERNetDecode", "LaTeXOCRDecode", "CANLabelDecode"),
    "resize": one_of("UniMERNetImgDecode", "MinMaxResize", "GrayImageChannelFormat"),
    "height": COUNT,
    "width": COUNT,
    "mean": (numbers(1), "one number"),
    "std": (numbers(1, lambda value: is_number(value) and value > 0), "one number above 0"),
}


@dataclass(frozen=True)
class FormulaSettings:
    """The preprocessing and decoding of a formula network.

    Attributes:
        decoder: the decoder of its output, by PaddleOCR's name.
        resize: the first preprocessing step, by PaddleOCR's name, which implies the others.
        height: height of the network's input in pixels, with `UniMERNetImgDecode`.
        width: width of the network's input in pixels, likewise.
        mean: mean of the grey values from 0 to 1.
        std: standard deviation of the grey values.

    Raises:
        SettingsError: a value is invalid.
    """

    decoder: str = "UniMERNetDecode"
    resize: str = "UniMERNetImgDecode"
    height: int = 384
    width: int = 384
    mean: tuple[float] = (0.7931,)
    std: tuple[float] = (0.1738,)

    def __post_init__(self) -> None:
        check(self, _FORMULA)


class FormulaReader(Predictor):
    """Reads images of one formula each, printed or, with CAN, handwritten.

    Args:
        network: converted weights of UniMERNet, PP-FormulaNet, LaTeX-OCR or CAN, or a network or
            callable with the JSON of such weights as its `card`.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision, on other devices than a CPU.
        compile: use `torch.compile`.
        settings: settings of `FormulaSettings` that replace those of the weights.

    Raises:
        SettingsError: the network does not read formulas, has no dictionary, or a setting is
            unknown or invalid.
        DeviceError: the device is not available.
    """

    task: ClassVar[str] = "formula"
    title: ClassVar[str] = "a network that reads formulas"

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
        self.settings = FormulaSettings(**self._merge_settings(_FORMULA, settings))
        self._decode = self._make_decoder()

    def _make_decoder(self) -> Callable[[np.ndarray], str]:
        """Return the function from the network's output for one image to LaTeX."""
        dictionary = self.card.get("dictionary") or {}
        has_symbols = self.settings.decoder == "CANLabelDecode"
        content = dictionary.get("characters" if has_symbols else "tokenizer")
        if not content:
            weights = (self.card.get("weights") or {}).get("file") or "X.pth"
            file = "latex_symbol_dict.txt" if has_symbols else "tokenizer.json"
            raise SettingsError(
                "the network has no dictionary, which decodes its output; `python -m converter "
                f"add-dict {weights} {file}` adds one to its weights"
            )
        if has_symbols:
            return lambda scores: can_decode(scores, content)
        return TokenDecoder(content, self.settings.decoder)

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """Crop, resize and normalise an image by the rule `settings.resize`.

        Args:
            image: `(H, W, 3) uint8` BGR.

        Returns:
            `(1, 1, h, w) float32`.

        Raises:
            ImageError: the image has one colour only.
        """
        settings = self.settings
        values = (*settings.mean, *settings.std)
        if settings.resize == "UniMERNetImgDecode":
            return unimernet_input(image, settings.height, settings.width, *values)
        if settings.resize == "MinMaxResize":
            return latexocr_input(image, *values)
        return can_input(image)

    def __call__(self, image: ImageLike) -> str:
        """Read an image of one formula.

        Args:
            image: an image, as `pipelines.io.images.as_bgr` accepts it.

        Returns:
            The LaTeX of the formula.

        Raises:
            ImageError: `image` is not an image, or it has one colour only.
            ValueError: the network's output is not that of its decoder.
        """
        batch = self.preprocess(as_bgr(image))
        outputs = run_network(self.network, batch, {"image_mask": np.ones_like(batch)})
        if isinstance(outputs, Mapping):
            outputs = next(iter(outputs.values()))
        dimensions = 3 if self.settings.decoder == "CANLabelDecode" else 2
        if outputs.ndim != dimensions or len(outputs) != 1:
            raise ValueError(
                f"the network returned an array of shape {outputs.shape}, expected one formula in "
                f"{dimensions} dimensions; is this a network for {self.settings.decoder}?"
            )
        return self._decode(outputs[0])
