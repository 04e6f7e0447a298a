"""Run in a child process: Paddle's operators `yolo_box` and `matrix_nms`, as in PP-YOLOv2.

    python yolo_child.py FOLDER

Reads `N/0` to `N/2`, maps, and `N/size`, height and width of the page, of `cases.npz`, and
`anchors` `(3, 6)`; writes the rows of each case into `results.npz`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
from paddle.vision.ops import matrix_nms, yolo_box

folder = Path(sys.argv[1])
cases = np.load(folder / "cases.npz")
anchors = cases["anchors"].tolist()
results = {}
for name in {key.partition("/")[0] for key in cases if "/" in key}:
    boxes, scores = [], []
    for level, of_map in enumerate(anchors):
        values = cases[f"{name}/{level}"]
        found = yolo_box(
            paddle.to_tensor(values),
            paddle.to_tensor(cases[f"{name}/size"][None].astype(np.int32)),
            of_map,
            values.shape[1] // 3 - 5,
            0.01,
            32 // 2**level,
            True,
            scale_x_y=1.05,
        )
        boxes.append(found[0])
        scores.append(found[1].transpose([0, 2, 1]))
    rows, *_ = matrix_nms(
        paddle.concat(boxes, 1),
        paddle.concat(scores, 2),
        0.01,
        0.01,
        -1,
        100,
        background_label=-1,
        normalized=False,
    )
    results[name] = rows.numpy()
np.savez(folder / "results.npz", **results)
