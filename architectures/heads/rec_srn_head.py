"""SRN's head: sees all characters at once, then reasons about which text they make.

Towards Accurate Scene Text Recognition with Semantic Reasoning Networks,
https://arxiv.org/abs/2003.12294; PaddleOCR: `ppocr/modeling/heads/rec_srn_head.py`.

PaddleOCR gives the network, beside the image, the numbers of its places and which of them see which
others. Both follow from the shapes, and are made here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.activations import Activation
from architectures.heads.self_attention import WrapEncoder, WrapEncoderForFeature, positions
from architectures.interfaces import OutputPart

PLACES = 256  # of the map at most: those of 64x256 pixels


class PVAM(nn.Module):
    """Parallel visual attention: image features of each position of the text."""

    def __init__(self, channels: int, max_length: int, num_heads: int, count: int) -> None:
        super().__init__()
        self.max_length = max_length
        self.wrap_encoder_for_feature = WrapEncoderForFeature(PLACES, count, channels, num_heads)
        self.fc0 = nn.Linear(channels, channels)
        self.emb = nn.Embedding(max_length, channels)
        self.fc1 = nn.Linear(channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` to `(N, max_length, channels)`."""
        torch._assert(x.shape[2] * x.shape[3] <= PLACES, "SRN takes 64x256 pixels at most")
        seen = self.fc0(self.wrap_encoder_for_feature(x.flatten(2).transpose(1, 2)))
        places = self.emb(positions(x, self.max_length)[..., None])
        attention = self.fc1(torch.tanh(places + seen[:, None])).squeeze(3).softmax(2)
        return attention @ seen


class GSRM(nn.Module):
    """Global semantic reasoning: corrects each position by those before and after it."""

    def __init__(
        self, channels: int, classes: int, max_length: int, num_heads: int, count: int
    ) -> None:
        super().__init__()
        self.fc0 = nn.Linear(channels, classes)
        self.wrap_encoder0 = WrapEncoder(classes + 1, max_length, count, channels, num_heads)
        self.wrap_encoder1 = WrapEncoder(classes + 1, max_length, count, channels, num_heads)
        # One table of vectors, which also scores the characters.
        self.wrap_encoder1.prepare_decoder.emb0 = self.wrap_encoder0.prepare_decoder.emb0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(N, T, channels)` to features of the same shape and the scores of two guesses.

        Of what is seen alone `(N * T, classes)`; of the features `(N * T, classes + 1)`, the last
        class being that of no character.
        """
        length = x.shape[1]
        word_out = self.fc0(x.flatten(0, 1))
        words = word_out.argmax(1).unflatten(0, (-1, length))
        before = F.pad(words, (1, 0), value=word_out.shape[1])[:, :-1]
        near = torch.ones(length, length, dtype=torch.bool, device=x.device)
        forwards = self.wrap_encoder0(before, near.tril())
        backwards = self.wrap_encoder1(words, near.triu())
        features = forwards + F.pad(backwards, (0, 0, 0, 1))[:, 1:]
        table = self.wrap_encoder0.prepare_decoder.emb0.weight
        return features, word_out, F.linear(features, table).flatten(0, 1)


class VSFD(nn.Module):
    """Visual-semantic fusion: a gate between visual and semantic features."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.fc0 = nn.Linear(2 * channels, channels)
        self.fc1 = nn.Linear(channels, classes)

    def forward(self, seen: Tensor, meant: Tensor) -> Tensor:
        """Both `(N, T, channels)`, to the scores `(N * T, classes)`."""
        seen, meant = seen.flatten(0, 1), meant.flatten(0, 1)
        gate = torch.sigmoid(self.fc0(torch.cat([seen, meant], 1)))
        return self.fc1(gate * seen + (1 - gate) * meant)


class SRNHead(OutputPart):
    """PVAM, GSRM and VSFD; `num_encoder_TUs` and `num_decoder_TUs` are layers of the encoders.

    It gives `predict (N * T, classes)`, probabilities, and `decoded_out (N * T, 1) int64`, the
    classes, for the places of all texts one after the other; `pvam_feature (N, T, channels)`, what
    is seen at each; and the scores of the guesses on the way, `word_out` and `gsrm_out` (`GSRM`).
    """

    logits_layers = ("vsfd.fc1",)
    activations: Mapping[str, Activation] = {
        "predict": Activation("softmax", ("vsfd.fc1",), axis=1)
    }
    text_scores = "predict"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        max_text_length: int,
        num_heads: int,
        num_encoder_TUs: int,  # noqa: N803, PaddleOCR's name
        num_decoder_TUs: int,  # noqa: N803
        hidden_dims: int,
    ) -> None:
        super().__init__()
        if hidden_dims != in_channels:
            raise ValueError(
                f"SRNHead works in the width of its backbone: hidden_dims {hidden_dims} should be "
                f"{in_channels}"
            )
        self.pvam = PVAM(in_channels, max_text_length, num_heads, num_encoder_TUs)
        self.gsrm = GSRM(in_channels, out_channels, max_text_length, num_heads, num_decoder_TUs)
        self.vsfd = VSFD(in_channels, out_channels)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`(N, in_channels, H, W)`, H * W at most 256, to the results by PaddleOCR's names."""
        seen = self.pvam(x)
        meant, word_out, gsrm_out = self.gsrm(seen)
        predict = self.vsfd(seen, meant).softmax(1)
        return {
            "predict": predict,
            "pvam_feature": seen,
            "decoded_out": predict.argmax(1, keepdim=True),
            "word_out": word_out,
            "gsrm_out": gsrm_out,
        }
