"""Which answers belong to which questions of a page: a biaffine classifier of pairs of entities.

LayoutXLM, https://arxiv.org/abs/2104.08836, section 4.2; PaddleNLP 2.5.2: `REDecoder` in
`paddlenlp/transformers/layoutxlm/modeling.py`.

Entities of one page are an array (M, 3) int64. Row 0 holds their number three times. Each further
row is an entity: its first token, the one behind its last, its label; rows of -1 follow. Relations
are an array (R, 2) int64: row 0 their number twice, then pairs of entities, counted from 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LABELS = ("HEADER", "QUESTION", "ANSWER")
"""The labels of entities, in the order of their numbers."""
QUESTION, ANSWER = LABELS.index("QUESTION"), LABELS.index("ANSWER")
ROWS = 7  # of a relation in the result


def possible_pairs(entities: Tensor) -> Tensor:
    """Return each question with each answer of a page, `(P, 2)` int64, questions slowest.

    Args:
        entities: (M, 3) int64.
    """
    labels = entities[1 : int(entities[0, 2]) + 1, 2]
    questions, answers = ((labels == kind).nonzero()[:, 0] for kind in (QUESTION, ANSWER))
    return torch.cartesian_prod(questions, answers)


def candidate_pairs(entities: Tensor, relations: Tensor) -> tuple[Tensor, int]:
    """Return the pairs to score, `(P, 2)` int64: those of `relations` first; and how many these.

    Args:
        entities: (M, 3) int64.
        relations: (R, 2) int64; pairs that are no question and answer are left out.
    """
    possible = possible_pairs(entities)
    given = relations[1 : int(relations[0, 0]) + 1]
    same = (possible[:, None] == given[None]).all(2)
    stated = given[same.any(0)]
    return torch.cat([stated, possible[~same.any(1)]]), len(stated)


class BiaffineAttention(nn.Module):
    """Two scores of each pair of vectors: how they fit each other, and what each is alone."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.bilinear = nn.Bilinear(in_features, in_features, 2, bias=False)
        self.linear = nn.Linear(2 * in_features, 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """`(P, in_features)` twice to `(P, 2)`: no relation, relation."""
        return self.bilinear(first, second) + self.linear(torch.cat([first, second], -1))


def _projection(hidden: int) -> nn.Sequential:
    """Return the layers that prepare one side of a pair, under PaddleNLP's numbers."""
    return nn.Sequential(
        nn.Linear(2 * hidden, hidden),
        nn.ReLU(),
        nn.Identity(),  # dropout, in training
        nn.Linear(hidden, hidden // 2),
        nn.ReLU(),
    )


class RelationDecoder(nn.Module):
    """Scores pairs of entities by the features of their first tokens and by their labels."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.entity_emb = nn.Embedding(len(LABELS), hidden)
        self.ffnn_head = _projection(hidden)
        self.ffnn_tail = _projection(hidden)
        self.rel_classifier = BiaffineAttention(hidden // 2)

    def score(self, features: Tensor, entities: Tensor, pairs: Tensor) -> Tensor:
        """Return the scores of pairs of one page, `(P, 2)`: no relation, relation.

        Args:
            features: of its tokens, (T, hidden).
            entities: (M, 3) int64.
            pairs: (P, 2) int64.
        """
        starts, _, labels = entities[1:].unbind(1)
        heads, tails = (
            torch.cat([features[starts[side]], self.entity_emb(labels[side])], -1)
            for side in pairs.unbind(1)
        )
        return self.rel_classifier(self.ffnn_head(heads), self.ffnn_tail(tails))

    def forward(
        self, features: Tensor, entities: Tensor, relations: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the loss, and the relations found, `(N, M * M, 7, 2)` int64.

        Row 0 of a page's relations holds their number, of one without relations -1, as all rows
        behind the last. Of each, the seven rows are: the question's place among the entities; its
        tokens, from and to; its label; the same of the answer; and 1.

        Args:
            features: (N, T, hidden).
            entities: (N, M, 3) int64.
            relations: (N, R, 2) int64; those that the loss takes for right.
        """
        most = entities.shape[1] ** 2
        found = entities.new_full((len(entities), most, ROWS, 2), -1)
        losses = [features.new_zeros(())]
        for page, page_features in enumerate(features):
            pairs, right = candidate_pairs(entities[page], relations[page])
            if not len(pairs):
                continue
            scores = self.score(page_features, entities[page], pairs)
            truth = (torch.arange(len(pairs), device=pairs.device) < right).long()
            losses.append(F.cross_entropy(scores, truth))
            rows = _described(pairs[scores.argmax(1) == 1], entities[page])
            if len(rows):
                found[page, 0] = len(rows)
                found[page, 1 : len(rows) + 1] = rows
        return torch.stack(losses).sum(), found


def _described(pairs: Tensor, entities: Tensor) -> Tensor:
    """Return pairs `(P, 2)` as rows of the result, `(P, 7, 2)`."""
    rows = pairs.new_full((len(pairs), ROWS, 2), -1)
    for side, first in zip(pairs.unbind(1), (0, 3), strict=True):
        entity = entities[side + 1]
        rows[:, first, 0] = side
        rows[:, first + 1] = entity[:, :2]
        rows[:, first + 2, 0] = entity[:, 2]
    rows[:, ROWS - 1, 0] = 1
    return rows
