"""What a formula says: image -> tokens or symbols -> LaTeX.

from pipelines import FormulaReader

read = FormulaReader("PP-FormulaNet-S.pth")
print(read("formula.png"))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.formula.postprocess import TokenDecoder
from pipelines.formula.preprocess import can_input, latexocr_input, unimernet_input
from pipelines.io.images import ImageLike, as_bgr
from pipelines.recognition.postprocess import can_decode
from pipelines.runtime import Network, as_network, run_network
from pipelines.validation import (
    COUNT,
    Check,
    SettingsError,
    card_of,
    check,
    given,
    is_number,
    numbers,
    one_of,
    stated,
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
    """What a network of formulas takes and gives.

    Attributes:
        decoder: how its answers become LaTeX, by PaddleOCR's name.
        resize: the first step of preparing an image, by PaddleOCR's name; it tells the others.
        height, width: of the network's input, where that is always the same.
        mean, std: of the grey values from 0 to 1.

    Raises:
        SettingsError: a value without a meaning.
    """

    decoder: str = "UniMERNetDecode"
    resize: str = "UniMERNetImgDecode"
    height: int = 384
    width: int = 384
    mean: tuple[float] = (0.7931,)
    std: tuple[float] = (0.1738,)

    def __post_init__(self) -> None:
        check(self, _FORMULA)


class FormulaReader:
    """Reads images of one formula each, printed or, with CAN, written by hand.

    Args:
        network: converted weights of UniMERNet, PP-FormulaNet, LaTeX-OCR or CAN, or a callable with
            the JSON of such weights as its `card`.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision, on a device that can.
        compile: use `torch.compile`, slow to start, then faster.
        changes: what takes the place of what the weights say, by the names of `FormulaSettings`.

    Raises:
        ValueError: no dictionary is known; a network of another kind; a device that is not there,
            or that computes no halves; a setting that is unknown or has no meaning.
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
        kind = "a network that reads formulas"
        card = card_of(self.network, "formula", kind)
        said = stated(self.network, _FORMULA) | given(changes, _FORMULA, kind)
        self.settings = FormulaSettings(**said)
        self._read = self._decoder(card)

    def _decoder(self, card: Mapping[str, Any]) -> Any:
        dictionary = card.get("dictionary") or {}
        symbols = self.settings.decoder == "CANLabelDecode"
        content = dictionary.get("characters" if symbols else "tokenizer")
        if not content:
            weights = (card.get("weights") or {}).get("file") or "X.pth"
            wanted = "latex_symbol_dict.txt" if symbols else "tokenizer.json"
            raise SettingsError(
                "the network has no dictionary of what it answers with; `python -m converter "
                f"add-dict {weights} {wanted}` adds one to its weights"
            )
        if symbols:
            return lambda scores: can_decode(scores, content)
        return TokenDecoder(content, self.settings.decoder)

    def network_input(self, image: np.ndarray) -> np.ndarray:
        """Prepare an `(H, W, 3) uint8` BGR image, `(1, 1, h, w) float32`."""
        settings = self.settings
        values = (*settings.mean, *settings.std)
        if settings.resize == "UniMERNetImgDecode":
            return unimernet_input(image, settings.height, settings.width, *values)
        if settings.resize == "MinMaxResize":
            return latexocr_input(image, *values)
        return can_input(image)

    def __call__(self, image: ImageLike) -> str:
        """Return the LaTeX of a formula.

        Args:
            image: `(H, W, 3) uint8` BGR, grey, or BGRA; a Pillow image; or the path of a file.

        Raises:
            ImageError: not an image, or one with nothing in it.
            ValueError: the network's result is not that of its kind.
        """
        batch = self.network_input(as_bgr(image))
        answers = run_network(self.network, batch, {"image_mask": np.ones_like(batch)})
        if isinstance(answers, Mapping):
            answers = next(iter(answers.values()))
        dimensions = 3 if self.settings.decoder == "CANLabelDecode" else 2
        if answers.ndim != dimensions or len(answers) != 1:
            raise ValueError(
                f"the network returned an array of shape {answers.shape}, expected one formula in "
                f"{dimensions} dimensions; is this a network for {self.settings.decoder}?"
            )
        return self._read(answers[0])
