"""Comparing the text lines that two pipelines read on one page."""

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
    """Allowed differences between two readings of a page; texts must be equal.

    Attributes:
        pixels: largest distance of two corners of a box, in pixels.
        score: largest difference of two scores.
    """

    pixels: float = 1.0
    score: float = 1e-3


@dataclass(frozen=True, eq=False)
class LinePair:
    """One text line as Paddle and PyTorch read it; None where one of them lacks it."""

    paddle: TextLine | None
    torch: TextLine | None

    @property
    def unpaired(self) -> bool:
        """Whether only one of them has the line."""
        return self.paddle is None or self.torch is None

    @property
    def distance(self) -> float:
        """The largest distance of two corners in pixels; infinite for an unpaired line."""
        if self.paddle is None or self.torch is None:
            return math.inf
        return corner_distance(self.paddle.box, self.torch.box)

    @property
    def score_difference(self) -> float:
        """The difference of the scores; infinite for an unpaired line."""
        if self.paddle is None or self.torch is None:
            return math.inf
        return abs(self.paddle.score - self.torch.score)

    def fault(self, limits: Limits) -> str:
        """Describe what differs; "" if both agree."""
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
    """All lines of a page, in the order in which Paddle reads them.

    Attributes:
        lines: the paired lines, and those of one pipeline only.
        same_order: whether both pipelines read the paired lines in one order.
        limits: allowed differences.
    """

    lines: tuple[LinePair, ...]
    same_order: bool
    limits: Limits

    @property
    def differing(self) -> list[tuple[int, LinePair, str]]:
        """The lines that differ: number from 1, pair, and description of the difference."""
        numbered = enumerate(self.lines, 1)
        compared = [(number, pair, pair.fault(self.limits)) for number, pair in numbered]
        return [entry for entry in compared if entry[2]]

    @property
    def faults(self) -> list[str]:
        """Descriptions of all differences; empty if the readings agree."""
        faults = [f"line {number}: {fault}" for number, _, fault in self.differing]
        return faults if self.same_order else [*faults, "the lines are read in another order"]

    @property
    def distance(self) -> float:
        """The largest distance of two corners, in pixels, over all paired lines."""
        return _largest([pair.distance for pair in self.lines if not pair.unpaired])

    @property
    def score_difference(self) -> float:
        """The largest difference of two scores over all paired lines."""
        return _largest([pair.score_difference for pair in self.lines if not pair.unpaired])


def compare(
    paddle: Sequence[TextLine], torch: Sequence[TextLine], limits: Limits = Limits()
) -> PageComparison:
    """Compare two readings of a page.

    Two lines are paired if the upright frame of each contains the centre of the other, the nearest
    first, so that a missing line does not shift those after it.

    Args:
        paddle: lines read with Paddle.
        torch: lines read with PyTorch.
        limits: allowed differences.
    """
    partners = _partners(paddle, torch)
    places = list(partners.values())
    unpaired = sorted(set(range(len(torch))) - set(places))
    pairs: list[tuple[tuple[int, int], LinePair]] = []
    for place, line in enumerate(paddle):
        partner = torch[partners[place]] if place in partners else None
        pairs.append(((place, 0), LinePair(line, partner)))
    pairs += [((place, 1), LinePair(None, torch[place])) for place in unpaired]
    ordered = tuple(pair for _, pair in sorted(pairs, key=lambda entry: entry[0]))
    return PageComparison(ordered, places == sorted(places), limits)


def corner_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest distance of the corners of two boxes; infinite if their numbers differ.

    Args:
        first: corners, (N, 2) in pixels.
        second: corners in the same order, (N, 2) in pixels.
    """
    if first.shape != second.shape:
        return math.inf
    return float(np.linalg.norm(first - second, axis=1).max())


def _partners(paddle: Sequence[TextLine], torch: Sequence[TextLine]) -> dict[int, int]:
    """Return PyTorch's index by Paddle's index of each paired line, in Paddle's order."""
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
    """Return the upper left and the lower right corners of the upright frames, each (N, 2)."""
    return (
        np.stack([line.box.min(0) for line in lines]),
        np.stack([line.box.max(0) for line in lines]),
    )


def _largest(values: Sequence[float]) -> float:
    """Return the largest value: NaN if one is NaN, 0 without values."""
    return float(np.max(values)) if values else 0.0
