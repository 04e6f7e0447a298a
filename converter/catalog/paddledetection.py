"""Architectures of PaddleDetection, from its configuration to the sections that `build` takes.

PaddleOCR's and PaddleX's layout networks are trained with PaddleDetection, whose configurations
have a section per class: `PicoDet` or `DETR` names the classes of the parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converter.errors import ConfigError
from schemas.artefact import Architecture

Section = Mapping[str, Any]

PARTS = {
    "PicoDet": {"backbone": "LCNet", "neck": "CSPPAN", "head": "PicoHead"},
    "DETR": {
        "backbone": "PPHGNetV2",
        "neck": "HybridEncoder",
        "transformer": "RTDETRTransformer",
    },
    "YOLOv3": {"backbone": "ResNet", "neck": "PPYOLOPAN", "yolo_head": "YOLOv3Head"},
}
_ALGORITHMS = {"PicoDet": "PicoDet", "DETR": "RT-DETR", "YOLOv3": "PP-YOLOv2"}
"""The detectors, with the names of their parts and the classes that PaddleDetection assumes."""

# Options that inference does not read, that repeat the width of another part, or that belong to
# the post-processing. Those of `PicoFeat` are all but the number of its layers.
_IGNORED = {
    "ResNet": {
        *("freeze_at", "freeze_norm", "norm_decay", "norm_type", "lr_mult_list"),
        "freeze_stem_only",
    },
    "PPYOLOPAN": {"drop_block", "block_size", "keep_prob", "norm_type"},
    "YOLOv3Head": {"loss"},
    "PPHGNetV2": {"freeze_stem_only", "freeze_at", "freeze_norm", "lr_mult_list"},
    "PicoHead": {
        *("feat_in_chan", "prior_prob", "nms", "nms_pre", "eval_size", "assigner"),
        *("loss_class", "loss_dfl", "loss_bbox"),
    },
    "PicoHeadV2": {
        *("feat_in_chan", "prior_prob", "nms", "nms_pre", "use_align_head", "grid_cell_scale"),
        "eval_size",
        *("static_assigner_epoch", "static_assigner", "assigner", "loss_class", "loss_dfl"),
        "loss_bbox",
    },
    "RTDETRTransformer": {
        *("position_embed_type", "feat_strides", "num_levels", "dropout", "activation"),
        *("num_denoising", "label_noise_ratio", "box_noise_scale", "eval_idx", "eval_size"),
    },
}


# What PaddleDetection takes for an option that is missing, where our networks take something else.
_PICO_HEAD = {"fpn_stride": [8, 16, 32], "reg_max": 16, "cell_offset": 0}
_DEFAULTS: Mapping[str, Section] = {
    "ResNet": {"variant": "b"},
    "PicoHead": _PICO_HEAD,
    "PicoHeadV2": _PICO_HEAD,
    "RTDETRTransformer": {"learnt_init_query": True},
    "YOLOv3Head": {"iou_aware": False},
}
_CONVOLUTIONS = 2
"""`num_convs` of PicoFeat, where it is missing."""


def is_paddledetection(architecture: Section) -> bool:
    """Return whether an architecture of a record is PaddleDetection's."""
    return "config" in architecture and "class" not in architecture


def architecture_of(sections: Section, num_classes: int | None = None) -> Architecture:
    """Return the architecture of the detector that PaddleDetection builds.

    Args:
        sections: its configuration, all base files merged.
        num_classes: the number of classes, if it is known.

    Raises:
        ConfigError: the detector, or an option of it, is of a kind that is not known here.
    """
    detector = next((name for name in PARTS if name in sections), None)
    if detector is None:
        raise ConfigError(
            f"the configuration has the sections {', '.join(map(str, sections))}, but none of "
            f"{', '.join(PARTS)}, which describe the detectors that are known"
        )
    named = sections[detector]
    backbone, neck, head = (str(named.get(part, cls)) for part, cls in PARTS[detector].items())
    architecture: dict[str, Any] = {
        "model_type": "layout",
        "algorithm": _ALGORITHMS[detector],
        "Backbone": {"name": backbone, **_read(backbone, sections)},
        "Neck": {"name": neck, **_neck(neck, sections)},
        "Head": {"name": head, **_head(head, sections)},
    }
    if num_classes is not None:
        architecture["Head"]["num_classes"] = num_classes
    return architecture


def _read(name: str, sections: Section) -> dict[str, Any]:
    """Return the options of a class that inference reads."""
    ignored = _IGNORED.get(name, set())
    options = {**_DEFAULTS.get(name, {}), **(sections.get(name) or {})}
    return {key: value for key, value in options.items() if key not in ignored}


def _neck(name: str, sections: Section) -> dict[str, Any]:
    options = _read(name, sections)
    if name == "HybridEncoder":
        layer = options.pop("encoder_layer", {})
        if isinstance(layer, Mapping) and layer.get("activation", "relu") != "gelu":
            raise ConfigError(
                f"encoder_layer with the activation {layer.get('activation', 'relu')} is not "
                "mirrored; released models have gelu"
            )
        options |= {key: layer[key] for key in ("nhead", "dim_feedforward") if key in layer}
    return options


def _head(name: str, sections: Section) -> dict[str, Any]:
    options = _read(name, sections)
    if name == "RTDETRTransformer":
        if "hidden_dim" in sections:
            options.setdefault("hidden_dim", sections["hidden_dim"])
        return options
    if name == "YOLOv3Head":
        return options
    features = options.pop("conv_feat", {})
    version_2 = name == "PicoHeadV2"
    aligned = (sections.get(name) or {}).get("use_align_head", True)
    shared = features.get("share_cls_reg", version_2)
    if not shared or (version_2 and not (aligned and features.get("use_se", False))):
        raise ConfigError(
            f"{name} with share_cls_reg {shared}, use_align_head {aligned} and use_se "
            f"{features.get('use_se', False)} is not mirrored; released models share the layers of "
            "classes and boxes, and PicoHeadV2 has both of the others"
        )
    options["num_convs"] = features.get("num_convs", _CONVOLUTIONS)
    options["strides"] = options.pop("fpn_stride")
    return options
