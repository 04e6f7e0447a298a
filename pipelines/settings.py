"""What a pipeline has to know of a network: what the weights' `.json` says, else PaddleOCR's way.

Names and meanings are those of PaddleOCR: `DetResizeForTest` and `DBPostProcess`. What no file says
is as in PaddleOCR 2.x, tools/infer/utility.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.networks import Network

Check = tuple[Callable[[Any], bool], str]
"""Whether a value is one, and what it should be."""


class SettingsError(ValueError):
    """A setting is unknown, or has a value without a meaning."""


def stated(network: Network, names: Iterable[str]) -> dict[str, Any]:
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


_COUNT: Check = (is_count, "a whole number above 0")
_PROBABILITY: Check = (lambda value: is_number(value) and 0 <= value <= 1, "a number from 0 to 1")
_FLAG: Check = (lambda value: isinstance(value, bool), "true or false")


# How an image is resized, in the order in which `DetResizeForTest` looks for it.
_RULES = ("image_shape", "limit_side_len", "resize_long")

_DETECTION: Mapping[str, Check] = {
    "image_shape": (
        lambda value: value is None or numbers(2, is_count)(value),
        "height and width, whole numbers above 0",
    ),
    "keep_ratio": _FLAG,
    "resize_long": (lambda value: value is None or is_count(value), "a whole number above 0"),
    "limit_side_len": _COUNT,
    "limit_type": one_of("max", "min", "resize_long"),
    "max_side_limit": _COUNT,
    "multiple_of": _COUNT,
    "color": one_of("BGR", "RGB"),
    "mean": (numbers(3), "three numbers"),
    "std": (numbers(3, lambda value: is_number(value) and value > 0), "three numbers above 0"),
    "thresh": _PROBABILITY,
    "box_thresh": _PROBABILITY,
    "unclip_ratio": (lambda value: is_number(value) and value >= 0, "a number of at least 0"),
    "max_candidates": _COUNT,
    "use_dilation": _FLAG,
    "score_mode": one_of("fast", "slow"),
    "box_type": one_of("quad", "poly"),
}


@dataclass(frozen=True)
class DetSettings:
    """How a detector's images are prepared and its maps decoded.

    Attributes:
        limit_side_len, limit_type: "max" shrinks images whose longer side is above the limit, "min"
            enlarges those whose shorter side is below it, "resize_long" brings the longer side to
            it. Sides then become multiples of `multiple_of`.
        max_side_limit: what no side may exceed after that; PaddleOCR 3's value, while PaddleOCR 2
            has no limit and runs out of memory.
        resize_long: if given, the longer side becomes this, both sides multiples of 128, whatever
            `limit_side_len` says.
        image_shape: if given, height and width of every image, whatever else is said; with
            `keep_ratio` the width follows from the height.
        mean, std: of the values from 0 to 1, in the order of the network's channels, `color`.
        thresh: probability above which a pixel is text.
        box_thresh: mean probability that a region needs, within its box if `score_mode` is "fast",
            within its outline if "slow". Polygons are always measured by their outline.
        unclip_ratio: regions grow by this times area / perimeter, as training shrank them.
        max_candidates: how many regions are looked at.
        use_dilation: whether regions are widened by a pixel first.
        box_type: "quad" for four corners, "poly" for curved lines.

    Raises:
        SettingsError: a value without a meaning.
    """

    limit_side_len: int = 960
    limit_type: str = "max"
    max_side_limit: int = 4000
    resize_long: int | None = None
    image_shape: tuple[int, int] | None = None
    keep_ratio: bool = False
    multiple_of: int = 32
    color: str = "BGR"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    thresh: float = 0.3
    box_thresh: float = 0.6
    unclip_ratio: float = 1.5
    max_candidates: int = 1000
    use_dilation: bool = False
    score_mode: str = "fast"
    box_type: str = "quad"

    def __post_init__(self) -> None:
        check(self, _DETECTION)

    @classmethod
    def of(cls, network: Network, **changes: Any) -> DetSettings:
        """Return what a network's `.json` says, with changes; None changes nothing.

        Raises:
            SettingsError: it is no detector, or one that is not decoded as DB is, a value without a
                meaning, a change of what is no setting.
        """
        _require_db(_card(network, "det", "a detector"))
        given = _given(changes, _DETECTION, "a detector")
        said = stated(network, _DETECTION)
        if "limit_side_len" in said:
            said.setdefault("limit_type", "min")  # what `DetResizeForTest` takes it for
        settings: dict[str, Any] = {}
        for layer in (said, given):
            rules = [rule for rule in _RULES if rule in layer]
            for rule in _RULES if rules else ():
                settings.pop(rule, None)
            settings |= {name: layer[name] for name in layer if name not in rules[1:]}
        return cls(**settings)


DB_HEADS = ("DBHead", "PFHeadLocal")


def _require_db(card: Mapping[str, Any]) -> None:
    """Raise SettingsError where the weights' `.json` names another head than DB's."""
    head = ((card.get("architecture") or {}).get("Head") or {}).get("name", DB_HEADS[0])
    if head not in DB_HEADS:
        raise SettingsError(
            f"the weights are of a detector that ends in {head}; text is found with those of "
            f"{' and '.join(DB_HEADS)} only. Run the network itself: architectures.load(PATH)"
        )


_PIXELS: Mapping[str, Check] = {key: _DETECTION[key] for key in ("color", "mean", "std")}
_RECOGNITION: Mapping[str, Check] = {
    "height": _COUNT,
    "max_width": _COUNT,
    "right_to_left": _FLAG,
    **_PIXELS,
}


@dataclass(frozen=True)
class RecSettings:
    """What a recogniser takes, and what its classes mean.

    Attributes:
        characters: what the classes after CTC's blank stand for.
        height: of its input, in pixels.
        max_width: of its input; what would be wider is squeezed. PaddleOCR 3's value, while
            PaddleOCR 2 has no limit and runs out of memory.
        right_to_left: characters come in the order in which they stand, and are read from the
            right, as those of PaddleOCR's Arabic recognisers.
        mean, std: of the values from 0 to 1, in the order of the network's channels, `color`.

    Raises:
        SettingsError: a value without a meaning.
    """

    characters: Sequence[str]
    height: int = 48
    max_width: int = 3200
    right_to_left: bool = False
    color: str = "BGR"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        check(self, _RECOGNITION)

    @classmethod
    def of(
        cls, network: Network, characters: Sequence[str] | None = None, **changes: Any
    ) -> RecSettings:
        """Return what a network's `.json` says, with changes; None changes nothing.

        Raises:
            SettingsError: there are no characters, it is no recogniser, or a value has no meaning.
        """
        card = _card(network, "rec", "a recogniser")
        dictionary = card.get("dictionary") or {}
        characters = dictionary.get("characters") if characters is None else characters
        if not characters:
            weights = (card.get("weights") or {}).get("file") or "X.pth"
            raise SettingsError(
                "the recogniser has no dictionary, so what its classes stand for is not known; "
                f"`python -m converter add-dict {weights} DICT.txt` adds one to its weights, "
                "or give characters="
            )
        # PaddleOCR goes by the name of the dictionary, PaddleX by that of the model.
        names = (str(card.get("name")), str(dictionary.get("file")))
        said = {"right_to_left": any("arabic" in name for name in names)}
        said |= stated(network, _RECOGNITION)
        return cls(characters, **said | _given(changes, _RECOGNITION, "a recogniser"))


_CLASSIFICATION: Mapping[str, Check] = {
    "height": _COUNT,
    "width": _COUNT,
    "keep_ratio": _FLAG,
    "resize_short": (lambda value: value is None or is_count(value), "a whole number above 0"),
    "cls_thresh": _PROBABILITY,
    **_PIXELS,
}


@dataclass(frozen=True)
class ClsSettings:
    """How a classifier of orientation sees an image, and what its classes mean.

    Attributes:
        angles: for each class, by how many degrees its images have to be turned counter-clockwise;
            the labels of the `.json`, as "180" or "180_degree".
        height, width: of its input, in pixels.
        keep_ratio: whether an image keeps its ratio, with zeros at the right, or is stretched.
        resize_short: if given, the shorter side becomes this, and the middle of the image is cut
            out, whatever `keep_ratio` says.
        cls_thresh: an image is turned where the best class is more probable than this.
        mean, std: of the values from 0 to 1, in the order of the network's channels, `color`.

    Raises:
        SettingsError: a value without a meaning.
    """

    angles: tuple[int, ...] = (0, 180)
    height: int = 48
    width: int = 192
    keep_ratio: bool = True
    resize_short: int | None = None
    cls_thresh: float = 0.9
    color: str = "BGR"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        check(self, _CLASSIFICATION)
        if self.resize_short is not None and self.resize_short < max(self.height, self.width):
            raise SettingsError(
                f"the setting resize_short is {self.resize_short}, but {self.width} x "
                f"{self.height} pixels have to be cut out of the image"
            )

    @classmethod
    def of(cls, network: Network, **changes: Any) -> ClsSettings:
        """Return what a network's `.json` says, with changes; None changes nothing.

        Raises:
            SettingsError: it is no classifier of orientation, or a value has no meaning.
        """
        card = _card(network, "cls", "a classifier")
        said = stated(network, _CLASSIFICATION)
        labels = card.get("labels") or [str(angle) for angle in cls.angles]
        classes = (card.get("class_counts") or {}).get("cls", len(labels))
        matches = [re.fullmatch(r"(0|90|180|270)(_degree)?", str(label)) for label in labels]
        angles = tuple(int(match[1]) for match in matches if match)
        if not len(set(angles)) == len(labels) == classes:
            raise SettingsError(
                f"the classifier has {classes} classes with the labels {', '.join(labels)}; "
                'to turn images it needs a label for each class out of "0", "90", "180" and "270", '
                "in the .json beside its weights"
            )
        return cls(angles, **said | _given(changes, _CLASSIFICATION, "a classifier"))


def _given(changes: Mapping[str, Any], checks: Mapping[str, Check], kind: str) -> dict[str, Any]:
    """Those changes that change something; SettingsError for one of what is no setting."""
    if unknown := [name for name in changes if name not in checks]:
        raise SettingsError(
            f"there is no setting {unknown[0]} of {kind}; there are {', '.join(checks)}"
        )
    return {name: value for name, value in changes.items() if value is not None}


def _card(network: Network, task: str, kind: str) -> Mapping[str, Any]:
    """The network's `.json`, if it has one; SettingsError where that is of another kind."""
    card: Mapping[str, Any] = getattr(network, "card", None) or {}
    if card.get("task", task) != task:
        weights = (card.get("weights") or {}).get("file") or card.get("name")
        raise SettingsError(f"{weights} is not {kind}, its task is {card['task']}")
    return card
