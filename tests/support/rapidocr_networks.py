"""RapidOCR's own PyTorch networks, without what its package imports beside them."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from torch import nn

VERSION = "3.10.0"
_BARE = ("rapidocr", "rapidocr.inference_engine", "rapidocr.inference_engine.pytorch")
_NETWORKS = "rapidocr.inference_engine.pytorch.networks"


def folder() -> Path:
    spec = find_spec("rapidocr")
    if spec is None or spec.submodule_search_locations is None:
        pytest.fail(f"install it: pip install --no-deps rapidocr=={VERSION}")
    return Path(next(iter(spec.submodule_search_locations)))


def configurations() -> dict[str, Any]:
    """The configuration of each network, by the name of its file."""
    file = folder() / "inference_engine" / "pytorch" / "networks" / "arch_config.yaml"
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def build(stem: str, device: str = "cpu") -> nn.Module:
    """The network that RapidOCR builds for a file of this name, in eval mode."""
    configuration, root = configurations()[stem], folder().parent
    before = set(sys.modules)
    for name in _BARE:  # their __init__ would import the whole engine
        package = ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules.setdefault(name, package)
    try:
        module = importlib.import_module(f"{_NETWORKS}.architectures.base_model")
        with torch.device(device):
            network: nn.Module = module.BaseModel(configuration)
    finally:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "rapidocr":
                del sys.modules[name]
    return network.eval()
