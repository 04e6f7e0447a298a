"""An OCR engine for Docling (`pip install paddleocr-to-torch[docling]`).

    docling --allow-external-plugins --ocr-engine paddleocr_torch \\
        --ocr-option det=ch_PP-OCRv4_det.pth --ocr-option rec=ch_PP-OCRv4_rec.pth scan.pdf

Docling finds this module by its entry point, and imports it with `allow_external_plugins` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pipelines.geometry import text_corners
from pipelines.ocr import OCR, TextLine
from pipelines.plugins.languages import known_languages, spelling

try:
    from docling.datamodel.accelerator_options import AcceleratorDevice, AcceleratorOptions
    from docling.datamodel.base_models import Page
    from docling.datamodel.document import ConversionResult
    from docling.datamodel.pipeline_options import OcrOptions
    from docling.exceptions import OcrLanguageNotSupportedError
    from docling.models.base_ocr_model import BaseOcrModel
    from docling.utils.accelerator_utils import decide_device
    from docling.utils.ocr_language import OcrLanguage, OcrLanguageSupport
    from docling.utils.profiling import TimeRecorder
    from docling_core.types.doc import BoundingBox, CoordOrigin
    from docling_core.types.doc.page import BoundingRectangle, TextCell, TextDirection
    from pydantic import ConfigDict, Field
except ImportError as error:
    raise ImportError(
        f"this engine needs Docling 2.143 or newer ({error}); "
        "pip install paddleocr-to-torch[docling]"
    ) from error
