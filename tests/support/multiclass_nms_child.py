"""Run in a child process: Paddle's operator `multiclass_nms3` with the values of PaddleX's exports.

    python multiclass_nms_child.py FOLDER

Reads `N/boxes` and `N/scores` of `cases.npz`, and writes the rows of each case into `results.npz`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
from paddle import _C_ops

folder = Path(sys.argv[1])
cases = np.load(folder / "cases.npz")
results = {}
for name in {key.partition("/")[0] for key in cases}:
    boxes = paddle.to_tensor(cases[f"{name}/boxes"][None])
    scores = paddle.to_tensor(cases[f"{name}/scores"].T[None].copy())
    rows = _C_ops.multiclass_nms3(boxes, scores, None, 0.025, 1000, 100, 0.6, True, 1.0, -1)[0]
    results[name] = rows.numpy()
np.savez(folder / "results.npz", **results)
