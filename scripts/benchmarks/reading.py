"""Readers of whole pages, each in a process of its own (`main`), for the benchmark of throughput.

Every reader gets the same weights and the path of a page, reads the lines without turning them, and
returns how many there are. Pages have a size that none of them changes before detection.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

Read = Callable[[str], int]
"""Reads the page at a path, and returns the number of its lines."""

Timed = tuple[int, float, float, int]
"""A process, when it began and ended a page by `time.perf_counter`, and the number of lines."""


@dataclass(frozen=True)
class Job:
    """The job of a reader's process.

    Attributes:
        threads: how many threads it computes with.
        weights: the converted weights, by task.
        onnx: the ONNX files, by task.
        programs: Paddle's exported programs, by task.
        characters: the file of the recogniser's characters.
        rapidocrlite: the folder that RapidOCRLite is installed in.
        clock: of `benchmarks.pipeline.Child`; pages are timed by its parent.
    """

    threads: int
    weights: Mapping[str, str]
    onnx: Mapping[str, str]
    programs: Mapping[str, str]
    characters: str
    rapidocrlite: str
    clock: str = "perf_counter"


def pytorch(job: Job) -> Read:
    """Return this project's pipeline, with threads as in its command line."""
    from cores.threads import configure_threads

    if "torch" not in sys.modules:
        configure_threads(job.threads)
    from pipelines import OCR

    ocr = OCR(**job.weights)  # type: ignore[arg-type]
    return lambda path: len(ocr(path))


@contextmanager
def in_worker(job: Job) -> Iterator[Callable[[str], Timed]]:
    """Set up a process of `cores.workers`, or an actor of Ray, that reads pages."""
    read = pytorch(job)

    def timed(path: str) -> Timed:
        start = time.perf_counter()
        lines = read(path)
        return os.getpid(), start, time.perf_counter(), lines

    yield timed


def rapidocr_onnxruntime(job: Job) -> Read:
    """Return rapidocr-onnxruntime."""
    import cv2
    from rapidocr_onnxruntime import RapidOCR

    rapid = RapidOCR(
        det_model_path=job.onnx["det"],
        rec_model_path=job.onnx["rec"],
        rec_keys_path=job.characters,  # where the ONNX file has none
        intra_op_num_threads=job.threads,
        inter_op_num_threads=1,
    )
    return lambda path: len(rapid(cv2.imread(path), use_cls=False)[0] or ())


def paddleocr(job: Job) -> Read:
    """Return the pipeline of PaddleOCR 2.10 on Paddle Inference with oneDNN."""
    import paddle  # noqa: F401 - PaddleOCR imports others before, after which it is slower

    sys.meta_path.append(_Placeholders())
    packages = [
        path
        for path in (Path(entry, "paddleocr") for entry in sys.path)
        if (path / "tools").is_dir()
    ]
    if not packages:
        raise ImportError("there is no PaddleOCR 2.10")
    sys.path.insert(0, str(packages[0]))
    init_args = import_module("tools.infer.utility").init_args
    read_text = import_module("tools.infer.predict_system").TextSystem
    logging.disable()
    words = ["--use_angle_cls", "false", "--use_gpu", "false", "--enable_mkldnn", "true"]
    words += ["--cpu_threads", str(job.threads), "--rec_char_dict_path", job.characters]
    for task, program in job.programs.items():
        words += [f"--{task}_model_dir", program]
    system = read_text(init_args().parse_args(words))
    import cv2

    return lambda path: len(system(cv2.imread(path))[0] or ())


class _Placeholders(MetaPathFinder, Loader):
    """Stand for packages that PaddleOCR imports and needs for training alone."""

    NAMES = ("albumentations", "imgaug", "lmdb")

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        """Return the specification of such a package, where it is not installed."""
        if name.partition(".")[0] not in self.NAMES:
            return None
        return ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module any class that is asked for."""
        module.__dict__["__version__"] = "0"
        module.__dict__["__getattr__"] = lambda name: type(name, (), {})


def rapidocrlite(job: Job) -> Read:
    """Return RapidOCRLite with its native engine, whose package hides RapidOCR's."""
    os.environ |= dict.fromkeys(("PPOCR_BENCH_THREADS", "PPOCR_IMG_THREADS"), str(job.threads))
    if not Path(job.rapidocrlite, "rapidocr").is_dir():
        raise ImportError(f"there is no RapidOCRLite in {job.rapidocrlite}")
    sys.path.insert(0, job.rapidocrlite)
    from rapidocr import RapidOCR

    rapid = RapidOCR(
        params={
            "Det.model_path": job.onnx["det"],
            "Rec.model_path": job.onnx["rec"],
            "Rec.rec_keys_path": job.characters,
            "Global.use_cls": False,
        }
    )
    return lambda path: len(rapid(path).txts or ())


READERS: dict[str, Callable[[Job], Read]] = {
    reader.__name__: reader for reader in (pytorch, rapidocr_onnxruntime, paddleocr, rapidocrlite)
}


def main(name: str) -> None:
    """Make the reader of that name, and answer paths of pages with the number of their lines."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the packages print must not get among the answers

    def answer(value: Mapping[str, Any]) -> None:
        print(json.dumps(value), file=answers, flush=True)

    job = Job(**json.loads(sys.stdin.readline()))
    try:
        read = READERS[name](job)
    except ImportError as error:
        answer({"missing": str(error)})
        return
    with contextlib.suppress(ImportError):
        import cv2

        cv2.setNumThreads(job.threads)
    answer({})
    for line in sys.stdin:
        answer({"lines": read(json.loads(line)["path"])})
