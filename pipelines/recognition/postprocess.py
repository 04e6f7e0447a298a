"""From what a recogniser answers to text: PaddleOCR's label decoders, as one rule and a table.

Numbers follow PaddleOCR 2.x, ppocr/postprocess/rec_postprocess.py, whose names the decoders have.
CTC: Graves et al., "Connectionist Temporal Classification" (2006), decoded greedily.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from architectures.special_tokens import CLASSES

BLANK = 0
# What runs from left to right within a line that is read from the right.
LEFT_TO_RIGHT = re.compile("[a-zA-Z0-9 :*./%+-]")
# What `rm_symbol` takes out of a text; the class keeps ^ too.
SYMBOLS = re.compile("[^A-Z^a-z^0-9^\u4e00-\u9fa5]")


@dataclass(frozen=True)
class Character:
    """One character of a line.

    `score` is the probability of its class, 0 to 1; `column` is where the network's output has it.
    """

    text: str
    score: float
    column: int


@dataclass(frozen=True)
class RecognizedText:
    """What a line says.

    Attributes:
        text: all characters, as they are read.
        score: mean probability of the characters, 0 for an empty text.
        characters: each with its own score and column.
        columns: how many columns of the network's output the line takes, without the padding; 0
            where the network spells the text out, so that a column is no place in the image.
    """

    text: str
    score: float
    characters: tuple[Character, ...]
    columns: float


def ctc_decode(
    probabilities: np.ndarray,
    characters: Sequence[str],
    *,
    share: float = 1.0,
    right_to_left: bool = False,
) -> RecognizedText:
    """Read one line: the best class per column, repeats collapsed, blanks dropped.

    Args:
        probabilities: `(T, 1 + number of characters)`; class 0 is the blank.
        characters: what the classes after the blank stand for.
        share: how much of the columns the line takes; the rest is padding.
        right_to_left: whether the columns have to be read from the right.
    """
    best = probabilities.argmax(1)
    places = np.flatnonzero(np.append(True, best[1:] != best[:-1]) & (best != BLANK))
    scores = probabilities[places, best[places]]
    found = [
        Character(characters[best[place] - 1], float(score), int(place))
        for place, score in zip(places, scores, strict=True)
    ]
    if right_to_left:
        found = _from_the_right(found)
    text = "".join(character.text for character in found)
    mean = float(scores.mean()) if found else 0.0
    return RecognizedText(text, mean, tuple(found), len(probabilities) * share)


def _from_the_right(characters: Sequence[Character]) -> list[Character]:
    """Put what stands from left to right into the order of reading: Arabic, but not its numbers."""
    runs: list[list[Character]] = []
    for kept, run in groupby(characters, _runs_rightwards):
        members = list(run)
        runs += [members] if kept else [[character] for character in members]
    return [character for run in reversed(runs) for character in run]


def _runs_rightwards(character: Character) -> bool:
    return LEFT_TO_RIGHT.search(character.text) is not None


Answers = tuple[np.ndarray, np.ndarray]
"""For each line and step the best class and its score, both `(N, T)`."""


def _best(scores: np.ndarray, _: int = 0) -> Answers:
    """`(N, T, classes)` -> the best class of each step and its score."""
    return scores.argmax(2), scores.max(2)


def _best_after_start(scores: np.ndarray, _: int) -> Answers:
    """Of ViTSTR the first step, which answers to the start, is no part of the text."""
    return _best(scores[:, 1:])


def _best_of_rows(results: Mapping[str, np.ndarray], size: int) -> Answers:
    """Of SRN the steps of all lines stand below each other, `(N * T, classes)`."""
    scores = results["predict"]
    return _best(scores.reshape(size, -1, scores.shape[-1]))


def _best_of_second(results: Any, _: int) -> Answers:
    """RFL counts characters first; trained for that alone, it reads none."""
    if not isinstance(results, Mapping):
        raise ValueError("this network counts the characters of a line, and does not read them")
    return _best(list(results.values())[1])


def _searched(results: Mapping[str, np.ndarray], _: int) -> Answers:
    """SEED searches for the best text itself."""
    return results["rec_pred"], results["rec_pred_scores"]


def _searched_after_start(results: Mapping[str, np.ndarray], _: int) -> Answers:
    """So does NRTR, which may give the start of the text, class 2, too."""
    classes, scores = list(results.values())[:2]
    first = int(classes.size > 0 and classes[0, 0] == 2)
    return classes[:, first:], scores[:, first:]


@dataclass(frozen=True)
class DecodingRule:
    """How a network that spells a text out, step by step, is read.

    Attributes:
        answers: from its results, and the number of lines, to classes and scores.
        end: the class that ends a text; None where PaddleOCR lets none end it.
        skipped: classes that are no part of a text. What is neither, such as `<UKN>`, is spelled
            out under its name, as PaddleOCR does.
        empty: the score of a text without characters.
    """

    answers: Callable[[Any, int], Answers] = _best
    end: str | None = None
    skipped: tuple[str, ...] = ()
    empty: float = 0.0


# Steps after the end are read on: PaddleOCR skips the end before it would stop there.
_ATTENTION = ("sos", "eos")
_SAR = DecodingRule(end="<BOS/EOS>", skipped=("<PAD>",))

DECODING_RULES: Mapping[str, DecodingRule] = {
    "AttnLabelDecode": DecodingRule(skipped=_ATTENTION),
    "SPINLabelDecode": DecodingRule(skipped=_ATTENTION),
    "RFLLabelDecode": DecodingRule(_best_of_second, skipped=_ATTENTION),
    "SRNLabelDecode": DecodingRule(_best_of_rows, skipped=_ATTENTION),
    "SEEDLabelDecode": DecodingRule(_searched, end="eos"),
    "SARLabelDecode": _SAR,
    "SATRNLabelDecode": _SAR,
    "NRTRLabelDecode": DecodingRule(_searched_after_start, end="</s>"),
    "ViTSTRLabelDecode": DecodingRule(_best_after_start, end="</s>"),
    "ABINetLabelDecode": DecodingRule(end="</s>"),
    "CPPDLabelDecode": DecodingRule(end="</s>"),
    "ParseQLabelDecode": DecodingRule(end="[E]", skipped=("[B]", "[P]")),
    "PRENLabelDecode": DecodingRule(end="<EOS>", skipped=("<PAD>", "<UNK>"), empty=1.0),
}


def decode_autoregressive(
    decoder: str,
    results: Any,
    size: int,
    characters: Sequence[str],
    *,
    rm_symbol: bool = False,
) -> list[RecognizedText]:
    """Read the lines of a batch that a network spelled out.

    Args:
        decoder: one of DECODING_RULES.
        results: what the network returned for the batch: an array, or a dict of arrays.
        size: how many lines the batch has.
        characters: what the classes stand for that are not special.
        rm_symbol: whether letters are made small, and what is neither a letter, a digit nor a
            Chinese character is left out; the score stays that of the whole text.
    """
    rule = DECODING_RULES[decoder]
    layout = CLASSES[decoder]
    names = layout.names(characters)
    skipped = [layout.place(name, characters) for name in rule.skipped]
    readings = []
    for classes, scores in zip(*rule.answers(results, size), strict=True):
        if rule.end is not None:
            ends = np.flatnonzero(classes == layout.place(rule.end, characters))
            classes = classes[: ends[0]] if len(ends) else classes
        # NRTR has a class more than PaddleOCR has characters for.
        places = np.flatnonzero(~np.isin(classes, skipped) & (classes < len(names)))
        found = [Character(names[classes[k]], float(scores[k]), int(k)) for k in places]
        score = float(scores[places].mean()) if found else rule.empty
        if rm_symbol:
            found = [_without_symbols(character) for character in found]
        text = "".join(character.text for character in found)
        readings.append(RecognizedText(text, score, tuple(c for c in found if c.text), 0.0))
    return readings


def _without_symbols(character: Character) -> Character:
    return Character(SYMBOLS.sub("", character.text.lower()), character.score, character.column)


def visionlan_decode(scores: np.ndarray, characters: Sequence[str]) -> RecognizedText:
    """Read one line of VisionLAN: all steps to the first of class 0, the end, count for the score.

    Args:
        scores: `(T, 1 + number of characters)`, before a softmax; the last step is not looked at.
        characters: what the classes after the end stand for.
    """
    scores = scores[:-1]
    scores = np.exp(scores - scores.max(1, keepdims=True))
    classes, probabilities = scores.argmax(1), scores.max(1) / scores.sum(1)
    ends = np.flatnonzero(classes == 0)
    steps = ends[0] + 1 if len(ends) else len(classes)
    found = tuple(
        Character(characters[classes[k] - 1], float(probabilities[k]), k)
        for k in range(steps)
        if classes[k]
    )
    mean = np.exp(np.log(probabilities[:steps]).sum() / np.float32(steps + 1e-6))
    return RecognizedText("".join(character.text for character in found), float(mean), found, 0.0)


def can_decode(scores: np.ndarray, symbols: Sequence[str]) -> str:
    """Return the LaTeX of one formula of CAN, its symbols parted by spaces.

    Args:
        scores: `(T, number of symbols)`; symbol 0 ends the formula.
        symbols: in the order of the classes.
    """
    classes = scores.argmax(1)
    # Where no end comes, PaddleOCR takes the least class for it.
    return " ".join(symbols[k] for k in classes[: classes.argmin()])
