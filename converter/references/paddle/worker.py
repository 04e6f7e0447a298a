"""The child process in which Paddle runs, started by `session.py` through `confined.py`.

Of the project it imports the adapters, which need NumPy, and what loads PaddleNLP's networks.

It reads requests from standard input and writes answers to what was standard output; see
`messages.py`.
"""

import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":  # a script's own folder comes first; the project's is needed
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from converter.adapters.registry import adapter_of_head
from converter.references.paddle import compatibility
from converter.references.processes.messages import Arrays, serve


class Program:
    """An exported inference program, run by Paddle's own predictor operation by operation.

    Attributes:
        facts: sent to the parent when it is loaded; so for `Network`.
    """

    def __init__(self, program: str, weights: str) -> None:
        from paddle import inference

        config = inference.Config(program, weights)
        config.disable_gpu()
        config.disable_mkldnn()
        config.switch_ir_optim(False)  # fusing would remove values that are compared
        if program.endswith(".pdmodel"):  # of PIR, Paddle frees what nothing needs any more
            config.enable_memory_optim()
        config.disable_glog_info()
        self.predictor = inference.create_predictor(config)
        self.facts = {"inputs": self.predictor.get_input_names()}

    def run(self, inputs: Arrays, _wanted: list[str], _for_record: bool = False) -> Arrays:
        """Return every output by its index."""
        for name, array in inputs.items():
            handle = self.predictor.get_input_handle(name)
            handle.reshape(array.shape)
            handle.copy_from_cpu(np.ascontiguousarray(array))
        self.predictor.run()
        outputs = self.predictor.get_output_names()
        return {
            str(index): self.predictor.get_output_handle(name).copy_to_cpu()
            for index, name in enumerate(outputs)
        }


class Network:
    """A network of a PaddleOCR checkout, built from its own source."""

    def __init__(self, checkout: str, architecture: dict[str, Any], weights: Arrays) -> None:
        import paddle

        with paddle.utils.unique_name.guard():  # heads may name their parameters alike
            self.network = build_network(checkout, architecture)
        tensors = {name: paddle.to_tensor(array) for name, array in weights.items()}
        for name, tensor in self.network.state_dict().items():
            if name in tensors and tensors[name].dtype != tensor.dtype:
                # Of AMP training; PaddleOCR's load_model casts them likewise.
                tensors[name] = tensors[name].astype(tensor.dtype)
        _, unexpected = self.network.set_state_dict(tensors)
        if unexpected:
            raise ValueError(f"PaddleOCR's network has no {', '.join(unexpected[:5])}")
        self.layers = dict(self.network.named_sublayers())
        epsilons = {
            name: float(layer._epsilon)
            for name, layer in self.layers.items()
            if hasattr(layer, "_epsilon")
        }
        self.facts = {"epsilons": epsilons}

    def run(self, inputs: Arrays, wanted: list[str], for_record: bool = False) -> Arrays:
        """Return the outputs of the wanted layers and, under `output`, of the network."""
        import paddle

        outputs: Arrays = {}
        hooks = [
            self.layers[name].register_forward_post_hook(
                lambda _layer, _inputs, output, name=name: _flatten(name, output, outputs)
            )
            for name in wanted
            if name in self.layers
        ]
        with paddle.no_grad():
            output = call_network(self.network, inputs, for_record=for_record)
        for hook in hooks:
            hook.remove()
        if isinstance(output, dict) and len(output) == 1:
            (output,) = output.values()
        _flatten("output", output, outputs)
        return outputs


def build_network(checkout: str, architecture: dict[str, Any]) -> Any:
    """Build a network, in eval mode, from an architecture and the source of a checkout."""
    import paddle

    paddle.set_device("cpu")
    root = str(Path(checkout).resolve())
    if root not in sys.path:
        sys.path.insert(0, root)
    # The package's own __init__ also imports modules for training; base_model does not.
    folder = types.ModuleType("ppocr.modeling.architectures")
    folder.__path__ = [str(Path(root) / "ppocr/modeling/architectures")]
    sys.modules[folder.__name__] = folder
    from ppocr.modeling.architectures.base_model import BaseModel

    compatibility.provide_imports(architecture)
    folder_before = Path.cwd()
    os.chdir(root)  # PGHead opens its dictionary by a path relative to the checkout
    try:
        network = BaseModel(architecture)
    finally:
        os.chdir(folder_before)
    if hasattr(getattr(network, "transform", None), "infer_mode"):
        network.transform.infer_mode = True  # super-resolution; a training YAML says False
    network.eval()
    return network


def call_network(network: Any, inputs: Arrays, *, for_record: bool = False) -> Any:
    """Run a network of a checkout as PaddleOCR's own programs do.

    Args:
        network: PaddleOCR's.
        inputs: the image, (N, C, H, W) float32, or the tokens, (N, T) int64, then the extra inputs
            in the network's order.
        for_record: return the results that a record holds; some heads have more there.
    """
    import paddle

    names = [*inputs][1:]
    image, *extra = [paddle.to_tensor(np.ascontiguousarray(array)) for array in inputs.values()]
    last = getattr(network, "head", None) or getattr(network, "backbone", None)
    adapter = adapter_of_head(type(last).__name__, {})
    call = adapter.record_paddle if for_record else adapter.call_paddle
    with compatibility.as_expected():
        return call(network, image, dict(zip(names, extra, strict=True)))


def _flatten(name: str, output: Any, outputs: Arrays) -> None:
    """Add the tensors of a layer's output; of a layer called several times, those of the first."""
    if isinstance(output, (list, tuple)):
        for index, item in enumerate(output):
            _flatten(f"{name}.{index}", item, outputs)
    elif isinstance(output, dict):
        for key, item in output.items():
            _flatten(f"{name}.{key}", item, outputs)
    elif hasattr(output, "numpy"):
        outputs.setdefault(name, output.numpy())


def start() -> str:
    """Import Paddle and return its version."""
    import paddle

    return str(paddle.__version__)


def load(request: dict[str, Any], arrays: Arrays) -> Program | Network:
    """Load an exported program, or a network with the weights in `arrays`."""
    if request["do"] == "program":
        return Program(request["program"], request["weights"])
    return Network(request["checkout"], request["architecture"], arrays)


if __name__ == "__main__":
    serve(start, load)
