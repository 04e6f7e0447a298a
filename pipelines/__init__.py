"""Reading the text of a page with the converted weights: find lines, cut them out, read them.

    from pipelines import OCR

    ocr = OCR(det="ch_PP-OCRv4_det.pth", rec="ch_PP-OCRv4_rec.pth")
    for line in ocr("page.png"):
        print(line.text, line.score)

Every step before and after the networks gives what PaddleOCR's `tools/infer` gives, so any
difference between two readings comes from the networks.
"""

from pipelines.formula.predictor import FormulaReader
from pipelines.io.images import ImageError, read_image
from pipelines.ocr import OCR, TextLine
from pipelines.recognition.predictor import Recognizer
from pipelines.recognition.words import Word
from pipelines.runtime import Network
from pipelines.spotting.predictor import Spotter
from pipelines.super_resolution.predictor import Upscaler

__all__ = [
    "OCR",
    "FormulaReader",
    "ImageError",
    "Network",
    "Recognizer",
    "Spotter",
    "TextLine",
    "Upscaler",
    "Word",
    "read_image",
]
