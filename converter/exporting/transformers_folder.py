"""Folders for HF Transformers: `AutoModel...from_pretrained(FOLDER)` gives the converted network.

`transformers.yaml` lists the networks that Transformers has, and a mapping of `mappings/` says
which tensor of theirs is which of ours. The folder is loaded by Transformers, and compared with the
network, before it stays.
"""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

import architectures
from architectures.necks.rep_lk import DilatedReparamConv
from architectures.unfuse import unfuse
from converter.adapters.registry import adapter_for
from converter.catalog import cards
from converter.catalog.yaml_io import read_yaml
from converter.conversion.artefact import output_errors
from converter.errors import ExportError, MappingError, UsageError
from converter.exporting.artefact import Artefact
from converter.exporting.model_card import model_card
from converter.exporting.proof import ExportProof, Runner, prove
from converter.exporting.transformers_tokenizer import write_tokenizer
from converter.mapping.invert import invert
from converter.mapping.plan import resolve, signature_of, targets_of
from converter.mapping.rules import load_mapping

if TYPE_CHECKING:
    from architectures.interfaces import TeacherForced

TABLE = Path(__file__).with_name("transformers.yaml")
WEIGHTS, CONFIG = "model.safetensors", "config.json"
PROCESSOR, README = "preprocessor_config.json", "README.md"
FILES = (WEIGHTS, CONFIG, PROCESSOR, README)
_TUPLES = ("between", "lacking", "options")


@dataclass(frozen=True)
class Family:
    """A network that Transformers has.

    Attributes:
        released: PaddleOCR's name of a model with that network.
        task: its task.
        auto: Transformers' class that loads it.
        mapping: the mapping from their names to ours.
        form: the form of the network whose tensors theirs are.
        config: what `config.json` states, without the number of classes.
        processor: what `preprocessor_config.json` states, without the normalisation.
        classes: the entry of the configuration that is the number of classes.
        activation: what is applied to their result to get ours, `softmax` or nothing.
        results: their names of our results; others are not compared.
        between: the layers of ours whose input and output are theirs; empty where those are the
            network's own.
        lacking: parts of ours that they lack.
        options: options of our head that are entries of the configuration too.
        tokens: where a decoder takes tokens; compared are the scores that tokens given to both lead
            to, not the text.
    """

    released: str
    task: str
    auto: str
    mapping: str
    form: str
    config: Mapping[str, Any]
    processor: Mapping[str, Any]
    classes: str = ""
    activation: str = ""
    results: Mapping[str, str] = field(default_factory=lambda: {"output": "last_hidden_state"})
    between: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    tokens: str = ""


@dataclass(frozen=True)
class TransformersExport:
    """What was written.

    Attributes:
        files: the files of the folder.
        auto: Transformers' class that loads it.
        proof: the comparison of the loaded folder with the network.
    """

    files: tuple[Path, ...]
    auto: str
    proof: ExportProof


@cache
def families() -> Mapping[str, Family]:
    """Return the networks that Transformers has, by the released model."""
    content = read_yaml(TABLE)["models"]
    return {
        name: Family(name, **{**row, **{key: tuple(row.get(key, ())) for key in _TUPLES}})
        for name, row in content.items()
    }


def export(artefact: Artefact, folder: Path) -> TransformersExport:
    """Write a network as a folder of Transformers.

    Args:
        artefact: the network, in any form.
        folder: where to write; it exists.

    Raises:
        UsageError: Transformers has no such network, or is not installed.
        ExportError: the folder does not compute what the network does.
        OutputError: the folder cannot be written to, or has foreign files of these names.
    """
    if find_spec("transformers") is None:
        raise UsageError(
            "transformers is missing, which loads the folder for the comparison; install it: "
            "pip install 'paddleocr-to-torch[transformers]'"
        )
    family = _family(artefact)
    config = _config(artefact, family)
    with output_errors(), tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as place:
        made = Path(place)
        architecture = _write_weights(artefact, family, config, made / WEIGHTS)
        write_json(made / CONFIG, {**config, "architectures": [architecture], "dtype": "float32"})
        write_json(made / PROCESSOR, _processor(artefact, family))
        compared, batches = artefact, artefact.inputs()
        if artefact.network.ranks:
            compared, batches = artefact.double(), [batch.astype(np.float64) for batch in batches]
        run = _runner(compared, family, made)
        reference = _scores(artefact) if family.tokens else None
        proof = prove(compared, run, batches, family.results, reference)
        (made / README).write_text(
            model_card(artefact, family.auto, architecture, proof), encoding="utf-8"
        )
        names = list(FILES)
        if family.tokens:
            longest = config["text_config"]["max_position_embeddings"]
            names += write_tokenizer(artefact, made, longest)
        written = publish(made, folder, names)
    return TransformersExport(written, family.auto, proof)


def _family(artefact: Artefact) -> Family:
    """Return Transformers' network of an artefact."""
    known = families()
    own = artefact.card.name
    candidates = [known[own]] if own is not None and own in known else list(known.values())
    for family in candidates:
        if family.task == artefact.card.task and _is_network_of(artefact, family.released):
            return family
    named = f" ({own})" if own else ""
    raise UsageError(
        f"{artefact.path}{named} has a network that the export for Transformers does not know: its "
        f"architecture would have to be that of {', '.join(known)}"
    )


def _is_network_of(artefact: Artefact, released: str) -> bool:
    """Return whether a network is that of a released model, whatever its number of classes."""
    network = artefact.network
    architecture = cards.card(released).architecture
    with torch.device("meta"):
        try:
            theirs = architectures.build(architecture, class_counts=network.class_counts)
        except ValueError:
            return False
        ours = architectures.build(network.architecture, class_counts=network.class_counts)
    return str(theirs) == str(ours)


def _network(artefact: Artefact, family: Family) -> architectures.Model:
    """Return the network in the form of Transformers', without branches that training runs."""
    network = artefact.network
    if network.form != family.form and network.form != "train":
        network = unfuse(network)
    if network.form != family.form:
        network = architectures.fuse(network, family.form)
    else:
        network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, DilatedReparamConv):
                setattr(module, name, child.as_convolution())
    for name in family.lacking:
        owner, _, part = name.rpartition(".")
        delattr(network.get_submodule(owner), part)
    return network


def _config(artefact: Artefact, family: Family) -> dict[str, Any]:
    """Return the configuration of Transformers' network, with the number of classes."""
    head = artefact.network.architecture["Head"]
    config = {**family.config, **{name: head[name] for name in family.options}}
    classes = next(iter(artefact.network.class_counts.values()), 0)
    if family.classes == "num_labels":
        labels = artefact.card.labels or tuple(map(str, range(classes)))
        config["id2label"] = {str(number): label for number, label in enumerate(labels)}
        config["label2id"] = {label: number for number, label in enumerate(labels)}
    elif family.classes:
        config[family.classes] = classes
    return config


def _write_weights(artefact: Artefact, family: Family, config: dict[str, Any], file: Path) -> str:
    """Write the tensors under Transformers' names; return the name of its class."""
    network = _network(artefact, family)
    with quiet(), torch.device("meta"):
        theirs = _auto(family).from_config(_configured(config))
    signatures = {name: signature_of(tensor) for name, tensor in theirs.state_dict().items()}
    try:
        plan = resolve(load_mapping(family.mapping), signatures, targets_of(network))
    except MappingError as error:
        raise UsageError(
            f"the installed version of transformers has other tensors than are known here: {error}"
        ) from error
    arrays = invert(plan, {n: t.numpy() for n, t in network.state_dict().items()}, signatures)
    # What only their training or nothing reads has to be there all the same.
    arrays |= {name: np.zeros(signatures[name].shape, np.float32) for name in plan.drops}
    tensors = {n: torch.from_numpy(np.array(a, order="C")) for n, a in arrays.items()}
    save_weights(tensors, file)
    return type(theirs).__name__


def _processor(artefact: Artefact, family: Family) -> dict[str, Any]:
    """Return the settings of Transformers' image processor."""
    entries: dict[str, Any] = {"do_resize": True, "do_rescale": True, "resample": 2}
    entries |= {"rescale_factor": 1 / 255, **family.processor}
    order, scale = entries.pop("input", None), artefact.card.input
    if order and scale.mean and scale.std:
        # Processors normalise red first; those that feed BGR turn the channels round afterwards.
        step = -1 if order == "BGR" else 1
        entries["do_normalize"] = True
        entries["image_mean"], entries["image_std"] = (
            list(each[::step]) for each in (scale.mean, scale.std)
        )
    limits = ("limit_side_len", "limit_type", "max_side_limit")
    entries |= {name: value for name, value in artefact.card.pipeline.items() if name in limits}
    if family.task == "layout":
        entries["size"] = {"height": scale.height, "width": scale.width}
    if family.task == "rec":
        entries["character_list"] = ["blank", *_characters(artefact)]
    return entries


def _characters(artefact: Artefact) -> tuple[str, ...]:
    entry = artefact.card.dictionary
    if entry is None or entry.characters is None:
        raise UsageError(
            f"{artefact.path} has no dictionary, which the processor needs; add it first: "
            f"python -m converter add-dict {artefact.path} DICT"
        )
    return entry.characters


def _runner(artefact: Artefact, family: Family, folder: Path) -> Runner:
    """Load a folder as its users do, and return what runs it."""
    options = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    try:
        with quiet():
            theirs, found = _auto(family).from_pretrained(str(folder), **options)
    except (RuntimeError, ValueError, OSError) as error:
        raise ExportError(
            f"Transformers does not load the export of {artefact.path}; nothing was written: "
            f"{' '.join(str(error).split())}"
        ) from error
    if faults := [f"{kind}: {names}" for kind, names in found.items() if names]:
        raise ExportError(
            f"Transformers does not load the export of {artefact.path} whole; nothing was written: "
            + "; ".join(faults)
        )

    if artefact.network.ranks:
        theirs = theirs.double()

    def results(image: Tensor) -> dict[str, Tensor]:
        given = {"pixel_values": image}
        if family.tokens:  # of PaddleOCR's networks one channel is enough
            tokens = _tokens(artefact, image.numpy())
            given = {"pixel_values": image.expand(-1, 3, -1, -1), family.tokens: tokens}
        with torch.inference_mode(), _StableOrder():
            outputs = theirs(**given)
        found = {ours: getattr(outputs, name) for ours, name in family.results.items()}
        if family.activation == "softmax":
            found = {name: scores.softmax(-1) for name, scores in found.items()}
        return found

    def run(batch: np.ndarray) -> Mapping[str, np.ndarray]:
        if not family.between:
            found = results(torch.from_numpy(batch))
            return {name: tensor.numpy() for name, tensor in found.items()}
        first, last = map(artefact.network.get_submodule, family.between)
        given: list[Tensor] = []
        hooks = (
            first.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0])),
            last.register_forward_hook(lambda *_: results(given[0])["output"]),
        )
        try:
            return artefact.results(batch)
        finally:
            for hook in hooks:
                hook.remove()

    return run


def _scores(artefact: Artefact) -> Runner:
    """Return what scores tokens with a network that decodes step by step."""
    network = artefact.network

    def run(batch: np.ndarray) -> Mapping[str, np.ndarray]:
        # Our networks score the tokens after the first, each by those before it.
        tokens = F.pad(_tokens(artefact, batch), (0, 1))
        with torch.inference_mode():
            features = network.backbone(torch.from_numpy(batch))
            logits = cast("TeacherForced", network.head).score_tokens(features, tokens)
        return {"logits": logits.numpy()}

    return run


def _tokens(artefact: Artefact, batch: np.ndarray) -> Tensor:
    """Return tokens for images, (N, T) int64, of which the first is the start token."""
    tokens = adapter_for(artefact.network.architecture).teacher_tokens(batch)
    return torch.from_numpy(next(iter(tokens.values())))


class _StableOrder(TorchFunctionMode):
    """Lets a sort keep the order of equal values, as our networks do.

    PP-DocLayoutV2 in Transformers leaves it open how regions and other queries, which it sorts by
    that alone, follow each other.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function of PyTorch's; a sort gets `stable`."""
        options = dict(kwargs or {})
        if func in (torch.argsort, Tensor.argsort):
            options["stable"] = True
        return func(*args, **options)


def _auto(family: Family) -> Any:
    import transformers

    return getattr(transformers, family.auto)


def _configured(config: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig

    entries = copy.deepcopy(dict(config))
    return AutoConfig.for_model(entries.pop("model_type"), **entries)


def save_weights(state: dict[str, Tensor], file: Path) -> None:
    """Write a safetensors file for Transformers; OSError where the disk is full."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(state, file, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error


def publish(made: Path, folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Move finished files to their folder, with the permissions that new files have.

    The library safetensors lets the owner alone read what it writes.
    """
    for name in names:
        shutil.copymode(made / CONFIG, made / name)
    for name in names:
        shutil.move(made / name, folder / name)
    return tuple(folder / name for name in names)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a file of JSON for Transformers."""
    file.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Transformers' progress bars and advice away."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
