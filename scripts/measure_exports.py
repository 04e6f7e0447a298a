"""Export a small network of each architecture by every route, and record what came out.

    python scripts/measure_exports.py [--only REGEX] [--compile]

Results go to `docs/exports.json`, from which `scripts/generate_docs.py` makes `docs/exports.md`.
The networks are those of `tests/support/small_networks.py` and a few of this file, with seeded
weights; each export is compared on images of three sizes, as for a user. --compile measures machine
code of AOTInductor too, a minute or more for each network. The whole takes about a quarter of an
hour on a free processor.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import architectures
from architectures.reparameterize import BATCH_NORMS
from architectures.saving import write_artefact
from converter.errors import ConverterError
from converter.exporting import onnx_file, torch_program
from converter.exporting.artefact import Artefact, read_artefact
from converter.parity import rendered_inputs
from schemas.artefact import ArtefactCard, NetworkInput
from tests.support.small_networks import NETWORKS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "exports.json"
KINDS = {"rec": "line", "cls": "line", "sr": "line", "table": "table"}
ROUTES = {
    "torch": torch_program.export,
    "onnx": onnx_file.export,
    "torchscript": torch_program.export_script,
}
COMPILED = {"compiled": torch_program.export_compiled}
Size = tuple[int, int]
PAGE: Size = (320, 320)
MORE: dict[str, tuple[dict[str, Any], Size]] = {
    "nrtr": (
        {
            "model_type": "rec",
            "Backbone": {"name": "MTB", "cnn_num": 2},
            "Head": {
                "name": "Transformer",
                "out_channels": 7,
                "num_encoder_layers": 1,
                "num_decoder_layers": 1,
                "dim_feedforward": 16,
                "beam_size": -1,
            },
        },
        (32, 64),
    ),
    "slanet": (
        {
            "model_type": "table",
            "Backbone": {"name": "PPLCNet", "scale": 0.25},
            "Neck": {"name": "CSPPAN", "out_channels": 16},
            "Head": {
                "name": "SLAHead",
                "hidden_size": 8,
                "max_text_length": 20,
                "out_channels": 9,
            },
        },
        (96, 96),
    ),
}
CHANGED: Mapping[str, Mapping[str, Any]] = {"formula": {"max_new_tokens": 24}}
"""Options of heads that are too small in the tests: a step is seen at three lengths."""


def main(argv: Sequence[str] | None = None) -> int:
    """Export the networks, write the results and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="REGEX", help="networks to export")
    parser.add_argument("--compile", action="store_true", help="machine code of AOTInductor too")
    options = parser.parse_args(argv)
    routes = {**ROUTES, **(COMPILED if options.compile else {})}
    for name, architecture, size in networks(options.only):
        with tempfile.TemporaryDirectory() as place:
            artefact = written(Path(place), name, architecture, size)
            found = {route: measured(artefact, write) for route, write in routes.items()}
        for route, result in found.items():
            print(f"{name}: {route}: {result}", flush=True)
        record(name, architecture, found)
    return 0


def networks(only: str) -> Iterator[tuple[str, dict[str, Any], Size]]:
    """Yield name, architecture and image size of the networks whose name matches."""
    for name, (architecture, size) in {**NETWORKS, **MORE}.items():
        if re.search(only, name):
            head = {**(architecture.get("Head") or {}), **CHANGED.get(name, {})}
            yield name, {**architecture, **({"Head": head} if head else {})}, size


def written(folder: Path, name: str, architecture: dict[str, Any], size: Size) -> Artefact:
    """Write a network with seeded weights and return it as a user's artefact."""
    torch.manual_seed(0)
    network = architectures.build(architecture)
    task = architecture["model_type"]
    size = size if task != "det" else PAGE  # as the images that exports are compared on
    (batch,) = rendered_inputs.batches(KINDS.get(task, "page"), [size], (0.5,) * 3, (0.5,) * 3, 2)
    for module in network.modules():  # statistics of an image, so that the results vary
        if isinstance(module, BATCH_NORMS):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.from_numpy(batch))
    fixed = NetworkInput(3, *size) if task != "det" else NetworkInput(multiple_of=32)
    card = ArtefactCard(
        task=task,
        architecture=network.architecture,
        class_counts=network.class_counts,
        input=fixed,
    )
    path = folder / f"{name.replace(' ', '_')}.pth"
    write_artefact(path, "pth", network.eval().state_dict(), card)
    return read_artefact(path)


def measured(artefact: Artefact, write: Any) -> dict[str, Any]:
    """Export a network; return what it takes and how far it is, or why it is refused."""
    with tempfile.TemporaryDirectory() as place:
        try:
            done = write(artefact, Path(place))
        except ConverterError as error:
            return {"refused": str(error).replace(str(artefact.path), "the network")[:300]}
    return {
        "files": len(done.files),
        "takes": done.takes,
        "difference": float(f"{done.proof.difference:.1e}"),
        "images": ["x".join(map(str, shape)) for shape in done.proof.shapes],
    }


def record(name: str, architecture: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Add the results of a network to the file."""
    content = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    old = content.get(name, {}).get("routes", {})
    content[name] = {
        "architecture": architecture,
        "routes": {**old, **found},
        "commit": commit,
        "torch": torch.__version__.partition("+")[0],
    }
    rows = ",\n".join(f" {json.dumps(key)}: {json.dumps(content[key])}" for key in sorted(content))
    RESULTS.write_text(f"{{\n{rows}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
