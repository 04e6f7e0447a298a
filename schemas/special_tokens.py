"""The special classes of recognisers: blank, start, end, unknown, padding.

The network fixes their number, the decoding method their meaning. The names are those of PaddleOCR,
`ppocr/postprocess/rec_postprocess.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Classes:
    """The special classes of one decoding method and their positions.

    Attributes:
        before, after: special classes before and after the characters, by PaddleOCR's names.
        unscored: number of trailing classes without a score, such as padding.
        uncounted: classes that a network scores beyond PaddleOCR's `out_channels`.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    unscored: int = 0
    uncounted: tuple[str, ...] = ()

    def count(self, characters: int) -> int:
        """Return PaddleOCR's class count for a number of characters."""
        return len(self.before) + characters + len(self.after)

    def scores(self, characters: int) -> int:
        """Return the number of classes that a network scores."""
        return self.count(characters) - self.unscored + len(self.uncounted)

    def names(self, characters: Sequence[str]) -> tuple[str, ...]:
        """Return the name or character of each counted class."""
        return (*self.before, *characters, *self.after)

    def place(self, name: str, characters: Sequence[str]) -> int:
        """Return the number of a special class."""
        if name in self.before:
            return self.before.index(name)
        return len(self.before) + len(characters) + self.after.index(name)

    def in_words(self, *, scored: bool = False) -> str:
        """Return the names of the special classes that are counted, or of those with a score."""
        names = (*self.before, *self.after)
        if scored:
            names = (*self.uncounted, *names[: len(names) - self.unscored])
        *others, last = names or ("",)
        if others:
            return f"{', '.join(others)} and {last}"
        return f"the {last}" if last else "nothing else"


_ATTENTION = Classes(before=("sos",), after=("eos",))
_SAR = Classes(after=("<UKN>", "<BOS/EOS>", "<PAD>"), unscored=1)

CLASSES: Mapping[str, Classes] = {
    "CTCLabelDecode": Classes(before=("blank",)),
    "AttnLabelDecode": _ATTENTION,
    "RFLLabelDecode": _ATTENTION,
    "SPINLabelDecode": Classes(before=("sos", "eos")),
    "SEEDLabelDecode": Classes(after=("eos", "padding", "unknown")),
    "SRNLabelDecode": Classes(after=("sos", "eos")),
    "SARLabelDecode": _SAR,
    "SATRNLabelDecode": _SAR,
    "NRTRLabelDecode": Classes(before=("blank", "<unk>", "<s>", "</s>"), uncounted=("none",)),
    "ViTSTRLabelDecode": Classes(before=("<s>", "</s>")),
    "ABINetLabelDecode": Classes(before=("</s>",)),
    "CPPDLabelDecode": Classes(before=("</s>",)),
    "ParseQLabelDecode": Classes(before=("[E]",), after=("[B]", "[P]"), unscored=2),
    "PRENLabelDecode": Classes(before=("<PAD>", "<EOS>", "<UNK>")),
    "VLLabelDecode": Classes(uncounted=("end",)),  # class 0
    # The table of LaTeX symbols has the end and the start of a formula among its symbols.
    "CANLabelDecode": Classes(),
    "TableLabelDecode": _ATTENTION,
    "TableMasterLabelDecode": Classes(after=("<UKN>", "<SOS>", "<EOS>", "<PAD>")),
}
