"""What a record's results are: what the network returns, or what several calls of its parts do.

Of some networks a record holds more than inference returns, or something else: the logits of a
decoder that is told what it had decoded so far, a graph network on a graph of its own. Then a probe
says by which calls our network computes each result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from architectures import Model
from architectures.heads.rec_unimernet_head import UniMERNetHead
from converter.adapters.model_inputs import DECODED, Run, head_of
from converter.adapters.priming import rehearse
from converter.errors import SourceError

if TYPE_CHECKING:
    from architectures.heads._mbart import MBartHead
    from architectures.heads.drrg.det_drrg_head import DRRGHead
    from architectures.heads.rec_can_head import CANHead

Given = Mapping[str, Tensor]


class Probe(NamedTuple):
    """How the results of a record are computed that holds inputs which inference has not.

    `needs` names those; `call` makes, of the network, the image and the record's further inputs,
    the results by the record's names.
    """

    needs: tuple[str, ...]
    call: Callable[[Model, Tensor, Given], Mapping[str, Tensor]]


def _drrg(network: Model, image: Tensor, given: Given) -> dict[str, Tensor]:
    """What PaddleOCR cannot compute without a compiled operator stands between maps and graphs."""
    neck = network.neck(network.backbone(image))
    graph = (given[name] for name in ("gcn_nodes", "gcn_adjacency", "gcn_knn"))
    head = cast("DRRGHead", network.head)
    return {"neck": neck, "gcn": head.gcn(*graph), "maps": head.out_conv(neck)}


def _decoder(**how: bool) -> Probe:
    """Return how formulas are decoded: by tokens that are told (`how`), and by the loop."""

    def call(network: Model, image: Tensor, given: Given) -> dict[str, Tensor]:
        features = network.backbone(image)
        head = cast("MBartHead", network.head)
        results = {
            "encoder": features,
            "teacher_logits": head.score_tokens(features, given["teacher_tokens"], **how),
        }
        if "causal_tokens" in given:
            results["causal_logits"] = head.score_tokens(features, given["causal_tokens"])
        if isinstance(head, UniMERNetHead):
            results["teacher_count"] = head.counts(features)
        longest, head.max_seq_len = head.max_seq_len, DECODED
        results["tokens"] = head(features)
        head.max_seq_len = longest
        return results

    return Probe(("teacher_tokens",), call)


def _can(network: Model, image: Tensor, given: Given) -> dict[str, Tensor]:
    """Return what CAN spells out; behind symbols that are told, if it was built for training."""
    features, mask = network.backbone(image), given["image_mask"]
    head = cast("CANHead", network.head)
    if network.architecture["Head"]["attdecoder"].get("is_train"):
        return head.score_tokens(features, given["label"], mask)
    return head(features, mask)


# By the name of the head. PaddleOCR's mBART hides nothing from tokens that are told in eval mode.
PROBES: Mapping[str, Probe] = {
    "CANHead": Probe(("image_mask", "label"), _can),
    "DRRGHead": Probe(("gcn_nodes", "gcn_adjacency", "gcn_knn"), _drrg),
    "LaTeXOCRHead": _decoder(),
    "PPFormulaNet_Head": _decoder(causal=False),
    "UniMERNetHead": _decoder(causal=False),
}


def run_of(network: Model, inputs: Mapping[str, np.ndarray]) -> Run:
    """Return how our network computes a record's results from the image.

    Args:
        network: ours, as it will be run.
        inputs: the record's, beside the image. Those that the network computes itself are ignored.

    Raises:
        SourceError: the network takes more than the record holds.
    """
    given = {name: torch.from_numpy(array) for name, array in inputs.items()}
    probe = PROBES.get(head_of(network.architecture).get("name", ""))
    if probe is not None and set(probe.needs) <= set(given):
        call = probe.call
        return lambda network, image: call(network, image, given)
    if missing := [name for name in network.extra_inputs if name not in given]:
        raise SourceError(f"the network takes {missing[0]}, which the record does not hold")
    taken = {name: given[name] for name in network.extra_inputs}

    def run(network: Model, image: Tensor) -> Any:
        rehearse(network, image, taken)
        return network(image, **taken)

    return run
