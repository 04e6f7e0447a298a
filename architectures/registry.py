"""PaddleOCR's names and the classes here that mirror them, and `build`, which makes a network of a configuration."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from torch import nn

from architectures.fuse import fuse
from architectures.model import Model

PARTS = ("Transform", "Backbone", "Neck", "Head")
OPTIONAL = ("Transform", "Neck")
# What else the Architecture section may hold: `algorithm` names the paper, the rest steers training.
OTHER_KEYS = (
    "model_type", "in_channels", "algorithm", "name", "pretrained", "freeze_params", "return_all_feats",
)  # fmt: skip


class UnknownArchitecture(ValueError):  # noqa: N818
    """The configuration asks for a network or an option that is not mirrored here."""


class Row(NamedTuple):
    """One network: where it stands, what PaddleOCR calls it, where its class is."""

    part: str
    model_types: str
    name: str
    target: str
    #: options of PaddleOCR that only training reads
    training: str = ""
    #: class count -> the option, dots between levels, that states it
    counts: Mapping[str, str] = {}


# fmt: off
TABLE = (
    #   part        model types  name               class                                    training only
    Row("Backbone", "det",       "MobileNetV3",     "backbones.det_mobilenet_v3:MobileNetV3", "pretrained"),
    Row("Backbone", "rec cls",   "MobileNetV3",     "backbones.rec_mobilenet_v3:MobileNetV3", "pretrained"),
    Row("Backbone", "det rec",   "PPLCNetV3",       "backbones.rec_lcnetv3:PPLCNetV3",        "pretrained lr_mult_list lab_lr"),
    Row("Neck",     "det",       "DBFPN",           "necks.db_fpn:DBFPN"),
    Row("Neck",     "det",       "RSEFPN",          "necks.db_fpn:RSEFPN"),
    Row("Neck",     "rec",       "SequenceEncoder", "necks.rnn:SequenceEncoder",              "use_guide drop_rate attn_drop_rate drop_path"),
    Row("Head",     "det",       "DBHead",          "heads.det_db_head:DBHead",               "k fix_nan"),
    Row("Head",     "rec",       "CTCHead",         "heads.rec_ctc_head:CTCHead",             "fc_decay return_feats", {"ctc": "out_channels"}),
    Row("Head",     "rec",       "MultiHead",       "heads.rec_multi_head:MultiHead",         "", {"ctc": "out_channels_list.CTCLabelDecode"}),
    Row("Head",     "cls",       "ClsHead",         "heads.cls_head:ClsHead",                 "", {"cls": "class_dim"}),
)
# fmt: on


def build(
    architecture: Mapping[str, Any],
    *,
    class_counts: Mapping[str, int] | None = None,
    form: str = "train",
) -> Model:
    """The network, randomly initialised and in eval mode, that PaddleOCR builds from `architecture`.

    `architecture` is the Architecture section of one of PaddleOCR's training configurations. Class counts that it
    does not state are taken from `class_counts`: `ctc` for a recogniser, `cls` for a classifier.

    UnknownArchitecture: a network or option that is not mirrored here. ValueError: a class count that is missing or
    stated twice with different values, or an unknown form.
    """
    architecture = copy.deepcopy(dict(architecture))
    _check_keys(architecture)
    model_type = architecture["model_type"]
    counts = _fill_class_counts(architecture, class_counts or {})
    modules = {}
    channels: Any = architecture.get("in_channels", 3)
    for part in PARTS:
        if architecture.get(part) is not None:
            modules[part] = make(part, model_type, architecture[part], channels)
            channels = getattr(modules[part], "out_channels", None)
    return fuse(Model(modules, architecture, counts), form)


def make(part: str, model_type: str, options: Mapping[str, Any], in_channels: Any) -> nn.Module:
    """One part of a network from its section of the configuration; `in_channels` as the part before gives it."""
    row = find(part, model_type, options)
    module, name = row.target.split(":")
    network = getattr(import_module(f"architectures.{module}"), name)
    training = row.training.split()
    accepted = [option for option in inspect.signature(network).parameters if option != "in_channels"]
    unknown = [o for o in options if o not in (*accepted, *training, "name")]
    if unknown:
        raise UnknownArchitecture(
            f"{row.name} does not take {', '.join(map(repr, unknown))}; it takes {', '.join(accepted)}"
            + (f" and ignores {', '.join(training)}, which only training reads" if training else "")
        )
    return network(in_channels, **{o: value for o, value in options.items() if o in accepted})


def find(part: str, model_type: str, options: Mapping[str, Any]) -> Row:
    """The table's row for a section of the configuration."""
    known = {row.name: row for row in TABLE if row.part == part and model_type in row.model_types.split()}
    name = options.get("name")
    if name not in known:
        raise UnknownArchitecture(
            f"unknown {part} {name!r} for model_type {model_type!r}; known: {', '.join(known) or 'none'}"
        )
    return known[name]


def _check_keys(architecture: Mapping[str, Any]) -> None:
    unknown = [key for key in architecture if key not in PARTS + OTHER_KEYS]
    if unknown:
        raise UnknownArchitecture(
            f"the architecture has the unknown keys {', '.join(map(repr, unknown))}; known: "
            f"{', '.join(PARTS + OTHER_KEYS)} (of a distillation model, give one of its Models)"
        )
    if "model_type" not in architecture:
        raise UnknownArchitecture("the architecture names no model_type (det, rec or cls)")
    for part in PARTS:
        section = architecture.get(part)
        if section is None and part not in OPTIONAL:
            raise UnknownArchitecture(f"the architecture has no {part}")
        if section is not None and not isinstance(section, Mapping):
            raise UnknownArchitecture(f"{part} is {section!r}, not a section with a name and options")


def _fill_class_counts(architecture: dict[str, Any], given: Mapping[str, int]) -> dict[str, int]:
    """The class counts of the head; those that `architecture` does not state are written into it."""
    head = architecture["Head"]
    row = find("Head", architecture["model_type"], head)
    foreign = [name for name in given if name not in row.counts]
    if foreign:
        raise ValueError(
            f"{row.name} has no class count {', '.join(map(repr, foreign))}; "
            f"it has {', '.join(row.counts) or 'none'}"
        )
    counts = {}
    for name, path in row.counts.items():
        *sections, option = path.split(".")
        place = head
        for section in sections:
            place = place.setdefault(section, {})
        stated = {count for count in (place.get(option), given.get(name)) if count is not None}
        if not stated:
            raise ValueError(
                f"{row.name} needs a class count: give class_counts={{{name!r}: …}} or Head.{path}"
            )
        if len(stated) > 1:
            raise ValueError(
                f"Head.{path} states {place[option]} classes, class_counts[{name!r}] {given[name]}"
            )
        counts[name] = place[option] = stated.pop()
    return counts
