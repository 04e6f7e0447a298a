"""PaddleOCR's own decoders of detectors' maps, each with what its module imports of others."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch

from pipelines.detection.postprocess.decoder import Sizes
from tests.oracle.paddleocr_source import load

Growing = Callable[[np.ndarray, int], np.ndarray]
"""What pse.pyx exports: from masks and the least area of a core to labels."""


def _postprocess(module: str, name: str, **attributes: Any) -> Any:
    kind = getattr(load("paddleocr", f"ppocr/postprocess/{module}.py"), name)
    kind.__init__.__globals__.update(attributes)
    return kind


def db() -> Any:
    """`DBPostProcess`."""
    return _postprocess("db_postprocess", "DBPostProcess")


def east() -> Any:
    """`EASTPostProcess` as it is without the compiled package lanms."""
    nms = load("paddleocr", "ppocr/postprocess/locality_aware_nms.py").nms_locality
    kind = _postprocess("east_postprocess", "EASTPostProcess", nms_locality=nms, print=_silent)

    class WithoutLanms(kind):
        def __call__(self, *arguments: Any) -> Any:
            with patch.dict(sys.modules, lanms=None):
                return super().__call__(*arguments)

    return WithoutLanms


def _silent(*_: Any) -> None:
    """In place of `print`, which advises to install lanms for each image."""


def sast() -> Any:
    """`SASTPostProcess`."""
    nms = load("paddleocr", "ppocr/postprocess/locality_aware_nms.py").nms_locality
    return _postprocess("sast_postprocess", "SASTPostProcess", nms_locality=nms)


def pse(growing: Growing) -> Any:
    """`PSEPostProcess`, with PyTorch's interpolation and sigmoid in place of Paddle's."""

    class Maps(torch.Tensor):
        def astype(self, _: Any) -> Any:
            return self.float()

        def numpy(self) -> np.ndarray:
            return self.as_subclass(torch.Tensor).numpy()

    paddle = SimpleNamespace(
        Tensor=Maps,
        to_tensor=lambda array: torch.from_numpy(array).as_subclass(Maps),
        unsqueeze=lambda maps, axis: maps.unsqueeze(axis),
    )
    return _postprocess("pse_postprocess/pse_postprocess", "PSEPostProcess", pse=growing,
                        F=torch.nn.functional, paddle=paddle)  # fmt: skip


def fce() -> Any:
    """`FCEPostProcess`."""
    utilities = load("paddleocr", "ppocr/utils/poly_nms.py")
    return _postprocess("fce_postprocess", "FCEPostProcess", poly_nms=utilities.poly_nms,
                        valid_boundary=utilities.valid_boundary)  # fmt: skip


def ct() -> Any:
    """`CTPostProcess`."""
    return _postprocess("ct_postprocess", "CTPostProcess")


def drrg() -> Any:
    """`DRRGPostprocess`, which takes a tuple: of None where there is nothing."""
    kind = _postprocess("drrg_postprocess", "DRRGPostprocess")

    class ByName(kind):
        def __call__(self, results: Mapping[str, np.ndarray], shape: np.ndarray) -> Any:
            edges, *numbers = (results[name] for name in ("edges", "scores", "text_comps"))
            taken = (edges, *(array.astype(np.float64) for array in numbers))
            return super().__call__(taken if len(edges) else (None, None, None), shape)

    return ByName


def decode(theirs: Any, maps: Mapping[str, np.ndarray], sizes: Sizes) -> list[np.ndarray]:
    """Return the points that one of these finds in the maps of a page."""
    shape = [*sizes.image, *sizes.ratio]
    if type(theirs).__name__ == "CTPostProcess":
        shape = [*sizes.image, 3, *sizes.input, 3]
    return list(theirs(maps, np.array([shape]))[0]["points"])


def expanded(kernels: np.ndarray, min_area: int) -> np.ndarray:
    """What PaddleOCR's pse.pyx computes, pixel by pixel as it stands there; it needs a compiler."""
    label_count, labels = cv2.connectedComponents(kernels[-1], connectivity=4)
    for label in range(1, label_count):
        if np.sum(labels == label) < min_area:
            labels[labels == label] = 0
    found = np.zeros_like(labels)
    queue = deque(zip(*np.where(labels > 0), strict=True))
    for place in queue:
        found[place] = labels[place]
    for kernel in kernels[::-1]:
        later: deque[Any] = deque()
        while queue:
            row, column = queue.popleft()
            is_edge = True
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                place = row + down, column + right
                inside = 0 <= place[0] < labels.shape[0] and 0 <= place[1] < labels.shape[1]
                if not inside or not kernel[place] or found[place]:
                    continue
                queue.append(place)
                found[place] = found[row, column]
                is_edge = False
            if is_edge:
                later.append((row, column))
        queue = later
    return found
