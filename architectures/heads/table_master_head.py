"""TableMASTER's decoder: a transformer that gives tokens of HTML and the boxes of cells.

TableMASTER, https://arxiv.org/abs/2105.01848; PaddleOCR:
`ppocr/modeling/heads/table_master_head.py`.

PaddleOCR decodes the whole sequence again for each token. Here keys and values are cached, except
where a padding token was decoded: PaddleOCR lets it attend to all tokens, later ones included, so
the earlier results change and the sequence is decoded anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.activations import Activation
from architectures.interfaces import OutputPart
from architectures.layers.attention import Cache, KeysValues, sinusoids, split_heads

# Counted from the last class.
SOS, EOS, PAD = 3, 2, 1
# PaddleOCR's score of a masked key. A row of masked keys alone weighs all of them equally.
MASKED = -6.55e4


class MultiHeadAttention(nn.Module):
    """Attention with four linear layers: queries, keys, values and output."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(4))

    def keys_values(self, x: Tensor) -> KeysValues:
        """Keys and values of a sequence `(N, S, width)`."""
        keys, values = (split_heads(self.linears[n](x), self.heads) for n in (1, 2))
        return keys, values

    def forward(self, x: Tensor, keys_values: KeysValues, seen: Tensor | None = None) -> Tensor:
        """Attend from `x: (N, T, width)` to `S` keys; `seen: (N, 1, T, S) bool` masks them."""
        queries = split_heads(self.linears[0](x), self.heads)
        keys, values = keys_values
        scores = torch.matmul(queries, keys.transpose(2, 3) / math.sqrt(keys.shape[3]))
        if seen is not None:
            scores = scores.masked_fill(~seen, MASKED)
        mixed = torch.matmul(scores.softmax(3), values)
        return self.linears[3](mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with ReLU between them."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, inner)
        self.w_2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, width)` to the same shape."""
        return self.w_2(F.relu(self.w_1(x)))


class PreNorm(nn.Module):
    """The normalisation in front of a sublayer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, width)` to the same shape."""
        return self.norm(x)


class DecoderLayer(nn.Module):
    """Self-attention, attention to the image and a feed-forward layer, each normalised first."""

    def __init__(self, heads: int, width: int, inner: int) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(heads, width)
        self.src_attn = MultiHeadAttention(heads, width)
        self.feed_forward = FeedForward(width, inner)
        self.sublayer = nn.ModuleList(PreNorm(width) for _ in range(3))

    def forward(self, x: Tensor, cache: Cache, seen: Tensor | None) -> Tensor:
        """Decode tokens that follow those in the cache.

        Args:
            x: `(N, T, width)`.
            cache: keys and values of the image and of the earlier tokens; extended.
            seen: `(N, 1, T, S) bool`, which of all tokens each one attends to; None for all.

        Returns:
            `(N, T, width)`.
        """
        y = self.sublayer[0](x)
        x = x + self.self_attn(y, cache.extended(self.self_attn.keys_values(y)), seen)
        x = x + self.src_attn(self.sublayer[1](x), cache.memory)
        return x + self.feed_forward(self.sublayer[2](x))


class Embeddings(nn.Module):
    """Token embeddings times the root of their width."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.lut = nn.Embedding(count, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """`(N, T) int64` to `(N, T, width)`."""
        return self.lut(tokens) * math.sqrt(self.lut.embedding_dim)


class TableMasterHead(OutputPart):
    """Two shared decoder layers, then one for tokens and one for boxes.

    Args:
        in_channels: of the maps, of which the last is used.
        out_channels: number of tokens; the last three are start, end and padding.
        headers: heads of every attention.
        d_ff: inner width of the feed-forward layers.
        max_text_length: number of tokens after the first, at most.
        loc_reg_num: numbers of a box, 4 or 8.
    """

    logits_layers = ("cls_fc",)
    activations: Mapping[str, Activation] = {
        "structure_probs": Activation("softmax", logits_layers, axis=2)
    }
    results = ("loc_preds", "structure_probs")
    text_scores = "structure_probs"
    stepwise = True

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 30,
        headers: int = 8,
        d_ff: int = 2048,
        max_text_length: int = 500,
        loc_reg_num: int = 4,
    ) -> None:
        super().__init__()
        width = in_channels[-1]
        self.out_channels = out_channels
        self.max_text_length = max_text_length
        self.loc_reg_num = loc_reg_num
        # PaddleOCR's exports decode all tokens. If traced for one token, they give all tokens the
        # first position, and mask none. Comparisons with such an export do the same.
        self.stops_at_end = True
        self.traced_for_one = False
        self.layers, self.cls_layer, self.bbox_layer = (
            nn.ModuleList(DecoderLayer(headers, width, d_ff) for _ in range(count))
            for count in (2, 1, 1)
        )
        self.cls_fc = nn.Linear(width, out_channels)
        self.bbox_fc = nn.Sequential(nn.Linear(width, loc_reg_num), nn.Sigmoid())
        self.norm = nn.LayerNorm(width)
        self.embedding = Embeddings(width, out_channels)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Decode the structure of each table until every image has its end token.

        Args:
            maps: of the backbone; the last one, `(N, C, H, W)`, is used.

        Returns:
            `structure_probs` `(N, L, out_channels)` token probabilities, and `loc_preds`
            `(N, L, loc_reg_num)` boxes relative to the padded image, 0 to 1.
        """
        if self.traced_for_one:
            return self.decode_again(maps, self.max_text_length + 1)
        features, memories = maps[-1], self.image_keys_values(maps)
        caches = [Cache(memory) for memory in memories]
        tokens = torch.full((features.shape[0], 1), self.out_channels - SOS, device=features.device)
        logits = features.new_zeros(features.shape[0], 0, self.out_channels)
        boxes = features.new_zeros(features.shape[0], 0, self.loc_reg_num)
        for _ in range(self.max_text_length + 1):
            if bool((tokens == self.out_channels - PAD).any()):
                logits, boxes = self.decode_tokens(memories, tokens)
            else:
                step, box = self._decode(tokens, caches, logits.shape[1])
                logits, boxes = torch.cat([logits, step], 1), torch.cat([boxes, box], 1)
            tokens = torch.cat([tokens, logits[:, -1:].argmax(2)], 1)
            if self.stops_at_end and bool((tokens == self.out_channels - EOS).any(1).all()):
                break
        return {"structure_probs": logits.softmax(2), "loc_preds": boxes}

    def decode_again(self, maps: Sequence[Tensor], steps: int) -> dict[str, Tensor]:
        """Decode `steps` tokens, the whole sequence again for each, as PaddleOCR does.

        Args:
            maps: as `forward` takes them.
            steps: number of tokens.

        Returns:
            The results of `forward`, with `L = steps`.
        """
        features, memories = maps[-1], self.image_keys_values(maps)
        tokens = torch.full((features.shape[0], 1), self.out_channels - SOS, device=features.device)
        logits = boxes = features
        for _ in range(steps):
            logits, boxes = self.decode_tokens(memories, tokens)
            tokens = torch.cat([tokens, logits[:, -1:].argmax(2)], 1)
        return {"structure_probs": logits.softmax(2), "loc_preds": boxes}

    def image_keys_values(self, maps: Sequence[Tensor]) -> list[KeysValues]:
        """Return what each layer attends to of the image: keys and values of all its places.

        Args:
            maps: as `forward` takes them.

        Returns:
            For each layer two tensors `(N, headers, H * W, C / headers)`.
        """
        features = maps[-1].flatten(2).transpose(1, 2)
        features = features + sinusoids(features.shape[1], features.shape[2], features)
        return [layer.src_attn.keys_values(features) for layer in self._all_layers()]

    def decode_tokens(
        self, memories: Sequence[KeysValues], tokens: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decode a whole sequence, without what earlier steps computed.

        Args:
            memories: of `image_keys_values`.
            tokens: `(N, T) int64`, from the start token on.

        Returns:
            Logits `(N, T, out_channels)` of the tokens that follow each one, and boxes
            `(N, T, loc_reg_num)`.
        """
        return self._decode(tokens, [Cache(memory) for memory in memories])

    def _all_layers(self) -> list[DecoderLayer]:
        modules = (*self.layers, *self.cls_layer, *self.bbox_layer)
        return [module for module in modules if isinstance(module, DecoderLayer)]

    def _decode(
        self, tokens: Tensor, caches: Sequence[Cache], start: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Decode the tokens from `start` on; the caches hold those before.

        Args:
            tokens: `(N, T) int64`.
            caches: one for each layer, in the order of `_all_layers`.
            start: the number of tokens that are in the caches.

        Returns:
            Logits `(N, T - start, out_channels)` and boxes `(N, T - start, loc_reg_num)`.
        """
        x = self.embedding(tokens[:, start:])
        places = sinusoids(1 if self.traced_for_one else tokens.shape[1], x.shape[2], x)
        x = x + places[start:]
        only_new = start > 0 and start + 1 == tokens.shape[1]
        seen = None if only_new else self._seen(tokens)[:, :, start:]
        *shared, for_tokens, for_boxes = zip(self._all_layers(), caches, strict=True)
        for layer, cache in shared:
            x = layer(x, cache, seen)
        token_features, box_features = (
            self.norm(layer(x, cache, seen)) for layer, cache in (for_tokens, for_boxes)
        )
        return self.cls_fc(token_features), self.bbox_fc(box_features)

    def _seen(self, tokens: Tensor) -> Tensor:
        """Return which tokens each one attends to, `(N, 1, T, T) bool`; a padding token to none."""
        length = tokens.shape[1]
        seen = torch.ones(length, length, dtype=torch.bool, device=tokens.device)
        seen = seen if self.traced_for_one else seen.tril()
        padding = tokens == self.out_channels - PAD
        return (seen & padding.logical_not()[:, :, None])[:, None]
