"""Record what a network of a PaddleOCR checkout computes, to check a port without Paddle.

    python scripts/record_reference.py CONFIG.yml --paddleocr CHECKOUT --out DIR
        [--classes ctc=97] [--input 1x3x160x224] [--waves] [--salt 0]

Writes DIR/NAME/reference.json and outputs.npz, which `python -m converter verify DIR` reads. NAME
is CONFIG's path below `configs`: det/det_mv3_db.yml becomes det__det_mv3_db. The weights are seeded
by their names and calibrated (`converter/references/paddle/checkout.py`). The record holds only the
exponents of the calibration, so it is small and reproducible. Inputs beside the image are stored;
their values come from the head's adapter (`converter/adapters/`).

Paddle runs in this process, so nothing here may import PyTorch.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from converter.adapters.base import RecordedInput
from converter.adapters.layoutlm import RULES, TokenAdapter
from converter.adapters.registry import adapter_for
from converter.catalog.yaml_io import read_training
from converter.errors import ConfigError, ConverterError, OutputError, ReferenceUnavailable
from converter.parity.jitter import JITTER
from converter.references import seeded
from converter.references.paddle import checkout
from schemas.record import (
    ConstantRow,
    InputRow,
    OutputRow,
    ParameterRow,
    RecordFacts,
    TraceRow,
)

MAX_VALUES = 4096  # values stored of one output
PIXELS = "127.5 + 127.5 * uniform(-1,1)"  # the rule of a second image
TINY = np.finfo(np.float32).tiny  # avoids a division by zero
MIN_CHANGE = 0.01  # of an output when the image is mirrored; a smaller one proves nothing


class Record(NamedTuple):
    """The content of reference.json, and the arrays of outputs.npz."""

    facts: RecordFacts
    arrays: dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Record one network and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("config", type=Path, metavar="CONFIG.yml", help="one of PaddleOCR's training YAMLs")
    add("--paddleocr", type=Path, required=True, metavar="CHECKOUT", help="the folder of ppocr/")
    add("--out", type=Path, required=True, metavar="DIR", help="the folder of records")
    add("--classes", type=checkout.class_count, action="append", default=[], metavar="ctc=N",
        help="ctc=N or cls=N, where the dictionary determines the class count")  # fmt: skip
    add(
        "--input",
        type=image_shape,
        metavar="NxCxHxW",
        help="shape of the image (default: by the algorithm or model type)",
    )
    add(
        "--waves",
        action="store_true",
        help="use a smooth image, for networks that straighten lines (TPS): noise has no lines",
    )
    add("--salt", type=int, default=0, metavar="N", help="seed of weights and inputs (default: 0)")
    options = parser.parse_args(argv)
    try:
        checkout.require_checkout(options.paddleocr)
        architecture = read_architecture(options.config, dict(options.classes))
        shape = options.input or checkout.default_shape(architecture)
        rule = "waves" if options.waves else "uniform(-1,1)"
        record = record_network(options.paddleocr, architecture, shape, options.salt, rule)
        config = path_below_configs(options.config)
        folder = options.out / "__".join(config.with_suffix("").parts)
        write(folder, record._replace(facts=replace(record.facts, config=config.as_posix())))
    except ConverterError as error:
        print(f"record_reference: {error}", file=sys.stderr)
        return error.exit_code
    layers, parameters = len(record.facts.trace), len(record.facts.parameters)
    print(f"wrote {folder}: {layers} layers, {parameters} parameters")
    return 0


def image_shape(text: str) -> tuple[int, ...]:
    """Read `1x3x160x224`, or `1x48` of tokens."""
    sizes = text.split("x")
    if len(sizes) not in (2, 4) or not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"should read NxCxHxW, or NxT of tokens, not {text}")
    return tuple(map(int, sizes))


def path_below_configs(config: Path) -> Path:
    """Return the path of a YAML below `configs`, or its name if it lies elsewhere."""
    parts = config.parts
    return Path(*parts[parts.index("configs") + 1 :]) if "configs" in parts else Path(config.name)


def read_architecture(config: Path, classes: Mapping[str, int]) -> dict[str, Any]:
    """Return the Architecture section of a training YAML, class counts filled in.

    Raises:
        ConfigError: the YAML has no Architecture of a single network.
    """
    networks = checkout.architectures_of(read_training(config), classes, config)
    if "" not in networks:
        raise ConfigError(f"{config} distils several networks; record each from a YAML of its own")
    return networks[""]


def record_network(
    paddleocr: Path,
    architecture: dict[str, Any],
    shape: tuple[int, ...],
    salt: int,
    rule: str = "uniform(-1,1)",
) -> Record:
    """Build a network with seeded weights, run it and return the record.

    Args:
        paddleocr: a folder that holds PaddleOCR's `ppocr/`.
        architecture: the Architecture section of a training YAML.
        shape: of the image, (N, C, H, W), or of the tokens, (N, T).
        salt: seed of weights and inputs.
        rule: of the image, a key of `seeded.IMAGES`.

    Raises:
        ReferenceUnavailable: Paddle is not installed, or an output hardly depends on the image.
    """
    paddle = checkout.import_paddle()
    network = checkout.build(paddleocr, architecture)
    tensors = checkout.first_names(network.state_dict())
    weights = checkout.weights_of(network)
    adapter = adapter_for(architecture)
    if isinstance(adapter, TokenAdapter):
        count, length = shape
        first, image = "input_ids", adapter.tokens(count, length, salt)
        stored = {first: RecordedInput(f"stored: {RULES[first]}", image)}
    else:
        first, image, stored = "image", seeded.IMAGES[rule](salt, "image", shape), {}
    stored |= adapter.recorded_inputs(image)
    if "image" in stored:  # of a network that reads tokens first; by a rule it takes no space
        pixels = seeded.IMAGES[PIXELS](salt, "image", stored["image"].values.shape)
        stored["image"] = RecordedInput(PIXELS, pixels)
    extra = {name: item.values for name, item in stored.items()}
    inputs = {first: image, **extra}
    exponents = checkout.seed(network, weights, inputs, salt)
    with paddle.no_grad():
        trace, statistics, outputs = observe(network, inputs)
        moved, mirrored = (
            checkout.run(network, {**inputs, **other})
            for other in (jittered(inputs, salt), {first: image[..., ::-1]})
        )
    changes = {path: change(array, mirrored[path]) for path, array in outputs.items()}
    # Integers, such as the tokens of a text, may stay the same although the logits change.
    # A single number, such as a loss, has no deviation.
    sensitive = [
        path for path, array in outputs.items() if array.dtype.kind == "f" and array.ndim
    ] or outputs
    if faint := [path for path in sensitive if not changes[path] > MIN_CHANGE]:
        raise ReferenceUnavailable(
            f"{', '.join(faint)} hardly changes with the image; a record of it would prove "
            "nothing. Try another --salt or --input."
        )
    classes = {
        f"{path}@argmax": array.argmax(-1).astype(np.int32)
        for path, array in outputs.items()
        if architecture.get("model_type") == "rec" and array.ndim == 3 and array.dtype.kind == "f"
    }
    constants = {name: t.numpy() for name, t in tensors.items() if name not in weights}
    facts = RecordFacts(
        algorithm=architecture.get("algorithm"),
        model_type=architecture.get("model_type"),
        salt=salt,
        paddle=paddle.__version__,
        rule=seeded.RULE,
        architecture=architecture,
        inputs=(
            *((InputRow(first, shape, "float32", rule),) if first not in stored else ()),
            *(
                InputRow(name, item.values.shape, str(item.values.dtype), item.rule)
                for name, item in stored.items()
            ),
        ),
        outputs=tuple(describe_output(path, array) for path, array in outputs.items()),
        distinct_argmax=tuple(
            (name.removesuffix("@argmax"), len(np.unique(array))) for name, array in classes.items()
        ),
        noise={
            path: float(np.abs(moved[path] - array).max() / max(np.abs(array).max(), TINY))
            for path, array in outputs.items()
        },
        change_for_mirrored_image=changes,
        trace=trace,
        constants=tuple(describe_constant(name, array) for name, array in constants.items()),
        aliases=aliases(network.state_dict(), tensors),
        parameters=tuple(
            ParameterRow(
                name, tuple(tensor.shape), checkout.dtype_of(tensor), exponents.get(name, 0)
            )
            for name, tensor in weights.items()
        ),
    )
    arrays = {path: sample(array) for path, array in outputs.items()} | classes
    arrays |= {f"constant:{name}": sample(array) for name, array in constants.items()}
    arrays |= {
        f"input:{name}": item.values
        for name, item in stored.items()
        if item.rule not in seeded.IMAGES
    }
    return Record(facts, {**arrays, "trace": statistics})


def jittered(inputs: Mapping[str, np.ndarray], salt: int) -> dict[str, np.ndarray]:
    """Return the image of a network's inputs, moved by `JITTER`; nothing where there is none."""
    return {
        name: array + seeded.uniform(salt, "jitter", array.shape) * np.float32(JITTER)
        for name, array in inputs.items()
        if name == "image"
    }


def change(array: np.ndarray, mirrored: np.ndarray) -> float:
    """Return the std of an output's change for another image, relative to the output's std.

    It is 1 if the shapes differ, as for texts of unequal length.
    """
    if array.shape != mirrored.shape:
        return 1.0
    return float((mirrored - array).std() / array.std()) if array.std() else 0.0


def aliases(state: Mapping[str, Any], tensors: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the further names of a state's tensors, each with the tensor's first name."""
    first = {id(tensor): name for name, tensor in tensors.items()}
    return tuple((name, first[id(tensor)]) for name, tensor in state.items() if name not in tensors)


def observe(
    network: Any, inputs: Mapping[str, np.ndarray]
) -> tuple[tuple[TraceRow, ...], np.ndarray, dict[str, np.ndarray]]:
    """Run a network and record its layers.

    Args:
        network: PaddleOCR's.
        inputs: the image, (N, C, H, W) float32, then the extra inputs by name.

    Returns:
        The trace, its statistics (layers, 11) float32, and the outputs by path.
    """
    names = {id(layer): name for name, layer in network.named_sublayers()}
    rows: dict[str, TraceRow] = {}
    statistics: list[np.ndarray] = []

    def record(layer: Any, _inputs: Any, output: Any) -> None:
        name = names[id(layer)]
        if name in rows:
            rows[name] = rows[name]._replace(calls=rows[name].calls + 1)
            return
        array = next(array for _, array in checkout.leaves(output))
        rows[name] = TraceRow(name, type(layer).__name__, 1, array.shape)
        statistics.append(summary(array))

    layers = [each for each in network.sublayers() if each.parameters(include_sublayers=False)]
    with checkout.hooked(layers, record):
        outputs = checkout.run(network, inputs)
    return tuple(rows.values()), np.stack(statistics), outputs


def summary(array: np.ndarray) -> np.ndarray:
    """Return mean, standard deviation, largest magnitude and eight values, (11,) float32."""
    indices = np.linspace(0, array.size - 1, 8).astype(int)
    return np.array([*moments(array), *array.ravel()[indices]], np.float32)


def moments(array: np.ndarray) -> tuple[float, float, float]:
    """Return mean, standard deviation and largest magnitude."""
    exact = array.astype(np.float64)
    return float(exact.mean()), float(exact.std()), float(np.abs(exact).max())


def stride_of(size: int) -> int:
    """Return the smallest stride that keeps at most `MAX_VALUES` values and is coprime to the size.

    A stride that divides a side of the array would sample only some of its rows or columns.
    """
    stride = max(1, math.ceil(size / MAX_VALUES))
    while math.gcd(stride, size) > 1:
        stride += 1
    return stride


def sample(array: np.ndarray) -> np.ndarray:
    """Return the stored values of an array."""
    return array.ravel()[:: stride_of(array.size)]


def describe_output(path: str, array: np.ndarray) -> OutputRow:
    """Return an output's row."""
    dtype = str(array.dtype)
    return OutputRow(path, array.shape, dtype, *moments(array), stride_of(array.size))


def describe_constant(name: str, array: np.ndarray) -> ConstantRow:
    """Return a constant's row."""
    digest = hashlib.sha1(array.tobytes(), usedforsecurity=False).hexdigest()
    return ConstantRow(name, array.shape, str(array.dtype), digest, stride_of(array.size))


def write(folder: Path, record: Record) -> None:
    """Write a record.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        facts = record.facts.to_dict()
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / "outputs.npz", **record.arrays)
        text = ",\n".join(f' "{key}": {json_rows(value)}' for key, value in facts.items())
        (folder / "reference.json").write_text(f"{{\n{text}\n}}\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error


def json_rows(value: Any) -> str:
    """Return a value as JSON; a list has a line for each item."""
    if isinstance(value, list) and value:
        lines = ",\n".join(f"  {json.dumps(item)}" for item in value)
        return f"[\n{lines}\n ]"
    return json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
