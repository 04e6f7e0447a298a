"""The models that can be converted: `configs/` read into `ModelCard`s.

One YAML file per architecture; the released models that share it are rows of its `models` table,
which may be empty. A user's own model comes with the YAML that PaddleOCR trained it with
(`custom_card`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from converter.dictionary import Dictionary, read_dictionary
from converter.documents import check_keys, read_yaml
from converter.errors import ConfigError, UnknownModel

FOLDER = Path(__file__).parent.parent / "configs"
TASKS = ("det", "cls", "rec")

_CONFIG_KEYS = (
    "task", "architecture", "mapping", "class_counts", "input", "proof", "recorded", "models",
)  # fmt: skip
_INPUT_KEYS = ("channels", "height", "width", "multiple_of", "color", "mean", "std")
_MODEL_KEYS = ("release", "aliases", "train", "infer", "dictionary", "labels")


@dataclass(frozen=True)
class Proof:
    """What the live check feeds: `page` or `line` images of these (height, width)."""

    kind: str
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ModelCard:
    """All that is known of a model before its files are opened.

    `class_counts` tells for each class count which tensor of the checkpoint has its length.
    """

    name: str
    task: str
    architecture: Mapping[str, Any]
    mapping: str
    input: Mapping[str, Any]
    proof: Proof
    recorded: str
    class_counts: Mapping[str, str] = field(default_factory=dict)
    release: str = "custom"
    train: str | None = None
    infer: str | None = None
    dictionary: Dictionary | None = None
    labels: tuple[str, ...] = ()


def names() -> list[str]:
    """Return the names of all models, sorted."""
    return sorted(_index())


def card(name: str, dictionary: Path | None = None) -> ModelCard:
    """Return the card of a released model, found by its name or by an alias of it.

    A `dictionary` takes the place of the release's own.

    Raises:
        UnknownModel: no config has it; the message lists the nearest names.
    """
    index = _index()
    known = _aliases() | {name: name for name in index}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.5) or sorted(index)[:5]
        raise UnknownModel(
            f"there is no model {name!r}; the nearest are {', '.join(near)} "
            "(all: python -m converter --list; your own model: --config TRAINING.yml)"
        )
    config = index[known[name]]
    return _card(known[name], config, config["models"][known[name]], dictionary)


def cards() -> list[ModelCard]:
    """Return all cards, by task and name."""
    made = [card(name) for name in names()]
    return sorted(made, key=lambda item: (TASKS.index(item.task), item.name))


def custom_card(name: str, training: Path, dictionary: Path | None = None) -> ModelCard:
    """Return a card for a user's own model, from the YAML that PaddleOCR trained it with.

    The mapping and the inputs are those of the released model of the same kind of network. A
    `dictionary` takes the place of the one that the YAML names.

    Raises:
        ConfigError: the YAML has no usable Architecture, or no released model is of its kind.
    """
    content = read_yaml(training)
    architecture = content.get("Architecture")
    if not isinstance(architecture, dict):
        raise ConfigError(f"{training} has no Architecture section; give PaddleOCR's training YAML")
    if isinstance(architecture.get("Models"), dict):
        models = architecture["Models"]
        if not isinstance(models.get("Student"), dict):
            listed = ", ".join(map(str, models))
            raise ConfigError(f"{training} distils {listed}, none of them a network Student")
        architecture = models["Student"]
    model = similar(architecture)
    settings = content.get("Global") or {}
    if not isinstance(settings, dict):
        raise ConfigError(f"Global in {training} should be a section, it is {settings!r}")
    table = None
    if model.task == "rec":
        named = settings.get("character_dict_path")
        file = dictionary or (_dictionary_path(str(named), training) if named else None)
        space = bool(settings.get("use_space_char", False))
        table = read_dictionary(file, space) if file else None
    return ModelCard(
        name=name,
        task=model.task,
        architecture=architecture,
        mapping=model.mapping,
        input=model.input,
        proof=model.proof,
        recorded=model.recorded,
        class_counts=model.class_counts,
        dictionary=table,
        labels=tuple(map(str, settings.get("label_list") or model.labels)),
    )


def similar(architecture: Mapping[str, Any]) -> ModelCard:
    """Return a card whose network is put together from the same parts.

    It is that of a released model where there is one: a network may be known without any.

    Raises:
        ConfigError: there is none; the message names the parts that are known.
    """
    wanted = parts(architecture)
    known = {parts(config["architecture"]): config for config in _configs()}
    if wanted not in known:
        listed = "\n".join(f"  {' + '.join(filter(None, row))}" for row in sorted(known))
        raise ConfigError(
            f"no mapping is known for a network of {' + '.join(filter(None, wanted))}; "
            f"there are\n{listed}"
        )
    config = known[wanted]
    name, model = next(iter(config["models"].items()), ("", {}))
    return _card(name, config, model, None)


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
    head = {k: v for k, v in (architecture["Head"] or {}).items() if k not in _CLASS_COUNTS}
    return {**architecture, "Head": head}


def same_network(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Return whether two architectures are one network, class counts and training aside."""

    def essence(value: Any) -> Any:
        if isinstance(value, Mapping):
            kept = {k: essence(v) for k, v in value.items() if k not in _TRAINING_ONLY}
            return {key: item for key, item in kept.items() if item is not None}
        return [essence(item) for item in value] if isinstance(value, list) else value

    return essence(without_class_counts(a)) == essence(without_class_counts(b))


_CLASS_COUNTS = {"out_channels", "out_channels_list", "class_dim"}
_TRAINING_ONLY = {
    "algorithm", "fc_decay", "k", "fix_nan", "pretrained", "lr_mult_list", "lab_lr", "NRTRHead",
    "SARHead", "return_all_feats", "return_feats", "freeze_params", "use_pos",
}  # fmt: skip


def _dictionary_path(text: str, training: Path) -> Path:
    """Find the file that a training YAML names: beside it, above it, or one that is shipped."""
    path = Path(text)
    folders = training.absolute().parents
    places = [path] if path.is_absolute() else [folder / path for folder in folders]
    for place in (*places, FOLDER / "dicts" / path.name):
        shipped = place.parent == FOLDER / "dicts"
        # Shipped tables are those of PaddleOCR's ppocr/utils; other folders have namesakes.
        if place.is_file() and (not shipped or path.parts[-3:-1] == ("ppocr", "utils")):
            return place
    raise ConfigError(
        f"{training} names the dictionary {text}, which is neither there nor shipped; give it "
        "with --dict"
    )


@cache
def _configs() -> tuple[dict[str, Any], ...]:
    return tuple(_read(file) for file in sorted(FOLDER.glob("*/*.yaml")))


@cache
def _index() -> dict[str, dict[str, Any]]:
    index: dict[str, dict[str, Any]] = {}
    for config in _configs():
        for name in config["models"]:
            if name in index:
                raise ConfigError(f"the model {name} stands in two configs")
            index[name] = config
    return index


@cache
def _aliases() -> dict[str, str]:
    """Return the other names that models have been released under, each with the model's name."""
    index = _index()
    aliases: dict[str, str] = {}
    for name, config in index.items():
        for alias in config["models"][name].get("aliases", ()):
            if alias in index or alias in aliases:
                raise ConfigError(f"{alias}, an alias of {name}, stands for another model")
            aliases[alias] = name
    return aliases


def _read(file: Path) -> dict[str, Any]:
    content = read_yaml(file)
    where = str(file.relative_to(FOLDER))
    check_keys(content, _CONFIG_KEYS, where)
    needed = [key for key in _CONFIG_KEYS if key not in ("class_counts",)]
    if missing := [key for key in needed if key not in content]:
        raise ConfigError(f"{where} lacks {', '.join(missing)}")
    if content["task"] not in TASKS:
        raise ConfigError(f"{where}: task is one of {', '.join(TASKS)}, not {content['task']!r}")
    check_keys(content["input"], _INPUT_KEYS, f"{where}, input")
    check_keys(content["proof"], ("kind", "sizes"), f"{where}, proof")
    if len(content["proof"]["sizes"]) < 2:
        raise ConfigError(f"{where}: a proof takes two sizes at least")
    for name, model in content["models"].items():
        check_keys(model, _MODEL_KEYS, f"{where}, {name}")
    return content


def _card(
    name: str, config: Mapping[str, Any], model: Mapping[str, Any], dictionary: Path | None
) -> ModelCard:
    table = None
    if row := model.get("dictionary"):
        table = read_dictionary(dictionary or FOLDER / "dicts" / row["file"], row["space"])
    elif dictionary and config["task"] == "rec":
        table = read_dictionary(dictionary, space=False)
    sizes = tuple((height, width) for height, width in config["proof"]["sizes"])
    return ModelCard(
        name=name,
        task=config["task"],
        architecture=config["architecture"],
        mapping=config["mapping"],
        input=config["input"],
        proof=Proof(config["proof"]["kind"], sizes),
        recorded=config["recorded"],
        class_counts=config.get("class_counts", {}),
        release=model.get("release", "custom"),
        train=model.get("train"),
        infer=model.get("infer"),
        dictionary=table,
        labels=tuple(model.get("labels", ())),
    )
