"""Reading a converted network: the weights, and beside them the JSON that says what they are."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from architectures.model import Model
from architectures.registry import build

FORMAT = 1
KEYS = {"architecture": dict, "class_counts": dict, "form": str, "weights": dict}
SHOWN = 10  # faults listed in one message


class ArtefactError(ValueError):
    """The files are not a converted network, or they do not belong together."""


def load(path: str | Path, *, device: str | torch.device = "cpu", edited: bool = False) -> Model:
    """The network, in eval mode, of the weights at `path` (`.pth` or `.safetensors`).

    The file of the same name that ends in `.json` describes them. With `edited`, the weights may be
    others than those it describes, as after fine-tuning.

    ArtefactError: a file is missing, foreign or damaged, or the two do not belong together.
    """
    path = Path(path)
    if not path.is_file():
        _read_card(path.with_suffix(".json"))
        raise ArtefactError(f"{path}: there is no such file")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    pending = pending_card(path, found)
    card = _read_card(pending if pending.is_file() else path.with_suffix(".json"))
    expected = card["weights"].get("sha256")
    if found != expected and not edited:
        raise ArtefactError(
            f"{path} has the sha256 {found}, but {path.with_suffix('.json').name} describes "
            f"{expected}: one of the two was replaced; convert again"
        )
    state = _read_weights(path, data)
    # On the meta device nothing is allocated or initialised: the network takes the file's tensors.
    with torch.device("meta"):
        model = _build(card, path)
    _check(model.state_dict(), state, path)
    model.load_state_dict(state, assign=True)
    model.card = card
    return model.to(device)


def pending_card(path: Path, sha256: str) -> Path:
    """Return the name that the JSON of weights has until it is renamed to X.json.

    It is there only if the process that wrote the artefact was killed between its last two
    renames; it then fits the weights, and X.json does not.

    Args:
        path: the weights file.
        sha256: the hash of the weights, in hex.
    """
    return path.with_name(f".card-{zlib.crc32(os.fsencode(path.name)):08x}-{sha256}.json")


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtefactError(
            f"{path} is missing: it says which network the weights are of"
        ) from error
    except ValueError as error:
        raise ArtefactError(f"{path} is not JSON: {error}") from error
    if not isinstance(card, dict) or "format" not in card:
        raise ArtefactError(
            f"{path} does not describe a converted network: it has no format number"
        )
    if card["format"] != FORMAT:
        raise ArtefactError(
            f"{path} has the format {card['format']!r}; this version reads {FORMAT}"
        )
    wrong = [key for key, kind in KEYS.items() if not isinstance(card.get(key), kind)]
    if wrong:
        raise ArtefactError(f"{path} lacks {', '.join(wrong)}, or holds something else there")
    return card


def _read_weights(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors import SafetensorError
            from safetensors.torch import load as load_safetensors

            try:
                return load_safetensors(data)
            except SafetensorError as error:
                raise ArtefactError(f"{path} is not a safetensors file: {error}") from error
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ArtefactError(f"{path} is not a file of PyTorch weights: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ArtefactError(f"{path} holds something other than a state_dict")
    return state


def _build(card: dict[str, Any], path: Path) -> Model:
    try:
        return build(card["architecture"], class_counts=card["class_counts"], form=card["form"])
    except ValueError as error:
        raise ArtefactError(f"{path.with_suffix('.json')}: {error}") from error


def _check(expected: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    """ArtefactError with all that does not fit: names, shapes and types."""
    faults = [f"missing {name}" for name in expected if name not in found]
    for name, tensor in found.items():
        if name not in expected:
            faults.append(f"unexpected {name}")
            continue
        have, want = ((tuple(t.shape), t.dtype) for t in (tensor, expected[name]))
        if have != want:
            faults.append(f"{name} is {have}, not {want}")
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise ArtefactError(f"{path} does not fit its network: {'; '.join(faults[:SHOWN])}{more}")
