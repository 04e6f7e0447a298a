"""From scores of tokens to the classes of lines, and from entities to relations.

The rules are those of PaddleOCR 2.10, ppocr/postprocess/vqa_token_ser_layoutlm_postprocess.py,
vqa_token_re_layoutlm_postprocess.py and tools/infer_kie_token_ser_re.py (`make_input`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NO_ENTITY = "O"
RELATED = {"HEADER": 0, "QUESTION": 1, "ANSWER": 2}
"""The classes that networks of relations know, by their numbers."""


def begin_of(labels: Sequence[str]) -> np.ndarray:
    """Return for each class the one that begins an entity of its kind, `(C,)`: B-X for I-X."""
    places = {label: number for number, label in enumerate(labels)}
    return np.array(
        [
            places.get(f"B{label[1:]}", number) if label.startswith("I-") else number
            for number, label in enumerate(labels)
        ]
    )


def class_name(label: str) -> str:
    """Return QUESTION for B-QUESTION."""
    return label[2:] if label.startswith(("B-", "I-")) else label


def line_classes(
    scores: np.ndarray, ends: Sequence[int], labels: Sequence[str]
) -> list[tuple[str, float]]:
    """Return the class of each line, that of most of its tokens, and its mean probability.

    Of classes with equally many tokens, the first of `labels` counts. A line whose tokens were cut
    off has none.

    Args:
        scores: of the tokens, `(T, C)`.
        ends: for each line, the place behind its last token; it may be beyond T.
        labels: of the classes.
    """
    begins = begin_of(labels)
    best = begins[scores.argmax(1)]
    shifted = np.exp(scores - scores.max(1, keepdims=True))
    probabilities = shifted / shifted.sum(1, keepdims=True)
    found = []
    for start, end in zip((0, *ends), ends, strict=False):
        votes = best[start:end]
        chosen = int(np.bincount(votes).argmax()) if len(votes) else 0
        share = probabilities[start:end, begins == chosen].sum(1)
        found.append((class_name(labels[chosen]), float(share.mean()) if len(share) else 0.0))
    return found


def relation_inputs(
    spans: Sequence[tuple[int, int]], classes: Sequence[str], rows: int | None = None
) -> dict[str, np.ndarray]:
    """Return entities `(1, rows, 3)` and every question with every answer `(1, R, 2)`, int64.

    Args:
        spans: of each entity, the places of its first token and behind its last.
        classes: of each entity, one of `RELATED`.
        rows: of the entities, the first holds their number; by default one more than these.
    """
    numbers = [RELATED[name] for name in classes]
    entities = np.full((1, rows or len(spans) + 1, 3), -1, np.int64)
    entities[0, 0] = len(spans)
    for row, ((start, end), number) in enumerate(zip(spans, numbers, strict=True), start=1):
        entities[0, row] = start, end, number
    pairs = [
        (question, answer)
        for question, first in enumerate(numbers)
        for answer, second in enumerate(numbers)
        if (first, second) == (RELATED["QUESTION"], RELATED["ANSWER"])
    ]
    relations = np.array([[(len(pairs), len(pairs)), *pairs]], np.int64)
    return {"entities": entities, "relations": relations}


def related_pairs(found: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of question and answer that a network found on one page.

    An answer belongs to the first question that claims it.

    Args:
        found: its `pred_relations`, `(K, 7, 2)`.
    """
    taken: set[int] = set()
    pairs = []
    for relation in found[1 : 1 + max(0, int(found[0, 0, 0]))]:
        question, answer = int(relation[0, 0]), int(relation[3, 0])
        if answer not in taken:
            taken.add(answer)
            pairs.append((question, answer))
    return pairs
