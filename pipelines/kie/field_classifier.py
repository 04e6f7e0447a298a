"""Fields of receipts with SDMGR: each text of a page gets a class, such as Total_value.

from pipelines import OCR, FieldClassifier

ocr, classify = OCR("det.pth", "rec.pth"), FieldClassifier("kie_vgg16.pth")
for field in classify("receipt.png", ocr("receipt.png")):
    print(field.label, field.text)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from architectures.heads.kie_sdmgr_head import CHARACTERS
from pipelines.io.images import ImageLike, as_bgr
from pipelines.kie.box_graph import (
    MOST_TEXTS,
    character_numbers,
    graph_inputs,
    scaled_page,
)
from pipelines.kie.predictor import Entity, shift_and_scale
from pipelines.kie.tokens import Line
from pipelines.normalization import Normalizer
from pipelines.predictor import Predictor
from pipelines.runtime import NetworkSource, require_finite, run_network
from pipelines.validation import weights_name
from schemas.artefact import ArtefactCard
from schemas.processing import KieSettings, SettingsError

HEAD = "SDMGRHead"


def classifies_fields(card: ArtefactCard) -> bool:
    """Return whether weights are those of SDMGR."""
    head = card.architecture.get("Head")
    return isinstance(head, Mapping) and head.get("name") == HEAD


class FieldClassifier(Predictor):
    """Gives each text of a page its class.

    Args:
        network: converted weights of SDMGR, or a network or callable with the JSON of such weights
            as its `card`. The JSON holds the character table, which `python -m converter add-dict`
            adds.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).

    Raises:
        SettingsError: the network is of another kind, or has no labels or no character table.
        DeviceError: the device is not available.
    """

    task: ClassVar[str] = "kie"
    title: ClassVar[str] = "a network of key information"

    def __init__(
        self,
        network: NetworkSource,
        *,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__(network, device=device, half=half, compile=compile)
        name = weights_name(self.card)
        if not classifies_fields(self.card):
            raise SettingsError(f"{name} is not SDMGR, which classifies the texts of receipts")
        self.labels = self.card.labels
        if not self.labels:
            raise SettingsError(
                f"{name} has no labels in the .json beside it; convert it with --labels"
            )
        self._numbers = self._characters(name)
        settings = KieSettings(**self._merge_settings(KieSettings.checks(), {}))
        self._normalize = Normalizer(settings.color, settings.mean, settings.std, shift_and_scale)

    def _characters(self, name: str) -> dict[str, int]:
        """Return the numbers of the characters that the network knows."""
        entry = self.card.dictionary
        if entry is None or entry.characters is None:
            raise SettingsError(
                f"{name} has no character table. Get the dict.txt it was trained with (for "
                "kie_vgg16, that of the data set WildReceipt), and add it: "
                f"python -m converter add-dict {name} dict.txt"
            )
        known = int(self.card.architecture["Head"].get("num_chars", CHARACTERS))
        numbers = character_numbers(entry.characters)
        if max(numbers.values(), default=0) >= known:
            raise SettingsError(
                f"{entry.file} has {len(entry.characters)} characters, but {name} knows {known - 1}"
            )
        return numbers

    def __call__(self, image: ImageLike, lines: Sequence[Line]) -> list[Entity]:
        """Classify the texts of a page.

        Args:
            image: the page, as `pipelines.io.images.as_bgr` accepts it.
            lines: its texts with their boxes, such as the lines that `OCR` returns.

        Returns:
            An entity for each text, in the order of `lines`.

        Raises:
            ImageError: `image` is not an image.
            ValueError: the page has more than `MOST_TEXTS` texts, or the network's output is not
                that of its kind, or not finite.
        """
        page = as_bgr(image)
        if not lines:
            return []
        if len(lines) > MOST_TEXTS:
            raise ValueError(f"the page has {len(lines)} texts, SDMGR takes at most {MOST_TEXTS}")
        scaled = scaled_page(page)
        inputs = graph_inputs(lines, self._numbers, page.shape[:2], scaled.shape[:2])
        found = run_network(self.network, self._normalize(scaled)[np.newaxis], inputs)
        require_finite(found, "network")
        scores = found["0"] if isinstance(found, Mapping) and "0" in found else None
        if scores is None or scores.shape != (len(lines), len(self.labels)):
            raise ValueError(
                f"the network does not score each text for each of its {len(self.labels)} labels"
            )
        shares = np.exp(scores - scores.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        return [
            Entity(number, self.labels[share.argmax()], line.text, float(share.max()), line.box)
            for number, (line, share) in enumerate(zip(lines, shares, strict=True), start=1)
        ]
