"""Layout analysis: a page to its regions.

from pipelines import LayoutDetector

find_regions = LayoutDetector("PP-DocLayout-S.pth")
for region in find_regions("page.png"):
    print(region.label, region.score, region.box)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import cv2
import numpy as np

from pipelines.io.images import ImageLike, as_bgr
from pipelines.layout.detections import level_sizes, picodet_detections, rtdetr_detections
from pipelines.layout.paddleocr import picodet_regions
from pipelines.layout.paddlex import (
    above_threshold,
    in_reading_order,
    merge_contained,
    suppress_overlapping,
    unclip,
    within_page,
    without_page_sized,
)
from pipelines.layout.yolo import COARSEST, map_names, yolo_detections
from pipelines.normalization import Normalizer, multiply, scale_and_shift
from pipelines.predictor import Predictor
from pipelines.runtime import (
    NetworkOutput,
    NetworkSource,
    describe_outputs,
    require_finite,
)
from pipelines.validation import weights_name
from schemas.processing import LayoutSettings, SettingsError

T = TypeVar("T")

STRIDES = (8, 16, 32, 64)
"""Pixels of the input per cell of PicoDet's levels, where the card does not state them."""
BINS = 32
"""The numbers of a cell that give its distances to the four sides."""
_INTERPOLATION = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


@dataclass(frozen=True, eq=False)
class LayoutRegion:
    """A region of a page.

    Attributes:
        label: what it is, such as "text", "table" or "doc_title"; each network has its own labels.
        score: the network's confidence, 0 to 1.
        box: `(4, 2) float32`, x and y of its corners in pixels of the page, clockwise from the top
            left.
    """

    label: str
    score: float
    box: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Return the region as plain Python values, which `json.dumps` accepts."""
        return {"label": self.label, "score": float(self.score), "box": self.box.tolist()}


class LayoutDetector(Predictor):
    """Finds the regions of a page.

    Args:
        network: converted weights of PicoDet, RT-DETR or PP-YOLOv2, such as PP-DocLayout-S or
            PP-DocLayout-L, or a network or callable with the JSON of such weights as its `card`.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).
        settings: settings of `LayoutSettings` that replace those of the weights, such as
            `threshold=0.4` or `layout_nms=True`.

    Raises:
        SettingsError: the network is not one of layout analysis, has no labels, or a setting is
            unknown or invalid.
        DeviceError: the device is not available.
    """

    task: ClassVar[str] = "layout"
    title: ClassVar[str] = "a network of layout analysis"

    def __init__(
        self,
        network: NetworkSource,
        *,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(network, device=device, half=half, compile=compile)
        if not self.card.labels:
            raise SettingsError(
                "the network has no labels, so what its classes are is not known; "
                f"{weights_name(self.card)} needs them in the .json beside it"
            )
        merged = self._merge_settings(LayoutSettings.checks(), settings)
        self.settings = LayoutSettings(self.card.labels, **merged)
        self._strides = _strides(self.card.architecture)
        self._anchors = _anchors(self.card.architecture)

    def __call__(self, image: ImageLike) -> list[LayoutRegion]:
        """Find the regions of a page.

        Args:
            image: an image, as `pipelines.io.images.as_bgr` accepts it.

        Returns:
            The regions, in the order of reading where the network gives it (PP-DocLayoutV2 and V3),
            else in no particular order.

        Raises:
            ImageError: `image` is not an image.
            ValueError: the network's output is not that of layout analysis.
        """
        page = as_bgr(image)
        size = page.shape[0], page.shape[1]
        return self._named(self._regions(self.network(self.preprocess(page)), size))

    def regions(self, detections: np.ndarray, size: tuple[int, int]) -> list[LayoutRegion]:
        """Return the regions that PaddleX's rules make of detections, as of its own programs.

        Args:
            detections: `(N, 6)`: class, score, left, top, right, bottom in pixels of the page.
            size: height and width of the page.
        """
        return self._named(self._by_paddlex(detections, size))

    def _named(self, regions: np.ndarray) -> list[LayoutRegion]:
        return [
            LayoutRegion(self.settings.labels[int(number)], float(score), _corners(*box))
            for number, score, *box in regions
        ]

    def preprocess(self, page: np.ndarray) -> np.ndarray:
        """Resize and normalise a page.

        Args:
            page: `(H, W, 3) uint8` BGR.

        Returns:
            `(1, 3, height, width) float32`.
        """
        settings = self.settings
        is_paddlex = settings.decoder == "DetPostProcess"
        arithmetic = scale_and_shift if is_paddlex else multiply
        normalize = Normalizer(settings.color, settings.mean, settings.std, arithmetic)
        size = (settings.width, settings.height)
        interpolation = _INTERPOLATION[settings.interpolation]
        return normalize(cv2.resize(page, size, interpolation=interpolation))[np.newaxis]

    def _regions(self, outputs: NetworkOutput, size: tuple[int, int]) -> np.ndarray:
        """Return the regions of a page of a height and width, as detections `(N, 6)`."""
        settings, input_size = self.settings, (self.settings.height, self.settings.width)
        if not isinstance(outputs, Mapping) or not self._is_of_layout(outputs):
            raise ValueError(
                f"the network returned {describe_outputs(outputs)}, expected scores.0, "
                "distances.0 and so on of PicoDet, boxes and logits of RT-DETR, or maps.0 and so "
                f"on of PP-YOLOv2, for one page and {len(settings.labels)} classes; is this a "
                "network of layout analysis?"
            )
        require_finite(outputs, "layout network")
        if "logits" in outputs:
            order = outputs["order"][0] if "order" in outputs else None
            detections = rtdetr_detections(outputs["boxes"][0], outputs["logits"][0], size, order)
        elif self._anchors:
            detections = yolo_detections(outputs, self._anchors, input_size, size)
        elif settings.decoder == "PicoDetPostProcess":
            return picodet_regions(
                outputs,
                self._strides,
                input_size,
                size,
                threshold=self._thresholds(),
                nms_threshold=settings.nms_threshold,
                table=self._class_of("table"),
            )
        else:
            detections = picodet_detections(outputs, self._strides, input_size, size)
        return self._by_paddlex(detections, size)

    def _by_paddlex(self, detections: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Turn detections into the regions of a page of a height and width."""
        settings = self.settings
        regions = above_threshold(detections, self._by_class(settings.threshold))
        if settings.layout_nms:
            regions = suppress_overlapping(regions)
        regions = without_page_sized(regions, self._class_of("image"), size)
        mode = self._by_class(settings.layout_merge_bboxes_mode)
        regions = merge_contained(regions, mode, self._class_of("formula"))
        regions = in_reading_order(regions)
        if settings.layout_unclip_ratio is not None:
            regions = unclip(regions, self._unclip_ratios(settings.layout_unclip_ratio))
        return within_page(regions, size)

    def _is_of_layout(self, outputs: Mapping[str, np.ndarray]) -> bool:
        """Return whether outputs have the names and shapes of layout analysis, for one page."""
        classes = len(self.settings.labels)
        if outputs.keys() >= {"boxes", "logits"}:
            queries = outputs["logits"].shape[1:2]
            shapes = {"logits": (1, *queries, classes), "boxes": (1, *queries, 4)}
            if "order" in outputs:
                shapes["order"] = (1, *queries, *queries)
        elif self._anchors:
            shapes = {}
            for level, name in enumerate(map_names(len(self._anchors))):
                stride = COARSEST // 2**level
                sides = (self.settings.height // stride, self.settings.width // stride)
                shapes[name] = (1, len(self._anchors[level]) * (5 + classes), *sides)
        else:
            sizes = level_sizes(self.settings.height, self.settings.width, self._strides)
            shapes = {}
            for level, (rows, columns) in enumerate(sizes):
                shapes[f"scores.{level}"] = (1, rows * columns, classes)
                shapes[f"distances.{level}"] = (1, rows * columns, BINS)
        return all(
            name in outputs and outputs[name].shape == shape for name, shape in shapes.items()
        )

    def _class_of(self, label: str) -> int | None:
        labels = list(self.settings.labels)
        return labels.index(label) if label in labels else None

    def _thresholds(self) -> list[float]:
        """Return the threshold of each class."""
        threshold = self.settings.threshold
        if not isinstance(threshold, Mapping):
            return [threshold] * len(self.settings.labels)
        return [threshold.get(label, 0.5) for label in self.settings.labels]

    def _unclip_ratios(
        self, ratio: float | Sequence[float] | Mapping[str, float | Sequence[float]]
    ) -> Sequence[float] | Mapping[int, Sequence[float]]:
        """Return the factors of width and height, by class where they are set by label."""
        if not isinstance(ratio, Mapping):
            return _pair(ratio)
        return self._by_class({label: _pair(each) for label, each in ratio.items()})

    def _by_class(self, value: T | Mapping[str, T]) -> T | Mapping[int, T]:
        """Return a setting, by class where it is one by label."""
        if not isinstance(value, Mapping):
            return value
        return {list(self.settings.labels).index(label): each for label, each in value.items()}


def _strides(architecture: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the strides of PicoDet's head that a card states, or the default."""
    head = architecture.get("Head")
    return tuple(head.get("strides", STRIDES)) if isinstance(head, Mapping) else STRIDES


def _anchors(architecture: Mapping[str, Any]) -> list[np.ndarray]:
    """Return the anchors `(A, 2)` of each map of PP-YOLOv2 that a card states; none of others."""
    head = architecture.get("Head")
    if not isinstance(head, Mapping) or "anchor_masks" not in head:
        return []
    anchors = np.array(head["anchors"])
    return [anchors[list(mask)] for mask in head["anchor_masks"]]


def _pair(ratio: float | Sequence[float]) -> Sequence[float]:
    return ratio if isinstance(ratio, Sequence) else (ratio, ratio)


def _corners(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Return the corners of a rectangle, `(4, 2) float32`."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
