"""Saving a network as an artefact: weights and the JSON that describes them and their origin."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor, nn

from architectures.loading import ArtefactError, build_from_card, check_tensors
from architectures.model import Model
from schemas.artefact import MAX_ANCESTORS, Ancestor, ArtefactCard, CardError, WeightsEntry
from schemas.artefact_files import SUFFIXES, check_replaceable, partial_files, publish


def save(network: nn.Module, path: str | Path, *, card: ArtefactCard | None = None) -> None:
    """Save a network so that `load` and the pipelines can read it, as after fine-tuning.

    `X.json` is written beside the weights. It has the settings of the artefact that the network was
    loaded from (input size, dictionary, decoding), the status "UNVERIFIED", since the weights are
    no longer those that were compared with Paddle, and under `derived_from` the artefacts that the
    weights descend from, with their hashes. Both files are written whole or not at all.

    Args:
        network: a network of `load` or `build`, on any device, in training or eval mode.
        path: the file to write, `X.pth` or `X.safetensors`; an artefact of this name is replaced.
        card: the JSON to take the settings from; by default that of the loaded network. Give it
            after `fuse`, whose result has none: `save(fuse(network), path, card=network.card)`.

    Raises:
        TypeError: the network is wrapped, as by DistributedDataParallel, or a foreign module.
        ArtefactError: `load` would refuse the result: other tensors than its architecture has.
        WriteError: the folder is missing or full, or a foreign file has the name.
        ValueError: the suffix is neither .pth nor .safetensors.
    """
    path = Path(path)
    if not isinstance(network, Model):
        raise TypeError(
            f"a {type(network).__name__} cannot be saved, only a network of architectures.load or "
            "build; give the network itself if it is wrapped (`network.module`)"
        )
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} should end in {' or '.join(SUFFIXES)}")
    origin = network.card if card is None else card
    changed = _derived_card(network, origin)
    tensors = network.state_dict()
    check_tensors(build_from_card(changed, path).state_dict(), tensors, path)
    if unset := [name for name, tensor in tensors.items() if tensor.is_meta]:
        raise ArtefactError(f"{path}: {unset[0]} has no values, as it is on the meta device")
    check_replaceable(path)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_artefact(path, SUFFIXES[path.suffix], state, changed)


def _derived_card(network: Model, origin: ArtefactCard | None) -> ArtefactCard:
    """Return the card of a network whose weights were changed since `origin` described them."""
    origin = ArtefactCard() if origin is None else origin
    parents = origin.derived_from[: MAX_ANCESTORS - 1]
    if origin.weights.sha256 is not None:
        parents = (Ancestor.of(origin), *parents)
    changed = replace(
        origin,
        architecture=network.architecture,
        class_counts=network.class_counts,
        form=network.form,
        status="UNVERIFIED",
        fingerprint=None,
        counts=None,
        parity=None,
        proof_scope=None,
        versions={"torch": str(torch.__version__)},
        derived_from=parents,
    )
    try:
        changed.check_settings()
    except CardError as error:
        raise ArtefactError(f"the card cannot be saved: {error}") from error
    return changed


def write_artefact(out: Path, format: str, state: Mapping[str, Tensor], card: ArtefactCard) -> int:
    """Write weights and card; the card gets the file's name and hash. Return the bytes written.

    Args:
        out: the weights file; its JSON has the same stem.
        format: "pth" or "safetensors".
        state: the weights by name, on the CPU.
        card: what the JSON states.

    Raises:
        WriteError: the disk is full, or the files cannot be written; nothing was replaced then.
    """
    with partial_files(out, out.with_suffix(".json")) as (weights, described):
        _save(weights, format, state)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        named = replace(card, weights=WeightsEntry(out.name, format, digest)).to_dict()
        text = json.dumps(named, ensure_ascii=False, indent=1, allow_nan=False)
        # A name that is no UTF-8 on disk is a lone surrogate here, for JSON too written as \\udcXX.
        described.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        size = weights.stat().st_size + described.stat().st_size
        publish(out, weights, described, digest)
    return size


def _save(file: Path, format: str, state: Mapping[str, Tensor]) -> None:
    if format == "safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        try:
            save_file(_apart(state), file)
        except SafetensorError as error:  # as on a full disk
            raise OSError(str(error)) from error
        return
    # Through a stream, since torch.save writes a file's name into the archive.
    with file.open("wb") as stream:
        noting = _NotingStream(stream)
        try:
            torch.save(dict(state), cast("IO[bytes]", noting))
        except RuntimeError:
            if noting.fault is not None:  # PyTorch's own words hide the reason
                raise noting.fault from None
            raise


class _NotingStream(io.RawIOBase):
    """A binary stream that keeps the error of the stream it writes to."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.fault: OSError | None = None

    def writable(self) -> bool:
        """Whether this can be written to."""
        return True

    def write(self, data: Any) -> int:
        """Write, and keep the error that stops it."""
        try:
            return self.stream.write(data)
        except OSError as error:
            self.fault = error
            raise

    def flush(self) -> None:
        """Flush the stream below."""
        self.stream.flush()


def _apart(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with a copy for the second name of one: safetensors holds it once each."""
    first: dict[int, str] = {}
    return {
        name: tensor if first.setdefault(tensor.data_ptr(), name) == name else tensor.clone()
        for name, tensor in state.items()
    }
