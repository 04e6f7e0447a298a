"""Networks of a PaddleOCR checkout with seeded weights, for programs in which Paddle runs.

The weights come from `seeded.py`. So that no error hides behind a vanished or saturated output,
convolutions and linear layers are calibrated: weight and bias are multiplied by the power of two
that brings the standard deviation of the layer's output nearest to 1. One forward pass does it,
layer by layer: the layers before one are calibrated when it runs.

Paddle runs in this process, so nothing here may import PyTorch.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import ConfigError, ReferenceUnavailable, UsageError
from converter.references import seeded
from converter.references.paddle.worker import build_network, call_network

# Shape of the recorded image, or of tokens, by algorithm, else by model type; larger for deep
# downsampling.
SHAPES = {
    "ABINet": (2, 3, 32, 128),
    "CAN": (2, 1, 64, 128),
    "CPPD": (2, 3, 32, 100),
    "LaTeXOCR": (1, 1, 64, 128),
    "LayoutLM": (2, 48),  # tokens
    "LayoutLMv2": (2, 48),
    "LayoutXLM": (2, 48),
    "NRTR": (2, 1, 32, 100),
    "PGNet": (1, 3, 128, 256),
    "PP-FormulaNet-L": (1, 1, 768, 768),
    "PP-FormulaNet-S": (1, 1, 384, 384),
    "PP-FormulaNet_plus-L": (1, 1, 768, 768),
    "PP-FormulaNet_plus-M": (1, 1, 384, 384),
    "PP-FormulaNet_plus-S": (1, 1, 384, 384),
    "PREN": (2, 3, 64, 256),
    "ParseQ": (2, 3, 32, 128),
    "RARE": (2, 3, 32, 100),
    "RFL": (2, 1, 32, 100),
    "RobustScanner": (2, 3, 48, 160),
    "Rosetta": (2, 3, 32, 100),
    "SAR": (2, 3, 48, 160),
    "SAST": (1, 3, 128, 256),
    "SATRN": (2, 3, 32, 100),
    "SDMGR": (1, 3, 128, 192),
    "SEED": (2, 3, 64, 256),
    "SPIN": (2, 1, 32, 100),
    "SRN": (2, 1, 64, 256),
    "STARNet": (2, 3, 32, 100),
    "SLANeXt": (1, 3, 512, 512),
    "SVTR": (2, 3, 32, 320),
    "TableAttn": (1, 3, 488, 488),
    "TableMaster": (1, 3, 480, 480),
    "UniMERNet": (1, 1, 192, 672),
    "ViTSTR": (2, 1, 224, 224),
    "VisionLAN": (2, 3, 64, 256),
    "cls": (2, 3, 48, 192),
    "det": (1, 3, 160, 224),
    "rec": (2, 3, 48, 160),
    "sr": (2, 3, 16, 64),
    "table": (1, 3, 192, 256),
}


def require_checkout(folder: Path) -> None:
    """Raise ReferenceUnavailable for a folder that holds no PaddleOCR."""
    if not (folder / "ppocr/modeling/architectures/base_model.py").is_file():
        raise ReferenceUnavailable(f"{folder} is no PaddleOCR checkout: it has no ppocr/modeling")


def import_paddle() -> Any:
    """Return Paddle, set to sum in one order everywhere, or raise ReferenceUnavailable."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        import paddle
    except ImportError as error:
        raise ReferenceUnavailable(
            f"Paddle cannot be imported ({error}); install paddlepaddle"
        ) from error
    return paddle


def class_count(text: str) -> tuple[str, int]:
    """Read the value of an option such as `ctc=97`."""
    name, _, count = text.partition("=")
    if name not in ("ctc", "cls") or not count.isdecimal() or not int(count):
        raise argparse.ArgumentTypeError(f"should read ctc=N or cls=N, not {text}")
    return name, int(count)


def default_shape(architecture: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of the image for the algorithm or the model type.

    Raises:
        UsageError: none is known.
    """
    for kind in (architecture.get("algorithm"), architecture.get("model_type")):
        if kind in SHAPES:
            return SHAPES[kind]
    kind = architecture.get("model_type")
    raise UsageError(f"no input is known for the model_type {kind!r}; give --input")


def architectures_of(
    training: Mapping[str, Any], classes: Mapping[str, int], where: Path
) -> dict[str, dict[str, Any]]:
    """Return the networks of a training YAML by the prefix of their tensors.

    The prefix of a single network is empty; of several that distil each other, `Student.` and so
    on. Class counts go where PaddleOCR's own programs put them: the heads that guide the training
    of a MultiHead have two and three classes more than its CTC head, for start, end and padding.

    Raises:
        ConfigError: the YAML, which is called `where`, has no Architecture with a Head.
    """
    top = training.get("Architecture")
    top = top if isinstance(top, dict) else {}
    models = top.get("Models")
    found = {f"{k}.": v for k, v in models.items()} if isinstance(models, dict) else {"": top}
    for architecture in found.values():
        stated = architecture if isinstance(architecture, dict) else {}
        head = stated.get("Head")
        if stated.get("model_type") in ("sr", "kie") and not classes:
            continue  # a transform or a backbone alone
        if not isinstance(head, dict):
            raise ConfigError(f"{where} has no Architecture with a Head")
        if "ctc" in classes and "character_dict_path" in head:
            path = head["character_dict_path"]
            raise ConfigError(f"{where}: {head.get('name')} has the classes of {path}, no others")
        if "cls" in classes:
            head["class_dim"] = classes["cls"]
        if "ctc" in classes and head.get("name") == "MultiHead":
            heads = {"CTCLabelDecode": 0, "SARLabelDecode": 2, "NRTRLabelDecode": 3}
            counts = {name: classes["ctc"] + more for name, more in heads.items()}
            head["out_channels_list"] = counts
        elif "ctc" in classes:
            head["out_channels"] = classes["ctc"]
    return found


def build(checkout: Path, architecture: Mapping[str, Any]) -> Any:
    """Return the network, in eval mode, that a checkout makes of an architecture.

    Raises:
        ReferenceUnavailable: it makes none; older and newer checkouts know different networks.
    """
    try:
        return build_network(str(checkout), _without_download(architecture))
    except Exception as error:  # whatever the checkout's source raises
        raise ReferenceUnavailable(
            f"{checkout} cannot build this network: {type(error).__name__}: {error}. Give a "
            "checkout that has it, and the class counts that the YAML leaves out (--classes)."
        ) from error


def _without_download(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy whose backbone does not fetch the weights that its training begins with."""
    alone = copy.deepcopy(dict(architecture))
    # PaddleNLP's networks, for key information, are not fetched, and state their sizes by name.
    if alone.get("model_type") != "kie" and isinstance(alone.get("Backbone"), dict):
        alone["Backbone"].pop("pretrained", None)
    return alone


def first_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state's tensors, each by the first of its names."""
    found: dict[int, str] = {}
    for name, tensor in state.items():
        found.setdefault(id(tensor), name)
    return {name: state[name] for name in found.values()}


def weights_of(network: Any, prefix: str = "") -> dict[str, Any]:
    """Return parameters and statistics by their first names: all but computed constants."""
    owned = {id(parameter) for parameter in network.parameters()}
    return {
        f"{prefix}{name}": tensor
        for name, tensor in first_names(network.state_dict()).items()
        if id(tensor) in owned or name.endswith(("._mean", "._variance"))
    }


def seed(
    network: Any, weights: Mapping[str, Any], inputs: Mapping[str, np.ndarray], salt: int
) -> dict[str, int]:
    """Give a network seeded, calibrated weights; return the exponents of those that were scaled.

    Args:
        network: built in Paddle.
        weights: its tensors by the names that their values are made from.
        inputs: what it is calibrated with, the image, (N, C, H, W) float32, first.
        salt: part of the name that every weight is made from.
    """
    import paddle

    with paddle.no_grad():
        set_weights(weights, salt, {})
        exponents = calibrate(network, weights, inputs)
        set_weights(weights, salt, exponents)
    return exponents


def set_weights(weights: Mapping[str, Any], salt: int, exponents: Mapping[str, int]) -> None:
    """Give every parameter and statistic the weight that its name makes."""
    for name, tensor in weights.items():
        made = seeded.seeded_weight(salt, name, tuple(tensor.shape), exponents.get(name, 0))
        tensor.set_value(made.astype(dtype_of(tensor)))


def calibrate(
    network: Any, weights: Mapping[str, Any], inputs: Mapping[str, np.ndarray]
) -> dict[str, int]:
    """Return the exponents of the tensors that are scaled, by their first names.

    The layer's output stands in for that of the scaled layer at once, as it is linear.
    """
    from paddle import nn

    names = {id(tensor): name for name, tensor in weights.items()}
    exponents: dict[str, int] = {}

    def scale(layer: Any, _inputs: Any, output: Any) -> Any:
        weight = names[id(layer.weight)]  # one that is shared, or called again, stays as it is
        exponent = exponents.setdefault(weight, exponent_for(float(output.numpy().std())))
        if layer.bias is not None:
            exponents[names[id(layer.bias)]] = exponent
        return output * 2.0**exponent

    kinds = (nn.Conv1D, nn.Conv2D, nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Linear)
    layers = [layer for layer in network.sublayers() if isinstance(layer, kinds)]
    with hooked(layers, scale):
        run(network, inputs)
    return exponents


def exponent_for(deviation: float) -> int:
    """Return the power of two that brings a standard deviation nearest to 1; 0 if none can."""
    return -round(math.log2(deviation)) if 0 < deviation < math.inf else 0


def run(network: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a network's outputs by their paths; that of a single tensor is `out`.

    Raises:
        ReferenceUnavailable: it cannot be run on these inputs, or not by this version of Paddle.
    """
    try:
        return dict(leaves(call_network(network, dict(inputs), for_record=True)))
    except Exception as error:  # whatever the checkout's source raises
        shapes = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
        raise ReferenceUnavailable(
            f"the checkout's network cannot be run on {shapes}: {type(error).__name__}: {error}"
        ) from error


@contextmanager
def hooked(layers: Iterable[Any], hook: Callable[[Any, Any, Any], Any]) -> Iterator[None]:
    """Call `hook` with each layer, its inputs and its output, which it may replace."""
    handles = [layer.register_forward_post_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of a nested output with their paths, `maps` or `Student/maps`."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}/{key}".lstrip("/"))
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from leaves(item, f"{path}/{place}".lstrip("/"))
    elif value is not None:
        yield path or "out", value.numpy()


def dtype_of(tensor: Any) -> str:
    """Return the dtype of a Paddle tensor in NumPy's words."""
    return str(tensor.dtype).removeprefix("paddle.")
