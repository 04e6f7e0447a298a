"""Read the text of an image with converted weights and print one JSON object per line of text.

    python examples/read_page.py page.png --det ch_PP-OCRv4_det.pth --rec ch_PP-OCRv4_rec.pth

Boxes are corners in pixels, clockwise from the top left.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pipelines import OCR


def main() -> None:
    """Read one image and print its lines from top to bottom."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--det", type=Path, required=True, help="the text detector")
    parser.add_argument("--rec", type=Path, required=True, help="the text recogniser")
    parser.add_argument("--cls", type=Path, help="the classifier of upside-down lines")
    options = parser.parse_args()

    ocr = OCR(det=options.det, rec=options.rec, cls=options.cls)
    for line in ocr(options.image):
        corners = [[round(x), round(y)] for x, y in line.box.tolist()]
        entry = {"text": line.text, "score": round(float(line.score), 4), "box": corners}
        print(json.dumps(entry, ensure_ascii=False))


if __name__ == "__main__":
    main()
