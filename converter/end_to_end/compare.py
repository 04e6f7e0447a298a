"""Two readings of one page set against each other, line by line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipelines import TextLine


@dataclass(frozen=True)
class Limits:
    """How far two readings may be apart: corners of boxes in pixels, scores; texts are equal."""

    pixels: float = 1.0
    score: float = 1e-3


@dataclass(frozen=True, eq=False)
class LinePair:
    """A line on both sides, or on one that the other does not have."""

    paddle: TextLine | None
    torch: TextLine | None

    @property
    def alone(self) -> bool:
        """Whether only one side has the line."""
        return self.paddle is None or self.torch is None

    @property
    def distance(self) -> float:
        """The largest distance of two corners in pixels; infinite for a line of one side only."""
        if self.paddle is None or self.torch is None:
            return math.inf
        return corner_distance(self.paddle.box, self.torch.box)

    @property
    def score_difference(self) -> float:
        """How far the scores are apart; infinite for a line of one side only."""
        if self.paddle is None or self.torch is None:
            return math.inf
        return abs(self.paddle.score - self.torch.score)

    def fault(self, limits: Limits) -> str:
        """Say what differs; nothing where the two agree."""
        if self.paddle is None or self.torch is None:
            name, line = ("Paddle", self.paddle) if self.paddle else ("PyTorch", self.torch)
            return f"only {name} has {line.text!r}, score {line.score:.4f}" if line else ""
        left, right = self.paddle, self.torch
        faults = []
        if left.box.shape != right.box.shape:
            faults.append(f"{len(left.box)} corners in Paddle, {len(right.box)} in PyTorch")
        elif not self.distance <= limits.pixels:  # written so that NaN is a fault
            faults.append(f"corners {self.distance:.2f} pixels apart")
        if left.text != right.text:
            faults.append(f"{left.text!r} in Paddle, {right.text!r} in PyTorch")
        if not self.score_difference <= limits.score:
            faults.append(f"score {left.score:.4f} in Paddle, {right.score:.4f} in PyTorch")
        return "; ".join(faults)


@dataclass(frozen=True, eq=False)
class PageComparison:
    """All lines of a page, in the order in which Paddle's side reads them."""

    lines: tuple[LinePair, ...]
    same_order: bool
    limits: Limits

    @property
    def differing(self) -> list[tuple[int, LinePair, str]]:
        """The lines that differ, each with its number, from 1, and why."""
        numbered = enumerate(self.lines, 1)
        found = [(number, pair, pair.fault(self.limits)) for number, pair in numbered]
        return [entry for entry in found if entry[2]]

    @property
    def faults(self) -> list[str]:
        """What differs; empty where the readings agree."""
        found = [f"line {number}: {fault}" for number, _, fault in self.differing]
        return found if self.same_order else [*found, "the lines are read in another order"]

    @property
    def distance(self) -> float:
        """The largest distance of two corners, in pixels, of the lines that both sides have."""
        return _largest([pair.distance for pair in self.lines if not pair.alone])

    @property
    def score_difference(self) -> float:
        """The largest difference of two scores of a line."""
        return _largest([pair.score_difference for pair in self.lines if not pair.alone])


def compare(
    paddle: Sequence[TextLine], torch: Sequence[TextLine], limits: Limits = Limits()
) -> PageComparison:
    """Set two readings of a page against each other.

    Two lines are one where each box's upright frame holds the middle of the other, the nearest
    first, so that a line of one side only does not shift all that follow.
    """
    partners = _partners(paddle, torch)
    places = list(partners.values())
    alone = sorted(set(range(len(torch))) - set(places))
    pairs: list[tuple[tuple[int, int], LinePair]] = []
    for place, line in enumerate(paddle):
        partner = torch[partners[place]] if place in partners else None
        pairs.append(((place, 0), LinePair(line, partner)))
    pairs += [((place, 1), LinePair(None, torch[place])) for place in alone]
    ordered = tuple(pair for _, pair in sorted(pairs, key=lambda entry: entry[0]))
    return PageComparison(ordered, places == sorted(places), limits)


def corner_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest distance of two boxes' corners; infinite if one has more than the other.

    Args:
        first, second: `(N, 2)`, their corners in the same order.
    """
    if first.shape != second.shape:
        return math.inf
    return float(np.linalg.norm(first - second, axis=1).max())


def _partners(paddle: Sequence[TextLine], torch: Sequence[TextLine]) -> dict[int, int]:
    """Return which lines are one, by their places on both sides, in the order of Paddle's."""
    if not paddle or not torch:
        return {}
    (low, high), (low_, high_) = _frames(paddle), _frames(torch)
    low, high = low[:, None], high[:, None]
    middles, middles_ = (low + high) / 2, (low_ + high_) / 2
    held = (low <= middles_) & (middles_ <= high) & (low_ <= middles) & (middles <= high_)
    distances = np.where(held.all(2), np.linalg.norm(middles - middles_, axis=2), np.inf)
    chosen: dict[int, int] = {}
    while np.isfinite(nearest := distances.min()):
        left, right = (int(place[0]) for place in np.nonzero(distances == nearest))
        chosen[left] = right
        distances[left], distances[:, right] = np.inf, np.inf
    return dict(sorted(chosen.items()))


def _frames(lines: Sequence[TextLine]) -> tuple[np.ndarray, np.ndarray]:
    """The upper left and lower right corners of the lines' upright frames, each `(N, 2)`."""
    return (
        np.stack([line.box.min(0) for line in lines]),
        np.stack([line.box.max(0) for line in lines]),
    )


def _largest(values: Sequence[float]) -> float:
    """The largest value, NaN if there is one; 0 without values."""
    return float(np.max(values)) if values else 0.0
