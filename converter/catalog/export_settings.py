"""What the `inference.yml` beside an export says of what comes before and after the network.

PaddleOCR 3 writes it. The names are those of its options: of `DetResizeForTest`,
`ScaleAlignedShort`, `DBPostProcess` and what other detectors have in its place, of
`E2EResizeForTest` and `PGPostProcess`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from converter.catalog.line_settings import line_settings
from converter.catalog.yaml_io import read_yaml
from converter.errors import ConfigError

_RESIZE = {
    "limit_side_len": int, "limit_type": str, "max_side_limit": int, "resize_long": int,
    "short_size": int, "image_shape": list, "keep_ratio": bool,
}  # fmt: skip
# The options of DBPostProcess; then what those of EAST add, and so on.
_DECODE = {
    "thresh": float, "box_thresh": float, "unclip_ratio": float, "max_candidates": int,
    "use_dilation": bool, "score_mode": str, "box_type": str,
    "score_thresh": float, "cover_thresh": float, "nms_thresh": float,
    "min_area": int, "scale": int,
    "sample_pts_num": int, "expand_scale": float, "shrink_ratio_of_width": float,
    "tcl_map_thresh": float,
    "scales": list, "fourier_degree": int, "num_reconstr_points": int, "score_thr": float,
    "alpha": float, "beta": float, "nms_thr": float, "min_score": float,
    "link_thr": float,
}  # fmt: skip
# How a detector's images are resized and its maps decoded, and what each value is.
DETECTION: Mapping[str, type] = {**_RESIZE, **_DECODE}
# How a classifier's images are resized and from which probability on its answer counts.
CLASSIFICATION: Mapping[str, type] = {"keep_ratio": bool, "resize_short": int, "cls_thresh": float}
# How lines are resized for a recogniser and its answers read.
RECOGNITION: Mapping[str, type] = {
    "decoder": str, "resize": str, "height": int, "width": int, "max_width": int, "padding": bool,
    "interpolation": str, "rm_symbol": bool, "color": str, "mean": list, "std": list,
}  # fmt: skip
_SPOT_RESIZE = {"max_side_len": int, "valid_set": str}
_SPOT_DECODE = {"valid_set": str, "score_thresh": float, "mode": str, "point_gather_mode": str}
# How images are resized for a network that finds and reads text, and its maps decoded.
SPOTTING: Mapping[str, type] = {**_SPOT_RESIZE, **_SPOT_DECODE}
# How an image becomes a formula's network's input, and its answer LaTeX.
FORMULAS: Mapping[str, type] = {
    "decoder": str, "resize": str, "height": int, "width": int,
}  # fmt: skip
# The size of the images that a network of super-resolution takes; it gives a multiple of that.
UPSCALING: Mapping[str, type] = {"height": int, "width": int}
SETTINGS = {
    "det": DETECTION,
    "cls": CLASSIFICATION,
    "rec": RECOGNITION,
    "formula": FORMULAS,
    "e2e": SPOTTING,
    "sr": UPSCALING,
}


def settings_of_export(settings: Path, task: str) -> dict[str, Any]:
    """Return what the file states of what comes before and after a network for this task.

    Raises:
        ConfigError: the file is no plain YAML, or a value is of another type.
    """
    readers = {
        "det": detection_settings,
        "cls": classification_settings,
        "rec": recognition_settings,
        "formula": recognition_settings,
        "e2e": spotting_settings,
    }
    return readers[task](settings) if task in readers else {}


def detection_settings(settings: Path) -> dict[str, Any]:
    """Return what the file states of resizing images for a detector and of decoding its maps.

    Raises:
        ConfigError: the file is no plain YAML, or a value is of another type.
    """
    content = read_yaml(settings)
    return _detection(_steps(content), content, str(settings))


def detection_settings_of_training(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what a training YAML states of evaluating the detector; ConfigError as above."""
    dataset = _section(_section(content, "Eval"), "dataset")
    return _detection(dataset.get("transforms"), content, where)


def _detection(steps: Any, content: Mapping[str, Any], where: str) -> dict[str, Any]:
    stated = _chosen(_step(steps, "DetResizeForTest"), _RESIZE)
    stated |= _chosen(_step(steps, "ScaleAlignedShort"), _RESIZE)
    stated |= _chosen(_section(content, "PostProcess"), _DECODE)
    check_settings(stated, where, "det")
    return stated


def spotting_settings(settings: Path) -> dict[str, Any]:
    """Return what the file states of resizing images for PGNet and of decoding its maps.

    Raises:
        ConfigError: the file is no plain YAML, or a value is of another type.
    """
    content = read_yaml(settings)
    stated = _chosen(_step(_steps(content), "E2EResizeForTest"), _SPOT_RESIZE)
    stated |= _chosen(_section(content, "PostProcess"), _SPOT_DECODE)
    check_settings(stated, str(settings), "e2e")
    return stated


def classification_settings(settings: Path) -> dict[str, Any]:
    """Return what the file states of resizing images for a classifier and of its answers.

    Raises:
        ConfigError: the file is no plain YAML, or a value is of another type.
    """
    content = read_yaml(settings)
    resize = _step(_steps(content), "ResizeImage")
    stated: dict[str, Any] = {}
    if resize.get("resize_short") is not None:
        stated["resize_short"] = resize["resize_short"]
    elif resize.get("size") is not None:
        stated["keep_ratio"] = False
    if "Topk" in _section(content, "PostProcess"):
        stated["cls_thresh"] = 0.0  # the best class is taken, however unsure it is
    check_settings(stated, str(settings), "cls")
    return stated


def recognition_settings(settings: Path) -> dict[str, Any]:
    """Return what the file states of resizing lines for a recogniser and of reading its answers.

    Raises:
        ConfigError: the file is no plain YAML, or a step's options cannot be followed.
    """
    content = read_yaml(settings)
    return line_settings(_steps(content), content.get("PostProcess"), str(settings))


def check_settings(stated: Mapping[str, Any], where: str, task: str) -> None:
    """Raise ConfigError for a setting that is unknown or of another type than `SETTINGS` says."""
    known = SETTINGS[task]
    for key, value in stated.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown setting {key}; there are {', '.join(known)}")
        wanted = known[key]
        fits = isinstance(value, (int, float) if wanted is float else wanted)
        if not fits or (isinstance(value, bool) and wanted is not bool):
            raise ConfigError(f"{where}: {key} is {value!r}, expected a {wanted.__name__}")


def _chosen(section: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: section[name] for name in names if section.get(name) is not None}


def _steps(content: Mapping[str, Any]) -> Any:
    """What an export states of the pre-processing."""
    return _section(content, "PreProcess").get("transform_ops")


def _step(steps: Any, name: str) -> Mapping[str, Any]:
    """The options of a step of the pre-processing; empty where there is none."""
    found: Mapping[str, Any] = {}
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, dict) and isinstance(step.get(name), dict):
            found = step[name]
    return found


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = content.get(name)
    return section if isinstance(section, dict) else {}
