"""The predictors of a document, loaded from the networks that there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.batching import BATCH_SIZE
from pipelines.classification.predictor import Classifier
from pipelines.documents.labels import common_label
from pipelines.documents.roles import ROLES
from pipelines.documents.settings import ParseSettings
from pipelines.formula.predictor import FormulaReader
from pipelines.layout.predictor import LayoutDetector
from pipelines.ocr import OCR, require_angles
from pipelines.runtime import NetworkSource, as_network
from pipelines.table.predictor import TableRecognizer
from pipelines.unwarping.predictor import Unwarper
from pipelines.validation import read_card
from schemas.processing import DBSettings, DetectionSettings, SettingsError

ORDERED = ("PPDocLayoutV2", "PPDocLayoutV3")
"""The heads of layout networks that predict the reading order."""
DETECTOR_OF_AREAS: Mapping[str, Any] = {"layout_nms": True, "layout_merge_bboxes_mode": "small"}


@dataclass(frozen=True, eq=False)
class Networks:
    """The predictors of a document; None for those without a network.

    Attributes:
        layout: finds the regions of a page.
        areas: finds the parts of a page that are read one after the other.
        orientation: classifies the rotation of a page.
        unwarper: flattens a page.
        ocr: finds and reads the lines of a page.
        tables: recognises tables.
        formulas: reads formulas.
        seals: finds and reads the texts of seals.
        ordered: whether the layout network returns regions in reading order.
    """

    layout: LayoutDetector | None = None
    areas: LayoutDetector | None = None
    orientation: Classifier | None = None
    unwarper: Unwarper | None = None
    ocr: OCR | None = None
    tables: TableRecognizer | None = None
    formulas: FormulaReader | None = None
    seals: OCR | None = None
    ordered: bool = False


def load_networks(
    sources: Mapping[str, NetworkSource],
    settings: ParseSettings,
    *,
    batch_size: int = BATCH_SIZE,
    **runtime: Any,
) -> Networks:
    """Load the predictors of a document.

    Args:
        sources: networks by role, see `roles.py`.
        settings: how pages are parsed.
        batch_size: lines per call of a network.
        runtime: `device`, `half` and `compile`.

    Raises:
        SettingsError: a network is of another kind than its role, or a role is unknown.
        ArtefactError: weights are missing or damaged.
        DeviceError: the device is not available.
    """
    if unknown := [name for name in sources if name not in ROLES]:
        raise SettingsError(
            f"{unknown[0]} is no network of a document; there are {', '.join(ROLES)}"
        )
    # The same weights may have several roles, but are loaded once for each predictor.
    given = {name: as_network(source, **runtime) for name, source in sources.items()}
    ocr = _ocr(given, "detection", settings.detection, settings, batch_size)
    seals = None
    if settings.seals and "seal" in given:
        seals = _ocr(given, "seal", settings.seal_detection, settings, batch_size)
    return Networks(
        _layout(given["layout"], settings.layout) if "layout" in given else None,
        LayoutDetector(given["region"], **DETECTOR_OF_AREAS)
        if settings.areas and "region" in given
        else None,
        _orientation(given) if settings.preprocess else None,
        Unwarper(given["unwarping"]) if settings.preprocess and "unwarping" in given else None,
        ocr,
        _tables(given, ocr, settings),
        FormulaReader(given["formula"]) if "formula" in given else None,
        seals,
        "layout" in given and predicts_order(given["layout"]),
    )


def _ocr(
    given: Mapping[str, Any],
    detector: str,
    detection: Mapping[str, Any],
    settings: ParseSettings,
    batch_size: int,
) -> OCR | None:
    """Return what reads lines; its detector is the network of a role."""
    if detector not in given or "recognition" not in given:
        return None
    reads_seals = detector == "seal"
    return OCR(
        given[detector],
        given["recognition"],
        None if reads_seals else given.get("line_orientation"),
        min_score=settings.min_score,
        batch_size=batch_size,
        det_settings=detection_settings(given[detector], detection),
    )


def detection_settings(network: Any, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the wanted settings that a detector has: those of DB if it is one."""
    head = read_card(network).architecture.get("Head")
    is_db = not isinstance(head, Mapping) or head.get("name") in ("DBHead", "PFHeadLocal")
    known = {*DetectionSettings.checks(), *(DBSettings.checks() if is_db else ())}
    return {name: value for name, value in wanted.items() if name in known}


def predicts_order(network: Any) -> bool:
    """Return whether a layout network predicts the reading order."""
    head = read_card(network).architecture.get("Head")
    return isinstance(head, Mapping) and head.get("name") in ORDERED


def _layout(network: Any, wanted: Mapping[str, Any]) -> LayoutDetector:
    """Return the layout network, with the wanted settings where its rules are PaddleX's.

    Networks that predict the order are of a later pipeline and keep their own settings.
    """
    detector = LayoutDetector(network)
    if detector.settings.decoder != "DetPostProcess" or predicts_order(network):
        return detector
    labels = {common_label(label): label for label in detector.settings.labels}
    changes: dict[str, Any] = {
        name: {labels[label]: each for label, each in value.items() if label in labels}
        if isinstance(value, Mapping)
        else value
        for name, value in wanted.items()
    }
    changes = {name: value for name, value in changes.items() if value != {}}
    return LayoutDetector(network, **changes)


def _orientation(given: Mapping[str, Any]) -> Classifier | None:
    if "orientation" not in given:
        return None
    classifier = Classifier(given["orientation"])
    require_angles(classifier, {0, 90, 180, 270}, "orientation= turns pages", "line_orientation=")
    return classifier


def _tables(
    given: Mapping[str, Any], ocr: OCR | None, settings: ParseSettings
) -> TableRecognizer | None:
    """Return what recognises tables: wired ones by their cells, where all is there for it."""
    wired = [given.get(name) for name in ("table_classifier", "wired_table", "wired_cells")]
    classifier, wired_table, wired_cells = wired
    plain = given.get("table")
    if settings.table_rules == "paddleocr":
        return None if plain is None else TableRecognizer(plain, ocr, rules="paddleocr")
    orientation = given.get("orientation")
    if plain is not None and wired_table and wired_cells and classifier:
        return TableRecognizer(
            {"wired": wired_table, "wireless": plain},
            ocr,
            cells={"wired": wired_cells},
            classifier=classifier,
            orientation=orientation,
            rules="paddlex",
            sort_lines=True,
        )
    if plain is not None:
        return TableRecognizer(
            plain, ocr, orientation=orientation, rules="paddlex", sort_lines=True
        )
    if wired_cells is not None:
        return TableRecognizer(wired_table, ocr, cells=wired_cells, orientation=orientation)
    return None
