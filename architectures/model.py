"""The composed network: transform, backbone, neck and head, one after the other.

PaddleOCR: `ppocr/modeling/architectures/base_model.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

FORMS = ("train", "deploy", "fused")


class Model(nn.Module):
    """A network for detection, recognition or classification of text; made by `build` or `load`.

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
        self.backbone = parts["Backbone"]
        self.neck = parts.get("Neck", nn.Identity())
        self.head = parts["Head"]
        self.architecture = architecture
        self.class_counts = class_counts
        self.form = "train"
        self.card: dict[str, Any] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """`x: (N, 3, H, W) float32, normalised` to what PaddleOCR's inference returns.

        Detection: probabilities of text `(N, 1, H, W)`, sides multiples of 32. Recognition: class
        probabilities `(N, T, C)`, class 0 is CTC's blank. Classification: `(N, C)`.
        """
        return self.head(self.neck(self.backbone(self.transform(x))))

    @property
    def logits_layer(self) -> str:
        """Name of the layer whose output, before one sigmoid or softmax, is the result.

        Of a result that is the mean of two maps (PFHeadLocal), the layer of the later one.
        """
        return f"head.{self.head.logits_layer}"
