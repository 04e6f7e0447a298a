"""The composed network: transform, backbone, neck and head, one after the other.

PaddleOCR: `ppocr/modeling/architectures/base_model.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn

from architectures.activations import Activation

FORMS = ("train", "deploy", "fused")
DB_TEXT_MAP = ("output", 0.3)  # DBPostProcess's `thresh`


class Model(nn.Module):
    """A network for text: finds, reads, classifies or sharpens it; made by `build` or `load`.

    `architecture` is the configuration it was built from, class counts filled in; `class_counts`
    holds those by name (`{"ctc": 6625}`); `form` is one of `train`, `deploy`, `fused` (see
    `fuse.py`); `card` is the JSON beside the weights it was loaded from, None if it was not loaded.
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
        self.last = "head" if "Head" in parts else "transform"
        self.architecture = architecture
        self.class_counts = class_counts
        self.form = "train"
        self.card: dict[str, Any] | None = None

    def forward(self, x: Tensor, **given: Tensor) -> Tensor | dict[str, Tensor]:
        """`x: (N, 3, H, W) float32, normalised` to what PaddleOCR's inference returns.

        What a network `takes` beside the image is given by name: SAR's `valid_ratio (N,) float32`,
        how much of each line's width is not padding. TypeError where one is missing or unknown.

        Detection by DB: probabilities of text `(N, 1, H, W)`, sides multiples of 32. Recognition:
        class probabilities `(N, T, C)`, class 0 is CTC's blank. Classification: `(N, C)`.

        Networks with several results give a dict under PaddleOCR's names (EAST: `f_score` and
        `f_geo`); the docstring of the head, or of what stands in its place (super-resolution is one
        transform), says what each is. PaddleOCR's exports, whose results have no names, list them
        in the order of these. Where PaddleOCR returns a tuple, the head's `results` name its items,
        in the tuple's order.
        """
        self._check_given(given)
        for part in (self.transform, self.backbone, self.neck, self.head):
            x = part(x, **{name: given[name] for name in _taken_by(part)})
        result: Tensor | dict[str, Tensor] = x
        if not isinstance(result, dict):
            return result
        order = cast("tuple[str, ...]", getattr(self._last, "results", ()))
        return {name: result[name] for name in order or sorted(result)}

    @property
    def _last(self) -> nn.Module:
        """The part whose results are the network's."""
        return self.get_submodule(self.last)

    @property
    def takes(self) -> tuple[str, ...]:
        """Names, PaddleOCR's, of what the network is given beside the image, in its parts' order.

        A part states its own as `takes` and gets them as keyword arguments.
        """
        parts = (self.transform, self.backbone, self.neck, self.head)
        return tuple(dict.fromkeys(name for part in parts for name in _taken_by(part)))

    def _check_given(self, given: Mapping[str, Tensor]) -> None:
        if set(given) == set(self.takes):
            return
        taken, found = (", ".join(names) or "nothing" for names in (self.takes, given))
        raise TypeError(f"beside the image this network takes {taken}, not {found}")

    @property
    def logits_layers(self) -> tuple[str, ...]:
        """Names of the layers whose outputs, before one activation or softmax, are the results.

        Of a result that is the mean of two maps (PFHeadLocal), the layers of both.
        """
        layers = cast("tuple[str, ...]", self._last.logits_layers)
        return tuple(f"{self.last}.{layer}" for layer in layers)

    @property
    def activations(self) -> Mapping[str, Activation]:
        """The results, by name, that are known functions of layers, whose names are full ones."""
        own = cast("Mapping[str, Activation]", getattr(self._last, "activations", {}))
        return {
            name: replace(known, layers=tuple(f"{self.last}.{layer}" for layer in known.layers))
            for name, known in own.items()
        }

    @property
    def text_map(self) -> tuple[str, float]:
        """Of a detector: the result that says where text is, and from which value on.

        Its first channel does; a result that is the only one is called `output`. Heads that do not
        say otherwise are as DB's.
        """
        return cast("tuple[str, float]", getattr(self._last, "text_map", DB_TEXT_MAP))

    @property
    def text_scores(self) -> str:
        """Of a recogniser: the result that tells the text, by scores `(N, T, C)` or as integers.

        A network that finds text too gives scores of every place, `(N, C, H, W)`. A result that is
        the only one is called `output`; of several, a head that does not say which means the first
        that it names.
        """
        first = (*getattr(self._last, "results", ()), "output")[0]
        return cast("str", getattr(self._last, "text_scores", first))

    @property
    def picture(self) -> str:
        """Of a network of super-resolution: the result that is the image, `(N, 3, H, W)`."""
        return cast("str", self._last.picture)


def _taken_by(part: nn.Module) -> tuple[str, ...]:
    return cast("tuple[str, ...]", getattr(part, "takes", ()))
