"""Reading a converted network: its weights, and the JSON beside them that describes it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from architectures.hub import HubError, fetch, is_address
from architectures.model import Model
from architectures.registry import build
from schemas.artefact import ArtefactCard, CardError, read_card
from schemas.artefact_files import pending_card
from schemas.checks import shorten

REQUIRED = ("architecture", "class_counts", "form", "weights")
SHOWN = 10
"""How many faults one message lists."""
_BLOCK = 1 << 20


class ArtefactError(ValueError):
    """The files are not a converted network, or they do not belong together."""


def load(
    path: str | Path,
    *,
    device: str | torch.device = "cpu",
    edited: bool = False,
    mmap: bool = False,
) -> Model:
    """Load a converted network in eval mode.

    Args:
        path: the weights, `X.pth` or `X.safetensors`; `X.json` beside them describes the network.
            Or, as a string, a repository of the Hugging Face Hub that holds both: `USER/REPOSITORY`
            or `hf://USER/REPOSITORY/X.safetensors`, with `@REVISION` if need be.
        device: where its tensors are put.
        edited: accept weights that are not those that the JSON describes, as after fine-tuning.
        mmap: map the file into memory, so that processes which load it share what they do not
            change. Until the network is gone, the file may be replaced, but not written to.

    Raises:
        ArtefactError: a file is missing, foreign or damaged, or the two do not belong together.
    """
    if isinstance(path, str) and not Path(path).is_file() and is_address(path):
        try:
            path = fetch(path)
        except HubError as error:
            raise ArtefactError(str(error)) from error
    path = Path(path)
    if not path.is_file():
        _read_card(path.with_suffix(".json"))
        raise ArtefactError(f"{path}: there is no such file")
    data = None if mmap else path.read_bytes()
    digest = _hash(path) if data is None else hashlib.sha256(data).hexdigest()
    pending = pending_card(path, digest)
    card = _read_card(pending if pending.is_file() else path.with_suffix(".json"))
    if digest != card.weights.sha256 and not edited:
        raise ArtefactError(
            f"{path} has the sha256 {digest}, but {path.with_suffix('.json').name} describes "
            f"{card.weights.sha256}: one of the two was replaced; convert again"
        )
    state = _read_weights(path, data)
    model = build_from_card(card, path)
    check_tensors(model.state_dict(), state, path)
    model.load_state_dict(state, assign=True)
    model.card = card
    return model.to(device)


def _read_card(path: Path) -> ArtefactCard:
    try:
        return read_card(path, REQUIRED)
    except CardError as error:
        raise ArtefactError(str(error)) from error


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _read_weights(path: Path, data: bytes | None) -> dict[str, Tensor]:
    """Return the tensors in the content of a file, or map those of the file where it is None."""
    try:
        if path.suffix == ".safetensors":
            from safetensors import torch as reader

            state: object = reader.load_file(path) if data is None else reader.load(data)
        elif data is None:
            with path.open("rb") as stream:
                _check_archive(stream)
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        else:
            _check_archive(io.BytesIO(data))
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    # PyTorch's reader raises nearly everything on damaged bytes, KeyError and IndexError included.
    except Exception as error:
        kind = "safetensors file" if path.suffix == ".safetensors" else "file of PyTorch weights"
        raise ArtefactError(f"{path} is not a {kind}: {error}") from error
    if not isinstance(state, dict):
        raise ArtefactError(f"{path} holds something other than a state_dict")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ArtefactError(f"{path} holds something other than a state_dict")
        if not _is_stored(tensor):
            raise ArtefactError(f"{path}: {shorten(name)} does not store each of its values")
    return state


def _check_archive(stream: BinaryIO) -> None:
    """Raise ValueError unless a stream is an archive as `torch.save` writes it: uncompressed."""
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it is a compressed archive, which torch.save does not write")
    if sum(entry.file_size for entry in entries) > stream.seek(0, io.SEEK_END):
        raise ValueError("its parts are larger than the file")


def _is_stored(tensor: Tensor) -> bool:
    """Return whether a tensor has a value in memory for each of its elements.

    Sparse tensors, those of the meta device and those of stride 0 can be far larger than the file.
    """
    return (
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )


def build_from_card(card: ArtefactCard, path: Path) -> Model:
    """Build a card's network on the meta device, where nothing is allocated or initialised.

    Args:
        card: names the architecture, its class counts and its form.
        path: the weights that the card describes, for messages.

    Raises:
        ArtefactError: the architecture is unknown or cannot be built.
    """
    try:
        with torch.device("meta"):
            return build(card.architecture, class_counts=card.class_counts, form=card.form)
    # The options are a stranger's: a constructor may raise anything on values of another type.
    except Exception as error:
        described = path.with_suffix(".json")
        if isinstance(error, ValueError):
            raise ArtefactError(f"{described}: {error}") from error
        raise ArtefactError(
            f"{described}: its architecture cannot be built: {type(error).__name__}: {error}"
        ) from error


def check_tensors(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path) -> None:
    """Check that tensors are those of a network.

    Args:
        expected: the network's tensors by name; their values are not read.
        state: the tensors to check.
        path: the file of the tensors, for messages.

    Raises:
        ArtefactError: names, shapes or types do not fit; lists them.
    """
    faults = [f"missing {name}" for name in expected if name not in state]
    for name, tensor in state.items():
        if name not in expected:
            faults.append(f"unexpected {name}")
            continue
        have, want = ((tuple(t.shape), t.dtype) for t in (tensor, expected[name]))
        if have != want:
            faults.append(f"{name} is {have}, not {want}")
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise ArtefactError(f"{path} does not fit its network: {'; '.join(faults[:SHOWN])}{more}")
