"""The exported program as the reference: Paddle's predictor runs what PaddleOCR exported."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch

from architectures import Model
from converter.graph.layers import Layer, LayerGraph, network_graph
from converter.graph.trace import trace
from converter.parity import INNER, Comparison, compare, compare_decisions
from converter.reference.session import PaddleSession
from converter.sources.program import Program


class ProgramReference:
    """Compares a network with an exported program, layer by layer where they correspond.

    Args:
        session: the Paddle process.
        program: the exported program.
        weights: its `.pdiparams`.
        counterparts: for each layer of the network, by its name, the program's layer.
        task: det, rec or cls; tells what is decided from the output.
        aligned: a network that has all these layers, to look for the first that differs where the
            one that is compared lacks some, its normalisations being folded.
    """

    kind = "program"

    def __init__(
        self,
        session: PaddleSession,
        program: Program,
        weights: Path,
        counterparts: Mapping[str, Layer],
        task: str,
        aligned: Model | None = None,
    ) -> None:
        self.session, self.program, self.weights = session, program, weights
        self.aligned = aligned
        self.counterparts, self.task = counterparts, task
        self._loaded: tuple[str, ...] = ()
        self._input = ""

    def compare(self, network: Model, batch: np.ndarray, limit: float) -> list[Comparison]:
        """Compare what leaves backbone and neck, the logits, the output, and what it decides."""
        image = torch.from_numpy(batch)
        recorded = trace(network, image[:1], keep=())
        graph = network_graph(recorded)
        probes = self.probes(graph)
        (result,) = recorded.outputs
        kept = {result, *(graph.layers[index].output for index in probes)}
        values = trace(network, image, keep=kept).values
        expected = self.run(
            batch, [self.counterparts[graph.layers[index].name].output for index in probes]
        )
        results = {index for index, _ in graph.results}
        comparisons = []
        for index, array in zip(probes, expected[:-1], strict=True):
            layer = graph.layers[index]
            final = index in results
            label = f"{'logits' if final else _part(layer)} ({_module(layer)})"
            ours = values[layer.output].numpy()
            comparisons.append(
                compare(
                    label,
                    array,
                    ours,
                    input_shape=batch.shape,
                    limit=limit if final else INNER * limit,
                )
            )
        ours = values[result].numpy()
        comparisons.append(
            compare("output", expected[-1], ours, input_shape=batch.shape, limit=INNER * limit)
        )
        comparisons.append(
            compare_decisions(self.task, expected[-1], ours, input_shape=batch.shape)
        )
        return comparisons

    def probes(self, graph: LayerGraph) -> list[int]:
        """Return the places of the layers whose output leaves the backbone, the neck or the head.

        Where normalisations were folded away, a layer's output is no longer what the program's
        gives; the logits, which nothing follows, still are.
        """
        leaving = {index for index, _ in graph.results}
        if {layer.name for layer in graph.layers} == set(self.counterparts):
            leaving |= {
                source
                for layer in graph.layers
                for source, _ in layer.sources
                if source >= 0 and _part(graph.layers[source]) != _part(layer)
            }
        return sorted(leaving)

    def first_difference(self, network: Model, batch: np.ndarray, limit: float) -> str:
        """Return the first layer, in the program's order, whose output differs."""
        traced = trace(network, torch.from_numpy(batch))
        layers = {layer.name: layer for layer in network_graph(traced).layers}
        if not self.counterparts.keys() <= layers.keys():
            if self.aligned is None or self.aligned is network:
                return ""
            before = self.first_difference(self.aligned, batch, limit)
            return before or "none before normalisations were folded: the folding is wrong"
        pairs = [(layers[name], theirs) for name, theirs in self.counterparts.items()]
        expected = self.run(batch, [theirs.output for _, theirs in pairs])
        for (ours, theirs), array in zip(pairs, expected[:-1], strict=True):
            actual = traced.values[ours.output].numpy()
            found = compare(
                "layer",
                array,
                actual,
                input_shape=batch.shape,
                limit=limit,
                constant_passes=True,
            )
            if found.fault:
                return (
                    f"{ours.kind} {_module(ours)} ({theirs.name} in the program): "
                    f"{_numbers(array)} in Paddle, {_numbers(actual)} in PyTorch"
                )
        return ""

    def run(self, batch: np.ndarray, values: Sequence[str]) -> list[np.ndarray]:
        """Run the program in Paddle and return the named values, then its own output."""
        if self._loaded != (wanted := (*values, *self.program.outputs)):
            suffix = ".pdmodel" if self.program.format == "pdmodel" else ".json"
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / f"probed{suffix}"
                file.write_bytes(self.program.with_outputs(wanted))
                (self._input,) = self.session.load_program(file, self.weights)
            self._loaded = wanted
        outputs = self.session.run({self._input: batch})
        return [outputs[str(place)] for place in range(len(outputs))]


class PaddleProgram(AbstractContextManager["PaddleProgram"]):
    """An exported program as a function of arrays, for those who want Paddle's result alone.

    with PaddleProgram(folder / "inference.pdmodel", folder / "inference.pdiparams") as paddle:
        maps = paddle.run({"x": image})[0]

    Raises:
        NoReference: Paddle is not installed, or cannot run the program.
    """

    def __init__(self, program_file: Path, weights_file: Path) -> None:
        self._session = PaddleSession()
        try:
            self.input_names = self._session.load_program(program_file, weights_file)
        except BaseException:
            self._session.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the program's outputs for float32 inputs by name."""
        outputs = self._session.run(inputs)
        return [outputs[str(place)] for place in range(len(outputs))]


def _part(layer: Layer) -> str:
    return layer.name.partition(".")[0]


def _module(layer: Layer) -> str:
    return layer.name.rpartition(".")[0]


def _numbers(array: np.ndarray) -> str:
    return f"mean {array.mean():.6g}, std {array.std():.6g}, max {np.abs(array).max():.6g}"
