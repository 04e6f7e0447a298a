"""A freshly converted network as the reference: has an artefact changed since it was written?"""

from __future__ import annotations

import numpy as np

from architectures import Model
from converter.parity.comparison import Comparison, compare, compare_results
from converter.parity.layerwise import SideBySide
from converter.references.hooks import layer_names, observe, results_of, side_by_side


class ConvertedReference:
    """Compares a network with a proved one of the same architecture and form.

    Args:
        proved: the network to compare with.
        task: one of the catalog's TASKS; it determines which decisions are compared.
    """

    kind = "converted"

    def __init__(self, proved: Model, task: str) -> None:
        self.proved, self.task = proved, task

    def compare(self, network: Model, batch: np.ndarray, limit: float) -> list[Comparison]:
        """Compare the logits, the results, and the decisions made from them."""
        final, shape = network.logits_layers, batch.shape
        expected, actual = (observe(n, batch, final) for n in (self.proved, network))
        logits = [
            compare(
                f"logits ({name})", expected[name], actual[name], input_shape=shape, limit=limit
            )
            for name in final
        ]
        results = compare_results(
            network,
            self.task,
            results_of(expected),
            results_of(actual),
            input_shape=shape,
            limit=limit,
            logits={name: expected[name] for name in final},
        )
        return [*logits, *results]

    def layers(self, network: Model, batch: np.ndarray) -> SideBySide:
        """Run both networks and return their layers in the order in which they run."""
        return side_by_side(network, batch, observe(self.proved, batch, layer_names(network)))
