"""The proof of a vision-language network: Transformers' class answers as PaddleX's did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from converter.errors import ExportError
from converter.exporting.proof import difference
from converter.exporting.vision_language.family import Family, Network
from converter.mapping.apply import apply
from converter.mapping.plan import resolve, signature_of, targets_of
from converter.mapping.rules import load_mapping
from converter.references.recorded import vision_language as recorded
from converter.references.recorded.vision_language import Question


@dataclass(frozen=True)
class NetworkProof:
    """A comparison with what a small network of PaddleX computed.

    Attributes:
        difference: the largest max|difference| / max|logit|.
        shapes: of the logits, (N, T, V).
        network: PaddleX's class.
        paddlex: the version of PaddleX.
    """

    difference: float
    shapes: tuple[tuple[int, ...], ...]
    network: str
    paddlex: str

    def describe(self) -> str:
        """Return the proof as a part of a sentence."""
        shapes = ", ".join("x".join(map(str, shape)) for shape in self.shapes)
        return (
            f"worst difference {self.difference:.2e} of the maximum (recorded reference: "
            f"{self.network} of PaddleX {self.paddlex}, small and with seeded weights; logits of "
            f"{shapes}). The record proves the network and the mapping, for every checkpoint"
        )


def prove(family: Family, network: Network) -> NetworkProof:
    """Convert the seeded weights of a record and compare what both networks answer.

    Raises:
        ExportError: they differ.
        MappingError: the installed version of Transformers has other tensors.
    """
    record = recorded.read(network.record)
    theirs = family.build(family.config(record.config, f"the record {network.record}")).eval()
    signatures = {name: signature_of(array) for name, array in record.tensors.items()}
    targets = targets_of(theirs)
    plan = resolve(load_mapping(network.mapping), signatures, targets)
    theirs.load_state_dict(apply(plan, record.tensors, targets), strict=True)
    worst = 0.0
    for question, expected in record.answers():
        gap, fault = difference(expected, answer(theirs, question))
        if fault:
            raise ExportError(
                f"the installed version of transformers computes something else than PaddleX's "
                f"{record.network}: for the question {question.name!r} its result {fault}; nothing "
                "was written"
            )
        worst = max(worst, gap)
    shapes = tuple(logits.shape for _, logits in record.answers())
    return NetworkProof(worst, shapes, record.network, record.paddlex)


def answer(network: Any, question: Question) -> np.ndarray:
    """Return the logits of Transformers' network for a question, (N, T, V)."""
    tokens = torch.tensor(question.tokens)
    images: dict[str, Tensor] = {"pixel_values": torch.from_numpy(question.pixel_values())}
    if question.grids:
        images["image_grid_thw"] = torch.tensor(question.grids)
        images["mm_token_type_ids"] = (tokens == network.config.image_token_id).int()
    with torch.inference_mode():
        logits: Tensor = network(input_ids=tokens, **images).logits
    return logits.numpy()
