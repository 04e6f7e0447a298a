"""RFL's heads: one counts each character, the other reads.

Reciprocal Feature Learning via Explicit and Implicit Tasks in Scene Text Recognition,
https://arxiv.org/abs/2105.06229; PaddleOCR: `ppocr/modeling/heads/rec_rfl_head.py`.
"""

from __future__ import annotations

from torch import Tensor, nn

from architectures.heads.rec_att_head import AttentionLSTM
from architectures.interfaces import OutputPart


class CNTHead(nn.Module):
    """Predicts how often each class occurs in the line, from `places` positions of the map."""

    def __init__(self, in_channels: int, out_channels: int, places: int) -> None:
        super().__init__()
        self.Wv_fusion = nn.Linear(in_channels, in_channels, bias=False)
        self.Prediction_visual = nn.Linear(places * in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 1, places)` to `(N, out_channels)`."""
        x = self.Wv_fusion(x.flatten(2).transpose(1, 2))
        return self.Prediction_visual(x.flatten(1))


class RFLHead(OutputPart):
    """The head that counts (`use_cnt`), the one that reads (`use_seq`), or both.

    `batch_max_legnth` is PaddleOCR's spelling: as many characters are read, and the map is one
    place wider. A network that does not read has counts as its only result.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_size: int = 256,
        batch_max_legnth: int = 25,
        use_cnt: bool = True,
        use_seq: bool = True,
    ) -> None:
        super().__init__()
        if not use_cnt and not use_seq:
            raise ValueError("RFLHead counts (use_cnt), reads (use_seq) or does both")
        self.cnt_head: CNTHead | None = None
        self.seq_head: AttentionLSTM | None = None
        self.logits_layers: tuple[str, ...] = ()
        if use_cnt:
            self.cnt_head = CNTHead(in_channels, out_channels, batch_max_legnth + 1)
            self.logits_layers += ("cnt_head.Prediction_visual",)
        if use_seq:
            self.seq_head = AttentionLSTM(in_channels, out_channels, hidden_size, batch_max_legnth)
            self.logits_layers += ("seq_head.generator",)
        self.results = ("counts", "probabilities") if use_cnt and use_seq else ()
        self.text_scores = "probabilities" if use_cnt and use_seq else "output"

    def forward(self, x: tuple[Tensor, Tensor]) -> Tensor | dict[str, Tensor]:
        """`(N, in_channels, 1, T)` and `(N, T, in_channels)` to the results.

        `counts (N, out_channels)`, how often each class occurs in the line, and `probabilities
        (N, batch_max_legnth, out_channels)` of the characters.
        """
        counting, reading = x
        results = {}
        if self.cnt_head is not None:
            results["counts"] = self.cnt_head(counting)
        if self.seq_head is not None:
            results["probabilities"] = self.seq_head(reading)
        return results if self.results else next(iter(results.values()))
