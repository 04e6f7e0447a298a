"""The values of PaddleOCR's own losses on seeded inputs, as in `tests/data/paddle_losses.json`.

    python tests/support/paddle_losses.py CHECKOUT > tests/data/paddle_losses.json

computes them anew, with Paddle and the losses of a checkout of PaddleOCR.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

FILE = Path(__file__).parents[1] / "data" / "paddle_losses.json"

CTC = {"plain": {}, "focal": {"use_focal_loss": True}}
DB = {
    "dice": {},
    "dice_focal": {"main_loss_type": "DiceFocalLoss"},
    "weights": {"alpha": 2.0, "beta": 3.0},
}


def lines() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits (N, T, C) of four lines, their labels (N, L), and lengths; the last does not fit."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (4, 9, 6)).astype(np.float32)
    labels = random.integers(1, 6, (4, 8)).astype(np.int64)
    labels[2, :4] = 2  # repeated: blanks must come between
    labels[3] = 3  # eight times the same needs fifteen columns
    return logits, labels, np.array([5, 1, 4, 8], np.int64)


def maps(texts: bool = True) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Maps of a detector (N, 3, H, W), and the maps that they should be, (N, H, W).

    Those are the thresholds, where they count, the texts, and where these count.
    """
    random = np.random.default_rng(1)
    predicted = random.uniform(0.01, 0.99, (2, 3, 12, 16)).astype(np.float32)
    chosen = random.uniform(0, 1, (4, 2, 12, 16)).astype(np.float32)
    thresh, thresh_mask, text, text_mask = chosen
    text = (text > 0.8) & texts
    masks = (thresh_mask > 0.5), text, (text_mask > 0.1)
    return predicted, (thresh, *(mask.astype(np.float32) for mask in masks))


def main() -> None:
    """Print the values as JSON."""
    import paddle

    root = Path(sys.argv[1]) / "ppocr"
    for name, folder in (("ppocr", root), ("ppocr.losses", root / "losses")):
        sys.modules[name] = package = ModuleType(name)  # without what the packages import
        package.__path__ = [str(folder)]
    ctc = import_module("ppocr.losses.rec_ctc_loss").CTCLoss
    db = import_module("ppocr.losses.det_db_loss").DBLoss
    basic = import_module("ppocr.losses.det_basic_loss")
    logits, labels, lengths = map(paddle.to_tensor, lines())
    values = {"ctc": {}, "db": {}}
    for name, options in CTC.items():
        logits.stop_gradient = False
        loss = ctc(**options)(logits, [None, labels, lengths])["loss"]
        loss.backward()
        values["ctc"][name] = [loss.item(), logits.grad.abs().sum().item()]
        logits.clear_gradient()
    for texts in (True, False):
        predicted, targets = maps(texts)
        predicted, *targets = map(paddle.to_tensor, (predicted, *targets))
        for name, options in DB.items():
            loss = db(**options)({"maps": predicted}, [None, *targets])["loss"]
            values["db"][name if texts else f"{name}, no text"] = loss.item()
        bce = basic.BalanceLoss(main_loss_type="BCELoss")(predicted[:, 0], *targets[2:])
        values["db"]["bce" if texts else "bce, no text"] = bce.item()
    print(json.dumps(values, indent=1))


if __name__ == "__main__":
    main()
