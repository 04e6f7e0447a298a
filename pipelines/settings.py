"""What a pipeline has to know of a network: what the weights' `.json` says, else PaddleOCR's way.

Names and meanings are those of PaddleOCR. What no file says is as in PaddleOCR 2.x,
tools/infer/utility.py. What tells how a detector's maps are decoded stands with the decoders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from architectures.special_tokens import CLASSES
from pipelines.runtime import Network
from pipelines.validation import (
    COUNT,
    FLAG,
    PIXELS,
    PROBABILITY,
    Check,
    SettingsError,
    card_of,
    characters_of,
    check,
    given,
    is_count,
    is_number,
    numbers,
    one_of,
    stated,
)

_COUNT_OR_NONE: Check = (lambda value: value is None or is_count(value), COUNT[1])

# How an image is resized, in the order in which they are looked for.
_RULES = ("image_shape", "limit_side_len", "resize_long", "short_size")

DETECTION: Mapping[str, Check] = {
    "image_shape": (
        lambda value: value is None or numbers(2, is_count)(value),
        "height and width, whole numbers above 0",
    ),
    "keep_ratio": FLAG,
    "resize_long": _COUNT_OR_NONE,
    "short_size": _COUNT_OR_NONE,
    "limit_side_len": COUNT,
    "limit_type": one_of("max", "min", "resize_long"),
    "max_side_limit": COUNT,
    "multiple_of": COUNT,
    **PIXELS,
}
"""What tells how a detector's images are prepared, and what each value is."""


@dataclass(frozen=True)
class DetSettings:
    """How a detector's images are prepared; how its results are decoded, its decoder knows.

    Attributes:
        limit_side_len, limit_type: "max" shrinks images whose longer side is above the limit, "min"
            enlarges those whose shorter side is below it, "resize_long" brings the longer side to
            it. Sides then become multiples of `multiple_of`.
        max_side_limit: what no side may exceed after that; PaddleOCR 3's value, while PaddleOCR 2
            has no limit and runs out of memory.
        resize_long: if given, the longer side becomes this, both sides multiples of 128, whatever
            `limit_side_len` says.
        short_size: if given, the shorter side becomes this, both sides multiples of `multiple_of`
            not below that, whatever `limit_side_len` says.
        image_shape: if given, height and width of every image, whatever else is said; with
            `keep_ratio` the width follows from the height.
        mean, std: of the values from 0 to 1, in the order of the network's channels, `color`.

    Raises:
        SettingsError: a value without a meaning.
    """

    limit_side_len: int = 960
    limit_type: str = "max"
    max_side_limit: int = 4000
    resize_long: int | None = None
    short_size: int | None = None
    image_shape: tuple[int, int] | None = None
    keep_ratio: bool = False
    multiple_of: int = 32
    color: str = "BGR"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        check(self, DETECTION)

    @classmethod
    def of(cls, network: Network, **changes: Any) -> DetSettings:
        """Return what a network's `.json` says, with changes; None changes nothing.

        Raises:
            SettingsError: it is no detector, a value without a meaning, a change of what is no
                setting.
        """
        card_of(network, "det", "a detector")
        changed = given(changes, DETECTION, "a detector")
        said = stated(network, DETECTION)
        if "limit_side_len" in said:
            said.setdefault("limit_type", "min")  # what `DetResizeForTest` takes it for
        settings: dict[str, Any] = {}
        for layer in (said, changed):
            rules = [rule for rule in _RULES if rule in layer]
            for rule in _RULES if rules else ():
                settings.pop(rule, None)
            settings |= {name: layer[name] for name in layer if name not in rules[1:]}
        return cls(**settings)


# Rules by which lines are resized for a recogniser, under PaddleOCR's names; `line_inputs.py`.
LINE_RULES = (
    "RecResizeImg", "SVTRRecResizeImg", "VLRecResizeImg", "PRENResizeImg", "ABINetRecResizeImg",
    "GrayRecResizeImg", "RFLRecResizeImg", "SPINRecResizeImg", "SRNRecResizeImg",
    "SARRecResizeImg", "RobustScannerRecResizeImg",
)  # fmt: skip
_LINE_DECODERS = tuple(name for name in CLASSES if name != "CANLabelDecode")

_RECOGNITION: Mapping[str, Check] = {
    "decoder": one_of(*_LINE_DECODERS),
    "resize": one_of(*LINE_RULES),
    "height": COUNT,
    "width": COUNT,
    "max_width": COUNT,
    "padding": FLAG,
    "interpolation": one_of("linear", "cubic", "bicubic", "lanczos"),
    "rm_symbol": FLAG,
    "right_to_left": FLAG,
    "color": one_of("BGR", "RGB", "GRAY"),
    "mean": (lambda value: numbers(3)(value) or numbers(1)(value), "three numbers, or one of grey"),
    "std": (
        lambda value: (
            numbers(len(value), lambda item: is_number(item) and item > 0)(value)
            and len(value) in (1, 3)
        ),
        "three numbers above 0, or one of grey",
    ),
}


@dataclass(frozen=True)
class RecSettings:
    """What a recogniser takes, and what its classes mean.

    Attributes:
        characters: what the classes stand for that are not special.
        decoder: how its answers are read, by PaddleOCR's name.
        resize: how a line is brought to its size, by PaddleOCR's name.
        height: of its input, in pixels.
        width: of its input; where lines keep their ratio, the least one.
        max_width: of its input, where lines keep their ratio; what would be wider is squeezed.
            PaddleOCR 3's value, while PaddleOCR 2 has no limit and runs out of memory.
        padding: whether `RecResizeImg` and `SVTRRecResizeImg` keep the ratio of a line, with zeros
            at the right, or stretch it to `width`.
        interpolation: of a line that is stretched; "bicubic" and "lanczos" are Pillow's.
        rm_symbol: whether SAR's and SATRN's texts get small letters and lose their symbols, as in
            tools/infer/predict_rec.py.
        right_to_left: characters come in the order in which they stand, and are read from the
            right, as those of PaddleOCR's Arabic recognisers.
        mean, std: of the values from 0 to 1, in the order of the network's channels, `color`.

    Raises:
        SettingsError: a value without a meaning.
    """

    characters: Sequence[str]
    decoder: str = "CTCLabelDecode"
    resize: str = "RecResizeImg"
    height: int = 48
    width: int = 320
    max_width: int = 3200
    padding: bool = True
    interpolation: str = "linear"
    rm_symbol: bool = False
    right_to_left: bool = False
    color: str = "BGR"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        check(self, _RECOGNITION)
        channels = 1 if self.color == "GRAY" else 3
        if not len(self.mean) == len(self.std) == channels:
            raise SettingsError(
                f"the settings mean and std have {len(self.mean)} and {len(self.std)} numbers, but "
                f"color is {self.color}, so {channels} are expected"
            )

    @classmethod
    def of(
        cls, network: Network, characters: Sequence[str] | None = None, **changes: Any
    ) -> RecSettings:
        """Return what a network's `.json` says, with changes; None changes nothing.

        Raises:
            SettingsError: there are no characters, it is no recogniser, or a value has no meaning.
        """
        card = card_of(network, "rec", "a recogniser")
        characters = characters_of(card, characters, "recogniser")
        # PaddleOCR goes by the name of the dictionary, PaddleX by that of the model.
        names = (str(card.get("name")), str((card.get("dictionary") or {}).get("file")))
        said = {"right_to_left": any("arabic" in name for name in names)}
        said |= stated(network, _RECOGNITION)
        return cls(characters, **said | given(changes, _RECOGNITION, "a recogniser"))


_CLASSIFICATION: Mapping[str, Check] = {
    "height": COUNT,
    "width": COUNT,
    "keep_ratio": FLAG,
    "resize_short": _COUNT_OR_NONE,
    "cls_thresh": PROBABILITY,
    **PIXELS,
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
        card = card_of(network, "cls", "a classifier")
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
        return cls(angles, **said | given(changes, _CLASSIFICATION, "a classifier"))
