"""Checks of single values that come from files: their type, range and size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

JSONValue: TypeAlias = "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"
"""Anything that a JSON file can hold."""

MAX_SIDE = 8192
"""The longest side of a network's input, in pixels, that any file or caller may ask for."""
MAX_PIXELS = 2**26
"""The largest area of a network's input whose two sides are fixed."""


@dataclass(frozen=True)
class Check:
    """One condition on a value.

    Attributes:
        accepts: whether a value fulfils it; called with values of any type.
        expected: the condition in words, for messages: "a number from 0 to 1".
    """

    accepts: Callable[[object], bool]
    expected: str


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number below 1e9; True and False are not numbers."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def is_count(value: object) -> TypeGuard[int]:
    """Return whether a value is a whole number above 0."""
    return isinstance(value, int) and is_number(value) and value > 0


def sequence_of(value: object, accepts: Callable[[object], bool], *lengths: int) -> bool:
    """Return whether a value is a list or tuple of one of these lengths with accepted items."""
    return isinstance(value, (list, tuple)) and len(value) in lengths and all(map(accepts, value))


def count_up_to(largest: int) -> Check:
    """Build the check for a whole number from 1 to `largest`."""
    return Check(
        lambda value: is_count(value) and value <= largest,
        f"a whole number above 0, at most {largest}",
    )


def one_of(*choices: str) -> Check:
    """Build the check for one of these words."""
    return Check(
        lambda value: isinstance(value, str) and value in choices, f"one of {', '.join(choices)}"
    )


def optional(check: Check) -> Check:
    """Build the check that also accepts None, for a setting that may be left out."""
    return Check(lambda value: value is None or check.accepts(value), check.expected)


def _is_positive(value: object) -> bool:
    return is_number(value) and value > 0


COUNT = count_up_to(10**6)
SIDE = count_up_to(MAX_SIDE)
FLAG = Check(lambda value: isinstance(value, bool), "true or false")
NUMBER = Check(is_number, "a number")
QUANTITY = Check(lambda value: is_number(value) and value >= 0, "a number of at least 0")
PROBABILITY = Check(lambda value: is_number(value) and 0 <= value <= 1, "a number from 0 to 1")
MEAN = Check(lambda value: sequence_of(value, is_number, 3), "three numbers")
STD = Check(lambda value: sequence_of(value, _is_positive, 3), "three numbers above 0")
GREY_MEAN = Check(lambda value: sequence_of(value, is_number, 1), "one number")
GREY_STD = Check(lambda value: sequence_of(value, _is_positive, 1), "one number above 0")
ANY_MEAN = Check(
    lambda value: sequence_of(value, is_number, 1, 3), "three numbers, or one for grey images"
)
ANY_STD = Check(
    lambda value: sequence_of(value, _is_positive, 1, 3),
    "three numbers above 0, or one for grey images",
)


def describe_json_fault(
    value: object, *, depth: int, values: int, largest: float = math.inf
) -> str | None:
    """Return why a value is not JSON of bounded size, or None where it is.

    Args:
        value: what a JSON reader returned, or a mapping built like it.
        depth: how many lists and mappings may be nested.
        values: how many values, keys and containers included, there may be in total.
        largest: the largest magnitude of a number.
    """
    count = 0
    stack: list[tuple[object, int]] = [(value, 0)]
    while stack:
        item, level = stack.pop()
        count += 1
        if count > values:
            return f"more than {values} values"
        if level > depth:
            return f"nested more than {depth} deep"
        if isinstance(item, Mapping):
            count += len(item)
            if wrong := [key for key in item if not isinstance(key, str)]:
                return f"the key {shorten(wrong[0])}, which is not text"
            stack += [(each, level + 1) for each in item.values()]
        elif isinstance(item, (list, tuple)):
            stack += [(each, level + 1) for each in item]
        elif isinstance(item, (int, float)) and not isinstance(item, bool):
            if not abs(item) <= largest or item in (math.inf, -math.inf):
                return f"the number {shorten(item)}"
        elif item is not None and not isinstance(item, (bool, str)):
            return f"a value of type {type(item).__name__}"
    return None


def shorten(value: object, length: int = 60) -> str:
    """Return a value as text for a message: short, on one line, without control characters."""
    if isinstance(value, int) and abs(value) >= 10**18:
        return "an integer of more than 18 digits"
    if isinstance(value, Mapping):
        return f"a mapping of {len(value)} entries"
    if isinstance(value, (list, tuple)):
        if len(value) > 4 or any(isinstance(item, (Mapping, list, tuple)) for item in value):
            return f"a list of {len(value)} items"
        return f"[{', '.join(shorten(item, 20) for item in value)}]"
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}..."
