"""Checks of the shapes of a network's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.runtime import require_finite

Shape = tuple[int | None, ...]
"""The shape of an array; None stands for any length."""


def check_outputs(
    outputs: Any, expected: Mapping[str, Shape], network: str, algorithm: str
) -> Mapping[str, np.ndarray]:
    """Check a network's outputs and return them by name; a single output may come without a name.

    Args:
        outputs: an array, or several by PaddleOCR's names.
        expected: their shapes by name.
        network: what error messages call the network, such as "detector".
        algorithm: the kind of network that was expected, for error messages.

    Raises:
        ValueError: the outputs have other names or shapes, or values that are not finite.
    """
    if isinstance(outputs, np.ndarray) and len(expected) == 1:
        outputs = dict.fromkeys(expected, outputs)
    arrays = outputs if isinstance(outputs, Mapping) else {"": outputs}
    shapes = {name: array.shape for name, array in arrays.items()}
    if not shapes.keys() == expected.keys() or not all(
        _fits(shapes[name], shape) for name, shape in expected.items()
    ):
        raise ValueError(
            f"the {network} returned {_in_words(shapes)}, expected {_in_words(expected)}; "
            f"is this {algorithm}?"
        )
    require_finite(arrays, network)
    return arrays


def _fits(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        wanted in (None, length) for length, wanted in zip(shape, expected, strict=True)
    )


def _in_words(shapes: Mapping[str, Shape]) -> str:
    """Describe shapes for a message; the name of a single array is left out."""
    texts = {name: str(shape).replace("None", "any") for name, shape in shapes.items()}
    if len(texts) == 1:
        return f"an array of shape {next(iter(texts.values()))}"
    return ", ".join(f"{name} of shape {text}" for name, text in texts.items())
