"""Convert a PaddleOCR model to PyTorch, load it, and run it on an image of random values.

    python examples/convert_and_load.py ch_PP-OCRv4_det ch_PP-OCRv4_det_infer det.pth

The conversion compares the network with Paddle and writes nothing if the outputs differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch

import architectures


def main() -> int:
    """Convert, load and run one model; return the exit code of the conversion."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", help="a model of `python -m converter --list`")
    parser.add_argument("paddle", type=Path, help="its folder, .pdparams file or .tar")
    parser.add_argument("out", type=Path, help="the file to write, X.pth or X.safetensors")
    parser.add_argument("--reference", default="auto", help="as of `python -m converter`")
    options = parser.parse_args()

    command = [sys.executable, "-m", "converter", options.name]
    command += ["--paddle-dir", str(options.paddle), "--out", str(options.out)]
    code = subprocess.run([*command, "--reference", options.reference], check=False).returncode
    if code:
        return code

    network = architectures.load(options.out)  # an nn.Module in eval mode
    card = json.loads(options.out.with_suffix(".json").read_text(encoding="utf-8"))
    size = card["input"]
    height, width = size.get("height") or 320, size.get("width") or 320
    image = torch.rand(1, size["channels"], height, width)
    with torch.inference_mode():
        output = network(image)
    parameters = sum(tensor.numel() for tensor in network.parameters())
    print(f"{card['name']}: {card['status']}, {parameters:,} parameters")
    print(f"input {tuple(image.shape)}, output {tuple(output.shape)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
