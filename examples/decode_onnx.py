"""Read lines with a network that `python -m converter export X.pth --to onnx` wrote as two files.

    python examples/decode_onnx.py exported/X line.png

Prints the tokens of the text, the start token first. Needs onnxruntime and OpenCV alone.
"""

from __future__ import annotations

import argparse
import json

import cv2
import numpy as np
import onnxruntime


def decode(stem: str, images: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return tokens (N, T) int64, and the scores and boxes of each step; images (N, C, H, W)."""
    encoder, step = (onnxruntime.InferenceSession(f"{stem}.{n}.onnx") for n in ("encoder", "step"))
    plan = json.loads(step.get_modelmeta().custom_metadata_map["decoding"])
    names = [[each.name for each in session.get_outputs()] for session in (encoder, step)]
    given = dict(zip(names[0], encoder.run(None, {"x": images}), strict=True))
    given["tokens"] = np.full((len(images), plan["tokens_of_a_step"]), plan["start"])
    rows = []
    for _ in range(plan["steps"]):
        inputs = {each.name: given[each.name] for each in step.get_inputs()}
        rows.append(dict(zip(names[1], step.run(None, inputs), strict=True)))
        for name in names[1]:  # what this step hands on to the next
            if name.startswith("next_"):
                given[name.removeprefix("next_")] = rows[-1].pop(name)
        written = rows[-1]["scores"].argmax(2)
        given["tokens"] = np.concatenate([given["tokens"], written], 1)
        if (given["tokens"][:, plan["tokens_of_a_step"] :] == plan["end"]).any(1).all():
            break
    return given["tokens"], {
        name: rows[-1][name]
        if name in plan["whole"]
        else np.concatenate([row[name] for row in rows], 1)
        for name in rows[0]
    }


def main() -> None:
    """Read one image, scaled to the size that the network states."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stem", metavar="X", help="the files without .encoder.onnx and .step.onnx")
    parser.add_argument("image")
    options = parser.parse_args()

    session = onnxruntime.InferenceSession(f"{options.stem}.encoder.onnx")
    (_, channels, height, width) = session.get_inputs()[0].shape
    scale = json.loads(session.get_modelmeta().custom_metadata_map["card"])["input"]
    image = cv2.imread(options.image, cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR)
    if image is None:
        parser.error(f"{options.image} is no image that OpenCV reads")
    height, width = (scale.get(key) or side for key, side in (("height", height), ("width", width)))
    if not isinstance(width, int):  # free: as wide as the image at this height
        unit = scale.get("multiple_of") or 8
        width = max(unit, round(image.shape[1] * height / image.shape[0] / unit) * unit)
    size = (width, height)
    pixels = cv2.resize(image, size).reshape(size[1], size[0], channels) / 255
    mean, std = (np.array(scale.get(key) or [0.5] * channels) for key in ("mean", "std"))
    batch = ((pixels - mean) / std).transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    print(json.dumps(decode(options.stem, batch)[0][0].tolist()))


if __name__ == "__main__":
    main()
