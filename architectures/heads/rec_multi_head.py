"""The recogniser's head of several heads, of which inference keeps the one decoded by CTC.

PP-OCRv3, https://arxiv.org/abs/2206.03001 (guided training of CTC);
PaddleOCR: `ppocr/modeling/heads/rec_multi_head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor

from architectures.activations import Activation
from architectures.interfaces import OutputPart
from architectures.layers.pooling import avg_pool2d
from architectures.registry import UnknownArchitecture, make

GUIDES = ("NRTRHead", "SARHead")


class MultiHead(OutputPart):
    """A sequence encoder and a CTC head; the heads that guide their training are not built.

    `head_list` and `out_channels_list` are PaddleOCR's. With `use_pool`, a sequence of patches,
    three rows of them, becomes a map of height 1. In training mode the result is logits.
    """

    loss = "ctc"

    def __init__(
        self,
        in_channels: int,
        head_list: Sequence[Mapping[str, Any]],
        out_channels_list: Mapping[str, int],
        use_pool: bool = False,
    ) -> None:
        super().__init__()
        self.use_pool = use_pool
        heads = {name: options for entry in head_list for name, options in entry.items()}
        unknown = [name for name in heads if name not in ("CTCHead", *GUIDES)]
        if unknown or "CTCHead" not in heads:
            raise UnknownArchitecture(
                f"MultiHead has the heads {', '.join(heads)}; it takes a CTCHead and, for training "
                f"only, {' or '.join(GUIDES)}"
            )
        if set(heads["CTCHead"]) != {"Neck", "Head"} or "name" not in heads["CTCHead"]["Neck"]:
            raise UnknownArchitecture("MultiHead's CTCHead needs a Neck with a name, and a Head")
        neck, head = dict(heads["CTCHead"]["Neck"]), dict(heads["CTCHead"]["Head"] or {})
        neck = {**neck, "name": "SequenceEncoder", "encoder_type": neck["name"]}
        head = {**head, "name": "CTCHead", "out_channels": out_channels_list["CTCLabelDecode"]}
        self.ctc_encoder = make("Neck", "rec", neck, in_channels)
        self.ctc_head = make("Head", "rec", head, self.ctc_encoder.out_channels)
        layers = cast("OutputPart", self.ctc_head).logits_layers
        self.logits_layers = tuple(f"ctc_head.{layer}" for layer in layers)
        self.activations = {"output": Activation("softmax", self.logits_layers, axis=2)}

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 1, W)`, or `(N, 3 * 2 * W, in_channels)`, to `(N, W, classes)`."""
        if self.use_pool:
            x = avg_pool2d(x.unflatten(1, (3, -1)).permute(0, 3, 1, 2), (3, 2))
        return self.ctc_head(self.ctc_encoder(x))
