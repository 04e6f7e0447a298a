"""How lines and formulas are prepared and what is answered is read, as PaddleOCR's YAMLs say it.

A training YAML and the `inference.yml` of an export state the same steps under the same names:
PaddleOCR, ppocr/data/imaug/rec_img_aug.py and ppocr/postprocess/rec_postprocess.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from converter.catalog.tokenizer import DECODERS as TOKEN_DECODERS
from converter.errors import ConfigError


@dataclass(frozen=True)
class Step:
    """What one resize step does to every image.

    Attributes:
        shape: what the numbers of its `image_shape` are.
        values: mean and std of values from 0 to 1, each for all channels.
        color: the image's, where the step makes another of it.
        pads: whether it keeps the ratio of lines where its YAML does not say; None, if it cannot.
    """

    shape: tuple[str, ...] = ("channels", "height", "width")
    values: tuple[tuple[float, ...], tuple[float, ...]] = ((0.5,) * 3, (0.5,) * 3)
    color: str | None = None
    pads: bool | None = None


_SAR = Step(("channels", "height", "width", "max_width"))
_PLAIN = ((0.0,) * 3, (1.0,) * 3)
_GREY = ((0.5,), (0.5,))
STEPS: Mapping[str, Step] = {
    "RecResizeImg": Step(pads=True),
    "SVTRRecResizeImg": Step(pads=True),
    "VLRecResizeImg": Step(values=_PLAIN),
    "PRENResizeImg": Step(("height", "width")),
    "ABINetRecResizeImg": Step(values=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
    "GrayRecResizeImg": Step(("width", "height"), color="GRAY", pads=False),
    "RFLRecResizeImg": Step(values=_GREY, color="GRAY", pads=True),
    "SPINRecResizeImg": Step(("width", "height"), _GREY, color="GRAY"),
    "SRNRecResizeImg": Step(values=((0.0,), (1 / 255,)), color="GRAY"),
    "SARRecResizeImg": _SAR,
    "RobustScannerRecResizeImg": _SAR,
}
FORMULA_STEPS = ("UniMERNetImgDecode", "MinMaxResize", "GrayImageChannelFormat")
_OF_ANSWERS = ("decoder", "rm_symbol")
_INTERPOLATIONS = {1: "linear", 2: "cubic"}


def line_settings(steps: Any, postprocess: Any, where: str) -> dict[str, Any]:
    """Return the settings that steps of a pre-processing and a post-processing come to.

    Args:
        steps: a list of mappings, each of a step's name to its options or None.
        postprocess: a mapping with the `name` of what reads the answers, and its options.
        where: the file, for messages.

    Raises:
        ConfigError: a step's options cannot be followed.
    """
    settings: dict[str, Any] = {}
    options = postprocess if isinstance(postprocess, Mapping) else {}
    decoder = str(options.get("name")).removeprefix("Distillation")
    if decoder.endswith("LabelDecode") or decoder in TOKEN_DECODERS:
        settings["decoder"] = decoder
    if options.get("rm_symbol"):
        settings["rm_symbol"] = True
    color = "BGR"
    for name, values in _steps(steps):
        if name == "DecodeImage":
            color = str(values.get("img_mode", color))
        if name in FORMULA_STEPS:
            settings |= {"resize": name, **_input_size(values, f"{where}: {name}")}
        if name in STEPS:
            settings |= _resizing(name, values, color, f"{where}: {name}")
    if settings.get("decoder") == "AttnLabelDecode" and "width" in settings:
        settings["max_width"] = settings["width"]  # of RARE's, PaddleOCR squeezes wider lines
    return settings


_ONE_SIZE = ("image_shape", "keep_ratio")
_OTHER_SIZES = {"limit_side_len", "resize_long", "short_size"}


def merge_settings(released: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a released model with what a file states of another like it.

    Settings of one way to resize have no meaning in another, so they are taken together. Detectors
    know which way comes first; only the one size of all images has to make room for another way.
    """
    kept = _OF_ANSWERS if "resize" in stated else tuple(released)
    dropped = _ONE_SIZE if _OTHER_SIZES & stated.keys() else ()
    return {
        **{name: released[name] for name in kept if name in released and name not in dropped},
        **stated,
    }


def line_settings_of_training(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what a training YAML states of evaluating the recogniser; ConfigError as above."""
    dataset = _section(_section(content, "Eval"), "dataset")
    return line_settings(dataset.get("transforms"), content.get("PostProcess"), where)


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = content.get(name)
    return section if isinstance(section, Mapping) else {}


def _steps(steps: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for step in steps if isinstance(steps, list) else ():
        for name, values in step.items() if isinstance(step, Mapping) else ():
            yield str(name), values if isinstance(values, Mapping) else {}


def _input_size(options: Mapping[str, Any], where: str) -> dict[str, int]:
    """Return the height and width to which formulas are brought, if the step states them."""
    size = options.get("input_size")
    if size is None:
        return {}
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_count, size)):
        raise ConfigError(f"{where} has the input_size {size!r}, expected height, width")
    return {"height": size[0], "width": size[1]}


def _resizing(name: str, options: Mapping[str, Any], color: str, where: str) -> dict[str, Any]:
    step = STEPS[name]
    mean, std = step.values
    if name == "GrayRecResizeImg":
        mean, std = ((128 / 255,), (128 / 255,)) if options.get("scale", True) else ((0.0,), (1.0,))
    padding = bool(options.get("padding", step.pads)) if step.pads is not None else None
    # With padding GrayRecResizeImg has the shape of the others.
    names = Step().shape if name == "GrayRecResizeImg" and padding else step.shape
    shape = options.get("image_shape")
    if not isinstance(shape, list) or len(shape) != len(names) or not all(map(_is_count, shape)):
        raise ConfigError(f"{where} has the image_shape {shape!r}, expected {', '.join(names)}")
    sizes = dict(zip(names, shape, strict=True))
    sizes.pop("channels", None)
    settings = {"resize": name, **sizes, "color": step.color or color}
    settings |= {"mean": list(mean), "std": list(std)}
    if padding is not None:
        settings["padding"] = padding
    if not padding:
        settings["interpolation"] = _interpolation(name, options, where)
    return settings


def _interpolation(name: str, options: Mapping[str, Any], where: str) -> str:
    """Return how a step that stretches lines does so.

    SPIN's takes an `interpolation` and hands it to OpenCV in the place of another argument.
    """
    if name == "GrayRecResizeImg" and options.get("resize_type") == "PIL":
        kind = str(options.get("inter_type", "LANCZOS")).rpartition(".")[2].lower()
        if kind in ("bicubic", "lanczos"):
            return kind
        raise ConfigError(f"{where} has the inter_type {kind}, expected BICUBIC or LANCZOS")
    if name != "RFLRecResizeImg":
        return "linear"
    number = options.get("interpolation", 1)
    if number not in _INTERPOLATIONS:
        raise ConfigError(f"{where} has the interpolation {number!r}, expected 1 or 2")
    return _INTERPOLATIONS[number]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
