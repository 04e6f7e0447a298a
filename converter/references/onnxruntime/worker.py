"""The child process in which ONNX Runtime runs, started by `session.py` through `confined.py`."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":  # a script's own folder comes first; the project's is needed
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from converter.references.processes.messages import Arrays, serve


class Program:
    """An ONNX file, run without any optimisation, which would remove values that are compared."""

    def __init__(self, file: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4  # fatal; errors are raised
        options.intra_op_num_threads = _threads()
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            file, options, providers=["CPUExecutionProvider"]
        )
        self.facts = {"inputs": [value.name for value in self.session.get_inputs()]}

    def run(self, inputs: Arrays, _wanted: list[str], _for_record: bool = False) -> Arrays:
        """Return every output by its index."""
        fed = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        results = self.session.run(None, fed)
        return {str(index): np.asarray(result) for index, result in enumerate(results)}


def _threads() -> int:
    """Return the number of threads that the environment allows; 0 for all cores."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return int(threads) if threads.isdecimal() else 0


def start() -> str:
    """Import ONNX Runtime and return its version."""
    import onnxruntime

    return str(onnxruntime.__version__)


def load(request: dict[str, Any], _arrays: Arrays) -> Program:
    """Load a program."""
    return Program(request["program"])


if __name__ == "__main__":
    serve(start, load)
