"""The settings of a network's pre- and post-processing, from its card and the caller's changes.

What neither states has PaddleOCR's default, declared in `schemas/processing.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pipelines.runtime import Network
from pipelines.validation import card_of, changed_settings, characters_of, stated_settings
from schemas.artefact import ArtefactCard
from schemas.processing import (
    ClassificationSettings,
    DetectionSettings,
    RecognitionSettings,
    SettingsError,
)

_RESIZE_RULES = ("image_shape", "limit_side_len", "resize_long", "short_size")
"""How a detector's images are resized, in the order in which PaddleOCR looks for them."""


def detection_settings(network: Network, **changes: Any) -> DetectionSettings:
    """Return how images are prepared for a detector.

    A change of one way of resizing replaces all other ways that the card states.

    Args:
        network: the detector.
        changes: settings that replace those of its card; None changes nothing.

    Raises:
        SettingsError: it is not a detector, there is no such setting, or a value is out of range.
    """
    names = DetectionSettings.checks()
    card = card_of(network, "det", "a detector")
    changed = changed_settings(changes, names, "a detector")
    stated = stated_settings(card, names)
    if "limit_side_len" in stated:
        stated.setdefault("limit_type", "min")  # the default of `DetResizeForTest`
    settings: dict[str, Any] = {}
    for layer in (stated, changed):
        rules = [rule for rule in _RESIZE_RULES if rule in layer]
        for rule in _RESIZE_RULES if rules else ():
            settings.pop(rule, None)
        settings |= {name: layer[name] for name in layer if name not in rules[1:]}
    return DetectionSettings(**settings)


def recognition_settings(
    network: Network, characters: Sequence[str] | None = None, **changes: Any
) -> RecognitionSettings:
    """Return how lines are prepared for a recogniser, and how its scores are decoded.

    Args:
        network: the recogniser.
        characters: its dictionary; None for the one of its card.
        changes: settings that replace those of its card; None changes nothing.

    Raises:
        SettingsError: it is not a recogniser, it has no dictionary, there is no such setting, or a
            value is out of range.
    """
    names = RecognitionSettings.checks()
    card = card_of(network, "rec", "a recogniser")
    characters = characters_of(card, characters, "recogniser")
    stated = {"right_to_left": _is_arabic(card), **stated_settings(card, names)}
    return RecognitionSettings(
        characters, **stated | changed_settings(changes, names, "a recogniser")
    )


def _is_arabic(card: ArtefactCard) -> bool:
    """Return whether a card names Arabic, for cards of before `right_to_left` was stated."""
    dictionary = card.dictionary.file if card.dictionary else None
    return any("arabic" in name for name in (card.name, dictionary) if name)


def classification_settings(network: Network, **changes: Any) -> ClassificationSettings:
    """Return how images are prepared for a classifier of orientation, and its classes' angles.

    The labels of its card, such as "180" or "180_degree", state by how many degrees
    counter-clockwise the images of each class have to be rotated.

    Args:
        network: the classifier.
        changes: settings that replace those of its card; None changes nothing.

    Raises:
        SettingsError: it is not a classifier of orientation, there is no such setting, or a value
            is out of range.
    """
    names = ClassificationSettings.checks()
    card = card_of(network, "cls", "a classifier")
    labels = card.labels or tuple(map(str, ClassificationSettings.angles))
    classes = card.class_counts.get("cls", len(labels))
    matches = [re.fullmatch(r"(0|90|180|270)(_degree)?", label) for label in labels]
    angles = tuple(int(match[1]) for match in matches if match)
    if not len(set(angles)) == len(labels) == classes:
        raise SettingsError(
            f"the classifier has {classes} classes with the labels {', '.join(labels)}; "
            'to turn images it needs a label for each class out of "0", "90", "180" and "270", '
            "in the .json beside its weights"
        )
    stated = stated_settings(card, names)
    return ClassificationSettings(
        angles, **stated | changed_settings(changes, names, "a classifier")
    )
