"""Weights of the deploy form rewritten to the training form that RapidOCR's PyTorch engine loads.

Its networks have PaddleOCR's tensor names and the parallel branches of training, and the package
carries no weights. Of each block one branch is given what the merged convolution holds, the others
are given nothing, so that it computes the same, as slowly as with the weights of training.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import architectures
from architectures.registry import build

NAMES = {
    "ch_PP-OCRv4_det": "ch_PP-OCRv4_det_mobile",
    "ch_PP-OCRv4_rec": "ch_PP-OCRv4_rec_mobile",
    "ch_ppocr_mobile_v2.0_cls": "ch_ppocr_mobile_v2.0_cls_mobile",
}
"""RapidOCR's names of the models, by PaddleOCR's."""
MERGED = "reparam_conv"


def write_unfolded(weights: Path, folder: Path) -> Path:
    """Write converted weights under RapidOCR's file name for that model."""
    model = architectures.load(weights)
    given = model.state_dict()
    whole = build(model.architecture, class_counts=model.class_counts, form="train").state_dict()
    state = unfolded(given, whole)
    if (name := "head.ctc_encoder.encoder.conv4.conv.weight") in state:
        # There the package has a kernel of height 3, on a map of height 1.
        state[name] = torch.nn.functional.pad(state[name], (0, 0, 1, 1))
    assert model.card is not None
    path = folder / f"{NAMES[str(model.card.name)]}.pth"
    torch.save(state, path)
    return path


def unfolded(given: dict[str, Tensor], whole: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state of the training form, like the fresh one `whole`, that computes the same."""
    state = dict(whole)
    for name, tensor in given.items():
        block, merged, kind = name.rpartition(f"{MERGED}.")
        if not merged:
            state[name] = tensor
        elif kind == "weight":
            state[f"{block}conv_kxk.0.conv.weight"] = tensor
            for branch in [key for key in whole if key.startswith(block)]:
                if branch.endswith(("bn.weight", "identity.weight")):
                    state[branch] = torch.zeros_like(whole[branch])
            # The fresh normalisation divides by sqrt(1 + eps).
            norm = f"{block}conv_kxk.0.bn.weight"
            state[norm] = torch.full_like(whole[norm], (1 + 1e-5) ** 0.5)
        else:
            state[f"{block}conv_kxk.0.bn.bias"] = tensor
    return state
