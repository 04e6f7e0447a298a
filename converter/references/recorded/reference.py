"""A record as the reference: our network is compared with what PaddleOCR's computed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TypeVar

import numpy as np

import architectures
from architectures.model import FORMS, Model
from converter.adapters.registry import adapter_for
from converter.adapters.running import record_run
from converter.alignment.trace import OUTPUT
from converter.mapping.plan import Plan
from converter.parity import noise
from converter.parity.comparison import INNER, INTEGERS, LIMIT, Comparison
from converter.parity.layerwise import Pair, SampledTensor, SideBySide, failed
from converter.references.hooks import by_our_names, folded_into, observe, results_of
from converter.references.recorded.compare import compare_output, compare_ranked
from converter.references.recorded.network import (
    build_recorded,
    is_deployed,
    layer_names,
    networks,
)
from converter.references.recorded.record import Record
from schemas.record import OutputRow

T = TypeVar("T")


def subjects(
    record: Record, form: str = "train"
) -> Iterator[tuple[RecordedReference, Model, Plan]]:
    """Yield each network of a record: its reference, the network in that form, and its plan."""
    for prefix, architecture in networks(record.facts.architecture):
        network, plan = build_recorded(record, prefix, architecture)
        names = layer_names(record, prefix, network, plan)
        if FORMS.index(form) > FORMS.index(network.form):
            network = architectures.fuse(network, form)
        yield RecordedReference(record, prefix, names), network, plan


class RecordedReference:
    """Compares one network of a record with what Paddle computed for it.

    Args:
        record: the record.
        prefix: of the network's names in the record, if that holds several networks.
        names: our name of each layer in the trace that is compared.
    """

    kind = "recorded"

    def __init__(self, record: Record, prefix: str, names: Mapping[str, str]) -> None:
        self.record, self.prefix, self.names = record, prefix, names
        (_, self.image), *given = record.inputs().items()
        self.given = dict(given)

    def compare(self, network: Model, batch: np.ndarray, limit: float) -> list[Comparison]:
        """Compare the outputs, the logits, and the first layer at fault, else the nearest to it."""
        return self.compare_all(self.layers(network, batch), limit)

    def compare_all(self, sides: SideBySide, limit: float) -> list[Comparison]:
        """Do what `compare` does, for a network that was run already."""
        comparisons = []
        rows = self.results(sides)
        correspondence = adapter_for(sides.network.architecture).record_rows
        for name, row in rows.items():
            ours, grown = sides.outputs.get(name), sides.noises.get(name)
            if ours is not None and (like := correspondence.ranked.get(_plain(name))):
                grown = sides.noises.get(f"{OUTPUT}.{like}")
                comparisons.append(
                    compare_ranked(self.record.arrays, row, ours, grown, limit, self.image.shape)
                )
            else:
                comparisons += compare_output(
                    self.record.arrays, row, ours, grown, limit, self.image.shape
                )
        layers = sides.comparisons(limit)
        found = {pair.name: layer for layer, pair in zip(layers, sides.pairs, strict=True)}
        logits = [
            found.get(name) or failed(self.prefix + name, self.image.shape, [], 0.0, limit,
                                      "the record has no such layer")
            for name in sides.network.logits_layers
        ]  # fmt: skip
        unproved = [
            failed(self.prefix + name, self.image.shape, array.shape, 0.0, limit,
                   "the record has no such result")
            for name, array in sides.outputs.items()
            if name not in rows
            and _plain(name) not in correspondence.optional
        ]  # fmt: skip
        faulty = [layer for layer in layers if layer.fault][:1]
        nearest = sorted(layers, key=lambda layer: layer.difference / layer.limit)[-1:]
        return [*comparisons, *dict.fromkeys([*logits, *unproved, *(faulty or nearest)])]

    def results(self, sides: SideBySide) -> dict[str, OutputRow]:
        """Return the row of each recorded result of this network, by our name of it.

        Those that the network's adapter leaves out are missing.

        A result that is the only one may have any name in the record; those of a tuple have none.
        """
        place = self.prefix.rstrip(".") + "/"
        rows = {
            row.path.removeprefix(place): row
            for row in self.record.facts.outputs
            if "/" not in row.path or row.path.startswith(place)
        }
        correspondence = adapter_for(sides.network.architecture).record_rows
        rows = {
            correspondence.names.get(name, name): row
            for name, row in rows.items()
            if name not in correspondence.left_out
        }
        if len(rows) == 1:
            return dict(zip([OUTPUT], rows.values(), strict=True))
        return by_our_names({f"{OUTPUT}.{name}": row for name, row in rows.items()}, sides.outputs)

    def layers(self, network: Model, batch: np.ndarray) -> SideBySide:
        """Return the layers of both sides in the order in which Paddle ran them."""
        facts, rows = self.record.facts, self.record.arrays["trace"]
        run = record_run(network, self.given)
        watched = partial(observe, network, names=self.names.values(), run=run)
        actual = watched(batch)
        noisy = noise.is_noisy(network, facts.noise, LIMIT)
        noises = noise.measure(network, watched, batch, actual) if noisy else {}
        if noises and any(array.dtype.kind in INTEGERS for array in results_of(actual).values()):
            actual.update(self._exact_integers(network, batch))
        altered = set(folded_into(network).values())
        complete = network.form == "train" or is_deployed(facts.architecture)
        correspondence = adapter_for(network.architecture).record_rows
        pairs = []
        lost = False
        for row, layer in zip(rows, facts.trace, strict=True):
            lost = lost or bool(np.isnan(row).all())
            ours = self.names.get(layer.layer)
            if ours is None or ours in altered or not correspondence.is_traced(ours):
                continue
            module = _first_output(actual, ours)
            if layer.calls > 1 and not row.any() and module is not None and not module.any():
                continue  # its first step is on zeros, as ours is; the results cover the others
            # Deployed networks lack the branches that were merged, but never the logits.
            if module is not None or complete or ours in network.logits_layers:
                # What is computed of a map's means is small where they cancel out; its rounding is
                # not.
                slack = INNER if module is not None and layer.shape[2:] == (1, 1) else 1.0
                expected = SampledTensor(layer.shape, row, _first_output(noises, ours), lost)
                pairs.append(Pair(ours, layer.layer, expected, module, slack))
        return SideBySide(network, batch, tuple(pairs), results_of(actual), run, noises)

    def _exact_integers(self, network: Model, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Return those of the results that are integers, decided in double precision.

        Where rounding closes the gap between two choices, another machine takes the other.
        """
        exact = copy.deepcopy(network).double()
        run = record_run(exact, {name: _doubled(array) for name, array in self.given.items()})
        results = results_of(observe(exact, _doubled(batch), (), run))
        return {name: array for name, array in results.items() if array.dtype.kind in INTEGERS}


def _doubled(array: np.ndarray) -> np.ndarray:
    """Return numbers with a fraction in double precision, others as they are."""
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _plain(name: str) -> str:
    """Return the name of a result without the prefix that distinguishes it from a layer."""
    return name.removeprefix(f"{OUTPUT}.")


def _first_output(actual: Mapping[str, T], name: str) -> T | None:
    """Return what is known of a layer's output; of several outputs (an LSTM's) the first."""
    return actual.get(name, actual.get(f"{name}.0"))
