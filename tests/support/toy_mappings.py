"""Mappings written in a test, and plans of them against small networks."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from converter.errors import MappingError
from converter.mapping import apply as convert
from converter.mapping import rules as mapping
from converter.mapping.plan import Plan, Signature, resolve, signature_of, targets_of
from converter.mapping.rules import FOLDER, Mapping, load_mapping

BASE = (FOLDER / "_base.yaml").read_text(encoding="utf-8")


def load(folder: Path, text: str, **bases: str) -> Mapping:
    """Write `text` as the mapping `toy`, beside the shipped `_base` and `bases`, and read it."""
    for name, content in {"_base": BASE, **bases, "toy": text}.items():
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")
    return load_mapping("toy", folder)


def plan(
    rules: mapping.Mapping, network: nn.Module, source: MappingType[str, tuple[int, ...]]
) -> Plan:
    """Resolve against names and shapes of float32."""
    signatures = {name: Signature(shape) for name, shape in source.items()}
    return resolve(rules, signatures, targets_of(network))


def faults(
    rules: mapping.Mapping, network: nn.Module, source: MappingType[str, tuple[int, ...]]
) -> list[str]:
    """Return the rows of the table of faults."""
    with pytest.raises(MappingError) as caught:
        plan(rules, network, source)
    head, *rows, advice = str(caught.value).split("\n")
    assert head.startswith("mapping toy does not fit: ")
    assert advice.startswith("Check that the weights belong to this model")
    return [row.removeprefix("  ") for row in rows]


def state(
    rules: mapping.Mapping, network: nn.Module, source: MappingType[str, np.ndarray]
) -> dict[str, Tensor]:
    """Convert arrays and load them strictly into the network."""
    targets = targets_of(network)
    found = resolve(rules, {k: signature_of(v) for k, v in source.items()}, targets)
    converted = convert.apply(found, source, targets)
    network.load_state_dict(converted, strict=True)
    return converted
