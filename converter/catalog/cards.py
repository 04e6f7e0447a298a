"""The released models that can be converted: `configs/` read into `ModelCard`s.

There is one YAML file per architecture; the released models that share it are rows of its table
`models`. A user's own model is described by its training YAML instead: see `custom.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from converter.catalog.dictionary import (
    SHIPPED,
    Dictionary,
    MissingDictionary,
    read_dictionary,
    shipped_dictionary,
)
from converter.catalog.processing import check_settings
from converter.catalog.tokenizer import Tokenizer
from converter.catalog.yaml_io import check_keys, read_file, read_yaml
from converter.errors import ConfigError, RefusedModel, UnknownModel
from schemas.artefact import Architecture, CardError, NetworkInput

FOLDER = SHIPPED.parent
TASKS = ("det", "cls", "rec", "e2e", "formula", "sr", "table", "layout", "unwarp", "kie")
READING = ("rec", "e2e", "formula", "table")
"""The tasks whose results are characters or tokens, and so need a dictionary."""
VISION_LANGUAGE = "vlm"
"""The task of models that HF Transformers has; a row of their config has its `model_type`."""
LABELLED = ("cls", "layout", "kie", "ser")
"""The tasks, and the class counts, whose classes have labels."""
_COUNTED = ("layout", "kie")
"""The model types whose `num_classes` is the number of labels."""

_REQUIRED_KEYS = ("task", "architecture", "mapping", "input", "proof", "recorded")
_OPTIONAL_KEYS = ("class_counts", "submodels", "paddlex", "pipeline", "recorded_sizes", "models")
_PADDLEX_KEYS = ("mapping", "form", "architecture", "class_counts")
_INPUT_KEYS = tuple(field.name for field in fields(NetworkInput))
_VISION_LANGUAGE_KEYS = ("release", "aliases", "infer", "model_type", "note", "refused")
_MODEL_KEYS = (
    "release",
    "aliases",
    "files",
    "classes",
    "dictionary",
    "labels",
    "pipeline",
    "train",
    "infer",
    "refused",
)


@dataclass(frozen=True)
class Proof:
    """The inputs of a comparison with a running reference.

    Attributes:
        kind: "page", "line" or "table", the images that are rendered; "tokens" of a network that
            reads these.
        sizes: (height, width) of each batch, in pixels, or numbers of texts and of tokens; equal
            ones of a network, or an export, that takes one size alone.
        sampled: whether the network samples tokens at random, so that its export cannot be a
            reference.
        images: how many images each batch has, where the export fixes it.
    """

    kind: str
    sizes: tuple[tuple[int, int], ...]
    sampled: bool = False
    images: int | None = None

    @property
    def only_size(self) -> tuple[int, int] | None:
        """Height and width of all batches, if they are equal."""
        return self.sizes[0] if len(set(self.sizes)) == 1 else None

    def resized(self, height: int | None, width: int | None) -> Proof:
        """Return the proof with batches of another size; None where a side is free."""
        sizes = tuple(
            (height or old_height, width or old_width) for old_height, old_width in self.sizes
        )
        return replace(self, sizes=sizes)


@dataclass(frozen=True)
class PaddleX:
    """PaddleX's own implementation of a model, whose tensors have other names.

    Attributes:
        mapping: the mapping from its tensor names to ours.
        form: the form of our network that corresponds to it.
        architecture: sections that replace those of the model's architecture.
        class_counts: as in `ModelCard`, in PaddleX's names.
    """

    mapping: str
    form: str
    architecture: Architecture = field(default_factory=dict)
    class_counts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelCard:
    """All that is known of a model before its files are opened.

    Attributes:
        name: PaddleOCR's name of the model.
        task: one of `TASKS`.
        architecture: the Architecture section of its training YAML.
        mapping: the name of the mapping from Paddle's tensor names to ours.
        input: the images that the network takes.
        proof: the inputs of a comparison with a running reference.
        recorded: the name of the record of its network.
        recorded_sizes: the options in which the recorded network is smaller than this one.
        class_counts: for each class count, the tensor of the checkpoint whose length it is.
        release: the release of PaddleOCR that the model belongs to.
        aliases: further names of the model.
        classes: the release's own class count, for documentation; the weights decide.
        submodel: the network to take from a distillation checkpoint, unless it is inference's.
        paddlex: PaddleX's own implementation of the model, if there is one.
        pipeline: settings of pre- and post-processing that are not PaddleOCR's defaults.
        train, infer: the addresses of the released checkpoint and export.
        dictionary: what the classes of a recogniser stand for.
        missing_dictionary: the one that a training YAML names, until it is found elsewhere.
        labels: what the classes of a classifier stand for.
    """

    name: str
    task: str
    architecture: Architecture
    mapping: str
    input: NetworkInput
    proof: Proof
    recorded: str
    recorded_sizes: tuple[str, ...] = ()
    class_counts: Mapping[str, str] = field(default_factory=dict)
    release: str = "custom"
    aliases: tuple[str, ...] = ()
    classes: int | None = None
    submodel: str | None = None
    paddlex: PaddleX | None = None
    pipeline: Mapping[str, Any] = field(default_factory=dict)
    train: str | None = None
    infer: str | None = None
    dictionary: Dictionary | Tokenizer | None = None
    missing_dictionary: MissingDictionary | None = None
    labels: tuple[str, ...] = ()

    @property
    def decoder(self) -> str:
        """PaddleOCR's name of the decoder that turns the network's results into text."""
        return str(self.pipeline.get("decoder", "CTCLabelDecode"))


def names() -> list[str]:
    """Return the names of all models with a network of ours that can be converted, sorted."""
    other = ("refused", "model_type")
    return sorted(name for name, row in rows().items() if not any(key in row for key in other))


def vision_language() -> dict[str, dict[str, Any]]:
    """Return the rows of the vision-language models that become folders of HF Transformers."""
    return {name: row for name, row in sorted(rows().items()) if "model_type" in row}


def vision_language_name(name: str) -> str | None:
    """Return the released name of a vision-language model that can be converted, else None."""
    found, _ = _index().get(name, ("", {}))
    return found if found in vision_language() else None


def task(name: str) -> str:
    """Return the task of a model, one of `TASKS`."""
    return str(_index()[name][1]["task"])


def refused() -> dict[str, str]:
    """Return the released models that cannot be converted, each with the reason."""
    return {name: row["refused"] for name, row in sorted(rows().items()) if "refused" in row}


def refusal(name: str) -> str | None:
    """Return why a released model has no card, else None."""
    return _refusal(name, rows()[name])


def _refusal(name: str, row: Mapping[str, Any]) -> str | None:
    if "model_type" in row:
        return (
            "a vision-language model, which becomes a folder of its own: "
            f"python -m converter {name} --paddle-dir PATH --out FOLDER"
        )
    reason: str | None = row.get("refused")
    return reason


def card(name: str, dictionary: Path | None = None, submodel: str | None = None) -> ModelCard:
    """Return the card of a released model.

    Args:
        name: the model's name or one of its aliases.
        dictionary: a dictionary that replaces the release's own.
        submodel: the network to take from a distillation checkpoint, unless it is inference's.

    Raises:
        UnknownModel: no config has it; the message lists the nearest names.
        RefusedModel: it was released in a form that cannot be converted.
        ConfigError: its checkpoint has no such submodel.
    """
    index = _models(file for file, text in _texts(FOLDER).items() if name.encode() in text)
    if name not in index:
        index = _index()
        near = difflib.get_close_matches(name, index, n=5, cutoff=0.5) or sorted(index)[:5]
        raise UnknownModel(
            f"there is no model {name!r}; the nearest are {', '.join(near)} "
            "(all: python -m converter --list; your own model: --config TRAINING.yml)"
        )
    name, config = index[name]
    if reason := _refusal(name, config["models"][name]):
        raise RefusedModel(f"{name} is not converted: {reason}")
    released = read_card(name, config, config["models"][name], dictionary)
    return _submodel(released, config, submodel) if submodel else released


def cards() -> list[ModelCard]:
    """Return all cards, by task and name."""
    found = (_index()[name] for name in names())
    made = [read_card(name, config, config["models"][name]) for name, config in found]
    return sorted(made, key=lambda item: (TASKS.index(item.task), item.name))


_CLASS_COUNTS = {"out_channel", "out_channels", "out_channels_list", "class_dim"}


def without_class_counts(architecture: Architecture) -> dict[str, Any]:
    """Return an architecture without the class counts, which the weights determine.

    They are options of the head or, of a network without one, of the backbone.
    """
    last = next((part for part in ("Head", "Backbone") if architecture.get(part)), None)
    if last is None:
        return dict(architecture)
    # CentripetalText's head has an option of the name, but classes of no dictionary or labels.
    labelled = {"num_classes"} if architecture.get("model_type") in _COUNTED else set()
    dropped = _CLASS_COUNTS | labelled if last == "Head" else labelled
    kept = {k: v for k, v in architecture[last].items() if k not in dropped}
    return {**architecture, last: kept}


@cache
def configs() -> tuple[dict[str, Any], ...]:
    """Return the content of every file of `configs/` that describes a network, checked."""
    return tuple(
        config for config in map(_read, _texts(FOLDER)) if config["task"] != VISION_LANGUAGE
    )


@cache
def _texts(folder: Path) -> Mapping[Path, bytes]:
    """Return the configs as they are written: looking for a name in all is faster than parsing."""
    return {file: read_file(file, "") for file in sorted(folder.glob("*/*.yaml"))}


@cache
def _index() -> dict[str, tuple[str, dict[str, Any]]]:
    return _models(_texts(FOLDER))


def _models(files: Iterable[Path]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the model's name and its config for every name and alias in some of the configs."""
    index: dict[str, tuple[str, dict[str, Any]]] = {}
    for config in map(_read, files):
        for name, row in config["models"].items():
            for known in (name, *row.get("aliases", ())):
                if known in index:
                    raise ConfigError(f"two models of the configs have the name {known}")
                index[known] = (name, config)
    return index


def rows() -> dict[str, dict[str, Any]]:
    """Return the row of every released model in its config, by the model's name."""
    return {name: config["models"][name] for name, config in _index().values()}


@cache
def _read(file: Path) -> dict[str, Any]:
    """Read one config and check its keys and settings."""
    content = read_yaml(file)
    where = str(file.relative_to(FOLDER))
    if content.get("task") == VISION_LANGUAGE:
        check_keys(content, ("task", "models"), where)
        for name, model in content["models"].items():
            check_keys(model, _VISION_LANGUAGE_KEYS, f"{where}, {name}")
            if ("refused" in model) == ("model_type" in model):
                raise ConfigError(
                    f"{where}, {name}: the row needs model_type or refused, and not both"
                )
        return content
    check_keys(content, (*_REQUIRED_KEYS, *_OPTIONAL_KEYS), where)
    if missing := [key for key in _REQUIRED_KEYS if key not in content]:
        raise ConfigError(f"{where} lacks {', '.join(missing)}")
    if content["task"] not in TASKS:
        raise ConfigError(f"{where}: task is one of {', '.join(TASKS)}, not {content['task']!r}")
    check_keys(content["input"], _INPUT_KEYS, f"{where}, input")
    try:
        NetworkInput.from_dict(content["input"])
    except CardError as error:
        raise ConfigError(f"{where}: {error}") from error
    check_settings(content.get("pipeline", {}), f"{where}, pipeline", content["task"])
    check_keys(content["proof"], ("kind", "sizes", "sampled"), f"{where}, proof")
    if len(content["proof"]["sizes"]) < 2:
        raise ConfigError(f"{where}: a proof needs two sizes at least")
    if "paddlex" in content:
        check_keys(content["paddlex"], _PADDLEX_KEYS, f"{where}, paddlex")
        if missing := [key for key in ("mapping", "form") if key not in content["paddlex"]]:
            raise ConfigError(f"{where}: paddlex lacks {', '.join(missing)}")
    for name, model in content.setdefault("models", {}).items():
        check_keys(model, _MODEL_KEYS, f"{where}, {name}")
        check_settings(model.get("pipeline", {}), f"{where}, {name}", content["task"])
        if "release" not in model:
            raise ConfigError(f"{where}, {name}: the row lacks its release")
    return content


def read_card(
    name: str,
    config: Mapping[str, Any],
    model: Mapping[str, Any],
    dictionary: Path | None = None,
) -> ModelCard:
    """Return the card of one model of a config.

    Args:
        name: the model's.
        config: one file of `configs/`.
        model: the model's row of that file; an empty one for any model of the architecture.
        dictionary: a dictionary that replaces the release's own.
    """
    table = None
    if config["task"] in READING:
        shipped = model.get("dictionary")
        table = shipped_dictionary(shipped) if shipped else None
        table = read_dictionary(dictionary) if dictionary else table
    sizes = tuple((height, width) for height, width in config["proof"]["sizes"])
    return ModelCard(
        name=name,
        task=config["task"],
        architecture=config["architecture"],
        mapping=config["mapping"],
        input=NetworkInput.from_dict(config["input"]),
        proof=Proof(config["proof"]["kind"], sizes, config["proof"].get("sampled", False)),
        recorded=config["recorded"],
        recorded_sizes=tuple(config.get("recorded_sizes", ())),
        class_counts=config.get("class_counts", {}),
        release=model.get("release", "custom"),
        aliases=tuple(model.get("aliases", ())),
        classes=model.get("classes"),
        pipeline={**config.get("pipeline", {}), **model.get("pipeline", {})},
        paddlex=PaddleX(**config["paddlex"]) if "paddlex" in config else None,
        train=model.get("train"),
        infer=model.get("infer"),
        dictionary=table,
        labels=tuple(model.get("labels", ())),
    )


def _submodel(student: ModelCard, config: Mapping[str, Any], submodel: str) -> ModelCard:
    """Return the card for another network of the model's distillation checkpoint."""
    other = config.get("submodels", {}).get(submodel)
    if other is None:  # a network like the student's; the tensor names show whether it is there
        return replace(student, submodel=submodel)
    network = card(other)
    return replace(
        student,
        architecture=network.architecture,
        mapping=network.mapping,
        recorded=network.recorded,
        class_counts=network.class_counts,
        submodel=submodel,
    )
