"""The runtimes of the benchmark of document structure. Each runs in a process of its own (`main`).

A side reads one JSON object a line from standard input, the `Job` first, and answers each with one
on what was standard output.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cores.threads import configure_threads

if TYPE_CHECKING:
    from pipelines.runtime import NetworkOutput

Run = Callable[[np.ndarray], Sequence[np.ndarray]]
"""Runs a network on `(1, 3, H, W) float32` and returns its outputs."""


@dataclass(frozen=True)
class Files:
    """The same network for each side; what is missing leaves out its side.

    Attributes:
        weights: converted weights, `X.pth`.
        program: the folder of Paddle's exported program.
        onnx: the network for ONNX Runtime.
        image: the page or table that it gets.
    """

    weights: str
    image: str
    program: str | None = None
    onnx: str | None = None


@dataclass(frozen=True)
class Job:
    """The job of a side.

    Attributes:
        threads: how many threads a side computes with.
        clock: `perf_counter`, the time that passes, or `process_time`, the time that all threads
            compute.
        folder: for `arrays.npz`, the inputs of the networks.
        networks: by stage: layout, table, detector.
    """

    threads: int
    clock: str
    folder: str
    networks: Mapping[str, Files]

    @property
    def arrays(self) -> Path:
        """The file of the networks' inputs, by stage."""
        return Path(self.folder) / "arrays.npz"


def pytorch(files: Files, job: Job) -> Run:
    """Return this project's network, in a process that is set up as the command lines' are."""
    configure_threads(job.threads)  # before PyTorch is imported
    import torch

    from pipelines.runtime import TorchNetwork

    torch.set_num_threads(job.threads)
    network = TorchNetwork(files.weights)
    return lambda batch: _arrays(network(batch))


def _arrays(outputs: NetworkOutput) -> Sequence[np.ndarray]:
    return list(outputs.values()) if isinstance(outputs, Mapping) else [outputs]


def paddle(files: Files, job: Job) -> Run | None:
    """Return Paddle Inference; with oneDNN, where it can run the format of the program."""
    from paddle import inference  # before PyTorch, after which it is several times slower

    if files.program is None:
        return None
    folder = Path(files.program)
    programs = [*folder.glob("*.pdmodel"), *folder.glob("*.json")]
    weights = [*folder.glob("*.pdiparams")]
    config = inference.Config(str(programs[0]), str(weights[0]))
    config.disable_gpu()
    if programs[0].suffix == ".pdmodel":  # oneDNN refuses an attribute of the newer format
        config.enable_mkldnn()
        config.enable_memory_optim()
    else:
        config.disable_mkldnn()
    config.set_cpu_math_library_num_threads(job.threads)
    config.switch_ir_optim(True)
    config.disable_glog_info()
    predictor = inference.create_predictor(config)
    outputs = [predictor.get_output_handle(name) for name in predictor.get_output_names()]

    def run(batch: np.ndarray) -> Sequence[np.ndarray]:
        given = {
            "im_shape": np.array([batch.shape[2:]], np.float32),
            "scale_factor": np.ones((1, 2), np.float32),
        }
        for name in predictor.get_input_names():
            array = given.get(name, batch)
            entry = predictor.get_input_handle(name)
            entry.reshape(array.shape)
            entry.copy_from_cpu(np.ascontiguousarray(array))
        predictor.run()
        return [output.copy_to_cpu() for output in outputs]

    return run


def onnxruntime(files: Files, job: Job) -> Run | None:
    """Return ONNX Runtime."""
    import onnxruntime as ort

    if files.onnx is None:
        return None
    options = ort.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.log_severity_level = 3  # a message for each step of a decoder would take time
    session = ort.InferenceSession(files.onnx, options, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    return lambda batch: session.run(None, {entry.name: batch})


SIDES: dict[str, tuple[Callable[[Files, Job], Run | None], str, str]] = {
    "pytorch": (pytorch, "torch", "pip install ."),
    "paddle": (paddle, "paddlepaddle", "pip install .[paddle]"),
    "onnxruntime": (onnxruntime, "onnxruntime", "pip install .[benchmark]"),
}
"""Each side by its name, with its package, and with what to install where that is missing."""


def record(job: Job) -> dict[str, int]:
    """Keep the input of each network, and return that there is one of each."""
    from pipelines import LayoutDetector, read_image
    from pipelines.table.networks import StructureNetwork
    from pipelines.table.preprocess import table_input

    arrays = {}
    for stage, files in job.networks.items():
        image = read_image(Path(files.image))
        if stage == "table":
            arrays[stage] = table_input(image, StructureNetwork(files.weights).settings)
        else:
            arrays[stage] = LayoutDetector(files.weights).preprocess(image)
    np.savez(job.arrays, **arrays)  # type: ignore[arg-type]
    return dict.fromkeys(arrays, 1)


def fingerprint(outputs: Sequence[np.ndarray]) -> float:
    """Return a number that equal outputs share: exports of decoders have one more step."""
    return float(sum(output.ravel()[:8].astype(float).sum() for output in outputs))


def main(name: str) -> None:
    """Make the side of that name and answer its jobs; `inputs` makes the arrays of all sides."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the packages print must not get among the answers

    def answer(value: Mapping[str, Any]) -> None:
        print(json.dumps(value), file=answers, flush=True)

    request = json.loads(sys.stdin.readline())
    networks = {stage: Files(**files) for stage, files in request.pop("networks").items()}
    job = Job(**request, networks=networks)
    if name == "inputs":
        answer(record(job))
        return
    make, package, _ = SIDES[name]
    try:
        made = {stage: make(files, job) for stage, files in networks.items()}
    except ImportError as error:
        answer({"missing": str(error)})
        return
    runs = {stage: run for stage, run in made.items() if run is not None}
    answer({"version": version(package), "stages": list(runs)})
    with np.load(job.arrays) as arrays:
        inputs = dict(arrays)
    now: Callable[[], float] = getattr(time, job.clock)
    for line in sys.stdin:
        stage = json.loads(line)["stage"]
        start = now()
        outputs = runs[stage](inputs[stage])
        seconds = now() - start
        sizes = [output.shape[-1] for output in outputs]
        answer({"seconds": seconds, "result": fingerprint(outputs), "outputs": sizes})
