"""The child process in which Paddle runs, started by `session.py` through `confined.py`.

Of the project it imports the adapters alone, which need NumPy.

It reads requests from standard input and writes answers to what was standard output. Both are
messages: a mark, the length of a JSON header (8 bytes, little-endian), the header, then the raw
bytes of the arrays that the header lists under `arrays` as [name, dtype, shape].
"""

import gc
import json
import os
import struct
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

if __name__ == "__main__":  # a script's own folder comes first; the project's is needed
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from converter.adapters.registry import adapter_of_head

Arrays = dict[str, np.ndarray]
MARK = b"\x93MESSAGE"  # what else a process may print does not begin so


def send(stream: IO[bytes], header: dict[str, Any], arrays: Arrays) -> None:
    """Write one message."""
    listed = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    text = json.dumps({**header, "arrays": listed}).encode()
    stream.write(MARK + struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        stream.write(np.ascontiguousarray(array).data)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], Arrays]:
    """Read one message; EOFError where the other side is gone, ValueError for anything else."""
    start = _exactly(stream, len(MARK))
    if start != MARK:
        raise ValueError(f"{start!r} where a message should begin")
    header = json.loads(_exactly(stream, struct.unpack("<Q", _exactly(stream, 8))[0]))
    arrays = {}
    for name, dtype, shape in header.pop("arrays"):
        data = _exactly(stream, int(np.dtype(dtype).itemsize * np.prod(shape, dtype=np.int64)))
        arrays[name] = np.frombuffer(data, dtype).reshape(shape)
    return header, arrays


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data


class Program:
    """An exported inference program, run by Paddle's own predictor without any optimisation.

    `described` is what is said of it when it is loaded; so for `Network`.
    """

    def __init__(self, program: str, weights: str) -> None:
        from paddle import inference

        config = inference.Config(program, weights)
        config.disable_gpu()
        config.disable_mkldnn()
        config.switch_ir_optim(False)  # fused operations would hide what is compared
        config.disable_glog_info()
        self.predictor = inference.create_predictor(config)
        self.described = {"inputs": self.predictor.get_input_names()}

    def run(self, inputs: Arrays, _wanted: list[str]) -> Arrays:
        """Return every output, named by its place."""
        for name, array in inputs.items():
            handle = self.predictor.get_input_handle(name)
            handle.reshape(array.shape)
            handle.copy_from_cpu(np.ascontiguousarray(array))
        self.predictor.run()
        outputs = self.predictor.get_output_names()
        return {
            str(place): self.predictor.get_output_handle(name).copy_to_cpu()
            for place, name in enumerate(outputs)
        }


class Network:
    """A network of a PaddleOCR checkout, built from its own source."""

    def __init__(self, checkout: str, architecture: dict[str, Any], weights: Arrays) -> None:
        import paddle

        with paddle.utils.unique_name.guard():  # some heads name parameters, as the next may
            self.network = build_network(checkout, architecture)
        _, unexpected = self.network.set_state_dict(
            {name: paddle.to_tensor(array) for name, array in weights.items()}
        )
        if unexpected:
            raise ValueError(f"PaddleOCR's network has no {', '.join(unexpected[:5])}")
        self.layers = dict(self.network.named_sublayers())
        epsilons = {
            name: float(layer._epsilon)
            for name, layer in self.layers.items()
            if hasattr(layer, "_epsilon")
        }
        self.described = {"epsilons": epsilons}

    def run(self, inputs: Arrays, wanted: list[str]) -> Arrays:
        """Return the outputs of the wanted layers and, under `output`, of the network."""
        import paddle

        found: Arrays = {}
        hooks = [
            self.layers[name].register_forward_post_hook(
                lambda _layer, _inputs, output, name=name: _flatten(name, output, found)
            )
            for name in wanted
            if name in self.layers
        ]
        with paddle.no_grad():
            output = call_network(self.network, inputs)
        for hook in hooks:
            hook.remove()
        if isinstance(output, dict) and len(output) == 1:
            (output,) = output.values()
        _flatten("output", output, found)
        return found


def build_network(checkout: str, architecture: dict[str, Any]) -> Any:
    """Return the network, in eval mode, that the source of a checkout makes of an architecture."""
    import paddle

    paddle.set_device("cpu")
    root = str(Path(checkout).resolve())
    if root not in sys.path:
        sys.path.insert(0, root)
    # The package's own __init__ also imports what only training needs; base_model does not.
    folder = types.ModuleType("ppocr.modeling.architectures")
    folder.__path__ = [str(Path(root) / "ppocr/modeling/architectures")]
    sys.modules[folder.__name__] = folder
    from ppocr.modeling.architectures.base_model import BaseModel

    here = Path.cwd()
    os.chdir(root)  # where PaddleOCR's own programs run: PGHead opens its dictionary from there
    try:
        network = BaseModel(architecture)
    finally:
        os.chdir(here)
    if hasattr(getattr(network, "transform", None), "infer_mode"):
        network.transform.infer_mode = True  # super-resolution; a training YAML says False
    network.eval()
    return network


def call_network(network: Any, inputs: Arrays, *, for_record: bool = False) -> Any:
    """Run a network of a checkout as PaddleOCR's own programs do.

    Args:
        network: PaddleOCR's.
        inputs: the image, (N, C, H, W) float32, then the extra inputs in the network's order.
        for_record: return the results that a record holds; some heads have more there.
    """
    import paddle

    names = [*inputs][1:]
    image, *extra = [paddle.to_tensor(np.ascontiguousarray(array)) for array in inputs.values()]
    head = type(getattr(network, "head", None)).__name__
    adapter = adapter_of_head(head, {})
    call = adapter.record_paddle if for_record else adapter.call_paddle
    with dropout_disabled():
        return call(network, image, dict(zip(names, extra, strict=True)))


@contextmanager
def dropout_disabled() -> Iterator[None]:
    """Make Paddle's dropout function do what it does at inference, whatever its caller asks for.

    SRN's encoders call the function without saying that the network is in eval mode, and its
    default is to drop values. PaddleOCR's exports drop none.
    """
    from paddle.nn import functional

    dropout: Any = functional.dropout

    def inference_dropout(
        x: Any, p: float = 0.5, axis: Any = None, _: bool = False, **options: Any
    ) -> Any:
        return dropout(x, p, axis, **{**options, "training": False})

    functional.dropout = inference_dropout  # type: ignore[assignment]
    try:
        yield
    finally:
        functional.dropout = dropout


def _flatten(name: str, output: Any, found: Arrays) -> None:
    """Note the tensors of a layer's output; of one called several times, the first call counts."""
    if isinstance(output, (list, tuple)):
        for place, item in enumerate(output):
            _flatten(f"{name}.{place}", item, found)
    elif isinstance(output, dict):
        for key, item in output.items():
            _flatten(f"{name}.{key}", item, found)
    elif hasattr(output, "numpy"):
        found.setdefault(name, output.numpy())


def memory() -> int:
    """Return the bytes that this process holds now, or 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever Paddle prints must not get among the answers
    subjects: dict[str, Program | Network] = {}
    try:
        import paddle
    except ImportError as error:
        send(answers, {"error": str(error), "stage": "import"}, {})
        return
    confinement = os.environ.get("CONFINEMENT", "")
    send(answers, {"paddle": paddle.__version__, "confinement": confinement}, {})
    while True:
        try:
            request, arrays = receive(requests)
        except EOFError:
            return
        try:
            name = request.get("name", "")
            if request["do"] == "run":
                send(answers, {}, subjects[name].run(arrays, request["wanted"]))
                continue
            gone = list(subjects) if request["do"] == "release" else [name]
            for each in gone:
                subjects.pop(each, None)
            gc.collect()  # before another is made
            if request["do"] == "release":
                send(answers, {"memory": memory()}, {})
                continue
            if request["do"] == "program":
                subjects[name] = Program(request["program"], request["weights"])
            else:
                subjects[name] = Network(request["checkout"], request["architecture"], arrays)
            send(answers, subjects[name].described, {})
        except Exception as error:  # whatever Paddle raises is the answer
            send(answers, {"error": f"{type(error).__name__}: {error}", "stage": "run"}, {})


if __name__ == "__main__":
    main()
