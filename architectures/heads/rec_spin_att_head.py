"""SPIN's head: a decoder with attention.

SPIN: Structure-Preserving Inner Offset Network for Scene Text Recognition,
https://arxiv.org/abs/2005.13117; PaddleOCR: `ppocr/modeling/heads/rec_spin_att_head.py`.
"""

from __future__ import annotations

from architectures.heads.rec_att_head import AttentionLSTM


class SPINAttentionHead(AttentionLSTM):
    """Reads `batch_max_length` characters and the end of the text."""

    def __init__(
        self, in_channels: int, out_channels: int, hidden_size: int, batch_max_length: int = 25
    ) -> None:
        super().__init__(in_channels, out_channels, hidden_size, batch_max_length + 1)
