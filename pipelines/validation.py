"""Checks of a network's card, and of the settings that a caller changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from schemas.artefact import ArtefactCard, CardError
from schemas.processing import SettingsError


def read_card(network: object) -> ArtefactCard:
    """Return the card of a network; an empty one where the network has none.

    The attribute `card` of a callable may be an `ArtefactCard` or a mapping like its JSON, of which
    every entry may be missing.

    Raises:
        SettingsError: an entry is of another type or size than expected.
    """
    card = getattr(network, "card", None) or {}
    if isinstance(card, ArtefactCard):
        return card
    try:
        return ArtefactCard.from_dict(card)
    except CardError as error:
        raise SettingsError(f"the network's card cannot be used: {error}") from error


def card_of(network: object, task: str, kind: str) -> ArtefactCard:
    """Return the card of a network, which has to be of a task, if it states one.

    Args:
        network: converted weights, or a callable.
        task: the task that is needed, such as "det".
        kind: that task in words, such as "a detector".

    Raises:
        SettingsError: the card is of another task, or cannot be read.
    """
    return require_task(read_card(network), task, kind)


def require_task(card: ArtefactCard, task: str, kind: str) -> ArtefactCard:
    """Return a card; raise SettingsError where it states another task than the one needed."""
    if card.task not in (None, task):
        name = card.weights.file or card.name
        raise SettingsError(f"{name} is not {kind}, its task is {card.task}")
    return card


def stated_settings(card: ArtefactCard, names: Collection[str]) -> dict[str, Any]:
    """Return the settings of these names that a card states."""
    return {name: value for name, value in card.settings().items() if name in names}


def changed_settings(
    changes: Mapping[str, Any], names: Collection[str], kind: str
) -> dict[str, Any]:
    """Return the settings that a caller changes; None leaves a setting as it is.

    Args:
        changes: the caller's keyword arguments.
        names: the settings that there are.
        kind: the network in words, such as "a detector".

    Raises:
        SettingsError: there is no such setting.
    """
    if unknown := [name for name in changes if name not in names]:
        raise SettingsError(
            f"there is no setting {unknown[0]} of {kind}; there are {', '.join(names)}"
        )
    return {name: value for name, value in changes.items() if value is not None}


def weights_name(card: ArtefactCard) -> str:
    """Return the name of the weights' file, for messages."""
    return card.weights.file or "X.pth"


def characters_of(card: ArtefactCard, characters: Sequence[str] | None, kind: str) -> Sequence[str]:
    """Return the characters of a network's classes: the caller's, else those of its card.

    Args:
        card: the network's.
        characters: those that the caller gives; None for the card's.
        kind: the network in words, such as "recogniser".

    Raises:
        SettingsError: there are none.
    """
    if characters is None and card.dictionary is not None:
        characters = card.dictionary.characters
    if not characters:
        raise SettingsError(
            f"the {kind} has no dictionary, so what its classes stand for is not known; "
            f"`python -m converter add-dict {weights_name(card)} DICT.txt` adds one to its "
            "weights, or give characters="
        )
    return characters
