"""OCR with converted weights: text detection, cropping and recognition.

    from pipelines import OCR

    ocr = OCR(det="ch_PP-OCRv4_det.pth", rec="ch_PP-OCRv4_rec.pth")
    for line in ocr("page.png"):
        print(line.text, line.score)

Pre- and post-processing give the results of PaddleOCR's `tools/infer`, so that differences between
two results come from the networks. The package logs to the logger `pipelines`.

PyTorch is imported with the first name that needs it, so that `configure_threads` can come before:

    import pipelines

    pipelines.configure_threads()
    ocr = pipelines.OCR(det="ch_PP-OCRv4_det.pth", rec="ch_PP-OCRv4_rec.pth")
"""

from importlib import import_module
from typing import TYPE_CHECKING

from cores.threads import configure_threads

if TYPE_CHECKING:
    from pipelines.documents.document import parse
    from pipelines.documents.types import Block, Document, Figure, Formula, Page, Text
    from pipelines.formula.predictor import FormulaReader
    from pipelines.io.images import ImageError, read_image
    from pipelines.kie.field_classifier import FieldClassifier
    from pipelines.kie.predictor import Entity, KeyInformation
    from pipelines.layout.predictor import LayoutDetector, LayoutRegion
    from pipelines.ocr import OCR, TextLine
    from pipelines.recognition.predictor import Recognizer
    from pipelines.recognition.words import Word
    from pipelines.runtime import Network
    from pipelines.spotting.predictor import Spotter
    from pipelines.super_resolution.predictor import Upscaler
    from pipelines.table.predictor import TableRecognizer
    from pipelines.table.results import Table, TableCell
    from pipelines.unwarping.predictor import Unwarper

__all__ = [
    "OCR",
    "Block",
    "Document",
    "Entity",
    "FieldClassifier",
    "Figure",
    "Formula",
    "FormulaReader",
    "ImageError",
    "KeyInformation",
    "LayoutDetector",
    "LayoutRegion",
    "Network",
    "Page",
    "Recognizer",
    "Spotter",
    "Table",
    "TableCell",
    "TableRecognizer",
    "Text",
    "TextLine",
    "Unwarper",
    "Upscaler",
    "Word",
    "configure_threads",
    "parse",
    "read_image",
]

_MODULES = {
    "OCR": "pipelines.ocr",
    "Block": "pipelines.documents.types",
    "Document": "pipelines.documents.types",
    "Entity": "pipelines.kie.predictor",
    "FieldClassifier": "pipelines.kie.field_classifier",
    "Figure": "pipelines.documents.types",
    "Formula": "pipelines.documents.types",
    "FormulaReader": "pipelines.formula.predictor",
    "ImageError": "pipelines.io.images",
    "KeyInformation": "pipelines.kie.predictor",
    "LayoutDetector": "pipelines.layout.predictor",
    "LayoutRegion": "pipelines.layout.predictor",
    "Network": "pipelines.runtime",
    "Page": "pipelines.documents.types",
    "Recognizer": "pipelines.recognition.predictor",
    "Spotter": "pipelines.spotting.predictor",
    "Table": "pipelines.table.results",
    "TableCell": "pipelines.table.results",
    "TableRecognizer": "pipelines.table.predictor",
    "Text": "pipelines.documents.types",
    "TextLine": "pipelines.ocr",
    "Unwarper": "pipelines.unwarping.predictor",
    "Upscaler": "pipelines.super_resolution.predictor",
    "Word": "pipelines.recognition.words",
    "parse": "pipelines.documents.document",
    "read_image": "pipelines.io.images",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
