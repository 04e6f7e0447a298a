"""The networks of table recognition: structure, cells, and whether a table has lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from pipelines.classification.preprocess import preprocess
from pipelines.layout.detections import suppress
from pipelines.layout.predictor import LayoutDetector
from pipelines.predictor import Predictor
from pipelines.runtime import NetworkOutput, NetworkSource, describe_outputs, require_finite
from pipelines.table.preprocess import resize_ratio, table_input
from pipelines.table.results import TableKind
from pipelines.table.structure import TableStructure, class_names, decode_structure
from pipelines.validation import characters_of, weights_name
from schemas.processing import ClassificationSettings, SettingsError, TableSettings

CELL_SCORE, CELL_OVERLAP = 0.3, 0.3
"""The score above which a cell counts, and the overlap above which it is another one's double."""
CELL = "cell"
"""The label of a cell."""
KINDS: Mapping[str, TableKind] = {"wired_table": "wired", "wireless_table": "wireless"}
"""The labels of a classifier of tables, and what they mean."""


class StructureNetwork(Predictor):
    """Finds the structure of a table: its tokens of HTML, and mostly the boxes of its cells.

    Args:
        network: converted weights of SLANet, SLANet_plus, SLANeXt, TableMASTER or EDD, or a
            network or callable with the JSON of such weights as its `card`.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).
        settings: settings of `TableSettings` that replace those of the weights.

    Raises:
        SettingsError: the network is not one of table structure, has no dictionary, or a setting is
            unknown or invalid.
        DeviceError: the device is not available.
    """

    task: ClassVar[str] = "table"
    title: ClassVar[str] = "a network of table structure"

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
        merged = self._merge_settings(TableSettings.checks(), settings)
        characters = characters_of(self.card, None, "network of table structure")
        self.settings = TableSettings(characters, **merged)

    @property
    def is_master(self) -> bool:
        """Whether it is TableMASTER, which has rules of its own."""
        return self.settings.decoder == "TableMasterLabelDecode"

    def __call__(self, image: np.ndarray, *, whole_pixels: bool = False) -> TableStructure:
        """Return the structure of a table.

        Args:
            image: `(H, W, 3) uint8` BGR.
            whole_pixels: whether boxes are rounded down to whole pixels, as in PaddleX.

        Raises:
            ValueError: the network's output does not fit its dictionary.
        """
        outputs = self._check(self.network(table_input(image, self.settings)))
        height, width = image.shape[:2]
        return decode_structure(
            outputs["structure_probs"][0],
            outputs["loc_preds"][0],
            self.settings,
            (height, width),
            resize_ratio(image, self.settings.max_len),
            whole_pixels=whole_pixels,
        )

    def _check(self, outputs: NetworkOutput) -> Mapping[str, np.ndarray]:
        """Return the outputs if they are those of one table, else raise ValueError."""
        classes = len(class_names(self.settings))
        sides = (4,) if self.is_master else (4, 8)
        if isinstance(outputs, Mapping) and outputs.keys() >= {"structure_probs", "loc_preds"}:
            tokens, boxes = outputs["structure_probs"].shape, outputs["loc_preds"].shape
            is_table = len(tokens) == len(boxes) == 3 and tokens[:2] == boxes[:2]
            if is_table and tokens[0] == 1 and tokens[2] == classes and boxes[2] in sides:
                require_finite(outputs, "network of table structure")
                return outputs
        raise ValueError(
            f"the network returned {describe_outputs(outputs)}, expected structure_probs of shape "
            f"(1, L, {classes}), by its dictionary and merge_no_span_structure, and loc_preds of "
            f"shape (1, L, {' or '.join(map(str, sides))}); is this a network of table structure?"
        )


class CellDetector:
    """Finds the cells of a table, without doubles.

    Args:
        network: converted weights of a detector of cells, such as RT-DETR-L_wired_table_cell_det,
            or a network or callable with the JSON of such weights as its `card`.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).

    Raises:
        SettingsError: the network does not detect cells.
        DeviceError: the device is not available.
    """

    def __init__(
        self,
        network: NetworkSource,
        *,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
    ) -> None:
        runtime: dict[str, Any] = {"device": device, "half": half, "compile": compile}
        self._detector = LayoutDetector(network, **runtime, threshold=CELL_SCORE)
        labels = list(self._detector.settings.labels)
        if CELL not in labels:
            raise SettingsError(
                f"{weights_name(self._detector.card)} detects {', '.join(labels)}, so it finds no "
                f'cells of tables; a detector of cells has the label "{CELL}"'
            )

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the cells of a table.

        Args:
            image: `(H, W, 3) uint8` BGR, the table.

        Returns:
            Boxes `(N, 4) float64`, left, top, right and bottom in pixels, and scores `(N,)`; the
            best first.
        """
        regions = [region for region in self._detector(image) if region.label == CELL]
        boxes = np.array([region.box[[0, 2]].ravel() for region in regions], np.float32)
        scores = np.array([region.score for region in regions])
        return distinct_cells(boxes.reshape(-1, 4), scores)


def distinct_cells(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out cells that overlap a better one.

    Args:
        boxes: `(N, 4)`, left, top, right and bottom.
        scores: `(N,)`.

    Returns:
        Boxes `(M, 4) float64` and scores `(M,)`, the best first.
    """
    order = scores.argsort()[::-1]
    kept = order[suppress(boxes[order], CELL_OVERLAP)]
    return boxes[kept].astype(np.float64), scores[kept]


class TableClassifier(Predictor):
    """Tells tables with lines between their cells from those without.

    Args:
        network: converted weights of PP-LCNet_x1_0_table_cls, or a network or callable with the
            JSON of such weights as its `card`.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).

    Raises:
        SettingsError: the network does not classify tables.
        DeviceError: the device is not available.
    """

    task: ClassVar[str] = "cls"
    title: ClassVar[str] = "a classifier"

    def __init__(
        self,
        network: NetworkSource,
        *,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__(network, device=device, half=half, compile=compile)
        labels = self.card.labels or ()
        if sorted(labels) != sorted(KINDS):
            raise SettingsError(
                f"{weights_name(self.card)} has the labels {', '.join(labels) or 'none'}; to "
                f"classify tables it needs {' and '.join(KINDS)}, in the .json beside its weights"
            )
        self._kinds = [KINDS[label] for label in labels]
        self._settings = ClassificationSettings(
            **self._merge_settings(ClassificationSettings.checks(), {})
        )

    def __call__(self, image: np.ndarray) -> TableKind:
        """Classify a table.

        Args:
            image: `(H, W, 3) uint8` BGR.

        Raises:
            ValueError: the network's output is not `(1, 2)`, or not finite.
        """
        outputs = self.network(preprocess([image], self._settings))
        expected = (1, len(self._kinds))
        if not isinstance(outputs, np.ndarray) or outputs.shape != expected:
            raise ValueError(
                f"the classifier returned {describe_outputs(outputs)}, expected an array of shape "
                f"{expected}; is this a classifier of tables?"
            )
        require_finite(outputs, "classifier")
        return self._kinds[int(outputs[0].argmax())]
