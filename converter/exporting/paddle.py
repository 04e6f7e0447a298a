"""Checkpoints for PaddleOCR: the way back of a conversion by names.

Each tensor gets the structured name, the layout and the second names that it has in PaddleOCR. The
names are those of an original checkpoint, or of the record of what PaddleOCR's network computed.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import architectures
from architectures.unfuse import unfuse
from converter.catalog import cards, custom
from converter.catalog.cards import ModelCard
from converter.conversion.artefact import output_errors
from converter.conversion.planning import plan_checkpoint
from converter.errors import ExportError, PlanError, UsageError
from converter.exporting.artefact import Artefact
from converter.mapping.apply import apply
from converter.mapping.invert import invert
from converter.mapping.plan import Plan, Signature, signature_of, targets_of
from converter.references.recorded.record import shipped_record
from converter.sources.pdparams import NAME_TABLE, Checkpoint, read_pdparams
from schemas.artefact_files import partial_files

PICKLE = 3
"""The pickle protocol: the newest that names NumPy's functions as text."""


@dataclass(frozen=True)
class PaddleExport:
    """What was written.

    Attributes:
        file: the `.pdparams`.
        tensors: how many tensors came from the network.
        kept: how many the network lacks and the original checkpoint had.
        lacking: names of tensors of PaddleOCR's network that are not in the file.
    """

    file: Path
    tensors: int
    kept: int
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class _Names:
    """The tensors of a checkpoint, and what it has beside those of the network."""

    plan: Plan
    signatures: Mapping[str, Signature]
    original: Checkpoint | None = None


def export(artefact: Artefact, folder: Path, like: Path | None = None) -> PaddleExport:
    """Write a network as a checkpoint that PaddleOCR loads: `STEM.pdparams`.

    Args:
        artefact: the network, in any form; one past the training form is brought back into it.
        folder: where to write; it exists.
        like: the checkpoint that the network was converted from, whose order, name table and
            tensors that only training uses are kept.

    Raises:
        UsageError: PaddleOCR's names of the tensors are not known.
        PlanError: the tensors of `like` are not those of the network.
        ExportError: converting the file again does not give the network's tensors.
        OutputError: the file cannot be written.
    """
    card = _model_card(artefact)
    names = _recorded_names(artefact, card) if like is None else _original_names(card, like)
    network = unfuse(artefact.network) if artefact.network.form != "train" else artefact.network
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    arrays = invert(names.plan, state, names.signatures)
    tensors = len(arrays)
    lacking = tuple(name for name in names.signatures if name not in arrays)
    if names.original is not None:
        originals = names.original.tensors
        arrays = {
            name: _like(arrays[name], original) if name in arrays else original
            for name, original in originals.items()
        }
        lacking = ()
    file = folder / f"{artefact.path.stem}.pdparams"
    table = names.original.parameter_names if names.original else {}
    with output_errors(), partial_files(file) as (partial,):
        partial.write_bytes(pickled(arrays, table))
        _require_same(partial, arrays, names, network)
        partial.replace(file)
    return PaddleExport(file, tensors, len(arrays) - tensors, lacking)


def pickled(arrays: Mapping[str, np.ndarray], parameter_names: Mapping[str, str]) -> bytes:
    """Return arrays as `paddle.save` writes the state of a network.

    Args:
        arrays: by structured name.
        parameter_names: Paddle's names of the parameters, by structured name; may be empty.
    """
    content: dict[str, object] = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    if parameter_names:
        content[NAME_TABLE] = dict(parameter_names)
    data = pickle.dumps(content, PICKLE)
    # NumPy 2 renamed the module of the function that makes arrays; older ones know the first name.
    return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)


def _like(array: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Return an array in the precision of the original, unless that would change a value."""
    rounded = array.astype(original.dtype)
    return rounded if np.array_equal(rounded.astype(array.dtype), array) else array


def _model_card(artefact: Artefact) -> ModelCard:
    """Return the card of the model, or of the released one with the most similar network."""
    name = artefact.card.name
    if name is not None and name in cards.names():
        card = cards.card(name, submodel=artefact.card.submodel)
        if custom.same_network(card.architecture, artefact.network.architecture):
            return card
    similar = custom.similar(artefact.network.architecture)
    return replace(similar, architecture=artefact.network.architecture, dictionary=None, labels=())


def _original_names(card: ModelCard, like: Path) -> _Names:
    checkpoint = read_pdparams(like)
    signatures = {name: signature_of(array) for name, array in checkpoint.tensors.items()}
    plan = plan_checkpoint(card, signatures)
    return _Names(plan.tensors, signatures, checkpoint)


def _recorded_names(artefact: Artefact, card: ModelCard) -> _Names:
    """Return the names that PaddleOCR's network has in its record."""
    record = shipped_record(card.recorded)
    advice = "name the checkpoint that it was converted from with --like"
    if record is None:
        raise UsageError(
            f"PaddleOCR's names of the tensors of {artefact.path} are unknown; {advice}"
        )
    rows = {row.name: Signature(row.shape, row.dtype) for row in record.facts.parameters}
    rows |= {second: rows[of] for second, of in record.facts.aliases if of in rows}
    recorded = replace(card, architecture=record.facts.architecture, dictionary=None, labels=())
    try:
        plan = plan_checkpoint(recorded, rows)
        if prefix := plan.tensors.prefix:  # the names of the student alone, as in student.pdparams
            rows = {n.removeprefix(prefix): s for n, s in rows.items() if n.startswith(prefix)}
            plan = plan_checkpoint(recorded, rows)
    except PlanError as error:
        raise UsageError(f"the record of {artefact.path} does not serve here; {advice}") from error
    with torch.device("meta"):
        trained = architectures.build(
            artefact.network.architecture, class_counts=artefact.network.class_counts
        )
    if set(plan.targets) != set(trained.state_dict()):
        raise UsageError(f"the record of {artefact.path} is of another network; {advice}")
    return _Names(plan.tensors, rows)


def _require_same(
    file: Path, arrays: Mapping[str, np.ndarray], names: _Names, network: architectures.Model
) -> None:
    """Read a checkpoint back, convert it again, and compare every tensor bit by bit."""
    read = read_pdparams(file).tensors
    unlike = [name for name, array in arrays.items() if not _equal(array, read.get(name))]
    targets = targets_of(network)
    plan = replace(names.plan, drops={})
    state = apply(plan, read, targets)
    ours = network.state_dict()
    unlike += [name for name in targets if not _equal(ours[name].numpy(), state[name].numpy())]
    if unlike:
        raise ExportError(
            f"{file} does not give the network back: {len(unlike)} tensors differ, such as "
            f"{unlike[0]}; nothing was written"
        )


def _equal(array: np.ndarray, other: np.ndarray | None) -> bool:
    return other is not None and array.shape == other.shape and array.tobytes() == other.tobytes()
