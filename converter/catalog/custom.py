"""A user's own model, described by the YAML that it was trained with.

That is PaddleOCR's, with an Architecture section, PaddleDetection's, with a section for each class
of the network, or PaddleX's, which names a released model.

Its tensors are mapped like those of the released model whose network is most like it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter.catalog import kie
from converter.catalog.cards import (
    READING,
    ModelCard,
    Proof,
    card,
    configs,
    read_card,
    without_class_counts,
)
from converter.catalog.detector_config import (
    input_of,
    is_paddledetections,
    is_paddlexs,
    labels_of_data,
    labels_of_paddlex,
    read_sections,
)
from converter.catalog.dictionary import (
    MissingDictionary,
    dictionary_of_training,
    named_dictionary,
)
from converter.catalog.paddledetection import architecture_of, is_paddledetection
from converter.catalog.processing import check_settings, merge_settings, settings_of_training
from converter.catalog.yaml_io import read_training
from converter.errors import ConfigError
from schemas.artefact import Architecture
from schemas.checks import shorten

_TRAINING_ONLY = {
    *(
        "algorithm",
        "pretrained",
        "checkpoints",
        "freeze_params",
        "lr_mult_list",
        "lab_lr",
        "loc_lr",
    ),
    *("fc_decay", "l2_decay", "use_dropout", "dropout", "dropout_ratio", "is_train", "k"),
    *("drop_rate", "attn_drop_rate", "drop_path", "drop_path_rate"),
    *("return_all_feats", "return_feats", "NRTRHead", "SARHead", "use_pos", "fix_nan"),
    *("character_dict_path", "class_num", "pad_value", "decoder_start_token_id", "use_ssld"),
    *("temperature", "do_sample", "top_p", "is_export", "is_predict", "infer_mode"),
}
"""Options of a network that inference does not read."""

_PRESET = "paddlenlp_preset"
"""Where a record states PaddleNLP's sizes of a network, which are those of our class."""

_OF_LINES = ("cls", "rec", "formula")
"""The tasks whose networks take images of one height."""


def custom_card(
    name: str,
    training: Path,
    dictionary: Path | None = None,
    submodel: str | None = None,
    class_list: Path | None = None,
) -> ModelCard:
    """Return the card of a user's own model.

    The mapping and the input are those of the released model with the most similar network.

    Args:
        name: what the user calls the model.
        training: the YAML that it was trained with.
        dictionary: a dictionary that replaces the one that the YAML names.
        submodel: the network to take from a distillation checkpoint, unless it is inference's.
        class_list: of a network for key information, its classes in place of the YAML's.

    Raises:
        ConfigError: the YAML has no usable Architecture, or no released network is of its kind.
    """
    content = read_training(training)
    if is_paddlexs(content):
        return _of_paddlex(name, content, training, dictionary)
    if is_paddledetections(content):
        return _of_paddledetection(name, training)
    architecture = _architecture(content, training, submodel)
    model = similar(architecture)
    settings = content.get("Global") or {}
    if not isinstance(settings, dict):
        raise ConfigError(f"Global in {training} is {shorten(settings)}, expected a section")
    labels = settings.get("label_list") or list(model.labels)
    if model.task == "kie":
        labels = list(kie.labels_of(content, training, architecture, class_list))
    if not isinstance(labels, list):
        raise ConfigError(f"label_list in {training} is {shorten(labels)}, expected a list")
    table, pipeline = None, model.pipeline
    if model.task in READING:
        table = dictionary_of_training(settings, training, dictionary)
    if model.task in ("det", "cls", "rec", "formula"):
        stated = settings_of_training(content, model.task, str(training))
        pipeline = merge_settings(pipeline, stated)
    if model.task == "kie":
        pipeline = merge_settings(pipeline, kie.settings_of_training(content))
        check_settings(pipeline, str(training), model.task)
    if model.task == "rec":
        path = named_dictionary(settings) or str(dictionary or "")
        pipeline = {**pipeline, "right_to_left": is_right_to_left(path)}
    return ModelCard(
        name=name,
        task=model.task,
        architecture=architecture,
        mapping=model.mapping,
        input=model.input,
        pipeline=pipeline,
        proof=_proof_at(model.proof, pipeline) if model.task in _OF_LINES else model.proof,
        recorded=model.recorded,
        recorded_sizes=model.recorded_sizes,
        class_counts=model.class_counts,
        submodel=submodel,
        dictionary=None if isinstance(table, MissingDictionary) else table,
        missing_dictionary=table if isinstance(table, MissingDictionary) else None,
        labels=tuple(map(str, labels)),
    )


def _of_paddlex(
    name: str, content: Mapping[str, Any], training: Path, dictionary: Path | None
) -> ModelCard:
    """Return the card of the released model that PaddleX trained further, with own classes."""
    model = card(content["Global"]["model"], dictionary)
    labels = labels_of_paddlex(content, training) if model.task == "layout" else model.labels
    own: dict[str, Any] = {"release": "custom", "classes": None, "train": None, "infer": None}
    return replace(model, name=name, aliases=(), labels=labels, **own)


def _of_paddledetection(name: str, training: Path) -> ModelCard:
    """Return the card of a detector that PaddleDetection trained."""
    sections = read_sections(training)
    architecture = architecture_of(sections)
    model = similar(architecture)
    image = input_of(sections, model.input)
    return replace(
        model,
        name=name,
        architecture=architecture,
        input=image,
        proof=model.proof.resized(image.height, image.width),
        labels=labels_of_data(sections, training),
    )


def _proof_at(proof: Proof, pipeline: Mapping[str, Any]) -> Proof:
    """Return a proof at the size of lines that the settings state.

    The widths of a network that takes any width stay.

    Args:
        proof: that of a released model.
        pipeline: the settings of pre-processing.
    """
    width = pipeline.get("max_width", pipeline.get("width")) if proof.only_size else None
    return proof.resized(pipeline.get("height"), width)


def is_right_to_left(dictionary: str) -> bool:
    """Return whether PaddleOCR turns a recogniser's texts round, by the path of its dictionary.

    It looks for the word in the whole path, folders included (`BaseRecLabelDecode`).

    Args:
        dictionary: the `character_dict_path` as the YAML writes it.
    """
    return "arabic" in dictionary


def _architecture(content: Mapping[str, Any], training: Path, submodel: str | None) -> Architecture:
    """Return the section of the network to convert; of several that were distilled, the student."""
    architecture = content.get("Architecture")
    if not isinstance(architecture, dict):
        raise ConfigError(
            f"{training} has no Architecture section; give the training YAML of PaddleOCR, "
            "PaddleDetection or PaddleX"
        )
    models = architecture.get("Models")
    if not isinstance(models, dict):
        if submodel:
            raise ConfigError(f"{training} distils nothing, so it has no submodel {submodel}")
        return architecture
    network = models.get(submodel or "Student")
    if not isinstance(network, dict):
        listed = ", ".join(map(str, models))
        raise ConfigError(
            f"{training} distils {listed}, none of them a network {submodel or 'Student'}"
        )
    return network


def similar(architecture: Architecture) -> ModelCard:
    """Return a nameless card of the same network, or else of the most similar one.

    Networks of one kind have the same model type, transform and head; without a head, the same
    backbone. Their other parts may differ, since a mapping that does not fit is detected by the
    tensor names; the same backbone counts most.

    Args:
        architecture: the Architecture section of a training YAML.

    Raises:
        ConfigError: there is none of its kind; the message lists the kinds that are known.
    """
    wanted = parts(architecture)
    alike = [c for c in configs() if _kind(parts(c["architecture"])) == _kind(wanted)]
    if not alike:
        known = sorted({parts(config["architecture"]) for config in configs()})
        listed = "\n".join(f"  {' + '.join(filter(None, row))}" for row in known)
        raise ConfigError(
            f"no mapping is known for a network of {' + '.join(filter(None, wanted))}; "
            f"there are\n{listed}"
        )

    def likeness(config: Mapping[str, Any]) -> tuple[bool, bool, int, int]:
        other = config["architecture"]
        alike = [a == b for a, b in zip(parts(other), wanted, strict=True)]
        options = len(set(_options(other)) & set(_options(architecture)))
        return same_network(other, architecture), alike[2], sum(alike), options

    return read_card("", max(alike, key=likeness), {})


def parts(architecture: Architecture) -> tuple[str, ...]:
    """Return the model type of a network and the names of its parts.

    Raises:
        ConfigError: a part is not a section.
    """
    sections = [architecture.get(key) or {} for key in ("Transform", "Backbone", "Neck", "Head")]
    if not all(isinstance(section, Mapping) for section in sections):
        raise ConfigError("Transform, Backbone, Neck and Head of an Architecture are sections")
    return (
        str(architecture.get("model_type", "")),
        *(str(section.get("name", "")) for section in sections),
        str(sections[2].get("encoder_type", "")),
    )


def _kind(parts: tuple[str, ...]) -> tuple[str, ...]:
    model_type, transform, backbone, _, head, _ = parts
    last = "DBHead" if head == "PFHeadLocal" else head  # one with two maps
    return model_type, transform, last or backbone


def _options(value: object, path: str = "") -> Iterator[str]:
    """Yield every option of an architecture as text, with its path and its value."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _options(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from _options(item, path)
    else:
        yield f"{path}={value!r}"


def mirrored(architecture: Architecture) -> Architecture:
    """Return the architecture of our network for one that a record or a YAML states.

    PaddleX's own networks, which are classes, are those of the models they are named after;
    PaddleDetection's have a section for each class.
    """
    if "class" in architecture:
        return card(architecture["algorithm"]).architecture
    if is_paddledetection(architecture):
        return architecture_of(architecture["config"], architecture.get("num_classes"))
    return {key: value for key, value in architecture.items() if key != _PRESET}


def same_network(a: Architecture, b: Architecture, sizes: tuple[str, ...] = ()) -> bool:
    """Return whether two architectures are one network but for class counts and training options.

    Args:
        a, b: two Architecture sections.
        sizes: further options that may differ, where one network is a smaller form of the other.
    """
    a, b = mirrored(a), mirrored(b)
    ignored = _TRAINING_ONLY.union(sizes)

    def essence(value: object) -> object:
        if isinstance(value, Mapping):
            kept = {key: essence(item) for key, item in value.items() if key not in ignored}
            return {key: item for key, item in kept.items() if item is not None}
        return [essence(item) for item in value] if isinstance(value, list) else value

    return essence(without_class_counts(a)) == essence(without_class_counts(b))
