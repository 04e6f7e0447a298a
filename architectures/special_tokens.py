"""What the classes of a recogniser are besides those of its characters.

The network fixes how many there are, and the way of decoding that it was trained for fixes what
they mean: PaddleOCR, `ppocr/postprocess/rec_postprocess.py`, whose names these are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Classes:
    """The special classes of one way of decoding, and where they stand.

    Attributes:
        before, after: those in front of the characters and behind them, under PaddleOCR's names.
        unscored: how many of the last ones no network answers with, such as the padding.
        uncounted: those that a network has on top of the `out_channels` that PaddleOCR counts.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    unscored: int = 0
    uncounted: tuple[str, ...] = ()

    def count(self, characters: int) -> int:
        """Return how many classes PaddleOCR counts with so many characters."""
        return len(self.before) + characters + len(self.after)

    def scores(self, characters: int) -> int:
        """Return for how many classes a network gives a score."""
        return self.count(characters) - self.unscored + len(self.uncounted)

    def names(self, characters: Sequence[str]) -> tuple[str, ...]:
        """Return what each class that is counted stands for."""
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
}
