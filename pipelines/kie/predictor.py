"""Key information of pages: entities, and which answers belong to which questions.

from pipelines import OCR, KeyInformation

ocr = OCR("det.pth", "rec.pth")
extract = KeyInformation("ser_vi_layoutxlm_xfund.pth", "re_vi_layoutxlm_xfund.pth")
for entity in extract("form.png", ocr("form.png")):
    print(entity.label, entity.text)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import cv2
import numpy as np

from pipelines.io.images import ImageLike, as_bgr
from pipelines.kie.decoding import (
    NO_ENTITY,
    RELATED,
    class_name,
    line_classes,
    related_pairs,
    relation_inputs,
)
from pipelines.kie.tokens import (
    Encoder,
    Line,
    PageTokens,
    encode_page,
    nearest_window,
    network_inputs,
    windows,
)
from pipelines.normalization import Normalizer
from pipelines.predictor import Predictor
from pipelines.runtime import NetworkSource, require_finite, run_network
from pipelines.validation import weights_name
from schemas.processing import KieSettings, SettingsError

TOKENIZERS = {
    "LayoutXLM": "sentencepiece.bpe.model, XLM-RoBERTa's (MIT licence), from "
    "FacebookAI/xlm-roberta-base on the Hugging Face Hub",
    "LayoutLM": "vocab.txt, that of BERT base uncased (Apache-2.0 licence), from "
    "google-bert/bert-base-uncased on the Hugging Face Hub",
}
"""The file of each kind of network's tokeniser, and where it is from."""


@dataclass(frozen=True, eq=False)
class Entity:
    """A text of a page that has a class.

    Attributes:
        number: its number on the page, from 1.
        label: its class, such as "QUESTION".
        text: the text.
        score: mean probability of the class over its tokens, 0 to 1.
        box: `(N, 2) float32`, x and y in pixels of the page.
        question: the number of the question that it answers; 0 for none.
    """

    number: int
    label: str
    text: str
    score: float
    box: np.ndarray
    question: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the entity as plain Python values, which `json.dumps` accepts."""
        return {
            "number": self.number,
            "label": self.label,
            "text": self.text,
            "score": float(self.score),
            "box": self.box.tolist(),
            "question": self.question or None,
        }


class TokenNetwork(Predictor):
    """A network that reads the tokens of a page, with its settings."""

    task: ClassVar[str] = "kie"
    title: ClassVar[str] = "a network of key information"

    def __init__(self, network: NetworkSource, runtime: Mapping[str, Any], **changes: Any) -> None:
        super().__init__(network, **runtime)
        merged = self._merge_settings(KieSettings.checks(), changes)
        self.settings = KieSettings(**merged)
        self.backbone = str((self.card.architecture.get("Backbone") or {}).get("name", ""))
        settings = self.settings
        self._normalize = Normalizer(settings.color, settings.mean, settings.std, shift_and_scale)

    def picture(self, page: np.ndarray) -> np.ndarray:
        """Return a page `(H, W, 3) uint8` BGR as the network sees it, `(1, 3, h, w) float32`."""
        size = (self.settings.width, self.settings.height)
        return self._normalize(cv2.resize(page, size))[np.newaxis]

    def run(self, inputs: dict[str, np.ndarray]) -> Any:
        """Return the results for the inputs of one part of a page."""
        outputs = run_network(self.network, inputs["input_ids"], inputs)
        require_finite(outputs, "network")
        return outputs


class KeyInformation:
    """Finds the entities among the lines of a page and, with a second network, their relations.

    Args:
        ser: converted weights of LayoutLM, LayoutLMv2, LayoutXLM or VI-LayoutXLM that classify
            tokens (SER), or a network or callable with the JSON of such weights as its `card`. The
            JSON holds the tokeniser, which `python -m converter add-tokenizer` adds.
        re: weights of LayoutLMv2, LayoutXLM or VI-LayoutXLM that find relations (RE).
        whole_pages: whether pages with more tokens than the network reads at once are read in
            parts that overlap. PaddleOCR reads the first part alone.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).
        settings: settings of `KieSettings` that replace those of the weights.

    Raises:
        SettingsError: a network is of another kind, has no tokeniser or labels, or a setting is
            unknown or invalid.
        DeviceError: the device is not available.
    """

    def __init__(
        self,
        ser: NetworkSource,
        re: NetworkSource | None = None,
        *,
        whole_pages: bool = True,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        **settings: Any,
    ) -> None:
        runtime = {"device": device, "half": half, "compile": compile}
        self.ser = TokenNetwork(ser, runtime, **settings)
        self.re = TokenNetwork(re, runtime, **settings) if re is not None else None
        self.whole_pages = whole_pages
        self._check_kinds()
        self.labels = self.ser.card.labels
        self.encode = Encoder(self._tokenizer())

    def _check_kinds(self) -> None:
        """Raise SettingsError unless the networks are one of classes and one of relations."""
        name = weights_name(self.ser.card)
        if not self.ser.backbone.endswith("ForSer") or not self.ser.card.labels:
            raise SettingsError(
                f"{name} is no network that classifies tokens (LayoutLM, LayoutLMv2, LayoutXLM), "
                "or has no labels in the .json beside it"
            )
        if self.re is None:
            return
        if not self.re.backbone.endswith("ForRe"):
            raise SettingsError(f"{weights_name(self.re.card)} is no network of relations")
        if self.re.backbone.partition("For")[0] != self.ser.backbone.partition("For")[0]:
            raise SettingsError(
                f"the networks read other tokens: {self.ser.backbone} and {self.re.backbone}"
            )
        if not {"QUESTION", "ANSWER"} <= set(map(class_name, self.ser.card.labels)):
            raise SettingsError(
                f"{name} has the classes {', '.join(self.ser.card.labels)}; relations are between "
                "entities of QUESTION and ANSWER"
            )

    def _tokenizer(self) -> Mapping[str, Any]:
        for network in filter(None, (self.ser, self.re)):
            entry = network.card.dictionary
            if entry is not None and entry.tokenizer is not None:
                return entry.tokenizer
        kind = "LayoutXLM" if self.ser.backbone.startswith("LayoutXLM") else "LayoutLM"
        raise SettingsError(
            f"{weights_name(self.ser.card)} has no tokeniser. Get {TOKENIZERS[kind]}, and add it: "
            f"python -m converter add-tokenizer {weights_name(self.ser.card)} FILE"
        )

    def __call__(self, image: ImageLike, lines: Sequence[Line]) -> list[Entity]:
        """Find the entities of a page.

        Args:
            image: the page, as `pipelines.io.images.as_bgr` accepts it.
            lines: its texts with their boxes, such as the lines that `OCR` returns.

        Returns:
            The entities, in the order in which the network reads them.

        Raises:
            ImageError: `image` is not an image.
            ValueError: a network's output is not that of its kind, or not finite.
        """
        page = as_bgr(image)
        tokens = encode_page(lines, page.shape[:2], self.encode, self.ser.settings)
        if not tokens.ids:
            return []
        parts = self._parts(tokens)
        classes = line_classes(self._scores(page, tokens, parts), tokens.ends, self.labels)
        chosen = [n for n, (label, _) in enumerate(classes) if label != NO_ENTITY]
        entities = [
            Entity(number, classes[n][0], tokens.lines[n].text, classes[n][1], tokens.lines[n].box)
            for number, n in enumerate(chosen, start=1)
        ]
        if self.re is None:
            return entities
        spans = [tokens.spans[n] for n in chosen]
        answered = self._relations(page, tokens, parts, entities, spans)
        return [
            replace(entity, question=answered.get(place, -1) + 1)
            for place, entity in enumerate(entities)
        ]

    def _parts(self, tokens: PageTokens) -> list[tuple[int, int]]:
        most = self.ser.settings.max_seq_len
        return windows(tokens, most) if self.whole_pages else [(0, min(most, len(tokens.ids)))]

    def _scores(
        self, page: np.ndarray, tokens: PageTokens, parts: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Return the class scores of the tokens that are read, `(T, C)`."""
        picture = {"image": self.ser.picture(page)}
        read = parts[-1][1]
        nearest = nearest_window(parts, read)
        scores = np.zeros((read, len(self.labels)), np.float32)
        for number, (start, end) in enumerate(parts):
            inputs = network_inputs(tokens, start, end, self.encode.padding) | picture
            found = self.ser.run(inputs)
            if not isinstance(found, np.ndarray) or found.shape != (
                1,
                end - start,
                scores.shape[1],
            ):
                raise ValueError(
                    "the network does not score each token for each of its "
                    f"{scores.shape[1]} labels"
                )
            taken = nearest[start:end] == number
            scores[start:end][taken] = found[0][taken]
        return scores

    def _relations(
        self,
        page: np.ndarray,
        tokens: PageTokens,
        parts: Sequence[tuple[int, int]],
        entities: Sequence[Entity],
        spans: Sequence[tuple[int, int]],
    ) -> dict[int, int]:
        """Return the place of the question of each answer, by the answer's place.

        Both have to begin in one part of the page; the first part that finds a question decides.
        """
        assert self.re is not None
        picture = {"image": self.re.picture(page)}
        answered: dict[int, int] = {}
        for start, end in parts:
            inside = [
                place
                for place, (first, _) in enumerate(spans)
                if start <= first < end and entities[place].label in RELATED
            ]
            moved = [(spans[place][0] - start, spans[place][1] - start) for place in inside]
            given = relation_inputs(moved, [entities[place].label for place in inside])
            if not given["relations"][0, 0, 0]:
                continue  # no question with an answer, so nothing to decide
            inputs = network_inputs(tokens, start, end, self.encode.padding) | picture | given
            found = self.re.run(inputs)
            if not isinstance(found, Mapping) or "pred_relations" not in found:
                raise ValueError("the network does not return relations as pred_relations")
            for question, answer in related_pairs(found["pred_relations"][0]):
                answered.setdefault(inside[answer], inside[question])
        return answered


def shift_and_scale(pixels: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Subtract and divide by figures of values from 0 to 255, as PaddleOCR for these networks."""
    center, scale = ((255 * each).astype(np.float32) for each in (mean, std))
    return (pixels.astype(np.float32) - center) / scale
