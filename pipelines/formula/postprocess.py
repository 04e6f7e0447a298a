"""From the tokens or symbols of a formula to LaTeX.

The text follows PaddleOCR 2.x, ppocr/postprocess/rec_postprocess.py (`LaTeXOCRDecode`), and, for
`UniMERNetDecode`, PaddleX 3, inference/models/formula_recognition/processors.py, which leaves more
spaces where LaTeX needs them. The tokens are byte-level BPE's: a space within is written as Ġ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from pipelines.validation import SettingsError

END = 2
"""The token that ends a formula of UniMERNet and PP-FormulaNet."""
MODULES = ("tokenizers", "ftfy")

# What stands in braces after one of these commands is text, a name or bold.
WORDS = re.compile(r"\\(?:operatorname|mathrm|text|mathbf)\s?\*? {.*?}")
WORD_COMMANDS = (r"\operatorname", r"\mathrm", r"\text", r"\mathbf")
COMMAND_BEFORE_WORD = re.compile(r"(\\[a-zA-Z]+)\s(?=\w)")
CHINESE_TEXT = re.compile(r"\\text\s*{([^{}]*[\u4e00-\u9fff]+[^{}]*)}")
# Spaces that part nothing: between two signs, a sign and a letter, a letter and a sign; those after
# a backslash are spaces of LaTeX.
SPACES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?!\\ )([\W_^\d])\s+?([\W_^\d])",
        r"(?!\\ )([\W_^\d])\s+?([a-zA-Z])",
        r"([a-zA-Z])\s+?([\W_^\d])",
    )
)
KEPT = "\0"  # stands for a space that must not go


def without_spaces(text: str) -> str:
    """Take out the spaces that part nothing."""
    before = None
    while text != before:
        before = text
        for spaces in SPACES:
            text = spaces.sub(r"\1\2", text)
    return text


def latex_of_latexocr(text: str) -> str:
    """Finish the LaTeX of LaTeX-OCR: names and texts lose their spaces, so does the rest."""
    return without_spaces(WORDS.sub(lambda match: match[0].replace(" ", ""), text))


def latex_of_unimernet(text: str) -> str:
    """Finish the LaTeX of UniMERNet: Chinese stands for itself, broken characters are mended."""
    from ftfy import fix_text

    text = fix_text(CHINESE_TEXT.sub(r"\1", text).replace('"', ""))
    for words in WORDS.findall(text):
        for command in COMMAND_BEFORE_WORD.findall(words):
            if command not in WORD_COMMANDS:
                text = text.replace(command, command + KEPT).replace(" ", "")
    return without_spaces(text).replace(KEPT, " ")


class TokenDecoder:
    """Turns tokens into LaTeX.

    Args:
        tokenizer: the content of a `tokenizer.json`.
        decoder: `LaTeXOCRDecode` or `UniMERNetDecode`.

    Raises:
        SettingsError: the library that reads tokenizers is missing, or it cannot read this one.
    """

    def __init__(self, tokenizer: Mapping[str, Any], decoder: str) -> None:
        missing = [name for name in MODULES if not find_spec(name)]
        if missing:
            raise SettingsError(
                f"formulas need {' and '.join(missing)}; pip install paddleocr-to-torch[formula]"
            )
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(json.dumps(tokenizer))
        except Exception as error:  # the library raises nothing narrower
            raise SettingsError(f"the dictionary is no tokenizer: {error}") from error
        readers = {"LaTeXOCRDecode": self._latexocr, "UniMERNetDecode": self._unimernet}
        self._read = readers[decoder]

    def __call__(self, tokens: np.ndarray) -> str:
        """`(T,)` tokens of one formula to LaTeX."""
        return self._read(tokens.astype(int))

    def _latexocr(self, tokens: np.ndarray) -> str:
        text = "".join(self._tokenizer.decode(tokens.tolist()).split(" ")).replace("Ġ", " ")
        return latex_of_latexocr(text.strip())

    def _unimernet(self, tokens: np.ndarray) -> str:
        ends = np.flatnonzero(tokens == END)
        kept = tokens[: ends[0]] if len(ends) else tokens
        return latex_of_unimernet(self._tokenizer.decode(kept.tolist()))
