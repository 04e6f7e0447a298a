"""Running PaddleOCR's decoders of formulas for a record: by tokens they are told, by their loop.

`probes.py` does the same with our networks. Runs where Paddle does, so nothing here may import
PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from converter.adapters.model_inputs import DECODED
from converter.references.paddle.worker import nothing_drawn


def call_latexocr(network: Any, image: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Run LaTeX-OCR, which draws its tokens: here the likeliest are taken."""
    import paddle

    features, told = network.backbone(image), given["teacher_tokens"]
    mask = paddle.ones_like(told).cast("bool")
    scores = network.head.net(told, mask=mask, context=features)
    with nothing_drawn():
        tokens = _decode(network.head, features)
    return {"encoder": features, "teacher_logits": scores, "tokens": tokens}


def call_mbart(network: Any, image: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Run UniMERNet or PP-FormulaNet.

    In eval mode nothing is hidden from the tokens that are told. In training mode what comes later
    is (`causal_logits`); only the decoder enters it, without its dropout.
    """
    features, head = network.backbone(image), network.head
    scores, *more = _tell(head, features, given["teacher_tokens"])
    results = {"encoder": features[0], "teacher_logits": scores}
    if len(more) == 2 and more[0] is not None:
        results["teacher_count"] = more[0]
    decoder = head.decoder.model.decoder
    dropout = decoder.dropout
    decoder.dropout, decoder.training = 0.0, True
    results["causal_logits"], *_ = _tell(head, features, given["causal_tokens"])
    decoder.dropout, decoder.training = dropout, False
    results["tokens"] = _decode(head, features)
    return results


def _decode(head: Any, features: Any) -> Any:
    longest, head.max_seq_len = head.max_seq_len, DECODED
    tokens = head(features)
    head.max_seq_len = longest
    return tokens


def _tell(head: Any, features: Any, tokens: Any) -> Any:
    return head.forwad_train(features, tokens, tokens * 0 + 1)  # its name in PaddleOCR


# By the name of the head.
CALLS: Mapping[str, Callable[[Any, Any, Mapping[str, Any]], dict[str, Any]]] = {
    "LaTeXOCRHead": call_latexocr,
    "PPFormulaNet_Head": call_mbart,
    "UniMERNetHead": call_mbart,
}
