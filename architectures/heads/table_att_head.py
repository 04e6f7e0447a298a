"""Decoders of table structure: tokens of HTML one by one, each with the box of its cell.

SLANet, https://arxiv.org/abs/2210.05391; EDD, https://arxiv.org/abs/1911.10683; PaddleOCR:
`ppocr/modeling/heads/table_att_head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from architectures.activations import Activation
from architectures.heads.rec_att_head import AttentionCell
from architectures.interfaces import OutputPart

START = 0  # the class in front of the first token


def as_sequence(features: Tensor | Sequence[Tensor]) -> Tensor:
    """Return a sequence `(N, T, C)`: the features, or the last of several maps `(N, C, H, W)`."""
    if isinstance(features, Tensor):
        return features
    return features[-1].flatten(2).transpose(1, 2)


class SLAHead(OutputPart):
    """Structure decoder of SLANet and SLANeXt; it stops when every image has its end token.

    Args:
        in_channels: of the maps of the neck, or of the sequence of SLANeXt's backbone.
        hidden_size: width of the GRU.
        out_channels: number of tokens, the last one being the end.
        max_text_length: number of tokens at most, without the end.
        loc_reg_num: numbers of a box, 4 or 8.
        use_attn: PaddleOCR's cross attention over the map; no released model has it.

    Attributes:
        deferred: whether the boxes of all steps are computed at once, after the last step.
    """

    logits_layers = ("structure_generator.1",)
    activations: Mapping[str, Activation] = {
        "structure_probs": Activation("softmax", logits_layers, axis=2)
    }
    results = ("loc_preds", "structure_probs")
    text_scores = "structure_probs"
    stepwise = True
    deferred: bool = False

    def __init__(
        self,
        in_channels: int | Sequence[int],
        hidden_size: int,
        out_channels: int = 30,
        max_text_length: int = 500,
        loc_reg_num: int = 4,
        use_attn: bool = False,
    ) -> None:
        super().__init__()
        if use_attn:
            raise ValueError("SLAHead with use_attn is not mirrored; no released model uses it")
        width = in_channels if isinstance(in_channels, int) else in_channels[-1]
        self.max_text_length = max_text_length
        self.end = out_channels - 1
        self.structure_attention_cell = AttentionCell(width, hidden_size, out_channels)
        self.structure_generator = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, out_channels)
        )
        self.loc_generator = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, loc_reg_num), nn.Sigmoid()
        )

    def forward(self, features: Tensor | Sequence[Tensor]) -> dict[str, Tensor]:
        """Decode the structure of each table.

        Args:
            features: maps, of which the last is used, or a sequence `(N, T, C)`.

        Returns:
            `structure_probs` `(N, L, out_channels)` token probabilities, and `loc_preds`
            `(N, L, loc_reg_num)` boxes relative to the padded image, 0 to 1.
        """
        sequence = as_sequence(features)
        cell = self.structure_attention_cell
        state, keys = cell.start(sequence)
        last = torch.full((sequence.shape[0],), START, device=sequence.device)
        ended = torch.zeros_like(last, dtype=torch.bool)
        logits, states, boxes = [], [], []
        for _ in range(self.max_text_length + 1):
            state = cell(state, sequence, keys, last)
            logits.append(self.structure_generator(state[0]))
            states.append(state[0])
            if not self.deferred:
                boxes.append(self.loc_generator(state[0]))
            last = logits[-1].argmax(1)
            ended = ended | (last == self.end)
            if bool(ended.all()):
                break
        located = (
            self.loc_generator(torch.stack(states, 1)) if self.deferred else torch.stack(boxes, 1)
        )
        return {"structure_probs": torch.stack(logits, 1).softmax(2), "loc_preds": located}


class TableAttentionHead(OutputPart):
    """Structure decoder of EDD (RARE for tables); it always decodes `max_text_length + 1` tokens.

    Args:
        in_channels: of the maps, of which the last is used.
        hidden_size: width of the GRU.
        out_channels: number of tokens.
        max_text_length: number of tokens after the first.
        loc_reg_num: numbers of a box, 4 or 8.
        in_max_len: side of the padded image; fixes the number of positions of the map.
    """

    logits_layers = ("structure_generator",)
    activations: Mapping[str, Activation] = {
        "structure_probs": Activation("softmax", logits_layers, axis=2)
    }
    results = ("loc_preds", "structure_probs")
    text_scores = "structure_probs"
    stepwise = True

    def __init__(
        self,
        in_channels: Sequence[int],
        hidden_size: int,
        out_channels: int = 30,
        max_text_length: int = 800,
        loc_reg_num: int = 4,
        in_max_len: int = 488,
    ) -> None:
        super().__init__()
        width = in_channels[-1]
        self.max_text_length = max_text_length
        self.structure_attention_cell = AttentionCell(width, hidden_size, out_channels)
        self.structure_generator = nn.Linear(hidden_size, out_channels)
        positions = {640: 400, 800: 625}.get(in_max_len, 256)
        self.loc_fea_trans = nn.Linear(positions, max_text_length + 1)
        self.loc_generator = nn.Linear(width + hidden_size, loc_reg_num)

    def forward(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Decode the structure of each table; as `SLAHead`, with `L = max_text_length + 1`."""
        return self.decode(features, self.max_text_length + 1)

    def decode(self, features: Sequence[Tensor], steps: int) -> dict[str, Tensor]:
        """Decode the first `steps` tokens; as `forward`, with `L = steps`."""
        sequence = as_sequence(features)
        cell = self.structure_attention_cell
        state, keys = cell.start(sequence)
        last = torch.full((sequence.shape[0],), START, device=sequence.device)
        states, logits = [], []
        for _ in range(steps):
            state = cell(state, sequence, keys, last)
            states.append(state[0])
            logits.append(self.structure_generator(state[0]))
            last = logits[-1].argmax(1)
        locations = self.loc_fea_trans(sequence.transpose(1, 2)).transpose(1, 2)[:, :steps]
        boxes = self.loc_generator(torch.cat([torch.stack(states, 1), locations], 2)).sigmoid()
        return {"structure_probs": torch.stack(logits, 1).softmax(2), "loc_preds": boxes}
