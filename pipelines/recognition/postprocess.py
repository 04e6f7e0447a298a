"""Decoding of recognisers' outputs: PaddleOCR's label decoders, as one function and a table.

Numbers follow PaddleOCR 2.x, ppocr/postprocess/rec_postprocess.py; the decoders keep its names.
CTC: Graves et al., "Connectionist Temporal Classification" (2006), decoded greedily.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from schemas.special_tokens import CLASSES

BLANK = 0
# Characters that keep their order, left to right, within a line that is read from the right.
LEFT_TO_RIGHT = re.compile("[a-zA-Z0-9 :*./%+-]")
# The characters that `rm_symbol` removes; the class keeps ^ too.
SYMBOLS = re.compile("[^A-Z^a-z^0-9^\u4e00-\u9fa5]")


@dataclass(frozen=True)
class Character:
    """One character of a line.

    Attributes:
        text: the character, or the longer string that the dictionary has for its class.
        score: the probability of its class, 0 to 1.
        column: the index of its column in the network's output.
    """

    text: str
    score: float
    column: int


@dataclass(frozen=True)
class RecognizedText:
    """The text of one line.

    Attributes:
        text: all characters, in reading order.
        score: mean probability of the characters, 0 to 1; that of an empty text is 0.
        characters: each character with its score and column.
        columns: the number of output columns that the line covers, without the padding; 0 for
            autoregressive decoders, whose columns are no positions in the image.
    """

    text: str
    score: float
    characters: tuple[Character, ...]
    columns: float


def ctc_decode(
    probabilities: np.ndarray,
    characters: Sequence[str],
    *,
    width_ratio: float = 1.0,
    right_to_left: bool = False,
) -> RecognizedText:
    """Decode one line greedily: best class per column, repeats merged, blanks dropped.

    Args:
        probabilities: `(T, 1 + number of characters) float32`; class 0 is the blank.
        characters: the dictionary, in the order of the classes after the blank.
        width_ratio: the share of the columns that the line covers; the rest is padding.
        right_to_left: whether the columns are read from the right.
    """
    best = probabilities.argmax(1)
    columns = np.flatnonzero(np.append(True, best[1:] != best[:-1]) & (best != BLANK))
    scores = probabilities[columns, best[columns]]
    decoded = [
        Character(characters[best[column] - 1], float(score), int(column))
        for column, score in zip(columns, scores, strict=True)
    ]
    if right_to_left:
        decoded = _reverse(decoded)
    text = "".join(character.text for character in decoded)
    mean = float(scores.mean()) if decoded else 0.0
    return RecognizedText(text, mean, tuple(decoded), len(probabilities) * width_ratio)


def _reverse(characters: Sequence[Character]) -> list[Character]:
    """Reverse a right-to-left line from visual to reading order; numbers keep theirs."""
    runs: list[list[Character]] = []
    for keeps_order, run in groupby(characters, _is_left_to_right):
        members = list(run)
        runs += [members] if keeps_order else [[character] for character in members]
    return [character for run in reversed(runs) for character in run]


def _is_left_to_right(character: Character) -> bool:
    return LEFT_TO_RIGHT.search(character.text) is not None


BestClasses = tuple[np.ndarray, np.ndarray]
"""For each line and step the best class and its score, both `(N, T)`."""


def _best(scores: np.ndarray, _: int = 0) -> BestClasses:
    """Take the best class of each step of `(N, T, classes)`."""
    return scores.argmax(2), scores.max(2)


def _best_after_start(scores: np.ndarray, _: int) -> BestClasses:
    """Skip the first step: ViTSTR's prediction for the start token is no part of the text."""
    return _best(scores[:, 1:])


def _best_of_rows(outputs: Mapping[str, np.ndarray], size: int) -> BestClasses:
    """Separate the lines of SRN, whose steps are stacked as `(N * T, classes)`."""
    scores = outputs["predict"]
    return _best(scores.reshape(size, -1, scores.shape[-1]))


def _best_of_second(outputs: Any, _: int) -> BestClasses:
    """Take RFL's second output; the first one counts characters."""
    if not isinstance(outputs, Mapping):
        raise ValueError("this network only counts the characters of a line; it cannot read them")
    return _best(list(outputs.values())[1])


def _beam_search(outputs: Mapping[str, np.ndarray], _: int) -> BestClasses:
    """Take the classes of SEED, which searches for the best text itself."""
    return outputs["rec_pred"], outputs["rec_pred_scores"]


def _beam_search_after_start(outputs: Mapping[str, np.ndarray], _: int) -> BestClasses:
    """Take the classes of NRTR, which searches itself, without its start token, class 2."""
    classes, scores = list(outputs.values())[:2]
    first = int(classes.size > 0 and classes[0, 0] == 2)
    return classes[:, first:], scores[:, first:]


@dataclass(frozen=True)
class DecodingRule:
    """How the output of an autoregressive recogniser is decoded.

    Attributes:
        best_classes: from the network's outputs and the number of lines to classes and scores.
        end: the class that ends a text; None where PaddleOCR does not stop at it.
        skipped: classes that are no part of a text. Other special classes, such as `<UKN>`, appear
            in the text under their names, as in PaddleOCR.
        empty: the score of a text without characters.
    """

    best_classes: Callable[[Any, int], BestClasses] = _best
    end: str | None = None
    skipped: tuple[str, ...] = ()
    empty: float = 0.0


# PaddleOCR skips the end token before it could stop there, so later steps are decoded too.
_ATTENTION = ("sos", "eos")
_SAR = DecodingRule(end="<BOS/EOS>", skipped=("<PAD>",))

DECODING_RULES: Mapping[str, DecodingRule] = {
    "AttnLabelDecode": DecodingRule(skipped=_ATTENTION),
    "SPINLabelDecode": DecodingRule(skipped=_ATTENTION),
    "RFLLabelDecode": DecodingRule(_best_of_second, skipped=_ATTENTION),
    "SRNLabelDecode": DecodingRule(_best_of_rows, skipped=_ATTENTION),
    "SEEDLabelDecode": DecodingRule(_beam_search, end="eos"),
    "SARLabelDecode": _SAR,
    "SATRNLabelDecode": _SAR,
    "NRTRLabelDecode": DecodingRule(_beam_search_after_start, end="</s>"),
    "ViTSTRLabelDecode": DecodingRule(_best_after_start, end="</s>"),
    "ABINetLabelDecode": DecodingRule(end="</s>"),
    "CPPDLabelDecode": DecodingRule(end="</s>"),
    "ParseQLabelDecode": DecodingRule(end="[E]", skipped=("[B]", "[P]")),
    "PRENLabelDecode": DecodingRule(end="<EOS>", skipped=("<PAD>", "<UNK>"), empty=1.0),
}


def decode_autoregressive(
    decoder: str,
    outputs: Any,
    size: int,
    characters: Sequence[str],
    *,
    rm_symbol: bool = False,
) -> list[RecognizedText]:
    """Decode the lines of a batch step by step, up to the end token.

    Args:
        decoder: a name in `DECODING_RULES`.
        outputs: the network's output for the batch: an array, or a dict of arrays.
        size: the number of lines in the batch.
        characters: the dictionary, without special tokens.
        rm_symbol: lower the case of letters and remove all that is no letter, digit or Chinese
            character; the score remains that of the whole text.
    """
    rule = DECODING_RULES[decoder]
    layout = CLASSES[decoder]
    names = layout.names(characters)
    skipped = [layout.place(name, characters) for name in rule.skipped]
    texts = []
    for classes, scores in zip(*rule.best_classes(outputs, size), strict=True):
        if rule.end is not None:
            ends = np.flatnonzero(classes == layout.place(rule.end, characters))
            classes = classes[: ends[0]] if len(ends) else classes
        # NRTR has one class more than PaddleOCR has characters.
        steps = np.flatnonzero(~np.isin(classes, skipped) & (classes < len(names)))
        decoded = [Character(names[classes[k]], float(scores[k]), int(k)) for k in steps]
        score = float(scores[steps].mean()) if decoded else rule.empty
        if rm_symbol:
            decoded = [_remove_symbols(character) for character in decoded]
        text = "".join(character.text for character in decoded)
        texts.append(RecognizedText(text, score, tuple(c for c in decoded if c.text), 0.0))
    return texts


def _remove_symbols(character: Character) -> Character:
    return Character(SYMBOLS.sub("", character.text.lower()), character.score, character.column)


def visionlan_decode(logits: np.ndarray, characters: Sequence[str]) -> RecognizedText:
    """Decode one line of VisionLAN; the score counts all steps up to the end token, class 0.

    Args:
        logits: `(T, 1 + number of characters) float32`; the last step is ignored.
        characters: the dictionary, in the order of the classes after the end token.
    """
    logits = logits[:-1]
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    classes = exponentials.argmax(1)
    probabilities = exponentials.max(1) / exponentials.sum(1)
    ends = np.flatnonzero(classes == 0)
    steps = ends[0] + 1 if len(ends) else len(classes)
    decoded = tuple(
        Character(characters[classes[k] - 1], float(probabilities[k]), k)
        for k in range(steps)
        if classes[k]
    )
    mean = np.exp(np.log(probabilities[:steps]).sum() / np.float32(steps + 1e-6))
    text = "".join(character.text for character in decoded)
    return RecognizedText(text, float(mean), decoded, 0.0)


def can_decode(scores: np.ndarray, symbols: Sequence[str]) -> str:
    """Return the LaTeX of one formula of CAN, its symbols separated by spaces.

    Args:
        scores: `(T, number of symbols) float32`; symbol 0 ends the formula.
        symbols: the dictionary, in the order of the classes.
    """
    classes = scores.argmax(1)
    # Without an end token, PaddleOCR stops at the lowest class.
    return " ".join(symbols[k] for k in classes[: classes.argmin()])
