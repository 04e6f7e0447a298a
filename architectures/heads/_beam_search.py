"""The search for the best text that SEED's inference makes, for all lines of a batch at once.

PaddleOCR: `AttentionRecognitionHead.beam_search` in `ppocr/modeling/heads/rec_aster_head.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# State and last classes of all beams to the logarithms of probabilities, and the next state.
Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
NEVER = float("-inf")


class Stored(NamedTuple):
    """The choices of a step for each beam of each line, `(N, beams)`: parent beam, class, score."""

    parents: Tensor
    classes: Tensor
    scores: Tensor


def search(step: Step, state: Tensor, start: int, eos: int, beams: int, length: int) -> Tensor:
    """The best text of each line, `(N, length) int64`; behind `eos` it says nothing.

    A beam that ends its text is not continued; where none is left, the search ends.

    Args:
        step: the decoder.
        state: `(N * beams, …)`, the beams of a line side by side.
        start: the class before the first.
        eos: the class that ends a text.
        beams: how many texts of each line are followed.
        length: of the longest text.
    """
    steps = []
    scores = state.new_full((state.shape[0] // beams, beams), NEVER)
    scores[:, 0] = 0.0  # at first they are all alike
    first = torch.arange(scores.shape[0], device=state.device).unsqueeze(1) * beams
    last = torch.full((state.shape[0],), start, device=state.device)
    for _ in range(length):
        log_probabilities, state = step(state, last)
        chosen = _best(scores, log_probabilities.unflatten(0, scores.shape))
        steps.append(chosen)
        state = state[(chosen.parents + first).flatten()]
        last, ended = chosen.classes.flatten(), chosen.classes == eos
        scores = chosen.scores.masked_fill(ended, NEVER)
        if ended.any():
            # PaddleOCR addresses the beams that ended by their numbers and by a column of zeros: it
            # also gives up the first beam of the first line, whichever text it is that ended.
            scores[0, 0] = NEVER
        if bool((scores == NEVER).all()):
            break
    # Texts that have not ended; where the search has, there is none.
    going = steps[-1].scores if len(steps) == length else torch.full_like(scores, NEVER)
    texts = _backtracked(steps, going, eos)
    rest = texts.new_full((texts.shape[0], length - texts.shape[1]), eos)
    return torch.cat([texts, rest], 1)


def _best(scores: Tensor, log_probabilities: Tensor) -> Stored:
    """`scores: (N, beams)` and `(N, beams, classes)` to the best continuations."""
    total = (scores.unsqueeze(2) + log_probabilities).flatten(1)
    found, candidates = total.topk(scores.shape[1])
    # Where nothing is left to follow, nothing ends either.
    candidates = candidates.masked_fill(found == NEVER, 0)
    classes = log_probabilities.shape[2]
    return Stored(candidates // classes, candidates % classes, found)


def _backtracked(steps: list[Stored], going: Tensor, eos: int) -> Tensor:
    """The best text of each line, `(N, steps)`, read from its end.

    `going: (N, beams)` are the scores of the texts that go on to the end, best first. Of those that
    end before, the latest takes the place of the last of these, the next the place before, and so
    on in turns.
    """
    lines, beams = going.shape
    final, follow = going.sort(1, descending=True)
    found = [0] * lines
    texts = []
    for parents, classes, reached in reversed(steps):
        symbols, follow_before = classes.gather(1, follow), parents.gather(1, follow)
        for line, beam in reversed((classes == eos).nonzero().tolist()):
            place = beams - found[line] % beams - 1
            found[line] += 1
            symbols[line, place] = eos
            follow_before[line, place] = parents[line, beam]
            final[line, place] = reached[line, beam]
        texts.append(symbols)
        follow = follow_before
    best = final.argmax(1, keepdim=True)
    return torch.cat([symbols.gather(1, best) for symbols in reversed(texts)], 1)
