"""The composed network: transform, backbone, neck and head, one after the other.

PaddleOCR: `ppocr/modeling/architectures/base_model.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn

from architectures.activations import Activation
from architectures.interfaces import OutputPart, Part
from schemas.artefact import ArtefactCard

FORMS = ("train", "deploy", "fused")


class Model(nn.Module):
    """A network that detects, reads, classifies or sharpens text; made by `build` or `load`.

    Attributes:
        architecture: the configuration it was built from, class counts filled in.
        class_counts: the class counts by name, `{"ctc": 6625}`.
        form: one of `train`, `deploy`, `fused` (see `reparameterize.py`).
        card: the JSON beside the weights it was loaded from; None if it was not loaded.
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        architecture: dict[str, Any],
        class_counts: dict[str, int],
    ) -> None:
        super().__init__()
        self.transform = parts.get("Transform", nn.Identity())
        self.backbone = parts.get("Backbone", nn.Identity())
        self.neck = parts.get("Neck", nn.Identity())
        self.head = parts.get("Head", nn.Identity())
        self.last = [*parts][-1].lower()
        self.architecture = architecture
        self.class_counts = class_counts
        self.form = "train"
        self.card: ArtefactCard | None = None

    def forward(self, x: Tensor, **extra: Tensor) -> Tensor | dict[str, Tensor]:
        """Run the network as PaddleOCR's inference does.

        Args:
            x: (N, 3, H, W) float32, normalised; of a network that reads tokens, such as LayoutXLM,
                `input_ids`, (N, T) int64.
            **extra: the inputs that `extra_inputs` names, such as SAR's `valid_ratio (N,) float32`,
                the share of each line's width that is not padding.

        Returns:
            Of a detector by DB: probabilities of text (N, 1, H, W), sides multiples of 32. Of a
            recogniser: class probabilities (N, T, C), class 0 is CTC's blank. Of a classifier:
            (N, C). A network with several results returns a dict under PaddleOCR's names (EAST:
            `f_score` and `f_geo`), described in the docstring of its output part. The dict is in
            the order in which PaddleOCR's exports, whose results have no names, list them. Where
            PaddleOCR returns a tuple, the part's `results` name its items in that order.

            In training mode, of a recogniser by CTC, logits (N, T, C); of a detector by DB, a dict
            of the maps `binary`, `shrink` and `thresh`, (N, 1, H, W) each.

        Raises:
            TypeError: an extra input is missing or unknown.
        """
        self._check_extra(extra)
        for part in (self.transform, self.backbone, self.neck, self.head):
            x = part(x, **{name: extra[name] for name in _extra_inputs(part)})
        result: Tensor | dict[str, Tensor] = x
        if not isinstance(result, dict):
            return result
        return {name: result[name] for name in self.output_part.results or sorted(result)}

    @property
    def output_part(self) -> OutputPart:
        """The part whose results are the network's."""
        return cast("OutputPart", self.get_submodule(self.last))

    @property
    def extra_inputs(self) -> tuple[str, ...]:
        """PaddleOCR's names of the inputs beside the image, in the order of the parts."""
        parts = (self.transform, self.backbone, self.neck, self.head)
        return tuple(dict.fromkeys(name for part in parts for name in _extra_inputs(part)))

    def _check_extra(self, extra: Mapping[str, Tensor]) -> None:
        if set(extra) == set(self.extra_inputs):
            return
        expected, actual = (", ".join(names) or "nothing" for names in (self.extra_inputs, extra))
        raise TypeError(f"beside its first input this network takes {expected}, not {actual}")

    @property
    def logits_layers(self) -> tuple[str, ...]:
        """Full names of the layers that `OutputPart.logits_layers` names."""
        return tuple(f"{self.last}.{layer}" for layer in self.output_part.logits_layers)

    @property
    def activations(self) -> Mapping[str, Activation]:
        """The results, by name, that are known functions of layers, whose names are full ones."""
        return {
            name: replace(known, layers=tuple(f"{self.last}.{layer}" for layer in known.layers))
            for name, known in self.output_part.activations.items()
        }

    @property
    def text_map(self) -> tuple[str, float]:
        """Of a detector, the result that shows where text is, and its threshold."""
        return self.output_part.text_map

    @property
    def stepwise(self) -> bool:
        """Whether the results, (N, T, ...), grow by one step until the end token."""
        return self.output_part.stepwise

    @property
    def ranks(self) -> bool:
        """Whether it goes on with the positions of the greatest scores."""
        return self.output_part.ranks

    @property
    def on_arrays(self) -> str:
        """What it does on NumPy arrays between its layers; empty if nothing."""
        return self.output_part.on_arrays

    @property
    def text_scores(self) -> str:
        """Of a recogniser, the result that holds the text; `output` if it is the only result."""
        part = self.output_part
        return part.text_scores or (*part.results, "output")[0]

    @property
    def sr_output(self) -> str:
        """Of a super-resolution network, the result that is the image, (N, 3, H, W)."""
        return self.output_part.sr_output


def _extra_inputs(part: nn.Module) -> tuple[str, ...]:
    return part.extra_inputs if isinstance(part, Part) else ()
