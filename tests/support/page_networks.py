"""Networks behind the real predictors that find what is on a page of coloured bars."""

from __future__ import annotations

import numpy as np

from tests.support.pages import NAMES, find_bars, name_colour


def with_card(network, **card):
    """A network with a card."""

    class Network:
        def __call__(self, *arguments, **extra):
            return network(*arguments, **extra)

    Network.card = card
    return Network()


READER = with_card(name_colour, task="rec", dictionary={"characters": NAMES})
DETECTOR = with_card(find_bars, task="det", architecture={"Head": {"name": "DBHead"}})


def layout(*found, labels=("text", "seal", "table", "formula")):
    """RT-DETR that finds these labels, each with left, top, right and bottom as shares."""

    def network(_):
        boxes, logits = [], []
        for label, (left, top, right, bottom) in found:
            boxes.append([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
            logits.append([4 if each == label else -9 for each in labels])
        return {"boxes": np.array([boxes], "f"), "logits": np.array([logits], "f")}

    return with_card(network, task="layout", labels=list(labels), input={"color": "RGB"})


WHOLE = (0.02, 0.02, 0.98, 0.98)
