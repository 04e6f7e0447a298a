"""The head of UniMERNet: an mBART decoder with predicted token counts as a further input.

UniMERNet, https://arxiv.org/abs/2404.15254; PaddleOCR:
`ppocr/modeling/heads/rec_unimernet_head.py`.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.heads._mbart import VOCABULARY, MBartDecoder, MBartForCausalLM, MBartHead
from architectures.layers.attention import attend, split_heads
from architectures.layers.packed_attention import PackedProjections


class BatchAttention(PackedProjections):
    """Attention along the first axis, as PaddleOCR has it, which holds the images of a batch.

    Each place of an image looks at the same place of the others, so results depend on what is in
    the batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`(N, S, embed_size)` to the same shape."""
        packed = F.linear(x.transpose(0, 1), self.in_proj_weight, self.in_proj_bias)
        q, k, v = (split_heads(part, self.num_heads) for part in packed.chunk(3, 2))
        return self.out_proj(attend(q, (k, v)).transpose(0, 1))


class SelfAttentionBlock(nn.Module):
    """Attention, added and normalised."""

    def __init__(self, embed_size: int, num_heads: int) -> None:
        super().__init__()
        self.self_attention = BatchAttention(embed_size, num_heads)
        self.norm = nn.LayerNorm(embed_size)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, S, embed_size)` to the same shape."""
        return self.norm(self.self_attention(x) + x)


class SeqCountingDecoder(nn.Module):
    """Predicts the count of each token from the image."""

    def __init__(
        self, in_features: int, out_features: int, num_heads: int = 8, num_layers: int = 4
    ) -> None:
        super().__init__()
        self.attention_blocks = nn.Sequential(
            *(SelfAttentionBlock(in_features, num_heads) for _ in range(num_layers))
        )
        self.fc1 = nn.Linear(in_features, in_features // 2)
        self.fc2 = nn.Linear(in_features // 2, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, S, in_features)` to `(N, out_features)`."""
        return self.fc2(F.relu(self.fc1(self.attention_blocks(x))).mean(1))


class CountingMBartDecoder(MBartDecoder):
    """mBART's decoder with the layers that take the expected counts in."""

    def __init__(
        self, vocab_size: int, positions: int, embed_dim: int, ffn_dim: int, layers: int
    ) -> None:
        super().__init__(vocab_size, positions, embed_dim, ffn_dim, layers)
        self.counting_context_weight = nn.Sequential(
            nn.Linear(vocab_size, embed_dim),
            nn.ReLU(),
            nn.Linear(embed_dim, embed_dim),
            nn.ReLU(),
            nn.Linear(embed_dim, embed_dim),
        )


class CountingMBart(MBartForCausalLM):
    """mBART with the counts: unless `length_aware`, they are not taken in."""

    def __init__(self, decoder: CountingMBartDecoder, length_aware: bool) -> None:
        super().__init__(decoder)
        self.length_aware = length_aware
        self.counting_decoder = SeqCountingDecoder(
            self.lm_head.in_features, self.lm_head.out_features
        )

    def context(self, image: Tensor) -> Tensor | None:
        """`(N, S, E)` to half of the count embedding, `(N, E)`."""
        if not self.length_aware:
            return None
        decoder = cast("CountingMBartDecoder", self.model["decoder"])
        return 0.5 * decoder.counting_context_weight(self.counting_decoder(image))


class UniMERNetHead(MBartHead):
    """mBART's decoder for formulas; `vocab_size` is 50000 in all that PaddleOCR builds."""

    def __init__(
        self,
        in_channels: int,
        max_new_tokens: int = 1536,
        encoder_hidden_size: int = 1024,
        decoder_hidden_size: int = 1024,
        decoder_ffn_dim: int = 4096,
        decoder_layers: int = 8,
        length_aware: bool = True,
        vocab_size: int = VOCABULARY,
    ) -> None:
        decoder = CountingMBartDecoder(
            vocab_size, max_new_tokens, decoder_hidden_size, decoder_ffn_dim, decoder_layers
        )
        super().__init__(
            in_channels, CountingMBart(decoder, length_aware), encoder_hidden_size, max_new_tokens
        )

    def counts(self, features: Tensor) -> Tensor:
        """`(N, S, encoder_hidden_size)` to how often each token is expected, `(N, vocab_size)`."""
        counting = cast("CountingMBart", self.decoder).counting_decoder
        return counting(self.enc_to_dec_proj(features))
