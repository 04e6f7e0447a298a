"""What is run before a network so that its layers can be compared in their first calls.

Some of PaddleOCR's decoders write the whole text again for every character that they add, the first
time with nothing but starts. Ours keep what they have written, and never make calls of that length:
it is made here, with the head's `score_tokens`, whose layers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model

Given = Mapping[str, "Tensor"]


def _sar(head: Any, features: Tensor, given: Given) -> None:
    starts = _starts(head.decoder, features)
    head.decoder.embedding(starts[:, 0])  # PaddleOCR's spreads the one over the places
    head.score_tokens(features, starts, **given)


def _robust_scanner(head: Any, features: Tensor, _: Given) -> None:
    head.decoder.hybrid_decoder(_starts(head.decoder, features))


def _starts(decoder: Any, features: Tensor) -> Tensor:
    """Return as many starts as the decoder writes characters, (N, L) int64."""
    import torch

    return torch.full((len(features), decoder.max_text_length), decoder.start)


# By the class of the head: what it runs on the features of the image.
_REHEARSALS: Mapping[str, Callable[[Any, Tensor, Given], None]] = {
    "RobustScannerHead": _robust_scanner,
    "SARHead": _sar,
}


def rehearse(network: Model, image: Tensor, given: Given) -> None:
    """Make the first calls of PaddleOCR's decoder, if ours does not make them itself.

    Args:
        network: ours.
        image: (N, C, H, W) float32.
        given: what the network takes beside the image, by name.
    """
    head = getattr(network, "head", None)  # other modules are run as well
    rehearsal = _REHEARSALS.get(type(head).__name__)
    if rehearsal is not None:
        features = network.neck(network.backbone(network.transform(image)))
        rehearsal(head, features, given)
