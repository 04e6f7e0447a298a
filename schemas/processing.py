"""How images are prepared for each kind of network, and how its results are decoded.

Each setting is declared once, with its type, default and check. The converter reads them from
PaddleOCR's files into an artefact; the pipelines construct these classes from it. Names, meanings
and defaults are PaddleOCR's: those of tools/infer/utility.py in PaddleOCR 2.x, unless stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TypeVar

from schemas.checks import (
    ANY_MEAN,
    ANY_STD,
    COUNT,
    FLAG,
    GREY_MEAN,
    GREY_STD,
    MAX_PIXELS,
    MEAN,
    NUMBER,
    PROBABILITY,
    QUANTITY,
    SIDE,
    STD,
    Check,
    count_up_to,
    is_count,
    one_of,
    optional,
    sequence_of,
    shorten,
)
from schemas.special_tokens import CLASSES

T = TypeVar("T")

LINE_RESIZES = (
    "RecResizeImg",
    "SVTRRecResizeImg",
    "VLRecResizeImg",
    "PRENResizeImg",
    "ABINetRecResizeImg",
    "GrayRecResizeImg",
    "RFLRecResizeImg",
    "SPINRecResizeImg",
    "SRNRecResizeImg",
    "SARRecResizeImg",
    "RobustScannerRecResizeImg",
)
"""PaddleOCR's resize steps for the lines of a recogniser."""
FORMULA_RESIZES = ("UniMERNetImgDecode", "MinMaxResize", "GrayImageChannelFormat")
"""PaddleOCR's first steps of preparing the image of a formula."""
TOKEN_DECODERS = ("LaTeXOCRDecode", "UniMERNetDecode")
"""The decoders that turn tokens into text, and so need a tokenizer."""
FORMULA_DECODERS = (*TOKEN_DECODERS, "CANLabelDecode")
TABLE_DECODERS = ("TableLabelDecode", "TableMasterLabelDecode")
"""The decoders of table structure, whose tokens are pieces of HTML."""
LINE_DECODERS = tuple(name for name in CLASSES if name not in ("CANLabelDecode", *TABLE_DECODERS))

LAYOUT_DECODERS = ("DetPostProcess", "PicoDetPostProcess")
"""The decoders of layout analysis: PaddleX's and PP-Structure 2's."""

_COLOR = one_of("BGR", "RGB")
_MERGE_MODE = one_of("union", "large", "small")
_UNCLIP_RATIO = Check(
    lambda value: QUANTITY.accepts(value) or sequence_of(value, QUANTITY.accepts, 2),
    "a number of at least 0, or two for width and height",
)
_BOX_TYPE = one_of("quad", "poly")
_VALID_SET = one_of("totaltext", "partvgg")
_IMAGE_SHAPE = Check(
    lambda value: value is None or sequence_of(value, SIDE.accepts, 2),
    f"height and width, {SIDE.expected} each",
)


def _or_by_label(check: Check) -> Check:
    """Build the check that also accepts a mapping from labels to such values."""
    return Check(
        lambda value: (
            check.accepts(value)
            or (
                isinstance(value, Mapping)
                and len(value) > 0
                and all(map(check.accepts, value.values()))
            )
        ),
        f"{check.expected}, or a mapping from labels to such values",
    )


class SettingsError(ValueError):
    """A setting is unknown or has a value outside its range."""


def setting(default: T, check: Check) -> T:
    """Declare the field of a settings class.

    Args:
        default: its value where neither a file nor the caller states one.
        check: the condition on every value, applied when an object is constructed.
    """
    declared: T = field(default=default, metadata={"check": check})
    return declared


@dataclass(frozen=True)
class Settings:
    """The base of all settings; constructing one checks every field.

    Raises:
        SettingsError: a value is of another type or outside its range.
    """

    def __post_init__(self) -> None:
        for name, check in self.checks().items():
            require(name, getattr(self, name), check)

    @classmethod
    @cache
    def checks(cls) -> Mapping[str, Check]:
        """Return the check of each setting, by its name."""
        return {f.name: f.metadata["check"] for f in fields(cls) if "check" in f.metadata}


def require(name: str, value: object, check: Check) -> None:
    """Raise SettingsError unless a setting's value passes its check."""
    if not check.accepts(value):
        raise SettingsError(f"the setting {name} is {shorten(value)}, expected {check.expected}")


@dataclass(frozen=True)
class DetectionSettings(Settings):
    """How images are prepared for a detector.

    Attributes:
        limit_side_len, limit_type: "max" shrinks images whose longer side is above the limit, "min"
            enlarges those whose shorter side is below it, "resize_long" brings the longer side to
            it. Sides are then rounded to multiples of `multiple_of`.
        max_side_limit: the longest side after that; PaddleOCR 3's value, while PaddleOCR 2 has no
            limit and runs out of memory.
        resize_long: if set, the longer side becomes this and both sides multiples of 128;
            `limit_side_len` is then ignored.
        short_size: if set, the shorter side becomes this, both sides rounded up to multiples of
            `multiple_of`; `limit_side_len` is then ignored.
        image_shape: if set, height and width of every input, and the settings above are ignored;
            with `keep_ratio` the width follows from the height.
        multiple_of: the stride of the network's coarsest map, in pixels.
        color: the order of the channels.
        mean, std: of values from 0 to 1, in the order of the channels.
    """

    limit_side_len: int = setting(960, SIDE)
    limit_type: str = setting("max", one_of("max", "min", "resize_long"))
    max_side_limit: int = setting(4000, SIDE)
    resize_long: int | None = setting(None, optional(SIDE))
    short_size: int | None = setting(None, optional(SIDE))
    image_shape: tuple[int, int] | None = setting(None, _IMAGE_SHAPE)
    keep_ratio: bool = setting(False, FLAG)
    multiple_of: int = setting(32, SIDE)
    color: str = setting("BGR", _COLOR)
    mean: tuple[float, float, float] = setting((0.485, 0.456, 0.406), MEAN)
    std: tuple[float, float, float] = setting((0.229, 0.224, 0.225), STD)


@dataclass(frozen=True)
class DBSettings(Settings):
    """How the probability map of DB becomes boxes (`DBPostProcess`).

    Attributes:
        thresh: probability above which a pixel is text.
        box_thresh: mean probability that a region needs, within its box if `score_mode` is "fast",
            within its outline if "slow". Polygons are always measured by their outline.
        unclip_ratio: regions grow by this times area / perimeter, since training shrinks them.
        max_candidates: how many regions are examined at most.
        use_dilation: whether regions are first widened by a pixel.
        box_type: "quad" for four corners, "poly" for curved lines.
    """

    thresh: float = setting(0.3, PROBABILITY)
    box_thresh: float = setting(0.6, PROBABILITY)
    unclip_ratio: float = setting(1.5, QUANTITY)
    max_candidates: int = setting(1000, COUNT)
    use_dilation: bool = setting(False, FLAG)
    score_mode: str = setting("fast", one_of("fast", "slow"))
    box_type: str = setting("quad", _BOX_TYPE)


@dataclass(frozen=True)
class EASTSettings(Settings):
    """How the maps of EAST become boxes (`EASTPostProcess`).

    Attributes:
        score_thresh: probability above which a pixel is text.
        cover_thresh: mean probability that a box needs.
        nms_thresh: boxes that overlap by more than this, as intersection over union, are merged.
    """

    score_thresh: float = setting(0.8, PROBABILITY)
    cover_thresh: float = setting(0.1, PROBABILITY)
    nms_thresh: float = setting(0.2, PROBABILITY)


@dataclass(frozen=True)
class SASTSettings(Settings):
    """How the maps of SAST become boxes or polygons (`SASTPostProcess`).

    Attributes:
        score_thresh: unused, as in PaddleOCR, whose configs state it.
        nms_thresh: lines that overlap by more than this, as intersection over union, are merged.
        sample_pts_num: points along each side of a line; 2 gives boxes, 0 takes more points the
            longer a line is.
        expand_scale: the factor by which the borders move away from the centre.
        shrink_ratio_of_width: the share of its height by which a line grows at both ends.
        tcl_map_thresh: probability above which a pixel belongs to the centre of a line.
    """

    score_thresh: float = setting(0.5, PROBABILITY)
    nms_thresh: float = setting(0.2, PROBABILITY)
    sample_pts_num: int = setting(
        2,
        Check(
            lambda value: value == 0 or (is_count(value) and 2 <= value <= 99),
            "0, or a whole number from 2 to 99",
        ),
    )
    expand_scale: float = setting(1.0, QUANTITY)
    shrink_ratio_of_width: float = setting(0.3, QUANTITY)
    tcl_map_thresh: float = setting(0.5, PROBABILITY)


@dataclass(frozen=True)
class PSESettings(Settings):
    """How the maps of PSENet become boxes or polygons (`PSEPostProcess`).

    Attributes:
        thresh: logit above which a pixel belongs to a line or, in the other maps, to its core.
        box_thresh: mean probability that a line needs.
        min_area: lines and cores of fewer pixels are discarded.
        box_type: "quad" for four corners, "poly" for curved lines.
        scale: pixels of the network's input for one of those on which lines grow: 1, 2 or 4.
    """

    thresh: float = setting(0, NUMBER)
    box_thresh: float = setting(0.85, PROBABILITY)
    min_area: int = setting(16, COUNT)
    box_type: str = setting("quad", _BOX_TYPE)
    scale: int = setting(
        1, Check(lambda value: is_count(value) and value in (1, 2, 4), "1, 2 or 4")
    )


@dataclass(frozen=True)
class FCESettings(Settings):
    """How the maps of FCENet become polygons or boxes (`FCEPostProcess`).

    Attributes:
        scales: for each map, how many pixels of the network's input are one of its own.
        fourier_degree: the number of frequencies of a series in each direction.
        num_reconstr_points: corners of an outline.
        score_thr: a pixel belongs to a line if text ** alpha * core ** beta, of the probabilities,
            is above this.
        alpha, beta: the exponents in `score_thr`.
        nms_thr: outlines that overlap by more than this, as intersection over union, are merged.
        box_type: "quad" for four corners, "poly" for curved lines.
    """

    scales: Sequence[int] = setting(
        (8, 16, 32),
        Check(
            lambda value: sequence_of(value, SIDE.accepts, *range(1, 9)), "whole numbers above 0"
        ),
    )
    fourier_degree: int = setting(5, count_up_to(100))
    num_reconstr_points: int = setting(
        50,
        Check(
            lambda value: is_count(value) and 3 < value <= 10_000,
            "a whole number above 3, at most 10000",
        ),
    )
    score_thr: float = setting(0.3, PROBABILITY)
    alpha: float = setting(1.0, QUANTITY)
    beta: float = setting(1.0, QUANTITY)
    nms_thr: float = setting(0.1, PROBABILITY)
    box_type: str = setting("poly", _BOX_TYPE)


@dataclass(frozen=True)
class CTSettings(Settings):
    """How the maps of CentripetalText become polygons (`CTPostProcess`).

    Attributes:
        min_score: mean probability that a core needs.
        min_area: lines of fewer pixels of the network's input are discarded.
    """

    min_score: float = setting(0.88, PROBABILITY)
    min_area: int = setting(16, COUNT)


@dataclass(frozen=True)
class DRRGSettings(Settings):
    """How the components that DRRG returns become polygons (`DRRGPostprocess`).

    Attributes:
        link_thr: probability from which two components belong to one line.
    """

    link_thr: float = setting(0.8, PROBABILITY)


@dataclass(frozen=True)
class RecognitionSettings(Settings):
    """How lines are prepared for a recogniser, and how its scores are decoded.

    Attributes:
        characters: the characters of its dictionary, without the decoder's special tokens.
        decoder: PaddleOCR's name of the decoder.
        resize: PaddleOCR's name of the resize step.
        height: of the input, in pixels.
        width: of the input, in pixels; for lines that keep their ratio, the smallest.
        max_width: of the input for lines that keep their ratio; wider lines are squeezed.
            PaddleOCR 3's value, while PaddleOCR 2 has no limit and runs out of memory.
        padding: whether `RecResizeImg` and `SVTRRecResizeImg` keep the ratio of a line and pad it
            with zeros at the right, or stretch it to `width`.
        interpolation: of a line that is stretched; "bicubic" and "lanczos" are Pillow's.
        rm_symbol: whether texts of SAR and SATRN are lowercased and lose their symbols, as in
            tools/infer/predict_rec.py.
        right_to_left: whether the network returns characters in visual order from the left, for
            text that is read from the right, as PaddleOCR's Arabic recognisers do.
        color: the order of the channels, or "GRAY".
        mean, std: of values from 0 to 1, in the order of the channels.
    """

    characters: Sequence[str]
    decoder: str = setting("CTCLabelDecode", one_of(*LINE_DECODERS))
    resize: str = setting("RecResizeImg", one_of(*LINE_RESIZES))
    height: int = setting(48, SIDE)
    width: int = setting(320, SIDE)
    max_width: int = setting(3200, count_up_to(2**16))
    padding: bool = setting(True, FLAG)
    interpolation: str = setting("linear", one_of("linear", "cubic", "bicubic", "lanczos"))
    rm_symbol: bool = setting(False, FLAG)
    right_to_left: bool = setting(False, FLAG)
    color: str = setting("BGR", one_of("BGR", "RGB", "GRAY"))
    mean: tuple[float, ...] = setting((0.5, 0.5, 0.5), ANY_MEAN)
    std: tuple[float, ...] = setting((0.5, 0.5, 0.5), ANY_STD)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_area(self.height, max(self.width, self.max_width))
        channels = 1 if self.color == "GRAY" else 3
        if not len(self.mean) == len(self.std) == channels:
            raise SettingsError(
                f"the settings mean and std have {len(self.mean)} and {len(self.std)} numbers, but "
                f"color is {self.color}, so {channels} are expected"
            )


@dataclass(frozen=True)
class ClassificationSettings(Settings):
    """How images are prepared for a classifier of orientation, and what its classes mean.

    Attributes:
        angles: for each class, the degrees by which its images are rotated counter-clockwise to
            become upright.
        height, width: of the input, in pixels.
        keep_ratio: whether an image keeps its ratio, with zeros at the right, or is stretched.
        resize_short: if set, the shorter side becomes this and the centre of the image is cropped;
            `keep_ratio` is then ignored.
        cls_thresh: an image is rotated where the probability of its best class is above this.
        color: the order of the channels.
        mean, std: of values from 0 to 1, in the order of the channels.
    """

    angles: tuple[int, ...] = (0, 180)
    height: int = setting(48, SIDE)
    width: int = setting(192, SIDE)
    keep_ratio: bool = setting(True, FLAG)
    resize_short: int | None = setting(None, optional(SIDE))
    cls_thresh: float = setting(0.9, PROBABILITY)
    color: str = setting("BGR", _COLOR)
    mean: tuple[float, float, float] = setting((0.5, 0.5, 0.5), MEAN)
    std: tuple[float, float, float] = setting((0.5, 0.5, 0.5), STD)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_area(self.height, self.width)
        if self.resize_short is not None and self.resize_short < max(self.height, self.width):
            raise SettingsError(
                f"the setting resize_short is {self.resize_short}, but {self.width} x "
                f"{self.height} pixels have to be cropped from the image"
            )


@dataclass(frozen=True)
class SpottingSettings(Settings):
    """How images are prepared for PGNet (`E2EResizeForTest`).

    Attributes:
        max_side_len, valid_set: with "totaltext" images are enlarged by a quarter, or less where
            their height would exceed the limit; with "partvgg" the longer side is brought to the
            limit. Sides are then rounded up to multiples of 128.
        color: the order of the channels.
        mean, std: of values from 0 to 1, in the order of the channels.
    """

    max_side_len: int = setting(768, SIDE)
    valid_set: str = setting("totaltext", _VALID_SET)
    color: str = setting("BGR", _COLOR)
    mean: tuple[float, float, float] = setting((0.485, 0.456, 0.406), MEAN)
    std: tuple[float, float, float] = setting((0.229, 0.224, 0.225), STD)


@dataclass(frozen=True)
class PGSettings(Settings):
    """How the maps of PGNet become polygons and texts (`PGPostProcess`).

    Attributes:
        characters: the characters of its dictionary; the class after them is CTC's blank.
        valid_set: "totaltext" for curved text, whose polygons are a little higher, "partvgg" for
            straight text, whose polygons have four corners.
        score_thresh: probability above which a pixel is text.
        mode: "fast" gives polygons of two times six corners, "slow" a pair of corners for each
            character and each gap.
        point_gather_mode: in the mode "fast", "align" also reads the pixels between centre points
            that are not neighbours.
    """

    characters: Sequence[str]
    valid_set: str = setting("totaltext", _VALID_SET)
    score_thresh: float = setting(0.5, PROBABILITY)
    mode: str = setting("fast", one_of("fast", "slow"))
    point_gather_mode: str = setting("none", one_of("none", "align"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode == "slow" and self.valid_set == "partvgg":
            raise SettingsError(
                'the mode "slow" needs the valid_set "totaltext"; with "partvgg", for straight '
                'text, PaddleOCR has only the mode "fast"'
            )


@dataclass(frozen=True)
class FormulaSettings(Settings):
    """How the image of a formula is prepared, and how the results become LaTeX.

    Attributes:
        decoder: PaddleOCR's name of the decoder.
        resize: PaddleOCR's name of the first step of preparing an image; it implies the others.
        height, width: of the input, in pixels, where that is fixed.
        mean, std: of the grey values from 0 to 1.
    """

    decoder: str = setting("UniMERNetDecode", one_of(*FORMULA_DECODERS))
    resize: str = setting("UniMERNetImgDecode", one_of(*FORMULA_RESIZES))
    height: int = setting(384, SIDE)
    width: int = setting(384, SIDE)
    mean: tuple[float] = setting((0.7931,), GREY_MEAN)
    std: tuple[float] = setting((0.1738,), GREY_STD)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_area(self.height, self.width)


@dataclass(frozen=True)
class SuperResolutionSettings(Settings):
    """The size of a super-resolution network's input, in pixels; its output has twice that.

    Attributes:
        height, width: of the input, in pixels.
    """

    height: int = setting(16, SIDE)
    width: int = setting(64, SIDE)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_area(self.height, self.width)


def _require_area(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise SettingsError(
            f"the settings height and width ask for {height} x {width} pixels, expected "
            f"{MAX_PIXELS} at most"
        )


@dataclass(frozen=True)
class TableSettings(Settings):
    """How the image of a table is prepared, and how its structure is decoded.

    Attributes:
        characters: the tokens of its dictionary, without the decoder's special tokens.
        decoder: PaddleOCR's name of the decoder.
        max_len: side of the input, in pixels; the longer side of the table becomes this.
        pad_first: whether the image is padded before it is normalised, as for TableMASTER, so that
            the padding is not zero.
        merge_no_span_structure: whether the token `<td></td>` replaces `<td>`.
        box_scale: "padded" where boxes are relative to the padded image, "image" where x is
            relative to the width and y to the height of the table (PaddleX's SLANet).
        color: the order of the channels.
        mean, std: of values from 0 to 1, in the order of the channels.
    """

    characters: Sequence[str]
    decoder: str = setting("TableLabelDecode", one_of(*TABLE_DECODERS))
    max_len: int = setting(488, SIDE)
    pad_first: bool = setting(False, FLAG)
    merge_no_span_structure: bool = setting(True, FLAG)
    box_scale: str = setting("padded", one_of("padded", "image"))
    color: str = setting("BGR", _COLOR)
    mean: tuple[float, float, float] = setting((0.485, 0.456, 0.406), MEAN)
    std: tuple[float, float, float] = setting((0.229, 0.224, 0.225), STD)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_area(self.max_len, self.max_len)


@dataclass(frozen=True)
class LayoutSettings(Settings):
    """How a page is prepared for a detector of its regions, and how its results become regions.

    Names and defaults are those of PaddleX 3, but for `nms_threshold`, PP-Structure 2's.

    Attributes:
        labels: the name of each class.
        decoder: "DetPostProcess" follows PaddleX, "PicoDetPostProcess" PP-Structure 2, which has
            only `threshold` and `nms_threshold` of the settings below.
        height, width: of the input, in pixels; pages do not keep their ratio.
        interpolation: of the page when it is resized.
        threshold: the score above which a region counts, or such scores by label; 0.5 for labels
            that are missing there.
        nms_threshold: regions of one class that overlap by more than this, as intersection over
            union, are merged, with "PicoDetPostProcess".
        layout_nms: whether regions that overlap by 0.6, or by 0.98 if of different classes, are
            merged.
        layout_merge_bboxes_mode: of regions that lie in each other, "large" keeps the outer ones,
            "small" the inner ones, "union" all; or such modes by label.
        layout_unclip_ratio: the factor by which regions grow about their centre, one or two, for
            width and height; or such factors by label; None leaves regions as they are.
        color: the order of the channels.
        mean, std: of values from 0 to 1, in the order of the channels.
    """

    labels: Sequence[str]
    decoder: str = setting("DetPostProcess", one_of(*LAYOUT_DECODERS))
    height: int = setting(800, SIDE)
    width: int = setting(608, SIDE)
    interpolation: str = setting("cubic", one_of("linear", "cubic"))
    threshold: float | Mapping[str, float] = setting(0.5, _or_by_label(PROBABILITY))
    nms_threshold: float = setting(0.5, PROBABILITY)
    layout_nms: bool = setting(False, FLAG)
    layout_merge_bboxes_mode: str | Mapping[str, str] = setting("union", _or_by_label(_MERGE_MODE))
    layout_unclip_ratio: float | Sequence[float] | Mapping[str, float | Sequence[float]] | None = (
        setting(None, optional(_or_by_label(_UNCLIP_RATIO)))
    )
    color: str = setting("RGB", _COLOR)
    mean: tuple[float, float, float] = setting((0.485, 0.456, 0.406), MEAN)
    std: tuple[float, float, float] = setting((0.229, 0.224, 0.225), STD)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_area(self.height, self.width)
        by_label = (self.threshold, self.layout_merge_bboxes_mode, self.layout_unclip_ratio)
        named = [label for value in by_label if isinstance(value, Mapping) for label in value]
        if unknown := [label for label in named if label not in self.labels]:
            raise SettingsError(
                f"there is no label {unknown[0]}; there are {', '.join(self.labels)}"
            )


@dataclass(frozen=True)
class UnwarpSettings(Settings):
    """How a page is prepared for unwarping; its size stays.

    Attributes:
        color: the order of the channels.
        mean, std: of values from 0 to 1, in the order of the channels.
    """

    color: str = setting("BGR", _COLOR)
    mean: tuple[float, float, float] = setting((0.0, 0.0, 0.0), MEAN)
    std: tuple[float, float, float] = setting((1.0, 1.0, 1.0), STD)


@dataclass(frozen=True)
class KieSettings(Settings):
    """How the lines of a page become the tokens of LayoutLM and its kin.

    Names are those of PaddleOCR's `VQATokenLabelEncode` and `VQATokenPad`.

    Attributes:
        order_method: "tb-yx" sorts lines from top to bottom; None leaves them as they were found.
        use_textline_bbox_info: whether each token has the box of its line; else that of its word,
            by the number of characters before it.
        max_seq_len: the most tokens that the network reads at once.
        height, width: of the image, in pixels; pages do not keep their ratio.
        color: the order of the channels.
        mean, std: of values from 0 to 1, in the order of the channels.
    """

    order_method: str | None = setting(None, optional(one_of("tb-yx")))
    use_textline_bbox_info: bool = setting(True, FLAG)
    max_seq_len: int = setting(512, count_up_to(4096))
    height: int = setting(224, SIDE)
    width: int = setting(224, SIDE)
    color: str = setting("RGB", _COLOR)
    mean: tuple[float, float, float] = setting((0.485, 0.456, 0.406), MEAN)
    std: tuple[float, float, float] = setting((0.229, 0.224, 0.225), STD)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_area(self.height, self.width)


BY_TASK: Mapping[str, tuple[type[Settings], ...]] = {
    "det": (
        DetectionSettings,
        DBSettings,
        EASTSettings,
        PSESettings,
        SASTSettings,
        FCESettings,
        CTSettings,
        DRRGSettings,
    ),
    "cls": (ClassificationSettings,),
    "rec": (RecognitionSettings,),
    "formula": (FormulaSettings,),
    "e2e": (SpottingSettings, PGSettings),
    "sr": (SuperResolutionSettings,),
    "table": (TableSettings,),
    "layout": (LayoutSettings,),
    "unwarp": (UnwarpSettings,),
    "kie": (KieSettings,),
}
"""For each task, the settings of its networks: of preparing images, then of each decoder."""


@cache
def checks_of_task(task: str) -> Mapping[str, tuple[Check, ...]]:
    """Return the checks of each setting of a task, one or more where decoders share its name."""
    found: dict[str, tuple[Check, ...]] = {}
    for settings in BY_TASK.get(task, ()):
        for name, check in settings.checks().items():
            found[name] = (*found.get(name, ()), check)
    return found


def check_setting(task: str, name: str, value: object) -> None:
    """Raise SettingsError for a value that no network of a task could have.

    Settings that the task does not have are accepted: other versions may know them.
    """
    checks = checks_of_task(task).get(name, ())
    if checks and not any(check.accepts(value) for check in checks):
        words = " or ".join(dict.fromkeys(check.expected for check in checks))
        raise SettingsError(f"the setting {name} is {shorten(value)}, expected {words}")
