"""An exported program as the reference, run by Paddle's predictor or ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

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
from converter.parity.comparison import INNER, Comparison, common_steps, compare, compare_results
from converter.parity.layerwise import FullTensor, Pair, SideBySide, failed
from converter.parity.ranked import row_gap
from converter.parity.steps import settled, started_alike, step_logits, step_noise
from converter.references.choices import choices, compare_choices, compare_numbers
from converter.references.hooks import folded_into
from converter.references.paddle.session import PaddleSession
from converter.references.positions import POSITIONS, sampling_positions, tensors_of
from converter.references.processes.session import ChildSession
from converter.sources.ir import Operation, Program
from converter.sources.pdiparams import read_export
from converter.sources.reader import with_integers


class ProgramReference:
    """Compares a network with an exported program, layer by layer where they correspond.

    Args:
        session: the process that runs it.
        program: the exported program.
        weights: its `.pdiparams`, or the ONNX file itself.
        counterparts: the program's layer for each layer of the network, by its key; empty where
            the layers could not be matched, and then only the results are compared.
        task: one of the catalog's TASKS; it determines which decisions are compared.
        noisy: whether rounding alone moves results of this network beyond the limit (`noise.py`).
        layers: the network's layers, if it was traced before; else it is traced here.
    """

    kind = "program"

    def __init__(
        self,
        session: ChildSession,
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
        self._running = program  # the program as it is run

    def compare(self, network: Model, batch: np.ndarray, limit: float) -> list[Comparison]:
        """Compare outputs of backbone and neck, the logits, the results, and the decisions.

        Where rounding moves the positions at which an image is sampled (`positions.py`), or decides
        what is chosen (`choices.py`), this is compared, too; all that follows is computed from the
        program's. Of results step by step, those steps are compared that rounding does not decide
        (`parity/steps.py`).
        """
        with self.bounded(network):
            return self.compare_bounded(network, batch, limit)

    @contextmanager
    def bounded(self, network: Model) -> Iterator[None]:
        """Let both sides make the same steps, fewer where each repeats all before; not of ONNX."""
        adapter = adapter_for(network.architecture)
        if self.program.format == "onnx":
            yield
            return
        limits = {getattr(network.head, option): n for option, n in adapter.fewer_steps.items()}
        self._running = with_integers(self.program, limits)
        with adapter.as_exported(network, self.program):
            yield

    def compare_bounded(self, network: Model, batch: np.ndarray, limit: float) -> list[Comparison]:
        """Compare as `compare` does, with the steps that both sides make now."""
        layers, trace_run = self.record(network, batch)
        actual, graph = _arrays(trace_run), layers.graph
        compared = self.compared_layers(graph)
        inputs = self.inputs_of(network, batch)
        places = sampling_positions(network, layers.operations, self.program)
        chosen = choices(network, layers.operations, self.program)
        taken = self.taken(network, layers.operations)
        values = [self.counterparts[graph.layers[index].key].output for index in compared]
        found = self.run(inputs, [*taken.values(), *values])
        given, expected = dict(zip(taken, found, strict=False)), found[len(taken) :]
        comparisons = [
            compare(POSITIONS, given[name], actual[name], input_shape=batch.shape, limit=limit)
            for name in places
        ]
        comparisons += compare_numbers(chosen, given, actual, batch.shape, limit)
        if any(comparison.fault for comparison in comparisons):
            return comparisons  # what is sampled elsewhere has to differ
        if given:
            actual = _arrays(self.rerun(network, batch, layers, given))
        comparisons += compare_choices(chosen, given, actual, batch.shape, limit)
        scored = self.scored_steps(network, layers)
        run = partial(self.values_at, network, layers=layers, given=given, scored=scored)
        names = [graph.layers[index].output for index in compared]
        if not self.goes_on(network):  # a program's results have no names: ours are in its order
            names += layers.outputs.values()
        theirs = dict(zip(names, expected[: len(names)], strict=True))
        theirs |= _with_logits(theirs, scored)
        actual |= _with_logits(actual, scored)
        if self.noisy:
            actual = noise.subtract_noise(network, run, batch, actual, theirs, limit)
        of_values = self.compare_values(network, batch, limit, layers, theirs, actual)
        if network.stepwise and any(comparison.fault for comparison in of_values):
            limits = self.limits(layers, limit) | dict.fromkeys(scored, limit)
            steps = {n: actual[n] for n in limits if actual[n].ndim > 2}
            if not all(started_alike(theirs[n], x, limits[n]) for n, x in steps.items()):
                return comparisons + of_values
            for name, grown in step_noise(run, batch, steps).items():
                pair = settled(theirs[name], actual[name], grown, limits[name])
                theirs[name], actual[name] = pair
            of_values = self.compare_values(network, batch, limit, layers, theirs, actual)
        return comparisons + of_values

    def goes_on(self, network: Model) -> bool:
        """Return whether the program goes on to boxes, and so has other results than ours."""
        inputs = (spec.name for spec in self.program.inputs)
        return adapter_for(network.architecture).post_processes(inputs)

    def scored_steps(self, network: Model, layers: TracedLayers) -> dict[str, str]:
        """Return the values of a decoder that are a softmax, by the names of its logits here."""
        if not network.stepwise or self.goes_on(network):
            return {}
        results = {name.removeprefix("output."): value for name, value in layers.outputs.items()}
        return {
            f"logits ({', '.join(known.layers)}), from {name}": results[name]
            for name, known in network.activations.items()
            if known.function == "softmax" and name in results
        }

    def limits(self, layers: TracedLayers, limit: float) -> dict[str, float]:
        """Return the limits of the values that follow a decoder's steps: logits, and results."""
        graph = layers.graph
        last = {index for index, _ in graph.results} & set(self.compared_layers(graph))
        results = dict.fromkeys(layers.outputs.values(), INNER * limit)
        return results | {graph.layers[index].output: limit for index in last}

    def compare_values(
        self,
        network: Model,
        batch: np.ndarray,
        limit: float,
        layers: TracedLayers,
        expected: Mapping[str, np.ndarray],
        actual: Mapping[str, np.ndarray],
    ) -> list[Comparison]:
        """Compare layers, results and decisions; the program's values have the names of ours."""
        graph = layers.graph
        last = {index for index, _ in graph.results}
        adapter = adapter_for(network.architecture)
        comparisons = []
        logits = {}
        for index in self.compared_layers(graph):
            layer = graph.layers[index]
            module, final, array = _module(layer), index in last, expected[layer.output]
            if final:
                logits[module] = array
            ranked = module.startswith(adapter.ranked_layers)
            if ranked and array.shape == actual[layer.output].shape:
                comparisons.append(
                    _compare_rows(
                        f"logits ({module}), rows", array, actual[layer.output], batch, limit
                    )
                )
                continue
            comparisons.append(
                compare(
                    f"{'logits' if final else _part(layer)} ({module})",
                    array,
                    actual[layer.output],
                    input_shape=batch.shape,
                    limit=limit if final else INNER * limit,
                )
            )
        if self.goes_on(network):
            return comparisons
        results = {
            name: value
            for name, value in layers.outputs.items()
            if not (name in adapter.cut and expected[value].dtype.kind == "i")
        }
        comparisons += [
            compare(
                name,
                common_steps(expected[name], actual[name]),
                actual[name],
                input_shape=batch.shape,
                limit=limit,
            )
            for name in self.scored_steps(network, layers)
        ]
        return comparisons + compare_results(
            network,
            self.task,
            {name: expected[value] for name, value in results.items()},
            {name: actual[value] for name, value in results.items()},
            input_shape=batch.shape,
            limit=limit,
            logits=logits,
        )

    def values_at(
        self,
        network: Model,
        batch: np.ndarray,
        layers: TracedLayers,
        given: Mapping[str, np.ndarray],
        scored: Mapping[str, str],
    ) -> dict[str, np.ndarray]:
        """Run a network as `rerun` does and return the values that are compared."""
        values = _arrays(self.rerun(network, batch, layers, given))
        return values | _with_logits(values, scored)

    def record(self, network: Model, batch: np.ndarray) -> tuple[TracedLayers, Trace]:
        """Run a network; return its layers, and the trace with the values to compare.

        The layers are assumed to be those of the run before. If the network runs other operations
        (its weights were edited, or a decoder wrote a longer text) and values to compare are
        missing, it runs once more.
        """
        layers = self._layers
        if layers is None:
            image = torch.from_numpy(batch[:1])
            extra = extra_tensors(network, image)
            layers = self.reduce(network, trace(network, image, given=extra, keep=()))
        run = self.rerun(network, batch, layers)
        if not layers.fit(run):
            layers = self.reduce(network, run)
            kept = self.kept(network, layers)
            if not kept <= set(run.values):
                run = self.rerun(network, batch, layers)
            run = replace(run, values={name: run.values[name] for name in kept})
        self._layers = layers
        return layers, run

    def rerun(
        self,
        network: Model,
        batch: np.ndarray,
        layers: TracedLayers,
        given: Mapping[str, np.ndarray] = MappingProxyType({}),
    ) -> Trace:
        """Run a network; return the trace with its results and the outputs of compared layers.

        Args:
            network: ours.
            batch: the input, (N, C, H, W) float32.
            layers: its layers.
            given: what it takes from the program instead of its own, by the names of our values.
        """
        image = torch.from_numpy(batch)
        return trace(
            network,
            image,
            given=extra_tensors(network, image),
            keep=self.kept(network, layers),
            replaced=tensors_of(given),
        )

    def kept(self, network: Model, layers: TracedLayers) -> set[str]:
        """Return the names of the values that are compared: of `taken`, of layers, the results."""
        compared = self.compared_layers(layers.graph)
        return {
            *self.taken(network, layers.operations),
            *(choice.values for choice in choices(network, layers.operations, self.program)),
            *layers.outputs.values(),
            *(layers.graph.layers[i].output for i in compared),
        }

    def taken(self, network: Model, operations: Sequence[Operation]) -> dict[str, str]:
        """Return what our network takes from the program: positions and choices, ours first."""
        chosen = choices(network, operations, self.program)
        positions = sampling_positions(network, operations, self.program)
        return positions | {choice.chosen: choice.in_program for choice in chosen}

    def reduce(self, network: Model, traced: Trace) -> TracedLayers:
        """Return the operations, results and layers of a trace."""
        return TracedLayers(traced.operations, traced.outputs, self.graph(network, traced))

    def graph(self, network: Model, traced: Trace) -> LayerGraph:
        """Return the layers of our network; none if no layer has a counterpart."""
        if not self.counterparts:
            return LayerGraph((), frozenset(), ())
        adapter = adapter_for(network.architecture)
        return network_graph(traced, adapter.index_inputs, adapter.decodes)

    def compared_layers(self, graph: LayerGraph) -> list[int]:
        """Return the indices of the layers whose outputs leave the backbone, the neck or the head.

        Where normalisations were folded, the outputs of inner layers differ from the program's.
        Logits, which no normalisation follows, do not. Layers of a loop have no single output.
        """
        leaving = {index for index, _ in graph.results}
        if {layer.key for layer in graph.layers} == set(self.counterparts):
            leaving |= {
                source
                for layer in graph.layers
                for source, _ in layer.sources
                if source >= 0 and _part(graph.layers[source]) != _part(layer)
            }
        return sorted(index for index in leaving if self.is_run_once(graph.layers[index]))

    def is_run_once(self, layer: Layer) -> bool:
        """Return whether a layer of our network has one output, as does its counterpart."""
        return not layer.looped and not self.counterparts[layer.key].looped

    def layers(self, network: Model, batch: np.ndarray) -> SideBySide:
        """Run both sides and return their layers in the program's order.

        Where branches were merged or normalisations folded before the export, the program lacks
        counterparts of our layers; the same is then done to a copy of our network.
        """
        with self.bounded(network):
            return self.bounded_layers(network, batch)

    def bounded_layers(self, network: Model, batch: np.ndarray) -> SideBySide:
        """Return the layers as `layers` does, with the steps that both sides make now."""
        for form in FORMS[FORMS.index(network.form) :]:
            alike = network if form == network.form else fuse(network, form)
            image = torch.from_numpy(batch)
            traced = trace(alike, image, given=extra_tensors(alike, image))
            graph = self.graph(alike, traced)
            matched = self.matched_layers(alike)
            ours = {layer.key: layer for layer in graph.layers}
            if all(key in ours and _alike(ours[key], theirs) for key, theirs in matched.items()):
                break
        logits = {graph.layers[index].key for index, _ in graph.results if index >= 0}
        layers = [
            (ours[key], theirs)
            for key, theirs in matched.items()
            if key in ours and not (ours[key].looped or theirs.looped)
        ]
        inputs = self.inputs_of(network, batch)
        taken = self.taken(alike, traced.operations)
        found = self.run(inputs, [*taken.values(), *(theirs.output for _, theirs in layers)])
        given, expected = dict(zip(taken, found, strict=False)), found[len(taken) :]
        if given and all(array.shape == traced.values[n].shape for n, array in given.items()):
            extra = extra_tensors(alike, image)
            traced = trace(alike, image, given=extra, replaced=tensors_of(given))
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
            for (layer, theirs), array in zip(layers, expected, strict=False)
        )
        results = {name: traced.values[value].numpy() for name, value in traced.outputs.items()}
        return SideBySide(alike, batch, pairs, results, run_network)

    def matched_layers(self, network: Model) -> dict[Key, Layer]:
        """Return the program's layer with the same output as each of ours, by the key of ours."""
        folds = folded_into(network)
        matched: dict[Key, Layer] = {}
        for (name, call), theirs in self.counterparts.items():
            owner = name.rpartition(".")[0]
            key = (f"{folds[owner]}.weight" if owner in folds else name, call)
            matched.pop(key, None)  # the output is that of the last layer that was folded
            matched[key] = theirs
        return matched

    def run(self, inputs: Mapping[str, np.ndarray], values: Sequence[str]) -> list[np.ndarray]:
        """Run the program and return some of its values, then its results.

        Args:
            inputs: in the program's order, by any names.
            values: names of the values.
        """
        asked = (*values, *self.program.outputs)
        # Logits may be the result; Paddle cannot return one value of a PIR program twice.
        if self._loaded != (wanted := tuple(dict.fromkeys(asked))):
            self.session.load_program(self._running, self.weights, wanted)
            self._loaded = wanted
        outputs = self.session.run(self.inputs(inputs))
        arrays = {value: outputs[str(index)] for index, value in enumerate(wanted)}
        return [arrays[value] for value in asked]

    def inputs_of(self, network: Model, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Return the inputs of a network's program by any names, in the program's order."""
        names = [spec.name for spec in self.program.inputs]
        return adapter_for(network.architecture).program_inputs(batch, names)

    def inputs(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the inputs by the program's names, in the types that it declares.

        Raises:
            ReferenceUnavailable: the program has more or fewer inputs.
        """
        specs = self.program.inputs
        if len(specs) != len(inputs):
            raise ReferenceUnavailable(
                f"the program takes {', '.join(spec.name for spec in specs) or 'nothing'}, where "
                f"its network takes {', '.join(inputs)}"
            )
        return {
            spec.name: array.astype(spec.dtype, copy=False)
            for spec, array in zip(specs, inputs.values(), strict=True)
        }


class PaddleProgram(AbstractContextManager["PaddleProgram"]):
    """An exported program as a function of arrays, where only Paddle's results are needed.

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
        """Return the program's outputs in order.

        Args:
            inputs: float32 arrays by the names in `input_names`.
        """
        outputs = self._session.run(inputs)
        return [outputs[str(index)] for index in range(len(outputs))]


def _compare_rows(
    probe: str, expected: np.ndarray, actual: np.ndarray, batch: np.ndarray, limit: float
) -> Comparison:
    """Compare rows (N, R, C) that follow a top-k, each with the nearest one of its image."""
    largest = float(np.abs(expected).max())
    if not (np.isfinite(expected).all() and np.isfinite(actual).all() and largest):
        return failed(probe, batch.shape, expected.shape, largest, limit, "no finite values, or 0")
    gap = max(map(row_gap, expected, actual)) / largest
    fault = "" if gap <= limit else "some rows have no counterpart in PyTorch's"
    return Comparison(probe, batch.shape, expected.shape, gap, largest, limit, (), fault)


def _part(layer: Layer) -> str:
    return layer.name.partition(".")[0]


def _module(layer: Layer) -> str:
    return layer.name.rpartition(".")[0]


def _alike(ours: Layer, theirs: Layer) -> bool:
    """Return False for two layers of one kind with unequal tensors: folding adds a bias."""
    return ours.kind != theirs.kind or len(ours.tensors) == len(theirs.tensors)


def _without_height(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return a map (N, C, 1, W) as (N, C, W) if that is the shape of ours."""
    alike = array.ndim == len(shape) + 1 and array.size == math.prod(shape)
    return array.reshape(shape) if alike else array


def _with_logits(
    values: Mapping[str, np.ndarray], scored: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Return the logits of the steps of some values, by the names in `scored`."""
    return {name: step_logits(values[value]) for name, value in scored.items()}


def _arrays(run: Trace) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in run.values.items()}
