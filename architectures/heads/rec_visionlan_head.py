"""VisionLAN: the image as a sequence through a transformer, and one attention for each character.

From Two to One: A New Scene Text Recognizer with Visual Language Modeling Network,
https://arxiv.org/abs/2108.09661; PaddleOCR: `ppocr/modeling/heads/rec_visionlan_head.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.interfaces import OutputPart
from architectures.layers.attention import attend, sinusoids, split_heads

HEADS = 8


class MultiHeadAttention(nn.Module):
    """Attention over the sequence itself; the sum with it is normalised."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.w_qs = nn.Linear(d_model, d_model)
        self.w_ks = nn.Linear(d_model, d_model)
        self.w_vs = nn.Linear(d_model, d_model)
        self.layer_norm = nn.LayerNorm(d_model)
        self.fc = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, d_model)` to the same shape."""
        q, k, v = (split_heads(layer(x), HEADS) for layer in (self.w_qs, self.w_ks, self.w_vs))
        return self.layer_norm(x + self.fc(attend(q, (k, v))))


class PositionwiseFeedForward(nn.Module):
    """Two layers, as convolutions of width 1; the sum with the sequence is normalised."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.w_1 = nn.Conv1d(d_model, 4 * d_model, 1)
        self.w_2 = nn.Conv1d(4 * d_model, d_model, 1)
        self.layer_norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, d_model)` to the same shape."""
        y = self.w_2(F.relu(self.w_1(x.transpose(1, 2)))).transpose(1, 2)
        return self.layer_norm(x + y)


class EncoderLayer(nn.Module):
    """A transformer block."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.slf_attn = MultiHeadAttention(d_model)
        self.pos_ffn = PositionwiseFeedForward(d_model)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, d_model)` to the same shape."""
        return self.pos_ffn(self.slf_attn(x))


class Transformer_Encoder(nn.Module):  # noqa: N801, PaddleOCR's name
    """The sequence with positions, through transformer blocks, normalised."""

    def __init__(self, n_layers: int, d_model: int) -> None:
        super().__init__()
        self.layer_stack = nn.Sequential(*(EncoderLayer(d_model) for _ in range(n_layers)))
        self.layer_norm = nn.LayerNorm(d_model, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, d_model)` to the same shape."""
        return self.layer_norm(self.layer_stack(x + sinusoids(x.shape[1], x.shape[2], x)))


class PP_layer(nn.Module):  # noqa: N801, PaddleOCR's name
    """Parallel prediction: image features of each character position."""

    def __init__(self, n_dim: int, characters: int, n_position: int) -> None:
        super().__init__()
        self.f0_embedding = nn.Embedding(characters, n_dim)
        self.w0 = nn.Linear(characters, n_position)
        self.wv = nn.Linear(n_dim, n_dim)
        self.we = nn.Linear(n_dim, characters)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, n_position, n_dim)` to `(N, characters, n_dim)`."""
        order = torch.arange(self.f0_embedding.num_embeddings, device=x.device)
        asked = self.f0_embedding(order.expand(x.shape[0], -1))
        places = self.w0(asked.transpose(1, 2)).transpose(1, 2)
        weights = self.we(torch.tanh(places + self.wv(x))).softmax(1)
        return weights.transpose(1, 2) @ x


class Prediction(nn.Module):
    """The character classifier; PaddleOCR's other branches guide the training."""

    def __init__(self, n_dim: int, n_position: int, characters: int, n_class: int) -> None:
        super().__init__()
        self.pp = PP_layer(n_dim, characters, n_position)
        self.w_vrm = nn.Linear(n_dim, n_class)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, n_position, n_dim)` to `(N, characters, n_class)`."""
        return self.w_vrm(self.pp(x))


class MLM_VRM(nn.Module):  # noqa: N801, PaddleOCR's name
    """The visual reasoning module; the masked language model that trains it is not built."""

    def __init__(
        self, n_layers: int, n_position: int, n_dim: int, max_text_length: int, nclass: int
    ) -> None:
        super().__init__()
        self.SequenceModeling = Transformer_Encoder(n_layers, n_dim)
        self.Prediction = Prediction(n_dim, n_position, max_text_length + 1, nclass)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, n_position, n_dim)` to `(N, max_text_length + 1, nclass)`."""
        return self.Prediction(self.SequenceModeling(x))


class VLHead(OutputPart):
    """Reads up to `max_text_length` characters of a map that has `n_position` places.

    END, class 0, comes on top of the `out_channels` characters.
    """

    logits_layers = ("MLM_VRM.Prediction.w_vrm",)
    results = ("logits", "features")

    def __init__(
        self,
        in_channels: int | None,  # noqa: ARG002, the backbone's width is `n_dim`
        out_channels: int = 36,
        n_layers: int = 3,
        n_position: int = 256,
        n_dim: int = 512,
        max_text_length: int = 25,
    ) -> None:
        super().__init__()
        self.MLM_VRM = MLM_VRM(n_layers, n_position, n_dim, max_text_length, out_channels + 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`(N, n_dim, H, W)` to the scores of the characters, and the map as a sequence.

        `logits: (max_text_length + 1, N, out_channels + 1)`, not yet probabilities, the characters
        first as in PaddleOCR; `features: (N, W * H, n_dim)`, column by column.
        """
        features = x.transpose(2, 3).flatten(2).transpose(1, 2)
        return {"logits": self.MLM_VRM(features).transpose(0, 1), "features": features}
