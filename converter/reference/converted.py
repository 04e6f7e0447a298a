"""The network converted anew as the reference: what was done to an artefact since."""

from __future__ import annotations

import numpy as np

from architectures import Model
from converter.diagnosis.layers import SideBySide
from converter.parity import Comparison, compare, compare_decisions
from converter.reference.observe import OUTPUT, layer_names, observe, side_by_side


class ConvertedReference:
    """Compares a network with another one of the same architecture and form, which was proved.

    Args:
        proved: the other one.
        task: det, rec or cls; tells what is decided from the output.
    """

    kind = "converted"

    def __init__(self, proved: Model, task: str) -> None:
        self.proved, self.task = proved, task

    def compare(self, network: Model, batch: np.ndarray, limit: float) -> list[Comparison]:
        """Compare the logits, the output, and what it decides."""
        logits, shape = network.logits_layer, batch.shape
        expected, actual = (observe(n, batch, [logits]) for n in (self.proved, network))
        return [
            compare(
                f"logits ({logits})",
                expected[logits],
                actual[logits],
                input_shape=shape,
                limit=limit,
            ),
            compare_decisions(self.task, expected[OUTPUT], actual[OUTPUT], input_shape=shape),
        ]

    def layers(self, network: Model, batch: np.ndarray) -> SideBySide:
        """Return the layers of both in the order in which they run."""
        return side_by_side(network, batch, observe(self.proved, batch, layer_names(network)))
