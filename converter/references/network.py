"""PaddleOCR's own network, built from the source of a checkout and run by Paddle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from architectures import Model
from converter.adapters.registry import adapter_for, head_options
from converter.errors import ReferenceUnavailable
from converter.parity import noise
from converter.parity.comparison import INNER, LIMIT, Comparison, compare, compare_results
from converter.parity.layerwise import SideBySide
from converter.references.hooks import by_our_names, layer_names, observe, results_of, side_by_side
from converter.references.paddle.checkout import require_checkout
from converter.references.paddle.session import PaddleSession
from converter.references.positions import POSITIONS, plate_positions, plates, tensors_of

_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)


class NetworkReference:
    """Compares a network with the one that PaddleOCR's source builds from the same weights.

    Args:
        session: the Paddle process.
        checkout: a folder that holds PaddleOCR's `ppocr/`.
        architecture: the configuration of both networks.
        weights: the tensors that our network uses, by Paddle's names. All others, such as heads for
            training, keep random values in Paddle's network.
        task: one of the catalog's TASKS; it determines which decisions are compared.
        unfused: our network with its normalisations, where the compared one has them folded.
        noisy: whether rounding alone moves results of this network beyond the limit (`noise.py`).

    Raises:
        ReferenceUnavailable: the folder is no checkout, or the network fails to build or run.
    """

    kind = "network"

    def __init__(
        self,
        session: PaddleSession,
        checkout: Path,
        architecture: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        task: str,
        unfused: Model | None = None,
        noisy: bool = False,
    ) -> None:
        require_checkout(checkout)
        self.noisy = noisy
        self.session, self.task, self.unfused = session, task, unfused
        self.architecture = architecture
        self.epsilons = session.load_network(checkout.resolve(), with_guides(architecture), weights)

    def compare(self, network: Model, batch: np.ndarray, limit: float) -> list[Comparison]:
        """Compare backbone, neck, logits, results, decisions, and every epsilon.

        Where rounding moves the positions at which an image is sampled (`positions.py`), these are
        compared, too; all that follows them is computed at Paddle's.
        """
        logits = network.logits_layers
        names = ["backbone", "neck", *logits]
        expected, positions = self.run(network, batch, names)
        run = partial(observe, network, names=[*names, *positions])
        actual = run(batch)
        comparisons = [
            compare(POSITIONS, array, actual[name], input_shape=batch.shape, limit=limit)
            for name, array in positions.items()
        ]
        if any(comparison.fault for comparison in comparisons):
            return comparisons  # what is sampled elsewhere has to differ
        if positions:
            run = partial(observe, network, names=names, replaced=tensors_of(positions))
            actual = run(batch)
        if self.noisy:
            actual = noise.subtract_noise(network, run, batch, actual, expected, limit)
        if missing := [name for name in logits if name not in expected]:
            raise ReferenceUnavailable(
                f"PaddleOCR's network has no layer {missing[0]}, whose output is our logits"
            )
        theirs, ours = results_of(expected), results_of(actual)
        theirs = by_our_names(theirs, ours)
        comparisons += [
            compare(
                f"logits ({name})" if name in logits else name,
                array,
                actual[name],
                input_shape=batch.shape,
                limit=limit if name in logits else INNER * limit,
            )
            for name, array in expected.items()
            if name in actual and name not in theirs
        ]
        return [
            *comparisons,
            *compare_results(
                network,
                self.task,
                theirs,
                ours,
                input_shape=batch.shape,
                limit=limit,
                logits={name: expected[name] for name in logits},
            ),
            self.compare_epsilons(self.unfused or network, batch.shape),
        ]

    def compare_epsilons(self, network: Model, input_shape: tuple[int, ...]) -> Comparison:
        """Compare all epsilons of normalisations: in their outputs rounding would hide them."""
        norms = {n: m.eps for n, m in network.named_modules() if isinstance(m, _NORMALISATIONS)}
        faults = [
            f"the epsilon of {name} is {self.epsilons.get(name, math.nan):.3g} in Paddle, "
            f"{ours:.3g} in PyTorch"
            for name, ours in norms.items()
            if not math.isclose(self.epsilons.get(name, math.nan), ours, rel_tol=1e-5)
        ]
        gap, shape = math.inf if faults else 0.0, (len(norms),)
        fault = "; ".join(faults[:3])
        return Comparison("epsilons", input_shape, shape, gap, 1.0, LIMIT, (), fault)

    def layers(self, network: Model, batch: np.ndarray) -> SideBySide:
        """Run both networks and return the layers that both have, in the order of ours."""
        expected, positions = self.run(network, batch, layer_names(network))
        return side_by_side(network, batch, expected, self.epsilons, tensors_of(positions))

    def run(
        self, network: Model, batch: np.ndarray, names: Sequence[str]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Run Paddle's network; return outputs of layers, and positions by our plates' names."""
        inputs = adapter_for(self.architecture).paddle_inputs(batch)
        outputs = self.session.run(inputs, [*names, *plates(network).values()])
        return outputs, plate_positions(network, outputs)


def with_guides(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the class counts of a MultiHead's guides, as PaddleOCR's tools/train.py does."""
    head = dict(head_options(architecture))
    if "out_channels_list" not in head:
        return dict(architecture)
    classes = head["out_channels_list"]["CTCLabelDecode"]
    guides = {"SARLabelDecode": classes + 2, "NRTRLabelDecode": classes + 3}
    head["out_channels_list"] = {**guides, **head["out_channels_list"]}
    return {**architecture, "Head": head}
