"""Export a network of a PaddleOCR checkout as PaddleOCR does, with seeded weights.

    python scripts/export_seeded.py CONFIG.yml --paddleocr CHECKOUT --out DIR
        [--format pdmodel|json|both|none] [--old-paddle FOLDER] [--train]
        [--classes ctc=97] [--weights X.pdparams] [--salt 0]

Writes models to test a conversion with, of any network that PaddleOCR's training YAMLs describe:

    DIR/json/     the deployed network: inference.json (PIR), .pdiparams and inference.yml
    DIR/pdmodel/  the same in the format before Paddle 3: inference.pdmodel
    DIR/train/    best_accuracy.pdparams: branches, training heads, all networks of a distillation

Of several networks that distil each other, `Student` is exported. The class count is that of the
YAML's dictionary; `--classes` uses the beginning of the dictionary.

Paddle after 3.0 can write the old format of few networks only. `--old-paddle` names a folder with
Paddle 3.0, which can write all of them:

    pip install --no-deps --target FOLDER paddlepaddle==3.0.0 decorator astor opt_einsum
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from converter.adapters.layoutlm import TokenAdapter
from converter.adapters.registry import adapter_for
from converter.catalog.dictionary import read_table
from converter.catalog.yaml_io import read_training
from converter.errors import (
    ConfigError,
    ConverterError,
    MappingError,
    OutputError,
    ReferenceUnavailable,
)
from converter.references import seeded
from converter.references.paddle import checkout
from converter.sources.pdparams import read_pdparams
from schemas.special_tokens import CLASSES

FORMATS = {"pdmodel": ["pdmodel"], "json": ["json"], "both": ["pdmodel", "json"], "none": []}
STUDENT = "Student."
# The image (C, H, W) of PaddleOCR's own exports by algorithm, else by model type; -1 is any size.
INPUTS = {
    "SVTR_LCNet": (3, 48, -1),
    "SVTR_HGNet": (3, 48, -1),
    "SVTR": (3, 48, -1),
    "CAN": (1, -1, -1),
    "LaTeXOCR": (1, -1, -1),
    "NRTR": (1, 32, 100),
    "ViTSTR": (1, 224, 224),
    "ABINet": (3, 32, 128),
    "VisionLAN": (3, 64, 256),
    "SATRN": (3, 32, 100),
    "SLANet": (3, -1, -1),
    "SLANeXt": (3, 512, 512),
    "TableAttn": (3, 488, 488),
    "TableMaster": (3, 480, 480),
    "rec": (3, 32, -1),
    "det": (3, -1, -1),
    "cls": (3, -1, -1),
    "e2e": (3, -1, -1),
    "sr": (3, 16, 64),
}
TOKENS = 512  # of a page, in PaddleOCR's exports of networks for key information
# Exports with a transform that straightens lines take images of one size.
TRANSFORMED = {"TPS": (3, 32, 100), "STN_ON": (3, 64, 256)}


@dataclass(frozen=True)
class Job:
    """The options of the command line."""

    config: Path
    paddleocr: Path
    out: Path
    classes: Mapping[str, int]
    weights: Path | None
    salt: int
    old_paddle: Path | None


def main(argv: Sequence[str] | None = None) -> int:
    """Write the exports and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("config", type=Path, metavar="CONFIG.yml", help="one of PaddleOCR's training YAMLs")
    add("--paddleocr", type=Path, required=True, metavar="CHECKOUT", help="the folder of ppocr/")
    add("--out", type=Path, required=True, metavar="DIR", help="the folder to write into")
    add("--format", choices=FORMATS, default="json", help="format of the export (default: json)")
    add("--train", action="store_true", help="write the training checkpoint too")
    add(
        "--classes",
        type=checkout.class_count,
        action="append",
        default=[],
        metavar="ctc=N",
        help="class count, ctc=N or cls=N (default: that of the YAML or its dictionary)",
    )
    add(
        "--weights",
        type=Path,
        metavar="X.pdparams",
        help="use a checkpoint instead of seeded weights",
    )
    add("--salt", type=int, default=0, metavar="N", help="seed of the weights (default: 0)")
    add("--old-paddle", type=Path, metavar="FOLDER", help="folder with Paddle 3.0, for .pdmodel")
    options = parser.parse_args(argv)
    forms = ["train"] * options.train + FORMATS[options.format]
    if not forms:
        parser.error("--format none without --train writes nothing; add --train or a format")
    job = Job(
        options.config, options.paddleocr, options.out, dict(options.classes), options.weights,
        options.salt, options.old_paddle,
    )  # fmt: skip
    try:
        checkout.require_checkout(job.paddleocr)
        for form in forms:
            print(f"wrote {in_a_child(job, form)}")
    except ConverterError as error:
        print(f"export_seeded: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def in_a_child(job: Job, form: str) -> Path:
    """Write one form in a new process, since Paddle's settings cannot be changed later."""
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(write, job, form).result()
    except BrokenProcessPool as error:
        raise ReferenceUnavailable(f"the Paddle process crashed while it wrote {form}") from error


def write(job: Job, form: str) -> Path:
    """Write one form and return its folder.

    Raises:
        ConfigError: YAML, dictionary and class count do not fit together.
        MappingError: the weights do not fit the network.
        ReferenceUnavailable: Paddle is not installed, or cannot write the network.
        OutputError: the folder cannot be written to.
    """
    training = read_training(job.config)
    characters = characters_of(training, job)
    classes = dict(job.classes)
    if characters is not None and training["Architecture"]["model_type"] == "rec":
        classes.setdefault("ctc", extra_classes(training) + len(characters))
    architectures = checkout.architectures_of(training, classes, job.config)
    os.environ["FLAGS_enable_pir_api"] = "0" if form == "pdmodel" else "1"  # noqa: SIM112
    if form == "pdmodel" and job.old_paddle is not None:
        sys.path.insert(0, str(job.old_paddle))
    paddle = checkout.import_paddle()
    networks = {p: checkout.build(job.paddleocr, a) for p, a in architectures.items()}
    set_weights(networks, architectures, job)
    folder = job.out / form
    try:
        folder.mkdir(parents=True, exist_ok=True)
        single = architectures.get("")  # a distillation has a name for each of its networks
        if form == "train" and single and isinstance(adapter_for(single), TokenAdapter):
            # PaddleOCR leaves these to PaddleNLP, which writes a folder with its own names.
            folder = folder / "best_accuracy"
            folder.mkdir(exist_ok=True)
            state = networks[""].backbone.model.state_dict()
            paddle.save(state, str(folder / "model_state.pdparams"))
            return folder
        if form == "train":
            states = {p: network.state_dict() for p, network in networks.items()}
            named = {
                f"{p}{n}": tensor for p, state in states.items() for n, tensor in state.items()
            }
            paddle.save(named, str(folder / "best_accuracy.pdparams"))
            return folder
        prefix = deployed_prefix(networks, job.config)
        architecture = architectures[prefix]
        if isinstance(adapter := adapter_for(architecture), TokenAdapter):
            specs = token_specs(adapter)
        else:
            specs = specs_of(architecture, input_of(architecture))
        # A network that has run may hold what it computed, which Paddle would save as weights.
        unused = checkout.build(job.paddleocr, architecture)
        unused.set_state_dict(networks[prefix].state_dict())
        export(unused, specs, folder)
        settings = inference_settings(training, characters)
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        (folder / "inference.yml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    return folder


def characters_of(training: Mapping[str, Any], job: Job) -> list[str] | None:
    """Return the characters of the YAML's dictionary that the classes need; None without one."""
    settings = training.get("Global") or {}
    dictionary = settings.get("character_dict_path")
    architecture = training.get("Architecture") or {}
    if not dictionary or architecture.get("model_type") not in ("rec", "e2e"):
        return None
    lines = list(read_table(job.paddleocr / dictionary, space=False).characters)
    if "ctc" not in job.classes:
        return lines
    count = job.classes["ctc"] - extra_classes(training)
    if not 0 < count <= len(lines):
        raise ConfigError(
            f"--classes ctc={job.classes['ctc']} needs {count} lines of {dictionary}, which has "
            f"{len(lines)}"
        )
    return lines[:count]


def extra_classes(training: Mapping[str, Any]) -> int:
    """Return the number of classes beyond the dictionary: the decoder's own, and the space."""
    decoder = (training.get("PostProcess") or {}).get("name")
    special = CLASSES.get(str(decoder), CLASSES["CTCLabelDecode"]).count(0)
    space = bool((training.get("Global") or {}).get("use_space_char", False))
    return special + space


def set_weights(
    networks: Mapping[str, Any], architectures: Mapping[str, Mapping[str, Any]], job: Job
) -> None:
    """Fill the networks from the checkpoint of the job, or with seeded weights.

    Args:
        networks: built in Paddle, by the prefix of their tensors.
        architectures: theirs, by the same prefixes.
        job: the options.
    """
    weights = {p: checkout.weights_of(network, p) for p, network in networks.items()}
    if job.weights is not None:
        load(job.weights, weights, networks)
        return
    for prefix, network in networks.items():
        architecture = architectures[prefix]
        adapter, shape = adapter_for(architecture), checkout.default_shape(architecture)
        if isinstance(adapter, TokenAdapter):
            count, length = shape
            image = adapter.tokens(count, adapter.fitting(length), job.salt)
        else:
            count, *usual = shape
            sizes = [n if n > 0 else m for n, m in zip(input_of(architecture), usual, strict=True)]
            image = seeded.uniform(job.salt, "image", (count, *sizes))
        inputs = adapter.paddle_inputs(image) | adapter.teacher_tokens(image)
        checkout.seed(network, weights[prefix], inputs, job.salt)


def load(file: Path, weights: Mapping[str, Mapping[str, Any]], networks: Mapping[str, Any]) -> None:
    """Fill the networks from a checkpoint.

    Args:
        file: the `.pdparams`.
        weights: the tensors of each network by their names in the checkpoint.
        networks: built in Paddle, by the prefix of their tensors.

    Raises:
        MappingError: tensors are missing, unknown or of another shape.
    """
    tensors = read_pdparams(file).tensors
    wanted = {name: tensor for part in weights.values() for name, tensor in part.items()}
    known = {f"{p}{n}" for p, network in networks.items() for n in network.state_dict()}
    faults = [f"  {name} is missing" for name in wanted if name not in tensors]
    faults += [f"  {name} is not in the network" for name in tensors if name not in known]
    faults += [
        f"  {name} has shape {tensors[name].shape}, the network {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tuple(tensor.shape)
    ]
    if faults:
        raise MappingError(f"{file} does not fit the network\n" + "\n".join(faults[:20]))
    for name, tensor in wanted.items():
        tensor.set_value(np.array(tensors[name], checkout.dtype_of(tensor)))


def deployed_prefix(networks: Mapping[str, Any], config: Path) -> str:
    """Return the prefix of the network that inference uses.

    Raises:
        ConfigError: several networks, and none is called Student.
    """
    for prefix in ("", STUDENT):
        if prefix in networks:
            return prefix
    raise ConfigError(
        f"{config} has the networks {', '.join(networks)}; expected one called Student"
    )


def input_of(architecture: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape (C, H, W) of the image that an export takes; -1 is any size."""
    if (transform := (architecture.get("Transform") or {}).get("name")) in TRANSFORMED:
        colors, *size = TRANSFORMED[transform]
        return (architecture.get("in_channels", colors), *size)
    algorithm, kind = (architecture.get(key) for key in ("algorithm", "model_type"))
    fixed = (architecture.get("Backbone") or {}).get("img_size")
    if fixed and algorithm != "LaTeXOCR":  # which takes smaller images too
        return (3, *fixed)
    if algorithm in INPUTS:
        return INPUTS[algorithm]
    if kind in ("rec", "sr") and algorithm in checkout.SHAPES:  # their exports take one size
        return checkout.SHAPES[algorithm][1:]
    if kind in INPUTS:
        return INPUTS[kind]
    raise ConfigError(
        f"no image size is known for the algorithm {algorithm!r}, model type {kind!r}; add it to "
        f"INPUTS of {Path(__file__).name}"
    )


def specs_of(architecture: Mapping[str, Any], image: Sequence[int]) -> list[Any]:
    """Return the input specifications of a network's program, as Paddle's export takes them.

    Args:
        architecture: the network's.
        image: the shape (C, H, W) that the program takes; -1 is any size.
    """
    import paddle

    usual = checkout.default_shape(architecture)[1:]
    sizes = [size if size > 0 else most for size, most in zip(image, usual, strict=True)]
    adapter = adapter_for(architecture)
    inputs = adapter.paddle_inputs(np.zeros((1, *sizes), np.float32))
    first, *extra = (
        paddle.static.InputSpec([None, *array.shape[1:]], array.dtype.type, name=name)
        for name, array in inputs.items()
    )
    first.shape = (-1, *image)
    return adapter.paddle_arguments(first, extra)


def token_specs(adapter: TokenAdapter) -> list[Any]:
    """Return the input specifications of a network that reads tokens; PaddleOCR's are integers.

    Texts are as long as a page's in PaddleOCR, or as the network takes, if that is less.
    """
    import paddle

    length = adapter.fitting(TOKENS)
    specs = [
        paddle.static.InputSpec([None, *array.shape[1:]], np.int64, name=name)
        for name, array in adapter.paddle_inputs(adapter.tokens(1, length, 0)).items()
    ]
    for spec in specs:
        if spec.name == "entities":
            spec.shape = (-1, length, 3)  # at inference PaddleOCR gives it a row more
        elif spec.name == "relations":
            spec.shape = (-1, -1, 2)
    return adapter.paddle_arguments(specs[0], specs[1:])


def export(network: Any, specs: Sequence[Any], folder: Path) -> None:
    """Write the program of a network in the deploy form.

    Args:
        network: built in Paddle; its branches are merged.
        specs: of the inputs.
        folder: of the export, named after its format.

    Raises:
        ReferenceUnavailable: this Paddle cannot export the network in that format.
    """
    import paddle

    static = paddle.jit.to_static(network, input_spec=specs)
    for layer in static.sublayers():
        if hasattr(layer, "rep") and not getattr(layer, "is_repped", False):
            layer.rep()
    try:
        paddle.jit.save(static, str(folder / "inference"))
    except (TypeError, ValueError, IndexError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[-4:]).strip()
        later = folder.name == "pdmodel" and not paddle.__version__.startswith("3.0.")
        hint = "; Paddle 3.0 may (--old-paddle)" if later else ""
        raise ReferenceUnavailable(
            f"Paddle {paddle.__version__} cannot export this network as {folder.name}: "
            f"{type(error).__name__}: {reason}{hint}"
        ) from error


def inference_settings(
    training: Mapping[str, Any], characters: Sequence[str] | None
) -> dict[str, Any]:
    """Return the content of inference.yml as PaddleOCR 3 writes it."""
    name = (training.get("Global") or {}).get("model_name")
    evaluation = (training.get("Eval") or {}).get("dataset") or {}
    after = dict(training.get("PostProcess") or {})
    if characters is not None:
        after["character_dict"] = list(characters)
    return {
        **({"Global": {"model_name": name}} if name else {}),
        "PreProcess": {"transform_ops": evaluation.get("transforms")},
        "PostProcess": after,
    }


if __name__ == "__main__":
    sys.exit(main())
