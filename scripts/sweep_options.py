"""Compare names and shapes of tensors with PaddleOCR's classes, one option value after the other.

    python scripts/sweep_options.py PADDLEOCR [--only REGEX] [--json FILE]

PADDLEOCR is a checkout. Each case of `CASES` is one network with one option set to one of its
values. Paddle builds it from the checkout's source in a process of its own; the toolkit builds it
on the meta device; then the mapping of the most similar released model plans where each tensor
goes. A row of the table says `equal` if every tensor has its place with its shape, `both refuse`,
`only Paddle builds it` (the toolkit states clearly that it does not), or names the first fault. The
exit code is 1 where tensors differ or the toolkit alone builds a network. Values are not compared.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import architectures
from converter.catalog.custom import similar
from converter.errors import ConfigError, MappingError
from converter.mapping.plan import Signature, resolve, targets_of
from converter.mapping.rules import load_mapping
from converter.references.paddle import checkout
from converter.references.paddle.worker import build_network

Architecture = dict[str, Any]
EQUAL, BOTH_REFUSE, UNSUPPORTED = "equal", "both refuse", "only Paddle builds it"

DB = {"name": "DBHead", "k": 50}
CLS = {"name": "ClsHead", "class_dim": 2}
CTC = {"name": "CTCHead", "out_channels": 37}
DBFPN = {"name": "DBFPN", "out_channels": 64}
RESHAPE = {"name": "SequenceEncoder", "encoder_type": "reshape"}
RNN = {"name": "SequenceEncoder", "encoder_type": "rnn", "hidden_size": 48}


def detector(backbone: Architecture, neck: Architecture = DBFPN) -> Architecture:
    """Return a detector by DB."""
    return {"model_type": "det", "algorithm": "DB", "Backbone": backbone, "Neck": neck, "Head": DB}


def recogniser(backbone: Architecture, neck: Architecture = RESHAPE) -> Architecture:
    """Return a recogniser with a CTC head."""
    return {
        "model_type": "rec",
        "algorithm": "CRNN",
        "Backbone": backbone,
        "Neck": neck,
        "Head": CTC,
    }


def classifier(backbone: Architecture) -> Architecture:
    """Return a classifier of two classes."""
    return {"model_type": "cls", "algorithm": "CLS", "Backbone": backbone, "Head": CLS}


SMALL = {"name": "MobileNetV3", "scale": 0.5, "model_name": "small"}
LARGE = {**SMALL, "model_name": "large"}
SVTR = {
    "name": "SVTRNet",
    "img_size": [32, 100],
    "out_char_num": 25,
    "out_channels": 192,
    "patch_merging": "Conv",
    "embed_dim": [64, 128, 256],
    "depth": [1, 1, 1],
    "num_heads": [2, 4, 8],
    "mixer": ["Local", "Local", "Global"],
    "local_mixer": [[7, 11], [7, 11], [7, 11]],
}
RESNETS = [18, 34, 50, 101, 152, 200, 20]
SCALES = [0.35, 0.5, 0.75, 1.0, 1.25]

# network, path of the option, values
CASES: tuple[tuple[Architecture, str, Sequence[Any]], ...] = (
    (detector(LARGE), "Backbone.scale", [*SCALES, 0.6]),
    (detector(LARGE), "Backbone.model_name", ["large", "small", "tiny"]),
    (detector(LARGE), "Backbone.disable_se", [True, False]),
    (detector({"name": "ResNet_vd", "layers": 18}), "Backbone.layers", RESNETS),
    (detector({"name": "ResNet", "layers": 18}), "Backbone.layers", RESNETS),
    (
        detector({"name": "ResNet", "layers": 50}),
        "Backbone.dcn_stage",
        [[False, True, True, True], [False] * 4],
    ),
    (
        {
            "model_type": "det",
            "algorithm": "SAST",
            "Backbone": {"name": "ResNet_SAST", "layers": 50},
            "Neck": {"name": "SASTFPN", "with_cab": True},
            "Head": {"name": "SASTHead"},
        },
        "Neck.with_cab",
        [True, False],
    ),
    (detector({"name": "PPLCNetV3", "det": True}), "Backbone.scale", [*SCALES, 0.25, 1.5]),
    (detector({"name": "PPLCNetV3", "det": True}), "Backbone.conv_kxk_num", [1, 2, 4]),
    (
        detector({"name": "PPLCNetV4", "det": True}),
        "Backbone.model_size",
        ["tiny", "small", "medium", "base"],
    ),
    (detector({"name": "PPHGNet_small", "det": True}), "Neck.out_channels", [64, 256]),
    (detector(LARGE), "Neck.use_asf", [True, False]),
    (detector(LARGE), "Neck.out_channels", [16, 96, 256]),
    (detector(LARGE), "Head.kernel_list", [[3, 2, 2], [7, 2, 2]]),
    (detector(LARGE), "Head.k", [10, 50]),
    (detector(LARGE, {"name": "RSEFPN", "out_channels": 96}), "Neck.shortcut", [True, False]),
    (detector(LARGE, {"name": "LKPAN", "out_channels": 64}), "Neck.mode", ["large", "lite", "x"]),
    (detector(LARGE, {"name": "LKPAN", "out_channels": 64}), "Neck.intracl", [True, False]),
    (detector(LARGE, {"name": "RepLKFPN", "out_channels": 64}), "Neck.shortcut", [True, False]),
    (
        detector(LARGE, {"name": "RepLKFPN", "out_channels": 64}),
        "Neck.dilated_kernel_size",
        [5, 7, 9, 11, 13, 17],
    ),
    (detector(LARGE, {"name": "RepLKPAN", "out_channels": 64}), "Neck.mode", ["large", "lite"]),
    (classifier(SMALL), "Backbone.scale", [*SCALES, 0.6]),
    (recogniser(SMALL, RNN), "Backbone.scale", [*SCALES, 0.6]),
    (recogniser(SMALL, RNN), "Backbone.model_name", ["large", "small", "tiny"]),
    (recogniser(SMALL, RNN), "Backbone.small_stride", [[1, 2, 2, 2], [2, 2, 2, 2], [1, 2]]),
    (recogniser(LARGE, RNN), "Backbone.large_stride", [[1, 2, 2, 2], [2, 2, 2, 1]]),
    (recogniser(SMALL, RNN), "Neck.hidden_size", [48, 96, 256]),
    (recogniser(SMALL, RNN), "Neck.encoder_type", ["reshape", "fc", "rnn", "svtr", "cascadernn"]),
    (recogniser(SMALL, RNN), "Head.mid_channels", [None, 96]),
    (recogniser({"name": "ResNet", "layers": 34}, RNN), "Backbone.layers", RESNETS),
    (recogniser({"name": "ResNetFPN", "layers": 50}, RESHAPE), "Backbone.layers", RESNETS),
    (recogniser({"name": "PPLCNetV3"}, RNN), "Backbone.scale", SCALES),
    (recogniser({"name": "MobileNetV1Enhance"}, RNN), "Backbone.scale", SCALES),
    (
        recogniser({"name": "MobileNetV1Enhance"}, RNN),
        "Backbone.last_pool_type",
        ["avg", "max", "min"],
    ),
    (recogniser(SVTR), "Backbone.patch_merging", ["Conv", "Pool", None, "Swin"]),
    (recogniser(SVTR), "Backbone.mixer", [["Conv", "Conv", "Global"], ["Global"] * 3]),
    (recogniser(SVTR), "Backbone.prenorm", [True, False]),
    (recogniser(SVTR), "Backbone.last_stage", [True]),
    (recogniser(SVTR), "Backbone.sub_num", [2, 3]),
    (recogniser(SVTR), "Backbone.mlp_ratio", [2, 4]),
    (recogniser(SVTR), "Backbone.qkv_bias", [True, False]),
    (recogniser(SVTR), "Backbone.use_lenhead", [True, False]),
    (recogniser(SVTR), "Backbone.act", ["nn.GELU", "nn.Swish"]),
    (recogniser({"name": "ResNet31"}), "Backbone.layers", [[1, 2, 5, 3], [1, 1, 1, 1]]),
    (recogniser({"name": "ResNet31"}), "Backbone.last_stage_pool", [True, False]),
)


@dataclass(frozen=True)
class Result:
    """The outcome of one case.

    Attributes:
        network: the names of its parts.
        option: the path of the option.
        value: its value.
        tensors: how many tensors PaddleOCR's network has.
        outcome: EQUAL, BOTH_REFUSE, UNSUPPORTED, or the fault.
    """

    network: str
    option: str
    value: Any
    tensors: int
    outcome: str


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and return the exit code."""
    if argv is None and sys.argv[1:2] == ["--child"]:
        return paddle_child(Path(sys.argv[2]))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paddleocr", type=Path, metavar="PADDLEOCR", help="a checkout")
    parser.add_argument("--only", default="", metavar="REGEX", help="rows that match it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE, too")
    options = parser.parse_args(argv)
    checkout.require_checkout(options.paddleocr)
    chosen = [case for case in cases() if re.search(options.only, row_name(*case))]
    shapes = paddle_shapes(options.paddleocr, [architecture for architecture, _, _ in chosen])
    results = []
    for (architecture, path, value), theirs in zip(chosen, shapes, strict=True):
        tensors = 0 if isinstance(theirs, str) else len(theirs)
        outcome = compare(architecture, theirs)
        results.append(Result(network_name(architecture), path, value, tensors, outcome))
        print(f"{row_name(architecture, path, value):70} {tensors:5}  {outcome}", flush=True)
    agreed = sum(result.outcome in (EQUAL, BOTH_REFUSE, UNSUPPORTED) for result in results)
    equal = sum(result.outcome == EQUAL for result in results)
    print(f"{len(results)} cases: {equal} equal, {len(results) - agreed} faults")
    if options.json is not None:
        rows = [asdict(result) for result in results]
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(agreed < len(results))


def cases() -> Iterator[tuple[Architecture, str, Any]]:
    """Yield each network of CASES with the option set, the option's path, and its value."""
    for architecture, path, values in CASES:
        section, option = path.split(".")
        for value in values:
            changed = copy.deepcopy(architecture)
            changed[section][option] = value
            yield changed, path, value


def network_name(architecture: Mapping[str, Any]) -> str:
    """Return the model type and the names of the parts."""
    parts = (architecture.get(part) for part in ("Backbone", "Neck", "Head"))
    return " ".join([architecture["model_type"], *(part["name"] for part in parts if part)])


def row_name(architecture: Mapping[str, Any], path: str, value: Any) -> str:
    """Return how a row of the table begins."""
    return f"{network_name(architecture)}  {path}={json.dumps(value)}"


def paddle_shapes(
    paddleocr: Path, networks: Sequence[Architecture]
) -> list[dict[str, list[int]] | str]:
    """Return the shapes of each network's tensors by name, or why Paddle does not build it."""
    child = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--child", str(paddleocr.resolve())],
        input="".join(json.dumps(network) + "\n" for network in networks),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    marked = [line[len(MARK) :] for line in child.stdout.splitlines() if line.startswith(MARK)]
    return [json.loads(line) for line in marked]


MARK = "sweep_options: "  # before a line of the child that is a result, not PaddleOCR's chatter


def paddle_child(paddleocr: Path) -> int:
    """Build each network of standard input in Paddle; print the shapes or the error of each."""
    paddle = checkout.import_paddle()
    for line in sys.stdin:
        shapes: dict[str, list[int]] | str
        try:
            with paddle.utils.unique_name.guard():  # parameters of two networks have one name
                network = build_network(str(paddleocr), json.loads(line))
            shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        except Exception as error:  # whatever the checkout's source raises
            shapes = f"{type(error).__name__}: {error}"
        print(MARK + json.dumps(shapes), flush=True)
    return 0


def compare(architecture: Architecture, theirs: Mapping[str, Sequence[int]] | str) -> str:
    """Return how our network's tensors compare with Paddle's: the last column of the table.

    Args:
        architecture: of both networks.
        theirs: the shapes of Paddle's tensors by name, or the error in place of a network.
    """
    try:
        with torch.device("meta"):
            network = architectures.build(architecture)
    except ValueError:
        return BOTH_REFUSE if isinstance(theirs, str) else UNSUPPORTED
    if isinstance(theirs, str):
        return f"only the toolkit builds it; Paddle: {theirs.splitlines()[0]}"
    try:
        mapping = load_mapping(similar(architecture).mapping)
    except ConfigError:
        mapping = load_mapping("_base")
    source = {name: Signature(tuple(shape), "float32") for name, shape in theirs.items()}
    try:
        resolve(mapping, source, targets_of(network))
    except MappingError as error:
        return "; ".join(str(error).split("\n")[:2])
    return EQUAL


if __name__ == "__main__":
    sys.exit(main())
