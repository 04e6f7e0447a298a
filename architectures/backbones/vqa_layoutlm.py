"""LayoutLM, LayoutLMv2 and LayoutXLM for key information: classes of tokens (SER), relations (RE).

Papers are named in the files of the transformers; PaddleOCR:
`ppocr/modeling/backbones/vqa_layoutlm.py`.

These networks take no image first but tokens. `sizes` and `visual` are not PaddleOCR's options:
they describe networks of other widths than PaddleNLP's `base`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from architectures.backbones._layoutlm import LayoutLMModel, LayoutLMSizes
from architectures.backbones._layoutlmv2 import (
    LAYOUTLMV2,
    LAYOUTXLM,
    LayoutLMv2Model,
    LayoutSizes,
)
from architectures.backbones._relation_decoder import RelationDecoder
from architectures.interfaces import OutputPart

TEXT_INPUTS = ("bbox", "attention_mask", "token_type_ids")
MODES = ("base", "vi")


class TokenClassifier(nn.Module):
    """A transformer, under its own name, and the layer that scores the classes of its tokens."""

    def __init__(self, name: str, transformer: nn.Module, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.add_module(name, transformer)
        self.classifier = nn.Linear(hidden, num_classes)


class RelationExtractor(nn.Module):
    """A transformer, under its own name, and the decoder of relations."""

    def __init__(self, name: str, transformer: nn.Module, hidden: int) -> None:
        super().__init__()
        self.add_module(name, transformer)
        self.extractor = RelationDecoder(hidden)


class LayoutLMForSer(OutputPart):
    """Class scores of the tokens by LayoutLM, `(N, T, num_classes)`."""

    extra_inputs = TEXT_INPUTS
    logits_layers = ("model.classifier",)

    def __init__(
        self,
        in_channels: int,  # noqa: ARG002
        num_classes: int,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        chosen = LayoutLMSizes(**(sizes or {}))
        network = LayoutLMModel(chosen)
        self.model = TokenClassifier("layoutlm", network, chosen.hidden_size, num_classes)

    def forward(
        self, input_ids: Tensor, bbox: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> Tensor:
        """Tokens `(N, T)` int64 to `(N, T, num_classes)`; other inputs as `LayoutLMModel`'s."""
        transformer = self.model.get_submodule("layoutlm")
        features = transformer(input_ids, bbox, attention_mask, token_type_ids)
        return self.model.classifier(features)


class _LayoutLMv2(OutputPart):
    """What the four networks on `LayoutLMv2Model` have in common."""

    name: ClassVar[str]
    usual: ClassVar[LayoutSizes]
    model: TokenClassifier | RelationExtractor

    def transformer(
        self, mode: str, sizes: Mapping[str, int] | None, visual: Mapping[str, int] | None
    ) -> tuple[LayoutLMv2Model, int]:
        """Return the transformer and its width, and declare the inputs of the network."""
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}, expected one of {', '.join(MODES)}")
        chosen = replace(self.usual, **dict[str, Any](sizes or {}))
        sees = mode == "base"
        self.extra_inputs = (*TEXT_INPUTS, "image") if sees else TEXT_INPUTS
        return LayoutLMv2Model(chosen, (visual or {}) if sees else None), chosen.hidden_size

    def states(
        self,
        input_ids: Tensor,
        bbox: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        image: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the features of the text, `(N, T, hidden)`, and the output of every layer.

        The inputs are `LayoutLMv2Model`'s.
        """
        transformer = self.model.get_submodule(self.name)
        last, states = transformer(input_ids, bbox, attention_mask, token_type_ids, image)
        return last[:, : input_ids.shape[1]], states


class _ForSer(_LayoutLMv2):
    """Class scores of the tokens."""

    model: TokenClassifier
    logits_layers = ("model.classifier",)

    def __init__(
        self,
        in_channels: int,  # noqa: ARG002
        num_classes: int,
        mode: str = "base",
        sizes: Mapping[str, int] | None = None,
        visual: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        transformer, hidden = self.transformer(mode, sizes, visual)
        self.model = TokenClassifier(self.name, transformer, hidden, num_classes)

    def forward(self, input_ids: Tensor, **inputs: Tensor) -> Tensor:
        """Tokens `(N, T)` int64 to `(N, T, num_classes)`; other inputs as `states`."""
        features, _ = self.states(input_ids, **inputs)
        return self.model.classifier(features)


class _ForRe(_LayoutLMv2):
    """Relations between entities: `hidden_states`, `loss` and `pred_relations`.

    `hidden_states` are the outputs of the layers: of all, `(N, layers, T + cells, hidden)`, in
    LayoutXLM, of the last in LayoutLMv2. The others are `RelationDecoder`'s.
    """

    logits_layers = (
        "model.extractor.rel_classifier.bilinear",
        "model.extractor.rel_classifier.linear",
    )
    model: RelationExtractor
    text_scores = "pred_relations"
    all_states: ClassVar[bool]

    def __init__(
        self,
        in_channels: int,  # noqa: ARG002
        mode: str = "base",
        sizes: Mapping[str, int] | None = None,
        visual: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        transformer, hidden = self.transformer(mode, sizes, visual)
        self.model = RelationExtractor(self.name, transformer, hidden)
        self.extra_inputs = (*self.extra_inputs, "entities", "relations")

    def forward(
        self, input_ids: Tensor, *, entities: Tensor, relations: Tensor, **inputs: Tensor
    ) -> dict[str, Tensor]:
        """Tokens `(N, T)` int64, entities `(N, M, 3)`, relations `(N, R, 2)` to the results."""
        features, states = self.states(input_ids, **inputs)
        loss, found = self.model.extractor(features, entities, relations)
        return {
            "hidden_states": torch.stack(states, 1) if self.all_states else states[-1],
            "loss": loss,
            "pred_relations": found,
        }


class LayoutLMv2ForSer(_ForSer):
    """Class scores of the tokens by LayoutLMv2."""

    name, usual = "layoutlmv2", LAYOUTLMV2


class LayoutXLMForSer(_ForSer):
    """Class scores of the tokens by LayoutXLM, or by VI-LayoutXLM."""

    name, usual = "layoutxlm", LAYOUTXLM


class LayoutLMv2ForRe(_ForRe):
    """Relations by LayoutLMv2."""

    name, usual, all_states = "layoutlmv2", LAYOUTLMV2, False


class LayoutXLMForRe(_ForRe):
    """Relations by LayoutXLM, or by VI-LayoutXLM."""

    name, usual, all_states = "layoutxlm", LAYOUTXLM, True
