"""Whether what a network returns is what one of its kind returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Shape = tuple[int | None, ...]
"""Of an array; None stands for any length."""


def check_outputs(
    returned: Any, expected: Mapping[str, Shape], kind: str, algorithm: str
) -> Mapping[str, np.ndarray]:
    """Return a network's results by their names; one that is alone may have none.

    Args:
        returned: an array, or several by PaddleOCR's names.
        expected: their shapes.
        kind: what the network is called, for the message.
        algorithm: what it should be, for the message.

    Raises:
        ValueError: it is something else, or holds numbers that are not finite.
    """
    if isinstance(returned, np.ndarray) and len(expected) == 1:
        returned = dict.fromkeys(expected, returned)
    arrays = returned if isinstance(returned, Mapping) else {"": returned}
    shapes = {name: array.shape for name, array in arrays.items()}
    if not shapes.keys() == expected.keys() or not all(
        _fits(shapes[name], shape) for name, shape in expected.items()
    ):
        raise ValueError(
            f"the {kind} returned {_said(shapes)}, expected {_said(expected)}; is this {algorithm}?"
        )
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError(
            f"the {kind} returned values that are not finite numbers; in half precision they "
            "may have overflowed, else the weights are damaged"
        )
    return arrays


def _fits(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        wanted in (None, length) for length, wanted in zip(shape, expected, strict=True)
    )


def _said(shapes: Mapping[str, Shape]) -> str:
    """Shapes in words; an array of no name, and one alone, by its shape only."""
    named = [f"{name} of shape {shape}".replace("None", "any") for name, shape in shapes.items()]
    if len(shapes) == 1:
        return f"an array of shape {str(next(iter(shapes.values()))).replace('None', 'any')}"
    return ", ".join(named)
