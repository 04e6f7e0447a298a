"""Compare networks with PaddleOCR's classes, one option value after the other.

    python scripts/sweep_options.py PADDLEOCR [--only REGEX] [--json FILE] [--values FILE]

PADDLEOCR is a checkout. Each case of `CASES` is one network with one option set to one of its
values. Paddle builds it from the checkout's source in a process of its own, with seeded, calibrated
weights, and runs it on images of two sizes. The toolkit builds it, the mapping of the most similar
released model converts the weights, and the results are compared. A row of the table says `equal`
and the largest difference if every tensor has its place with its shape and all results agree, where
rounding adds up in a deep network in double precision, and in a closer limit (`equal in double`);
`both refuse` if neither side builds or runs it; else the fault, and then the exit code is 1.

With --values, shapes, exponents of the calibration, and some values of each result in Paddle are
written too: `tests/data/option_values.json` holds those of a few rows.

PPLCNet as a classifier is not among the cases: PaddleOCR's own registry has no such classifier.
The records compare it with PaddleX's class.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import architectures
from architectures import Model, registry
from converter.adapters.registry import adapter_for
from converter.catalog.custom import similar
from converter.errors import MappingError
from converter.mapping import apply as convert
from converter.mapping import rules
from converter.mapping.pattern import Pattern
from converter.mapping.plan import Signature, resolve, targets_of
from converter.references import seeded
from converter.references.hooks import by_our_names, observe
from converter.references.paddle import checkout, worker
from converter.references.processes import messages

Architecture = dict[str, Any]
EQUAL, BOTH_REFUSE, DIFFER = "equal", "both refuse", "results differ by "
LIMIT = 1e-4  # of the largest value of a result
DOUBLE_LIMIT = 1e-7  # the same in double precision; Paddle keeps its epsilons in single precision
SALT = 0  # of weights and images
SAMPLED = 8  # values of a result that --values writes
# Height and width of the images, by algorithm, else by model type; SVTRNet takes one size only.
SIZES = {
    "det": ((64, 128), (128, 64)),
    "rec": ((32, 100), (32, 164)),
    "cls": ((48, 192), (48, 96)),
    "SVTR": ((32, 100), (32, 100)),
    "SRN": ((64, 256), (64, 256)),
}

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
        "algorithm": "SVTR" if backbone["name"] == "SVTRNet" else "CRNN",
        "Backbone": backbone,
        "Neck": neck,
        "Head": CTC,
    }


def classifier(backbone: Architecture) -> Architecture:
    """Return a classifier of two classes."""
    return {"model_type": "cls", "algorithm": "CLS", "Backbone": backbone, "Head": CLS}


def backbone_of(model_type: str, options: Architecture, algorithm: str = "") -> Architecture:
    """Return a backbone alone."""
    return {"model_type": model_type, "algorithm": algorithm, "Backbone": options}


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
SAST = {
    "model_type": "det",
    "algorithm": "SAST",
    "Backbone": {"name": "ResNet_SAST", "layers": 50},
    "Neck": {"name": "SASTFPN", "with_cab": True},
    "Head": {"name": "SASTHead"},
}
CENTRIPETAL = {
    "model_type": "det",
    "algorithm": "CT",
    "Backbone": {"name": "ResNet_vd", "layers": 18},
    "Neck": {"name": "CTFPN"},
    "Head": {"name": "CT_Head", "in_channels": 512, "hidden_dim": 128, "num_classes": 3},
}
SRN = {
    "model_type": "rec",
    "algorithm": "SRN",
    "in_channels": 1,
    "Backbone": {"name": "ResNetFPN", "layers": 50},
    "Head": {
        "name": "SRNHead",
        "max_text_length": 25,
        "num_heads": 8,
        "num_encoder_TUs": 1,
        "num_decoder_TUs": 1,
        "hidden_dims": 512,
        "out_channels": 38,
    },
}
SAR = {
    "model_type": "rec",
    "algorithm": "SAR",
    "Backbone": {"name": "ResNet31", "layers": [1, 1, 1, 1]},
    "Head": {"name": "SARHead", "enc_dim": 64, "d_k": 64, "max_text_length": 6, "out_channels": 40},
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
    (SAST, "Neck.with_cab", [True, False]),
    (backbone_of("det", {"name": "ResNet_SAST"}), "Backbone.layers", RESNETS),
    (backbone_of("e2e", {"name": "ResNet"}), "Backbone.layers", RESNETS),
    (CENTRIPETAL, "Neck.out_channel", [128, 64]),
    (detector({"name": "PPLCNetV3", "det": True}), "Backbone.scale", [*SCALES, 0.25, 1.5]),
    (detector({"name": "PPLCNetV3", "det": True}), "Backbone.conv_kxk_num", [1, 2, 4]),
    (
        detector({"name": "PPLCNetV4", "det": True}),
        "Backbone.model_size",
        ["tiny", "small", "medium", "base"],
    ),
    (detector({"name": "PPHGNet_small", "det": True}), "Neck.out_channels", [64, 256]),
    (detector({"name": "PPHGNetV2_B4", "det": True}), "Neck.out_channels", [64, 256]),
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
    # Without recurrent layers, which Paddle does not have in double precision.
    (recogniser({"name": "ResNet", "layers": 34}, RESHAPE), "Backbone.layers", RESNETS),
    (SRN, "Backbone.layers", RESNETS),
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
    (backbone_of("rec", SVTR, "SVTR"), "Backbone.use_lenhead", [True, False]),
    (recogniser(SVTR), "Backbone.use_lenhead", [True]),
    (recogniser(SVTR), "Backbone.act", ["nn.GELU", "nn.Swish", "nn.ReLU", "nn.Hardswish", "nn.X"]),
    (backbone_of("rec", {"name": "ResNet31"}), "Backbone.layers", [[1, 2, 5, 3], [1, 1, 1, 1]]),
    (backbone_of("rec", {"name": "ResNet31"}), "Backbone.last_stage_pool", [True, False]),
    (SAR, "Head.dec_bi_rnn", [True, False]),
    (SAR, "Head.enc_bi_rnn", [True, False]),
    (SAR, "Head.dec_gru", [True, False]),
    (SAR, "Head.enc_gru", [True, False]),
    (SAR, "Head.pred_concat", [True, False]),
)


@dataclass(frozen=True)
class Result:
    """The outcome of one case.

    Attributes:
        network: the names of its parts.
        option: the path of the option.
        value: its value.
        tensors: how many tensors PaddleOCR's network has.
        outcome: BOTH_REFUSE, EQUAL with the largest difference, or the fault.
        seconds: how long Paddle and the toolkit took together.
    """

    network: str
    option: str
    value: Any
    tensors: int
    outcome: str
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether the two sides do the same."""
        return self.outcome == BOTH_REFUSE or self.outcome.startswith(EQUAL)


@dataclass(frozen=True)
class PaddleSide:
    """What Paddle made of a case.

    Attributes:
        error: why it did not build or run the network; else empty.
        state: the tensors by name.
        exponents: of the powers of two by which the seeded tensors were multiplied.
        results: of each of the two images, by name.
    """

    error: str
    state: Mapping[str, np.ndarray]
    exponents: Mapping[str, np.ndarray]
    results: Sequence[Mapping[str, np.ndarray]]


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
    parser.add_argument("--values", type=Path, metavar="FILE", help="write Paddle's values to FILE")
    options = parser.parse_args(argv)
    checkout.require_checkout(options.paddleocr)
    chosen = [case for case in cases() if re.search(options.only, row_name(*case))]
    results, values = [], {}
    started = time.monotonic()
    with Paddle(options.paddleocr) as paddle:
        for architecture, path, value in chosen:
            theirs, outcome = paddle.compare(architecture)
            tensors = len(theirs.state)
            took, started = time.monotonic() - started, time.monotonic()
            name = network_name(architecture)
            results.append(Result(name, path, value, tensors, outcome, round(took, 2)))
            row = row_name(architecture, path, value)
            values[row] = values_of(theirs)
            print(f"{row:76} {tensors:5}  {outcome}", flush=True)
    equal = sum(result.outcome.startswith(EQUAL) for result in results)
    refused = sum(result.outcome == BOTH_REFUSE for result in results)
    faults = len(results) - equal - refused
    print(f"{len(results)} cases: {equal} equal, {refused} refused by both, {faults} faults")
    if options.json is not None:
        rows = [asdict(result) for result in results]
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if options.values is not None:
        options.values.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return int(faults > 0)


def values_of(theirs: PaddleSide) -> dict[str, Any]:
    """Return a network's shapes, exponents and some values of its results, as JSON."""
    return {
        "shapes": {name: list(array.shape) for name, array in theirs.state.items()},
        "exponents": {name: int(array) for name, array in theirs.exponents.items() if array},
        "results": [
            {name: sample(array) for name, array in results.items()} for results in theirs.results
        ],
    }


def sample(array: np.ndarray) -> list[float]:
    """Return the largest absolute value of an array, and `SAMPLED` values spread over it."""
    places = np.linspace(0, array.size - 1, SAMPLED).astype(int)
    return [float(np.abs(array).max()), *map(float, array.ravel()[places])]


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


def images_of(architecture: Mapping[str, Any]) -> list[np.ndarray]:
    """Return a seeded image of each of the two sizes, (1, C, H, W) float32."""
    kind = architecture["algorithm"] if architecture["algorithm"] in SIZES else ""
    sizes = SIZES[kind or architecture["model_type"].replace("e2e", "det")]
    channels = architecture.get("in_channels", 3)
    return [
        seeded.waves(SALT, f"image {index}", (1, channels, *size))
        for index, size in enumerate(sizes)
    ]


class Paddle(AbstractContextManager["Paddle"]):
    """A process in which Paddle builds and runs the networks of a checkout."""

    def __init__(self, paddleocr: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "--child", str(paddleocr.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.communicate()

    def side(self, architecture: Architecture, double: bool = False) -> PaddleSide:
        """Return what Paddle makes of a network, in double precision if asked for."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        request = {"architecture": architecture, "double": double}
        messages.send(self._child.stdin, request, {})
        header, arrays = messages.receive(self._child.stdout)
        sections: dict[str, dict[str, np.ndarray]] = {
            section: {} for section in ("state", "exponent", "0", "1")
        }
        for key, array in arrays.items():
            section, name = key.split(":", 1)
            sections[section][name] = array
        state, exponents, *results = sections.values()
        return PaddleSide(header["error"], state, exponents, results)

    def compare(self, architecture: Architecture) -> tuple[PaddleSide, str]:
        """Return what Paddle makes of a network, in single precision, and the outcome."""
        theirs = self.side(architecture)
        outcome = compare(architecture, theirs)
        if outcome.startswith(DIFFER):
            doubled = self.side(architecture, double=True)
            if not doubled.error:  # Paddle's recurrent layers have no double precision
                outcome = compare(architecture, doubled, double=True)
        return theirs, outcome


def paddle_child(paddleocr: Path) -> int:
    """Answer each network of standard input with its seeded tensors and results in Paddle."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Paddle's prints go to standard error, not among the answers
    checkout.import_paddle()
    while True:
        try:
            request, _ = messages.receive(requests)
        except EOFError:
            return 0
        arrays: dict[str, np.ndarray] = {}
        error = ""
        try:
            for place, values in run_paddle(paddleocr, **request):
                arrays |= {f"{place}:{name}": array for name, array in values.items()}
        except Exception as fault:  # whatever the checkout's source raises
            error = f"{type(fault).__name__}: {fault}"
        messages.send(answers, {"error": error}, arrays)


def run_paddle(
    paddleocr: Path, architecture: Architecture, double: bool
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yield, in Paddle's process, a network's tensors, exponents, and each image's results."""
    adapter, images = adapter_for(architecture), images_of(architecture)
    subject = worker.Network(str(paddleocr), architecture, {})
    weights = checkout.weights_of(subject.network)
    state = subject.network.state_dict()
    exponents = {}
    try:
        exponents = checkout.seed(subject.network, weights, adapter.paddle_inputs(images[0]), SALT)
    finally:
        yield "state", {name: tensor.numpy() for name, tensor in state.items()}
    yield "exponent", {name: np.array(exponent) for name, exponent in exponents.items()}
    if double:
        subject.network.to(dtype="float64")
    for index, image in enumerate(images):
        inputs = adapter.paddle_inputs(image)
        if double:
            inputs = {name: array.astype(np.float64) for name, array in inputs.items()}
        yield str(index), subject.run(inputs, [])


def compare(architecture: Architecture, theirs: PaddleSide, double: bool = False) -> str:
    """Return how our network compares with Paddle's: the last column of the table."""
    try:
        network = build(architecture)
        if theirs.error:
            for image in images_of(architecture):
                observe(network, image, [])
            return f"only the toolkit runs it; Paddle: {theirs.error.splitlines()[0]}"
    except (ValueError, RuntimeError, AssertionError) as error:
        return BOTH_REFUSE if theirs.error else f"only Paddle runs it; the toolkit: {error}"
    targets = targets_of(network)
    source = {name: Signature(a.shape, str(a.dtype)) for name, a in theirs.state.items()}
    try:
        plan = resolve(mapping_of(architecture), source, targets)
    except MappingError as error:
        return "; ".join(str(error).split("\n")[:2])
    network.load_state_dict(convert.apply(plan, theirs.state, targets), strict=True)
    kind, limit = (np.float64, DOUBLE_LIMIT) if double else (np.float32, LIMIT)
    network = network.double() if double else network
    worst = 0.0
    for image, expected in zip(images_of(architecture), theirs.results, strict=True):
        ours = observe(network, image.astype(kind), [])
        for name, array in by_our_names(expected, ours).items():
            if name not in ours or ours[name].shape != array.shape:
                found = ours[name].shape if name in ours else "nothing"
                return f"{name} is {array.shape} in Paddle, {found} in the toolkit"
            if array.dtype.kind == "f" and array.size > 1 and np.ptp(array) == 0:
                return f"{name} is constant in Paddle, which proves nothing"
            gap = np.abs(ours[name] - array).max() / np.abs(array).max()
            worst = max(worst, float(np.nan_to_num(gap, nan=np.inf)))
    if worst > limit:
        return f"{DIFFER}{worst:.1e}"
    return f"{EQUAL} in double, {worst:.1e}" if double else f"{EQUAL}, {worst:.1e}"


def build(architecture: Architecture) -> Model:
    """Build our network, or a backbone alone, in eval mode."""
    if "Head" in architecture:
        return architectures.build(architecture)
    part = registry.make("Backbone", architecture["model_type"], architecture["Backbone"], 3)
    return Model({"Backbone": part}, architecture, {}).eval()


def mapping_of(architecture: Architecture) -> rules.Mapping:
    """Return the mapping of the most similar released model; that of a backbone keeps all names."""
    if "Head" not in architecture:
        kept = rules.Rename(Pattern("backbone.**"), None)
        return replace(rules.load_mapping("_base"), own=(kept,))
    return rules.load_mapping(similar(architecture).mapping)


if __name__ == "__main__":
    sys.exit(main())
