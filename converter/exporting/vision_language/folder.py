"""Vision-language models of PaddleX as folders for HF Transformers, written tensor by tensor."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from converter.catalog import cards
from converter.conversion.artefact import make_folder, output_errors
from converter.errors import MappingError, OutputError, SourceError, UsageError
from converter.exporting.model_card import vision_language_card
from converter.exporting.transformers_folder import (
    CONFIG,
    README,
    publish,
    quiet,
    save_weights,
    write_json,
)
from converter.exporting.vision_language.family import AUTO, Family, families, layers_of
from converter.exporting.vision_language.proof import NetworkProof, prove
from converter.mapping.apply import apply
from converter.mapping.plan import Move, Plan, Signature, Target, resolve, targets_of
from converter.mapping.rules import Mapping as Rules
from converter.mapping.rules import load_mapping
from converter.mapping.values import check_values
from converter.sources import archive
from converter.sources import mapped_files as files
from converter.sources.open import ARCHIVES, only_folder
from converter.sources.weight_folders import BFLOAT16, WeightFolder, read_json, read_weights

PROCESSING = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)
"""Files of tokens and of images, which are copied where they are given."""
LARGEST_SHARD = 2**29
"""Bytes of a file of weights, unless one tensor has more; twice that is in memory at a time."""
_LARGEST_COPY = 2**26  # bytes
_DTYPES = {"float64": "float64", "float32": "float32", "float16": "float16"} | {
    str(BFLOAT16): "bfloat16"
}


@dataclass(frozen=True)
class Source:
    """A released vision-language model.

    Attributes:
        name: the release's.
        family: its network in Transformers.
        folder: where `config.json` is, and files of tokens may be.
        weights: the tensors.
    """

    name: str
    family: Family
    folder: Path
    weights: WeightFolder


@dataclass(frozen=True)
class Planned:
    """A conversion before anything is written.

    Attributes:
        source: the model.
        config: Transformers' configuration.
        plan: where each tensor goes.
        targets: the tensors of Transformers' network.
        transposed: whether the source has Paddle's layouts, else PyTorch's.
        proof: the comparison of the network with PaddleX's; None where none was wanted.
    """

    source: Source
    config: Mapping[str, Any]
    plan: Plan
    targets: Mapping[str, Target]
    transposed: bool
    proof: NetworkProof | None


def open_source(name: str, path: Path) -> Source:
    """Open a model: a folder, its weights file, or a `.tar`.

    Args:
        name: the released model.
        path: where it is.

    Raises:
        SourceError: a file is missing, damaged or foreign.
    """
    family = families()[cards.vision_language()[name]["model_type"]]
    if not path.exists():
        raise SourceError(f"{path} does not exist.")
    if path.name.endswith(ARCHIVES):
        unpacked = archive.unpack(path)
        folder = only_folder(Path(unpacked.name))
        source = Source(name, family, folder, read_weights(folder))
        weakref.finalize(source, unpacked.cleanup)
        return source
    folder = path if path.is_dir() else path.parent
    return Source(name, family, folder, read_weights(path))


def plan(source: Source, *, proved: bool = True) -> Planned:
    """Plan a conversion by names and shapes, and prove the network by its record.

    Raises:
        UsageError: Transformers is not installed.
        SourceError: the configuration does not fit the weights, or they are PyTorch's already.
        MappingError: names or shapes do not fit the network.
        ExportError: the installed Transformers computes something else than PaddleX.
    """
    if find_spec("transformers") is None:
        raise UsageError(
            "transformers is missing, whose network the weights have to fit; install it: "
            "pip install 'paddleocr-to-torch[transformers]'"
        )
    family, tensors = source.family, source.weights.tensors
    where = str(source.folder / CONFIG)
    config = family.config(read_json(source.folder / CONFIG), where)
    network = family.network(config, where)
    if layers_of(config) > len(tensors):
        raise SourceError(
            f"{where} announces {layers_of(config)} layers, of {len(tensors)} tensors; it does not "
            "belong to these weights"
        )
    from huggingface_hub.errors import StrictDataclassError  # comes with Transformers

    unfit = (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError)
    with quiet(), torch.device("meta"):
        try:
            targets = targets_of(family.build(config))
        except (*unfit, StrictDataclassError) as error:
            reason = " ".join(str(error).split())
            raise SourceError(f"{where} describes no {family.kind}: {reason}") from error
    # Their numbers are numbers of float32, in which the network is built here.
    signatures = {name: Signature(array.shape, _kind(array)) for name, array in tensors.items()}
    found, transposed = _resolve(source, load_mapping(network.mapping), signatures, targets)
    with quiet():
        proof = prove(family, network) if proved else None
    dtype = Counter[str]()
    for array in tensors.values():
        dtype[_DTYPES.get(str(array.dtype), "float32")] += array.nbytes
    more: dict[str, Any] = {"architectures": [family.kind], "dtype": dtype.most_common(1)[0][0]}
    if family.auto_map:
        more["auto_map"] = dict(family.auto_map)
    return Planned(source, {**config, **more}, found, targets, transposed, proof)


def write(planned: Planned, out: Path) -> tuple[Path, ...]:
    """Write the folder: weights, configuration, model card, and what was given of tokens.

    Args:
        planned: the conversion.
        out: a folder that is empty or does not exist.

    Returns:
        The files of the folder.

    Raises:
        OutputError: the folder has files already, or cannot be written to.
        SourceError: a tensor holds NaN or infinity.
    """
    source = planned.source
    folder = make_folder(out, f"the folder {out} of --out")
    with output_errors():
        if any(folder.iterdir()):
            raise OutputError(f"--out {out} has files already; name a new folder or an empty one")
        needed = sum(array.nbytes for array in source.weights.tensors.values())
        if shutil.disk_usage(folder).free < needed:
            raise OutputError(f"--out {out} has less than {needed / 1e9:.1f} GB of free space")
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as place:
            made = Path(place)
            _write_weights(planned, made)
            write_json(made / CONFIG, planned.config)
            for module in source.family.modules:
                shutil.copyfile(Path(__file__).with_name(f"{module}.py"), made / f"{module}.py")
            for name in PROCESSING:
                given = source.folder / name
                if given.is_file() and given.stat().st_size <= _LARGEST_COPY:
                    shutil.copyfile(given, made / name)
            (made / README).write_text(_card(planned), encoding="utf-8")
            return publish(made, folder, sorted(file.name for file in made.iterdir()))


def call_of(family: Family) -> str:
    """Return Transformers' class that loads a folder, and further options of the call."""
    return AUTO + (", trust_remote_code=True" if family.auto_map else "")


def _kind(array: np.ndarray) -> str:
    return "float32" if array.dtype == BFLOAT16 else str(array.dtype)


def _resolve(
    source: Source,
    mapping: Rules,
    signatures: Mapping[str, Signature],
    targets: Mapping[str, Target],
) -> tuple[Plan, bool]:
    """Return the plan, and whether the tensors have Paddle's layouts."""
    try:
        return resolve(mapping, signatures, targets), True
    except MappingError:
        if set(signatures) <= set(targets):
            raise SourceError(
                f"{source.folder} has the names of {source.family.kind} already, so it needs no "
                f"conversion: transformers.{AUTO}.from_pretrained({str(source.folder)!r})"
            ) from None
        try:
            return resolve(replace(mapping, layouts={}), signatures, targets), False
        except MappingError:
            pass
        raise


def _write_weights(planned: Planned, folder: Path) -> None:
    """Write files of at most `LARGEST_SHARD` bytes, and their index if there are several."""
    tensors = planned.source.weights.tensors
    shards = list(_shards(_moves(planned.plan, tensors), tensors))
    table: dict[str, str] = {}
    for number, moves in enumerate(shards, 1):
        name = "model.safetensors"
        if len(shards) > 1:
            name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        state = _state(planned, moves)
        save_weights(state, folder / name)
        table |= dict.fromkeys(state, name)
    if len(shards) > 1:
        size = sum(tensors[move.sources[0]].nbytes for moves in shards for move in moves)
        index = {"metadata": {"total_size": size}, "weight_map": table}
        write_json(folder / "model.safetensors.index.json", index)


def _moves(found: Plan, tensors: Mapping[str, np.ndarray]) -> Iterator[Move]:
    """Yield what is written: a tensor of two names once, if both hold the same."""
    sources = {move.target: move.sources[0] for move in found.moves}
    for move in found.moves:
        if (of := found.ties.get(move.target)) is None:
            yield move
        elif not np.array_equal(tensors[move.sources[0]], tensors[sources[of]]):
            raise MappingError(
                f"{move.sources[0]} and {sources[of]} should be one tensor but hold other values. "
                "The checkpoint was edited or is damaged; convert the original."
            )


def _shards(moves: Iterator[Move], tensors: Mapping[str, np.ndarray]) -> Iterator[list[Move]]:
    shard: list[Move] = []
    size = 0
    for move in moves:
        length = tensors[move.sources[0]].nbytes
        if shard and size + length > LARGEST_SHARD:
            yield shard
            shard, size = [], 0
        shard.append(move)
        size += length
    yield shard


def _state(planned: Planned, moves: list[Move]) -> dict[str, torch.Tensor]:
    """Convert some tensors, each in the dtype that it has in the source."""
    tensors, targets = planned.source.weights.tensors, planned.targets
    wanted = {
        move.target: replace(
            targets[move.target],
            signature=replace(
                targets[move.target].signature, dtype=str(tensors[move.sources[0]].dtype)
            ),
        )
        for move in moves
    }
    state = {
        name: tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor
        for name, tensor in apply(Plan(tuple(moves)), tensors, wanted).items()
    }
    check_values(state)
    return state


def _card(planned: Planned) -> str:
    source, proof = planned.source, planned.proof
    hashes = {file.name: files.sha256(files.map_file(file)) for file in source.weights.files}
    said = "UNVERIFIED: no reference was wanted."
    if proof is not None:
        said = f"VERIFIED: {proof.describe()}."
    family = source.family
    return vision_language_card(source.name, call_of(family), family.kind, said, hashes)
