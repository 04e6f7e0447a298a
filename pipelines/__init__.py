"""OCR with converted weights: text detection, cropping and recognition.

    from pipelines import OCR

    ocr = OCR(det="ch_PP-OCRv4_det.pth", rec="ch_PP-OCRv4_rec.pth")
    for line in ocr("page.png"):
        print(line.text, line.score)

Pre- and post-processing give the results of PaddleOCR's `tools/infer`, so that differences between
two results come from the networks. The package logs to the logger `pipelines`.
"""

from pipelines.formula.predictor import FormulaReader
from pipelines.io.images import ImageError, read_image
from pipelines.layout.predictor import LayoutDetector, LayoutRegion
from pipelines.ocr import OCR, TextLine
from pipelines.recognition.predictor import Recognizer
from pipelines.recognition.words import Word
from pipelines.runtime import Network
from pipelines.spotting.predictor import Spotter
from pipelines.super_resolution.predictor import Upscaler
from pipelines.table.predictor import Table, TableCell, TableRecognizer
from pipelines.unwarping.predictor import Unwarper

__all__ = [
    "OCR",
    "FormulaReader",
    "ImageError",
    "LayoutDetector",
    "LayoutRegion",
    "Network",
    "Recognizer",
    "Spotter",
    "Table",
    "TableCell",
    "TableRecognizer",
    "TextLine",
    "Unwarper",
    "Upscaler",
    "Word",
    "read_image",
]
