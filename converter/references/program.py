"""The exported program as the reference: Paddle's predictor runs what PaddleOCR exported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch

from architectures import Model, fuse
from architectures.model import FORMS
from converter.adapters.registry import adapter_for
from converter.adapters.running import extra_tensors, run_network
from converter.alignment.layer_graph import (
    Key,
    Layer,
    LayerGraph,
    TracedLayers,
    network_graph,
)
from converter.alignment.trace import Trace, trace
from converter.errors import ReferenceUnavailable
from converter.parity import noise
from converter.parity.comparison import INNER, Comparison, compare, compare_results
from converter.parity.layerwise import FullTensor, Pair, SideBySide
from converter.references.hooks import folded_into
from converter.references.paddle.session import PaddleSession
from converter.sources.ir import Program
from converter.sources.pdiparams import read_export


class ProgramReference:
    """Compares a network with an exported program, layer by layer where they correspond.

    Args:
        session: the Paddle process.
        program: the exported program.
        weights: its `.pdiparams`.
        counterparts: for each layer of the network, by its key, the program's layer; none where
            data flow could not tell, so that the results alone are compared.
        task: one of the catalog's TASKS; tells what is decided from the output.
        noisy: whether rounding alone takes results of this network beyond the limit (`noise.py`).
        layers: the network's layers, where it was traced before; else it is traced here.
    """

    kind = "program"

    def __init__(
        self,
        session: PaddleSession,
        program: Program,
        weights: Path,
        counterparts: Mapping[Key, Layer],
        task: str,
        noisy: bool = False,
        layers: TracedLayers | None = None,
    ) -> None:
        self.session, self.program, self.weights = session, program, weights
        self.noisy = noisy
        self.counterparts, self.task = counterparts, task
        self._loaded: tuple[str, ...] = ()
        self._layers = layers

    def compare(self, network: Model, batch: np.ndarray, limit: float) -> list[Comparison]:
        """Compare what leaves backbone and neck, the logits, the results, and what they decide."""
        layers, run = self.record(network, batch)
        values, graph = _arrays(run), layers.graph
        probes = self.probes(graph)
        inputs = adapter_for(network.architecture).paddle_inputs(batch)
        expected = self.run(
            inputs, [self.counterparts[graph.layers[index].key].output for index in probes]
        )
        if self.noisy:
            names = [*(graph.layers[index].output for index in probes), *layers.outputs.values()]
            values = noise.subtract_noise(
                network,
                lambda images: _arrays(self.rerun(network, images, layers)),
                batch,
                values,
                dict(zip(names, expected, strict=True)),
                limit,
            )
        last = {index for index, _ in graph.results}
        comparisons = []
        for index, array in zip(probes, expected, strict=False):
            layer = graph.layers[index]
            final = index in last
            label = f"{'logits' if final else _part(layer)} ({_module(layer)})"
            ours = values[layer.output]
            comparisons.append(
                compare(
                    label,
                    array,
                    ours,
                    input_shape=batch.shape,
                    limit=limit if final else INNER * limit,
                )
            )
        # A program's results have no names; there are as many as ours, else data flow had told.
        results = {name: values[value] for name, value in layers.outputs.items()}
        theirs = dict(zip(results, expected[len(probes) :], strict=True))
        return comparisons + compare_results(
            network,
            self.task,
            theirs,
            results,
            input_shape=batch.shape,
            limit=limit,
            logits={
                _module(graph.layers[index]): array
                for index, array in zip(probes, expected, strict=False)
                if index in last
            },
        )

    def record(self, network: Model, batch: np.ndarray) -> tuple[TracedLayers, Trace]:
        """Run `network` on `batch`; return its layers, and the run with the values to compare.

        The layers of the run before are taken to be this network's. Where it runs other operations
        (its weights were edited, or a decoder wrote a longer text), it runs once more.
        """
        layers = self._layers
        if layers is None:
            image = torch.from_numpy(batch[:1])
            extra = extra_tensors(network, image)
            layers = self.reduce(trace(network, image, given=extra, keep=()))
        run = self.rerun(network, batch, layers)
        if not layers.fit(run):
            layers = self.reduce(run)
            run = self.rerun(network, batch, layers)
        self._layers = layers
        return layers, run

    def rerun(self, network: Model, batch: np.ndarray, layers: TracedLayers) -> Trace:
        """Run `network` on `batch` and keep the results, and what the probed layers give."""
        image = torch.from_numpy(batch)
        probed = {layers.graph.layers[index].output for index in self.probes(layers.graph)}
        kept = {*layers.outputs.values(), *probed}
        return trace(network, image, given=extra_tensors(network, image), keep=kept)

    def reduce(self, traced: Trace) -> TracedLayers:
        """Return the layers of our network; none where none has a counterpart."""
        return TracedLayers(traced.operations, traced.outputs, self.graph(traced))

    def graph(self, traced: Trace) -> LayerGraph:
        """Return the layers of our network, if any of them has a counterpart."""
        return network_graph(traced) if self.counterparts else LayerGraph((), frozenset(), ())

    def probes(self, graph: LayerGraph) -> list[int]:
        """Return the places of the layers whose output leaves the backbone, the neck or the head.

        Where normalisations were folded away, a layer's output is no longer what the program's
        gives; the logits, which nothing follows, still are.
        """
        leaving = {index for index, _ in graph.results}
        if {layer.key for layer in graph.layers} == set(self.counterparts):
            leaving |= {
                source
                for layer in graph.layers
                for source, _ in layer.sources
                if source >= 0 and _part(graph.layers[source]) != _part(layer)
            }
        return sorted(leaving)

    def layers(self, network: Model, batch: np.ndarray) -> SideBySide:
        """Return the layers of both sides in the program's order.

        Where the program has no counterpart of a layer, since branches were merged or
        normalisations folded before it was exported, the same is done to a copy of the network.
        """
        for form in FORMS[FORMS.index(network.form) :]:
            counted = network if form == network.form else fuse(network, form)
            image = torch.from_numpy(batch)
            traced = trace(counted, image, given=extra_tensors(counted, image))
            graph = self.graph(traced)
            places = self.places(counted)
            ours = {layer.key: layer for layer in graph.layers}
            if all(key in ours and _alike(ours[key], theirs) for key, theirs in places.items()):
                break
        logits = {graph.layers[index].key for index, _ in graph.results if index >= 0}
        found = [(ours[key], theirs) for key, theirs in places.items() if key in ours]
        inputs = adapter_for(network.architecture).paddle_inputs(batch)
        expected = self.run(inputs, [theirs.output for _, theirs in found])
        pairs = tuple(
            Pair(
                _module(layer),
                f"{layer.kind} {_module(layer)} ({theirs.name} in the program)",
                FullTensor(_without_height(array, traced.values[layer.output].shape)),
                traced.values[layer.output].numpy(),
                1.0 if layer.key in logits else INNER,
                tuple(tensor.name for tensor in layer.tensors),
                theirs.settings,
            )
            for (layer, theirs), array in zip(found, expected, strict=False)
        )
        results = {name: traced.values[value].numpy() for name, value in traced.outputs.items()}
        return SideBySide(counted, batch, pairs, results, run_network)

    def places(self, network: Model) -> dict[Key, Layer]:
        """Return, for each layer of ours by its key, the program's that gives the same."""
        folds = folded_into(network)
        places: dict[Key, Layer] = {}
        for (name, call), theirs in self.counterparts.items():
            owner = name.rpartition(".")[0]
            place = (f"{folds[owner]}.weight" if owner in folds else name, call)
            places.pop(place, None)  # a convolution gives what the last that was folded into it did
            places[place] = theirs
        return places

    def run(self, fed: Mapping[str, np.ndarray], values: Sequence[str]) -> list[np.ndarray]:
        """Run the program in Paddle and return the named values, then its own results.

        Its inputs have names of their own, and what is `fed` comes in their order.
        """
        asked = (*values, *self.program.outputs)
        # Logits may be the result; Paddle cannot return one value of a PIR program twice.
        if self._loaded != (wanted := tuple(dict.fromkeys(asked))):
            self.session.load_program(self.program, self.weights, wanted)
            self._loaded = wanted
        outputs = self.session.run(self.inputs(fed))
        found = {value: outputs[str(place)] for place, value in enumerate(wanted)}
        return [found[value] for value in asked]

    def inputs(self, fed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what is fed by the program's names, in its types."""
        specs = self.program.inputs
        if len(specs) != len(fed):
            raise ReferenceUnavailable(
                f"the program takes {', '.join(spec.name for spec in specs) or 'nothing'}, where "
                f"its network takes {', '.join(fed)}"
            )
        return {
            spec.name: array.astype(spec.dtype, copy=False)
            for spec, array in zip(specs, fed.values(), strict=True)
        }


class PaddleProgram(AbstractContextManager["PaddleProgram"]):
    """An exported program as a function of arrays, for those who want Paddle's result alone.

    with PaddleProgram(folder / "inference.pdmodel", folder / "inference.pdiparams") as paddle:
        maps = paddle.run({"x": image})[0]

    Raises:
        SourceError: a file cannot be read, or the weights are not those of the program.
        UnsafeSource: the program has an operator that does more than compute.
        ReferenceUnavailable: Paddle is not installed, or cannot run the program.
    """

    def __init__(self, program_file: Path, weights_file: Path) -> None:
        export = read_export(program_file, weights_file)
        self._session = PaddleSession()
        try:
            self.input_names = self._session.load_program(export.program, weights_file)
        except BaseException:
            self._session.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the program's outputs for float32 inputs by name."""
        outputs = self._session.run(inputs)
        return [outputs[str(place)] for place in range(len(outputs))]


def _arrays(run: Trace) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in run.values.items()}


def _part(layer: Layer) -> str:
    return layer.name.partition(".")[0]


def _module(layer: Layer) -> str:
    return layer.name.rpartition(".")[0]


def _alike(ours: Layer, theirs: Layer) -> bool:
    """Return whether two layers of one kind have the same tensors: a folded one has a bias more."""
    return ours.kind != theirs.kind or len(ours.tensors) == len(theirs.tensors)


def _without_height(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return a map of height 1, (N, C, 1, W), as the sequence (N, C, W) that ours may be."""
    alike = array.ndim == len(shape) + 1 and array.size == math.prod(shape)
    return array.reshape(shape) if alike else array
