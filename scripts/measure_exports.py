"""Export a small network of each architecture by every route, and record what came out.

    python scripts/measure_exports.py [--only REGEX] [--compile]

Results go to `docs/exports.json`, from which `scripts/generate_docs.py` makes `docs/exports.md`.
The networks are those of `tests/support/small_networks.py`, a few of this file, and of `records/`
one for every other architecture; all have seeded weights. Each export is compared on inputs of
three sizes, as for a user. --compile measures machine code of AOTInductor too, a minute or more for
each network. The whole takes about an hour on a free processor. What was measured stays in the
file, so --only can go on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from generate_docs import network_of

import architectures
from architectures.reparameterize import BATCH_NORMS
from architectures.saving import write_artefact
from converter.catalog import cards
from converter.errors import ConverterError
from converter.exporting import onnx_file, torch_program
from converter.exporting.artefact import Artefact, read_artefact
from converter.exporting.decoders import decoder_of
from converter.exporting.program import ProgramExport, make_graph
from converter.exporting.relations import finds_relations
from converter.parity import rendered_inputs
from converter.references.recorded.network import build_recorded
from converter.references.recorded.network import networks as recorded_networks
from converter.references.recorded.record import SHIPPED, Record, find_records, read_record
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
OF_GRAPH = ("torch", "onnx")
"""The routes that write the same graph, unless they write a step of a decoder."""
COMPILED = {"compiled": torch_program.export_compiled}
T = TypeVar("T")
Size = tuple[int, int]
PAGE: Size = (320, 320)
SMALL_TABLE = {"name": "SLAHead", "hidden_size": 8, "max_text_length": 20, "out_channels": 9}


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
            "Head": SMALL_TABLE,
        },
        (96, 96),
    ),
    "slanext": (
        {
            "model_type": "table",
            "Backbone": {
                "name": "Vary_VIT_B",
                "image_size": 256,
                "encoder_embed_dim": 48,
                "encoder_depth": 3,
                "encoder_num_heads": 4,
            },
            "Head": SMALL_TABLE,
        },
        (256, 256),
    ),
    "rare straightened": (
        {
            **NETWORKS["rare"][0],
            "Transform": {"name": "TPS", "num_fiducial": 6, "model_name": "small"},
        },
        (32, 64),
    ),
}
NETWORKS_OF_TESTS = {name: row for name, row in NETWORKS.items() if name != "formula"}
"""Those with as many steps as are compared."""
LONGEST = 600
"""Seconds that a route may take."""


class TooLong(BaseException):
    """A route takes longer than `LONGEST`; no error that exports know and go on after."""


def main(argv: Sequence[str] | None = None) -> int:
    """Export the networks, write the results and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="REGEX", help="networks to export")
    parser.add_argument("--new", action="store_true", help="leave out what is in the file already")
    parser.add_argument("--compile", action="store_true", help="machine code of AOTInductor alone")
    options = parser.parse_args(argv)
    routes = COMPILED if options.compile else ROUTES
    for name, write in networks():
        known = (read_results().get(name) or {}).get("routes", {})
        if not re.search(options.only, name) or (options.new and routes.keys() <= known.keys()):
            continue
        with tempfile.TemporaryDirectory() as place:
            artefact = write(Path(place))
            found = measure(artefact, routes)
        for route, result in found.items():
            print(f"{name}: {route}: {result}", flush=True)
        record(name, artefact.network.architecture, found)
    return 0


def networks() -> Iterator[tuple[str, Callable[[Path], Artefact]]]:
    """Yield the name of each network, and what writes it to a folder as a user's artefact."""
    seen = set()
    for name, (architecture, size) in {**NETWORKS_OF_TESTS, **MORE}.items():
        seen.add(network_of(architecture))
        yield name, partial(written, name, architecture, size)
    for recorded in sorted(map(read_record, find_records(SHIPPED)), key=values_of):
        _, theirs = next(recorded_networks(recorded.facts.architecture))
        model = card_of(recorded.name)
        network = network_of(model.architecture if model else theirs)
        if network and network not in seen:
            seen.add(network)
            yield recorded.name, partial(of_record, recorded)


def values_of(recorded: Record) -> int:
    """Return how many values the weights of a record have."""
    return sum(math.prod(row.shape) for row in recorded.facts.parameters)


def card_of(record: str) -> cards.ModelCard | None:
    """Return a released model whose network a record proves."""
    known = map(cards.card, cards.names())
    return next((card for card in known if card.recorded == record), None)


def of_record(recorded: Record, folder: Path) -> Artefact:
    """Write the network of a record, with its weights."""
    prefix, architecture = next(recorded_networks(recorded.facts.architecture))
    network, _ = build_recorded(recorded, prefix, architecture)
    model = card_of(recorded.name)
    task = model.task if model else architecture["model_type"]
    stated = model.input if model else NetworkInput(height=1, width=1)
    shape = recorded.facts.inputs[0].shape
    if len(shape) == 4:
        _, channels, height, width = shape
        stated = replace(
            stated,
            channels=channels,
            height=height if stated.height else None,
            width=width if stated.width else None,
        )
    card = ArtefactCard(
        task=task,
        architecture=network.architecture,
        class_counts=network.class_counts,
        input=stated,
    )
    path = folder / f"{recorded.name}.pth"
    write_artefact(path, "pth", network.state_dict(), card)
    artefact = read_artefact(path)
    if task != "kie":  # whose networks take more than the image
        settle(artefact)
        write_artefact(path, "pth", artefact.network.state_dict(), card)
    return read_artefact(path)


def settle(artefact: Artefact) -> None:
    """Let normalisations in front of the head go half the way to the statistics of images.

    With those of the record, which are random, some networks amplify rounding errors too much; with
    those of images alone too, where a channel hardly varies.
    """
    network = artefact.network
    height, width = artefact.inputs()[0].shape[2:]
    image = torch.from_numpy(artefact.images(height, width, 2))
    for module in network.modules():
        if isinstance(module, BATCH_NORMS):
            module.momentum = 0.5
            module.train()
    with torch.no_grad():
        network.neck(network.backbone(network.transform(image)))
    network.eval()


def written(name: str, architecture: dict[str, Any], size: Size, folder: Path) -> Artefact:
    """Write a network with seeded weights."""
    torch.manual_seed(0)
    network = architectures.build(architecture)
    task = architecture["model_type"]
    size = size if task != "det" else PAGE  # as the images that exports are compared on
    (batch,) = rendered_inputs.batches(KINDS.get(task, "page"), [size], (0.5,) * 3, (0.5,) * 3, 2)
    for module in network.modules():  # statistics of an image, so that the results vary
        if isinstance(module, BATCH_NORMS):
            module.momentum = 0.5  # as in `settle`
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


def measure(artefact: Artefact, routes: Mapping[str, Any]) -> dict[str, Any]:
    """Export a network by the routes; return what each file takes, or why it is refused."""
    two_files = decoder_of(artefact.network) is not None or finds_relations(artefact)
    if routes is COMPILED or two_files:
        return {route: measured(artefact, export) for route, export in routes.items()}
    graph, refusal = attempt(artefact, partial(make_graph, artefact))
    found = {}
    for route, export in routes.items():
        if route in OF_GRAPH:
            found[route] = refusal or measured(artefact, partial(export, made=graph))
        else:
            found[route] = measured(artefact, export)
    return found


def measured(artefact: Artefact, export: Callable[..., ProgramExport]) -> dict[str, Any]:
    """Export a network; return what it takes and how far it is, or why it is refused."""
    with tempfile.TemporaryDirectory() as place:
        done, refusal = attempt(artefact, partial(export, artefact, Path(place)))
    if done is None:
        return refusal
    noise = {"noise": float(f"{done.proof.noise:.1e}")} if done.proof.noise else {}
    choice = {"choice": float(f"{done.proof.choice:.1e}")} if done.proof.choice else {}
    return {
        "files": len(done.files),
        "takes": done.takes,
        "difference": float(f"{done.proof.difference:.1e}"),
        **noise,
        **choice,
        "images": ["x".join(map(str, shape)) for shape in done.proof.shapes],
    }


def attempt(artefact: Artefact, action: Callable[[], T]) -> tuple[T | None, dict[str, Any]]:
    """Return what an action gives, or None and why it is refused."""

    def stop(*_: object) -> None:
        raise TooLong

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    try:
        return action(), {}
    except ConverterError as error:
        return None, {"refused": str(error).replace(str(artefact.path), "the network")[:300]}
    except TooLong:
        return None, {"refused": f"the export took more than {LONGEST // 60} minutes"}
    finally:
        signal.alarm(0)


def read_results() -> dict[str, Any]:
    """Return what was measured before."""
    content: dict[str, Any] = {}
    if RESULTS.exists():
        content = json.loads(RESULTS.read_text(encoding="utf-8"))
    return content


def record(name: str, architecture: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Add the results of a network to the file."""
    content = read_results()
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    old = content.get(name, {}).get("routes", {})
    state = {"commit": commit, "torch": torch.__version__.partition("+")[0]}
    content[name] = {
        "architecture": architecture,
        "routes": {**old, **{route: {**result, **state} for route, result in found.items()}},
    }
    rows = ",\n".join(f" {json.dumps(key)}: {json.dumps(content[key])}" for key in sorted(content))
    RESULTS.write_text(f"{{\n{rows}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
