"""What the weights' `.json` or the caller says of a network, and whether it has a meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Check = tuple[Callable[[Any], bool], str]
"""Whether a value is one, and what it should be."""


class SettingsError(ValueError):
    """A setting is unknown, or has a value without a meaning."""


def stated(network: object, names: Iterable[str]) -> dict[str, Any]:
    """Return what the sections `input` and `pipeline` of a network's `.json` say under these names.

    A network without such a file, as a plain callable is, says nothing.
    """
    card = getattr(network, "card", None) or {}
    said = {**(card.get("input") or {}), **(card.get("pipeline") or {})}
    return {
        name: tuple(said[name]) if isinstance(said[name], list) else said[name]
        for name in names
        if said.get(name) is not None
    }


def check(settings: object, checks: Mapping[str, Check]) -> None:
    """Raise SettingsError for the first of the settings' values that fails its check."""
    for name, (fits, expected) in checks.items():
        value = getattr(settings, name)
        if not fits(value):
            raise SettingsError(f"the setting {name} is {value!r}, expected {expected}")


def is_number(value: object) -> bool:
    """Whether it is a finite number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def is_count(value: object) -> bool:
    """Whether it is a whole number above 0."""
    return is_number(value) and int(value) == value > 0  # type: ignore[call-overload, operator]


def numbers(count: int, fits: Callable[[Any], bool] = is_number) -> Callable[[Any], bool]:
    """Return a check for so many numbers in a row."""
    return lambda value: (
        isinstance(value, (tuple, list)) and len(value) == count and all(map(fits, value))
    )


def one_of(*choices: str) -> Check:
    """Return the check for one of these words."""
    return (lambda value: value in choices, f"one of {', '.join(choices)}")


COUNT: Check = (is_count, "a whole number above 0")
PROBABILITY: Check = (lambda value: is_number(value) and 0 <= value <= 1, "a number from 0 to 1")
NUMBER: Check = (is_number, "a number")
FLAG: Check = (lambda value: isinstance(value, bool), "true or false")
QUANTITY: Check = (lambda value: is_number(value) and value >= 0, "a number of at least 0")
BOX_TYPE = one_of("quad", "poly")
PIXELS: Mapping[str, Check] = {
    "color": one_of("BGR", "RGB"),
    "mean": (numbers(3), "three numbers"),
    "std": (numbers(3, lambda value: is_number(value) and value > 0), "three numbers above 0"),
}
"""The order of an image's channels, and how their values are normalised."""


def given(changes: Mapping[str, Any], checks: Mapping[str, Check], kind: str) -> dict[str, Any]:
    """Return those changes that change something; SettingsError for one of what is no setting."""
    if unknown := [name for name in changes if name not in checks]:
        raise SettingsError(
            f"there is no setting {unknown[0]} of {kind}; there are {', '.join(checks)}"
        )
    return {name: value for name, value in changes.items() if value is not None}


def characters_of(card: Mapping[str, Any], given: Sequence[str] | None, kind: str) -> Sequence[str]:
    """Return what the classes of a network stand for: what is given, else what its `.json` says.

    Raises:
        SettingsError: neither says it.
    """
    characters = (card.get("dictionary") or {}).get("characters") if given is None else given
    if not characters:
        weights = (card.get("weights") or {}).get("file") or "X.pth"
        raise SettingsError(
            f"the {kind} has no dictionary, so what its classes stand for is not known; "
            f"`python -m converter add-dict {weights} DICT.txt` adds one to its weights, "
            "or give characters="
        )
    return characters


def card_of(network: object, task: str, kind: str) -> Mapping[str, Any]:
    """Return a network's `.json`, if it has one; SettingsError where that is of another task."""
    card: Mapping[str, Any] = getattr(network, "card", None) or {}
    if card.get("task", task) != task:
        weights = (card.get("weights") or {}).get("file") or card.get("name")
        raise SettingsError(f"{weights} is not {kind}, its task is {card['task']}")
    return card
