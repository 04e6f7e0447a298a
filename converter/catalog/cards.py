"""The models that can be converted: `configs/` read into `ModelCard`s.

One YAML file per architecture; the released models that share it are rows of its `models` table.
A user's own model comes with the YAML that PaddleOCR trained it with (`custom_card`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from converter.catalog.dictionary import (
    SHIPPED,
    Dictionary,
    dictionary_of_training,
    read_dictionary,
    shipped_dictionary,
)
from converter.catalog.export_settings import check_settings, detection_settings_of_training
from converter.catalog.line_settings import line_settings_of_training, merge_settings
from converter.catalog.tokenizer import Tokenizer
from converter.catalog.yaml_io import check_keys, read_training, read_yaml
from converter.errors import ConfigError, RefusedModel, UnknownModel

FOLDER = SHIPPED.parent
TASKS = ("det", "cls", "rec", "e2e", "formula", "sr")
READING = ("rec", "e2e", "formula")
"""The tasks that give text, and so take a dictionary."""

_CONFIG_KEYS = (
    "task", "architecture", "mapping", "class_counts", "submodels", "paddlex", "input", "pipeline",
    "proof",
    "recorded", "recorded_sizes", "models",
)  # fmt: skip
_OPTIONAL_KEYS = ("class_counts", "submodels", "paddlex", "pipeline", "recorded_sizes", "models")
_PADDLEX_KEYS = ("mapping", "form", "architecture", "class_counts")
_INPUT_KEYS = (
    "channels", "height", "width", "resize_short", "multiple_of", "color", "mean", "std",
)  # fmt: skip
_MODEL_KEYS = (
    "release", "aliases", "classes", "dictionary", "labels", "pipeline", "train", "infer",
    "refused",
)  # fmt: skip


@dataclass(frozen=True)
class Proof:
    """What the live check feeds: `page` or `line` images of these (height, width).

    Where tokens are `sampled` at random, an export is no reference.
    """

    kind: str
    sizes: tuple[tuple[int, int], ...]
    sampled: bool = False


@dataclass(frozen=True)
class PaddleX:
    """How PaddleX's own network of a model, which has other tensor names, becomes ours.

    It is our network in `form`, with the sections of `architecture` in place of the config's;
    `class_counts` are as in a card, in PaddleX's names.
    """

    mapping: str
    form: str
    architecture: Mapping[str, Any] = field(default_factory=dict)
    class_counts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelCard:
    """All that is known of a model before its files are opened.

    `class_counts` tells for each class count which tensor of the checkpoint has its length;
    `classes` is the release's own count, for people: the weights decide. `submodel` is the network
    to take out of a distillation checkpoint, where it is not the one that inference uses.
    `recorded_sizes` names the options in which the recorded network is a smaller one.
    `pipeline` holds how images are resized and maps decoded, where that is not PaddleOCR's default.
    """

    name: str
    task: str
    architecture: Mapping[str, Any]
    mapping: str
    input: Mapping[str, Any]
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
    labels: tuple[str, ...] = ()

    @property
    def decoder(self) -> str:
        """How text is read from the network's answers, by PaddleOCR's name."""
        return str(self.pipeline.get("decoder", "CTCLabelDecode"))


def names() -> list[str]:
    """Return the names of all models that can be converted, sorted."""
    return sorted(name for name, row in rows().items() if "refused" not in row)


def task(name: str) -> str:
    """Return what a model is for: one of TASKS."""
    return str(_index()[name][1]["task"])


def refused() -> dict[str, str]:
    """Return the released models that cannot be converted, each with the reason."""
    return {name: row["refused"] for name, row in sorted(rows().items()) if "refused" in row}


def card(name: str, dictionary: Path | None = None, submodel: str | None = None) -> ModelCard:
    """Return the card of a released model, found by its name or another name of it.

    A `dictionary` takes the place of the release's own; a `submodel` is another network of a
    distillation checkpoint than the one that inference uses.

    Raises:
        UnknownModel: no config has it; the message lists the nearest names.
        RefusedModel: it was released in a form that cannot be converted.
        ConfigError: its checkpoint has no such submodel.
    """
    index = _index()
    if name not in index:
        near = difflib.get_close_matches(name, index, n=5, cutoff=0.5) or sorted(index)[:5]
        raise UnknownModel(
            f"there is no model {name!r}; the nearest are {', '.join(near)} "
            "(all: python -m converter --list; your own model: --config TRAINING.yml)"
        )
    name, config = index[name]
    if reason := config["models"][name].get("refused"):
        raise RefusedModel(f"{name} cannot be converted: {reason}")
    found = _card(name, config, config["models"][name], dictionary)
    return _submodel(found, config, submodel) if submodel else found


def cards() -> list[ModelCard]:
    """Return all cards, by task and name."""
    made = [card(name) for name in names()]
    return sorted(made, key=lambda item: (TASKS.index(item.task), item.name))


def custom_card(
    name: str, training: Path, dictionary: Path | None = None, submodel: str | None = None
) -> ModelCard:
    """Return a card for a user's own model, from the YAML that PaddleOCR trained it with.

    The mapping and the inputs are those of the released model of the same kind of network. A
    `dictionary` takes the place of the one that the YAML names.

    Raises:
        ConfigError: the YAML has no usable Architecture, or no released model is of its kind.
    """
    content = read_training(training)
    architecture = content.get("Architecture")
    if not isinstance(architecture, dict):
        raise ConfigError(f"{training} has no Architecture section; give PaddleOCR's training YAML")
    if isinstance(architecture.get("Models"), dict):
        models, wanted = architecture["Models"], submodel or "Student"
        if not isinstance(models.get(wanted), dict):
            listed = ", ".join(map(str, models))
            raise ConfigError(f"{training} distils {listed}, none of them a network {wanted}")
        architecture = models[wanted]
    elif submodel:
        raise ConfigError(f"{training} distils nothing, so it has no submodel {submodel}")
    model = similar(architecture)
    settings = content.get("Global") or {}
    if not isinstance(settings, dict):
        raise ConfigError(f"Global in {training} should be a section, it is {settings!r}")
    table, pipeline = None, model.pipeline
    if model.task in READING:
        table = dictionary_of_training(settings, training, dictionary)
    if model.task in ("rec", "formula"):
        pipeline = merge_settings(pipeline, line_settings_of_training(content, str(training)))
    if model.task == "det":
        pipeline = merge_settings(pipeline, detection_settings_of_training(content, str(training)))
    return ModelCard(
        name=name,
        task=model.task,
        architecture=architecture,
        mapping=model.mapping,
        input=model.input,
        pipeline=pipeline,
        proof=model.proof,
        recorded=model.recorded,
        recorded_sizes=model.recorded_sizes,
        class_counts=model.class_counts,
        submodel=submodel,
        dictionary=table,
        labels=tuple(map(str, settings.get("label_list") or model.labels)),
    )


def similar(architecture: Mapping[str, Any]) -> ModelCard:
    """Return a nameless card of this very network, else of the one that is most like it.

    Networks of one kind have the same type, transform and head; what else they are made of may
    differ, since a mapping that does not fit is found out by name.

    Raises:
        ConfigError: there is none of its kind; the message names those that are known.
    """
    wanted = parts(architecture)
    kind = _kind(wanted)
    alike = [config for config in _configs() if _kind(parts(config["architecture"])) == kind]
    if not alike:
        known = sorted({parts(config["architecture"]) for config in _configs()})
        listed = "\n".join(f"  {' + '.join(filter(None, row))}" for row in known)
        raise ConfigError(
            f"no mapping is known for a network of {' + '.join(filter(None, wanted))}; "
            f"there are\n{listed}"
        )

    def likeness(config: Mapping[str, Any]) -> tuple[bool, int, int]:
        other = config["architecture"]
        shared = sum(a == b for a, b in zip(parts(other), wanted, strict=True))
        options = len(set(_options(other)) & set(_options(architecture)))
        return same_network(other, architecture), shared, options

    return _card("", max(alike, key=likeness), {})


def _kind(parts: tuple[str, ...]) -> tuple[str, ...]:
    model_type, transform, _, _, head, _ = parts
    return model_type, transform, head


def _options(value: Any, path: str = "") -> Iterator[str]:
    """Yield every option of an architecture with its place and its value, as text."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _options(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from _options(item, path)
    else:
        yield f"{path}={value!r}"


def parts(architecture: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the kind of a network: its model type and the names of its parts."""
    sections = [architecture.get(key) or {} for key in ("Transform", "Backbone", "Neck", "Head")]
    if not all(isinstance(section, Mapping) for section in sections):
        raise ConfigError("Transform, Backbone, Neck and Head of an Architecture are sections")
    return (
        str(architecture.get("model_type", "")),
        *(str(section.get("name", "")) for section in sections),
        str(sections[2].get("encoder_type", "")),
    )


def without_class_counts(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Return the architecture without the class counts of its head: the weights tell those."""
    if not architecture.get("Head"):
        return dict(architecture)
    head = {k: v for k, v in architecture["Head"].items() if k not in _CLASS_COUNTS}
    return {**architecture, "Head": head}


def same_network(a: Mapping[str, Any], b: Mapping[str, Any], sizes: tuple[str, ...] = ()) -> bool:
    """Return whether two architectures are one network, class counts and training aside.

    The options that are `sizes` may differ: then one of the two is smaller.
    PaddleX's own networks, which are classes, are those of the models that they are named after.
    """
    a, b = (card(x["algorithm"]).architecture if "class" in x else x for x in (a, b))
    aside = _TRAINING_ONLY.union(sizes)

    def essence(value: Any) -> Any:
        if isinstance(value, Mapping):
            kept = {k: essence(v) for k, v in value.items() if k not in aside}
            return {key: item for key, item in kept.items() if item is not None}
        return [essence(item) for item in value] if isinstance(value, list) else value

    return essence(without_class_counts(a)) == essence(without_class_counts(b))


_CLASS_COUNTS = {"out_channel", "out_channels", "out_channels_list", "class_dim"}
_TRAINING_ONLY = {
    "algorithm", "fc_decay", "k", "fix_nan", "pretrained", "lr_mult_list", "lab_lr", "NRTRHead",
    "SARHead", "return_all_feats", "return_feats", "freeze_params", "use_pos", "l2_decay", "loc_lr",
    "character_dict_path", "class_num", "decoder_start_token_id", "temperature", "do_sample",
    "top_p", "is_export", "is_predict", "pad_value", "is_train", "use_dropout", "dropout",
    "dropout_ratio", "infer_mode",
}  # fmt: skip


@cache
def _configs() -> tuple[dict[str, Any], ...]:
    return tuple(_read(file) for file in sorted(FOLDER.glob("*/*.yaml")))


@cache
def _index() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return for every name, and every other name of a model, its name and its config."""
    index: dict[str, tuple[str, dict[str, Any]]] = {}
    for config in _configs():
        for name, row in config["models"].items():
            for known in (name, *row.get("aliases", ())):
                if known in index:
                    raise ConfigError(f"the name {known} stands twice in the configs")
                index[known] = (name, config)
    return index


def rows() -> dict[str, dict[str, Any]]:
    """Return every released model's row of its config, by its name."""
    return {name: config["models"][name] for name, config in _index().values()}


def _read(file: Path) -> dict[str, Any]:
    content = read_yaml(file)
    where = str(file.relative_to(FOLDER))
    check_keys(content, _CONFIG_KEYS, where)
    needed = [key for key in _CONFIG_KEYS if key not in _OPTIONAL_KEYS]
    if missing := [key for key in needed if key not in content]:
        raise ConfigError(f"{where} lacks {', '.join(missing)}")
    if content["task"] not in TASKS:
        raise ConfigError(f"{where}: task is one of {', '.join(TASKS)}, not {content['task']!r}")
    check_keys(content["input"], _INPUT_KEYS, f"{where}, input")
    check_settings(content.get("pipeline", {}), f"{where}, pipeline", content["task"])
    check_keys(content["proof"], ("kind", "sizes", "sampled"), f"{where}, proof")
    if len(content["proof"]["sizes"]) < 2:
        raise ConfigError(f"{where}: a proof takes two sizes at least")
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


def _card(
    name: str,
    config: Mapping[str, Any],
    model: Mapping[str, Any],
    dictionary: Path | None = None,
) -> ModelCard:
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
        input=config["input"],
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
    if other is None:  # a network like the student, if the checkpoint has it at all
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
