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
        scored: how many classes a network scores more than these and the characters; a network
            that never answers with its last ones, such as the padding, scores fewer.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    scored: int = 0

    @property
    def special(self) -> int:
        """How many classes there are besides the characters."""
        return len(self.before) + len(self.after)

    def names(self, characters: Sequence[str]) -> tuple[str, ...]:
        """Return what each class stands for."""
        return (*self.before, *characters, *self.after)

    def place(self, name: str, characters: Sequence[str]) -> int:
        """Return the number of a special class."""
        if name in self.before:
            return self.before.index(name)
        return len(self.before) + len(characters) + self.after.index(name)


_SAR = Classes(after=("<UKN>", "<BOS/EOS>", "<PAD>"), scored=-1)

CLASSES: Mapping[str, Classes] = {
    "CTCLabelDecode": Classes(before=("blank",)),
    "AttnLabelDecode": Classes(before=("sos",), after=("eos",)),
    "RFLLabelDecode": Classes(before=("sos",), after=("eos",)),
    "SPINLabelDecode": Classes(before=("sos", "eos")),
    "SEEDLabelDecode": Classes(after=("eos", "padding", "unknown")),
    "SRNLabelDecode": Classes(after=("sos", "eos")),
    "SARLabelDecode": _SAR,
    "SATRNLabelDecode": _SAR,
    "NRTRLabelDecode": Classes(before=("blank", "<unk>", "<s>", "</s>")),
    "ViTSTRLabelDecode": Classes(before=("<s>", "</s>")),
    "ABINetLabelDecode": Classes(before=("</s>",)),
    "CPPDLabelDecode": Classes(before=("</s>",)),
    "ParseQLabelDecode": Classes(before=("[E]",), after=("[B]", "[P]"), scored=-2),
    "PRENLabelDecode": Classes(before=("<PAD>", "<EOS>", "<UNK>")),
    # PaddleOCR counts the characters alone, and its network adds the end of the text as class 0.
    "VLLabelDecode": Classes(scored=1),
    # The table of LaTeX symbols has the start and the end of a formula among its symbols.
    "CANLabelDecode": Classes(),
}
