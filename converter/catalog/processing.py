"""Settings of pre- and post-processing, read from PaddleOCR's training YAMLs and exports.

A training YAML and the `inference.yml` that PaddleOCR 3 writes beside an export list the same
steps under the same names: ppocr/data/imaug/operators.py, ppocr/data/imaug/rec_img_aug.py and
ppocr/postprocess. The settings themselves are declared in `schemas/processing.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter.catalog.yaml_io import read_yaml
from converter.errors import ConfigError
from schemas.checks import is_count, sequence_of, shorten
from schemas.processing import (
    BY_TASK,
    FORMULA_RESIZES,
    TOKEN_DECODERS,
    DetectionSettings,
    PGSettings,
    SettingsError,
    SpottingSettings,
    check_setting,
    checks_of_task,
)

Stated = dict[str, Any]
"""The settings that a file states, by name; their types are those of the settings' classes."""

_DECODING = tuple(name for kind in BY_TASK["det"][1:] for name in kind.checks())


@dataclass(frozen=True)
class ResizeStep:
    """How one of PaddleOCR's steps resizes and normalises a line.

    Attributes:
        shape: the meaning of each number of its `image_shape`.
        values: mean and std of values from 0 to 1, each for all channels.
        color: the color of its output, where that is not the input's.
        pads: whether it keeps the ratio of lines unless its YAML says otherwise; None if it cannot.
    """

    shape: tuple[str, ...] = ("channels", "height", "width")
    values: tuple[tuple[float, ...], tuple[float, ...]] = ((0.5,) * 3, (0.5,) * 3)
    color: str | None = None
    pads: bool | None = None


_SAR = ResizeStep(("channels", "height", "width", "max_width"))
_PLAIN = ((0.0,) * 3, (1.0,) * 3)
_GREY = ((0.5,), (0.5,))
RESIZE_STEPS: Mapping[str, ResizeStep] = {
    "RecResizeImg": ResizeStep(pads=True),
    "SVTRRecResizeImg": ResizeStep(pads=True),
    "VLRecResizeImg": ResizeStep(values=_PLAIN),
    "PRENResizeImg": ResizeStep(("height", "width")),
    "ABINetRecResizeImg": ResizeStep(values=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
    "GrayRecResizeImg": ResizeStep(("width", "height"), color="GRAY", pads=False),
    "RFLRecResizeImg": ResizeStep(values=_GREY, color="GRAY", pads=True),
    "SPINRecResizeImg": ResizeStep(("width", "height"), _GREY, color="GRAY"),
    "SRNRecResizeImg": ResizeStep(values=((0.0,), (1 / 255,)), color="GRAY"),
    "SARRecResizeImg": _SAR,
    "RobustScannerRecResizeImg": _SAR,
}
_INTERPOLATIONS = {1: "linear", 2: "cubic"}
"""OpenCV's numbers of its ways to interpolate."""


def settings_of_export(file: Path, task: str) -> Stated:
    """Read the settings of an export from its `inference.yml`.

    Raises:
        ConfigError: the file is not plain YAML, or a setting is of another type or out of range.
    """
    content = read_yaml(file)
    steps = _section(content, "PreProcess").get("transform_ops")
    return _settings(steps, content.get("PostProcess"), task, str(file))


def labels_of_export(file: Path) -> tuple[str, ...]:
    """Read the labels of a detector from the file beside its export; none where it has none.

    Raises:
        ConfigError: the file is not plain YAML, or its `label_list` is no list of texts.
    """
    labels = read_yaml(file).get("label_list") or []
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ConfigError(f"label_list in {file} is {shorten(labels)}, expected a list of texts")
    return tuple(labels)


def settings_of_training(content: Mapping[str, Any], task: str, where: str) -> Stated:
    """Return the settings with which a training YAML evaluates its network.

    Args:
        content: the YAML.
        task: the network's.
        where: the file, for messages.

    Raises:
        ConfigError: a setting is of another type or out of range.
    """
    steps = _section(_section(content, "Eval"), "dataset").get("transforms")
    return _settings(steps, content.get("PostProcess"), task, where)


def _settings(steps: object, postprocess: object, task: str, where: str) -> Stated:
    """Return the settings of one task that pre- and post-processing steps state."""
    decoding = postprocess if isinstance(postprocess, Mapping) else {}
    if task in ("rec", "formula"):
        return line_settings(steps, decoding, where)
    if task == "det":
        stated = _chosen(_step(steps, "DetResizeForTest"), DetectionSettings.checks())
        stated |= _chosen(_step(steps, "ScaleAlignedShort"), DetectionSettings.checks())
        stated |= _chosen(decoding, _DECODING)
    elif task == "e2e":
        stated = _chosen(_step(steps, "E2EResizeForTest"), SpottingSettings.checks())
        stated |= _chosen(decoding, PGSettings.checks())
    elif task == "cls":
        stated = _classification(_step(steps, "ResizeImage"), decoding)
        stated |= _line_of_classifier(_step(steps, "ClsResizeImg"), where)
    else:
        stated = {}
    check_settings(stated, where, task)
    return stated


def _classification(resize: Mapping[str, Any], postprocess: Mapping[str, Any]) -> Stated:
    stated: Stated = {}
    if resize.get("resize_short") is not None:
        stated["resize_short"] = resize["resize_short"]
    elif resize.get("size") is not None:
        stated["keep_ratio"] = False
    if "Topk" in postprocess:
        stated["cls_thresh"] = 0.0  # the best class counts, however low its probability
    return stated


def line_settings(steps: object, postprocess: object, where: str) -> Stated:
    """Return the settings of a network that reads lines or formulas.

    Args:
        steps: the pre-processing, a list of mappings from a step's name to its options or None.
        postprocess: a mapping with the decoder's `name` and options.
        where: the file, for messages.

    Raises:
        ConfigError: a step's options are not those that it takes.
    """
    stated: Stated = {}
    options = postprocess if isinstance(postprocess, Mapping) else {}
    decoder = str(options.get("name")).removeprefix("Distillation")
    if decoder.endswith("LabelDecode") or decoder in TOKEN_DECODERS:
        stated["decoder"] = decoder
    if options.get("rm_symbol"):
        stated["rm_symbol"] = True
    color = "BGR"
    for name, values in _steps(steps):
        if name == "DecodeImage":
            color = str(values.get("img_mode", color))
        if name in FORMULA_RESIZES:
            stated |= {"resize": name, **_input_size(values, f"{where}: {name}")}
        if name in RESIZE_STEPS:
            stated |= _resizing(name, values, color, f"{where}: {name}")
    if stated.get("decoder") == "AttnLabelDecode" and "width" in stated:
        stated["max_width"] = stated["width"]  # PaddleOCR squeezes RARE's wider lines
    return stated


def _line_of_classifier(resize: Mapping[str, Any], where: str) -> Stated:
    """Return height and width of the lines of an orientation classifier, if a step states them."""
    shape = resize.get("image_shape")
    if shape is None:
        return {}
    if not isinstance(shape, list) or not sequence_of(shape, is_count, 3):
        raise ConfigError(
            f"{where}: ClsResizeImg has the image_shape {shorten(shape)}, expected channels, "
            "height, width"
        )
    return {"height": shape[1], "width": shape[2]}


_FIXED_SIZE = ("image_shape", "keep_ratio")
_OTHER_SIZES = {"limit_side_len", "resize_long", "short_size"}


def merge_settings(released: Mapping[str, Any], stated: Mapping[str, Any]) -> Stated:
    """Return the settings of a released model, replaced by those that a file states.

    Settings of one way to resize mean nothing in another, so they are replaced together. For
    detectors the order of precedence decides, except that a fixed size excludes the other ways.
    """
    kept = ("decoder", "rm_symbol", "right_to_left") if "resize" in stated else tuple(released)
    dropped = _FIXED_SIZE if _OTHER_SIZES & stated.keys() else ()
    return {
        **{name: released[name] for name in kept if name in released and name not in dropped},
        **stated,
    }


def check_settings(stated: Mapping[str, Any], where: str, task: str) -> None:
    """Check settings from a file against their declarations.

    Raises:
        ConfigError: a setting is unknown for the task, of another type, or out of range.
    """
    known = checks_of_task(task)
    for name, value in stated.items():
        if name not in known:
            raise ConfigError(f"{where}: unknown setting {name}; there are {', '.join(known)}")
        try:
            check_setting(task, name, value)
        except SettingsError as error:
            raise ConfigError(f"{where}: {error}") from error


def _chosen(section: Mapping[str, Any], names: Iterable[str]) -> Stated:
    return {name: section[name] for name in names if section.get(name) is not None}


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = content.get(name)
    return section if isinstance(section, Mapping) else {}


def _steps(steps: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and the options of each step of a pre-processing."""
    for step in steps if isinstance(steps, list) else ():
        for name, options in step.items() if isinstance(step, Mapping) else ():
            yield str(name), options if isinstance(options, Mapping) else {}


def _step(steps: object, name: str) -> Mapping[str, Any]:
    """Return the options of the last step of a name; none where there is no such step."""
    return dict(_steps(steps)).get(name, {})


def _input_size(options: Mapping[str, Any], where: str) -> dict[str, int]:
    """Return the height and width of a formula's image, if the step states them."""
    size = options.get("input_size")
    if size is None:
        return {}
    if not isinstance(size, list) or not sequence_of(size, is_count, 2):
        raise ConfigError(f"{where} has the input_size {shorten(size)}, expected height, width")
    return {"height": size[0], "width": size[1]}


def _resizing(name: str, options: Mapping[str, Any], color: str, where: str) -> Stated:
    """Return the settings of a step that resizes lines."""
    step = RESIZE_STEPS[name]
    mean, std = step.values
    if name == "GrayRecResizeImg":
        mean, std = ((128 / 255,), (128 / 255,)) if options.get("scale", True) else ((0.0,), (1.0,))
    padding = bool(options.get("padding", step.pads)) if step.pads is not None else None
    # With padding GrayRecResizeImg has the shape of the others.
    names = ResizeStep().shape if name == "GrayRecResizeImg" and padding else step.shape
    shape = options.get("image_shape")
    if not isinstance(shape, list) or not sequence_of(shape, is_count, len(names)):
        raise ConfigError(
            f"{where} has the image_shape {shorten(shape)}, expected {', '.join(names)}"
        )
    sizes = dict(zip(names, shape, strict=True))
    sizes.pop("channels", None)
    stated: Stated = {"resize": name, **sizes, "color": step.color or color}
    stated |= {"mean": list(mean), "std": list(std)}
    if padding is not None:
        stated["padding"] = padding
    if not padding:
        stated["interpolation"] = _interpolation(name, options, where)
    return stated


def _interpolation(name: str, options: Mapping[str, Any], where: str) -> str:
    """Return how a step that stretches lines interpolates.

    SPIN's step has an option `interpolation` too, but passes it to OpenCV as another argument.
    """
    if name == "GrayRecResizeImg" and options.get("resize_type") == "PIL":
        method = str(options.get("inter_type", "LANCZOS")).rpartition(".")[2].lower()
        if method in ("bicubic", "lanczos"):
            return method
        raise ConfigError(
            f"{where} has the inter_type {shorten(method)}, expected BICUBIC or LANCZOS"
        )
    if name != "RFLRecResizeImg":
        return "linear"
    number = options.get("interpolation", 1)
    if not is_count(number) or number not in _INTERPOLATIONS:
        raise ConfigError(f"{where} has the interpolation {shorten(number)}, expected 1 or 2")
    return _INTERPOLATIONS[number]
