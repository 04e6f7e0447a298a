"""Formula recognition: image to LaTeX.

from pipelines import FormulaReader

read = FormulaReader("PP-FormulaNet-S.pth")
print(read("formula.png"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from pipelines.formula.postprocess import TokenDecoder
from pipelines.formula.preprocess import can_input, latexocr_input, unimernet_input
from pipelines.io.images import ImageLike, as_bgr
from pipelines.predictor import Predictor
from pipelines.recognition.postprocess import can_decode
from pipelines.runtime import NetworkSource, require_finite, run_network
from pipelines.validation import weights_name
from schemas.processing import FormulaSettings, SettingsError


class FormulaReader(Predictor):
    """Reads images of one formula each, printed or, with CAN, handwritten.

    Args:
        network: converted weights of UniMERNet, PP-FormulaNet, LaTeX-OCR or CAN, or a network or
            callable with the JSON of such weights as its `card`.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).
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
        self.settings = FormulaSettings(**self._merge_settings(FormulaSettings.checks(), settings))
        self._decode = self._make_decoder()

    def _make_decoder(self) -> Callable[[np.ndarray], str]:
        """Return the function from the network's output for one image to LaTeX."""
        has_symbols = self.settings.decoder == "CANLabelDecode"
        if self.card.dictionary is not None:
            symbols, tokenizer = self.card.dictionary.characters, self.card.dictionary.tokenizer
            if has_symbols and symbols:
                return lambda scores: can_decode(scores, symbols)
            if not has_symbols and tokenizer:
                return TokenDecoder(tokenizer, self.settings.decoder)
        file = "latex_symbol_dict.txt" if has_symbols else "tokenizer.json"
        raise SettingsError(
            "the network has no dictionary, which decodes its output; `python -m converter "
            f"add-dict {weights_name(self.card)} {file}` adds one to its weights"
        )

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
            ValueError: the network's output is not that of its decoder, or not finite.
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
        require_finite(outputs, "network")
        return self._decode(outputs[0])
