"""Decoding of formula networks' tokens to LaTeX.

The rules follow PaddleOCR 2.x, ppocr/postprocess/rec_postprocess.py (`LaTeXOCRDecode`), and, for
`UniMERNetDecode`, PaddleX 3, inference/models/formula_recognition/processors.py, which keeps more
of the spaces that LaTeX needs. The tokenizers are byte-level BPE: Ġ stands for a space.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from schemas.processing import SettingsError

END = 2
"""The token that ends a formula of UniMERNet and PP-FormulaNet."""
MODULES = ("tokenizers", "ftfy")

# The commands whose argument is text, a name or bold.
WORDS = re.compile(r"\\(?:operatorname|mathrm|text|mathbf)\s?\*? {.*?}")
WORD_COMMANDS = (r"\operatorname", r"\mathrm", r"\text", r"\mathbf")
COMMAND_BEFORE_WORD = re.compile(r"(\\[a-zA-Z]+)\s(?=\w)")
CHINESE_TEXT = re.compile(r"\\text\s*{([^{}]*[\u4e00-\u9fff]+[^{}]*)}")
# Redundant spaces: between two symbols, a symbol and a letter, a letter and a symbol; a backslash
# and a space are a command of LaTeX.
SPACES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?!\\ )([\W_^\d])\s+?([\W_^\d])",
        r"(?!\\ )([\W_^\d])\s+?([a-zA-Z])",
        r"([a-zA-Z])\s+?([\W_^\d])",
    )
)
PROTECTED_SPACE = "\0"


def remove_spaces(text: str) -> str:
    """Remove redundant spaces from LaTeX, repeatedly until none is left."""
    before = None
    while text != before:
        before = text
        for spaces in SPACES:
            text = spaces.sub(r"\1\2", text)
    return text


def latex_of_latexocr(text: str) -> str:
    """Clean LaTeX-OCR's LaTeX: remove all spaces from names and texts, redundant ones elsewhere."""
    return remove_spaces(WORDS.sub(lambda match: match[0].replace(" ", ""), text))


def latex_of_unimernet(text: str) -> str:
    """Clean UniMERNet's LaTeX: unwrap Chinese text, repair characters, remove redundant spaces."""
    from ftfy import fix_text

    text = fix_text(CHINESE_TEXT.sub(r"\1", text).replace('"', ""))
    for words in WORDS.findall(text):
        for command in COMMAND_BEFORE_WORD.findall(words):
            if command not in WORD_COMMANDS:
                text = text.replace(command, command + PROTECTED_SPACE).replace(" ", "")
    return remove_spaces(text).replace(PROTECTED_SPACE, " ")


class TokenDecoder:
    """Decodes tokens to LaTeX.

    Args:
        tokenizer: the content of a `tokenizer.json`.
        decoder: `LaTeXOCRDecode` or `UniMERNetDecode`.

    Raises:
        SettingsError: `tokenizers` or `ftfy` is not installed, or the tokenizer is invalid.
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
        decoders = {
            "LaTeXOCRDecode": self._decode_latexocr,
            "UniMERNetDecode": self._decode_unimernet,
        }
        self._decode = decoders[decoder]

    def __call__(self, tokens: np.ndarray) -> str:
        """Decode the tokens `(T,) int` of one formula."""
        return self._decode(tokens.astype(int))

    def _decode_latexocr(self, tokens: np.ndarray) -> str:
        text = "".join(self._tokenizer.decode(tokens.tolist()).split(" ")).replace("Ġ", " ")
        return latex_of_latexocr(text.strip())

    def _decode_unimernet(self, tokens: np.ndarray) -> str:
        ends = np.flatnonzero(tokens == END)
        kept = tokens[: ends[0]] if len(ends) else tokens
        return latex_of_unimernet(self._tokenizer.decode(kept.tolist()))
