"""Run in a child process: PaddleOCR's decoder of VisionLAN, which computes with Paddle's tensors.

    python visionlan_child.py CASES.npz DICT.txt MODULE.py

Prints, as JSON, the text and the score of each line of each case, `(T, N, classes)`.
"""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import paddle


def main() -> None:
    cases, table, file = sys.argv[1:]
    spec = spec_from_file_location("rec_postprocess", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    read = []
    for scores in np.load(cases).values():
        decode = module.VLLabelDecode(table, max_text_length=len(scores) - 1)
        tensor = paddle.to_tensor(scores)
        read.append([(text, float(score)) for text, score in decode((tensor, tensor))])
    print(json.dumps(read))


if __name__ == "__main__":
    main()
