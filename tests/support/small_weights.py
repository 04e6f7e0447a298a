"""Small networks as converted weights: a `.pth` with its `.json`."""

from __future__ import annotations

import hashlib
import json

import torch

from architectures import build
from tests.support.small_networks import CRNN

CARD = {"task": "rec", "input": {"height": 32}}


def save_network(path, architecture, **counts):
    """Weights of a small network whose normalisation does something, and the network."""
    torch.manual_seed(0)
    model = build(architecture, class_counts=counts).eval()
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            torch.nn.init.uniform_(buffer, 0.5, 1.5)
    torch.save(model.state_dict(), path)
    card = {
        "format": 1,
        "architecture": model.architecture,
        "class_counts": model.class_counts,
        "form": model.form,
        "weights": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        **CARD,
    }
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    return path, model


def write_weights(path, dictionary):
    torch.manual_seed(0)
    model = build(CRNN, class_counts={"ctc": 4})
    torch.save(model.state_dict(), path)
    card = {
        "format": 1,
        "architecture": model.architecture,
        "class_counts": model.class_counts,
        "form": model.form,
        "weights": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        "input": {"height": 32},
        **dictionary,
    }
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    return model
