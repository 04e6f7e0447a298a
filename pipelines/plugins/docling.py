"""An OCR engine for Docling (`pip install paddleocr-to-torch[docling]`).

    docling --allow-external-plugins --ocr-engine paddleocr_torch \\
        --ocr-option det=ch_PP-OCRv4_det.pth --ocr-option rec=ch_PP-OCRv4_rec.pth scan.pdf

Docling finds this module by its entry point, and imports it with `allow_external_plugins` alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch

from pipelines.geometry import text_corners
from pipelines.ocr import OCR, TextLine
from pipelines.plugins.languages import known_languages, spelling
from pipelines.recognition.words import Word

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

logger = logging.getLogger(__name__)


class PaddleocrTorchOptions(OcrOptions):
    """The options of the engine; device and threads are those of Docling's accelerator options."""

    kind: ClassVar[Literal["paddleocr_torch"]] = "paddleocr_torch"
    model_config = ConfigDict(extra="forbid")

    lang: Annotated[
        list[str],
        Field(
            description="Languages of the pages, which the recogniser's dictionary has to spell."
        ),
    ] = []
    det: Annotated[Path, Field(description="Converted weights of the detector of text lines.")]
    rec: Annotated[Path, Field(description="Converted weights of the recogniser of text lines.")]
    cls: Annotated[
        Path | None, Field(description="Converted weights of the classifier of upside-down lines.")
    ] = None
    doc: Annotated[
        Path | None, Field(description="Converted weights of the classifier of page orientation.")
    ] = None
    min_score: Annotated[
        float, Field(description="Lines with a lower score are left out.", ge=0, le=1)
    ] = 0.5
    limit_side_len: Annotated[
        int | None,
        Field(
            description="The side in pixels to which the detector shrinks a page; by default that "
            "of its weights.",
            ge=32,
            le=32768,
        ),
    ] = None


class PaddleocrTorchModel(BaseOcrModel):
    """Reads the pages of Docling with converted weights.

    Args:
        enabled: whether pages are read; if not, no weights are loaded.
        artifacts_path: the folder of Docling's own networks, which this engine does not use.
        options: the weights and settings.
        accelerator_options: the device and the number of PyTorch's threads in this process.

    Raises:
        ArtefactError: weights are missing or damaged.
        SettingsError: weights are of another task, or the recogniser has no dictionary.
        OcrLanguageNotSupportedError: the dictionary cannot spell a language.
    """

    multiple_languages: ClassVar[bool] = True

    def __init__(
        self,
        *,
        enabled: bool,
        artifacts_path: Path | None,
        options: PaddleocrTorchOptions,
        accelerator_options: AcceleratorOptions,
    ) -> None:
        super().__init__(
            enabled=enabled,
            artifacts_path=artifacts_path,
            options=options,
            accelerator_options=accelerator_options,
        )
        if not enabled:
            return
        torch.set_num_threads(accelerator_options.num_threads)
        devices = [AcceleratorDevice.CPU, AcceleratorDevice.CUDA, AcceleratorDevice.MPS]
        self.ocr = OCR(
            options.det,
            options.rec,
            options.cls,
            options.doc,
            min_score=options.min_score,
            device=decide_device(accelerator_options.device, devices),
            det_settings={"limit_side_len": options.limit_side_len},
        )
        if self.ocr.recognizer.locates_characters:
            self.ocr.word_boxes = "spaces"
        self.resolve_ocr_languages()

    def supported_ocr_languages(self) -> OcrLanguageSupport:
        """Return the languages that the dictionary can spell."""
        known = known_languages(self.ocr.recognizer.settings.characters)
        return OcrLanguageSupport(bcp47=sorted(known.values()), native=sorted(known))

    def map_ocr_language(self, language: OcrLanguage) -> str:
        """Return the name of a language, if the dictionary can spell it.

        Raises:
            OcrLanguageNotSupportedError: the dictionary has too few of its letters.
        """
        name: str = language.short_tag()
        found = spelling(name, self.ocr.recognizer.settings.characters)
        if not found.possible:
            raise OcrLanguageNotSupportedError(
                self._engine_name,
                language.tag(),
                supported=self.supported_ocr_languages(),
                detail=f"The dictionary of {self.options.rec} has no {found.missing}.",
            )
        if found.missing:
            logger.warning(
                "the dictionary of %s has no %s, which %s has",
                self.options.rec,
                found.missing,
                name,
            )
        return name

    def __call__(self, conv_res: ConversionResult, page_batch: Iterable[Page]) -> Iterator[Page]:
        """Read pages: set their lines, and with a recogniser of CTC their words."""
        for page in page_batch:
            if self.enabled and page._backend is not None and page._backend.is_valid():
                with TimeRecorder(conv_res, "ocr"):
                    self._read(conv_res, page)
            yield page

    def _read(self, conv_res: ConversionResult, page: Page) -> None:
        """Read the parts of a page that Docling wants to be read."""
        lines: list[TextCell] = []
        words: dict[int, list[TextCell]] = {}
        for part in self.get_ocr_rects(page):
            if not part.area():
                continue
            image = page._backend.get_page_image(scale=self.options.scale, cropbox=part)
            for line in self.ocr(image):
                corners = text_corners(line.box)
                lines.append(self._cell(line, corners, part))
                # The corners of words are in the order of the line's box.
                shift = 1 if len(line.box) == 4 and not np.array_equal(corners, line.box) else 0
                words[id(lines[-1])] = [
                    self._cell(word, np.roll(word.box, -shift, axis=0), part) for word in line.words
                ]
        self.post_process_cells(lines, page, conv_res)
        parsed = page.parsed_page  # lines that overlap text of the PDF may be gone from it
        kept = [word for line in parsed.textline_cells for word in words.get(id(line), ())]
        parsed.word_cells = [*parsed.word_cells, *kept]
        for index, word in enumerate(parsed.word_cells):
            word.index = index
        parsed.has_words = bool(parsed.word_cells)

    def _cell(self, item: TextLine | Word, corners: np.ndarray, part: BoundingBox) -> TextCell:
        """Return a line or word of a part of a page, in points of the page.

        Args:
            item: the line or word.
            corners: its corners `(4, 2)` in pixels of the part, clockwise from the top left.
            part: the part of the page.
        """
        moved = corners / self.options.scale + np.array((part.l, part.t))
        top_left, top_right, bottom_right, bottom_left = moved.tolist()
        places = [bottom_left, bottom_right, top_right, top_left]
        rect = {
            f"r_{axis}{i}": place[k]
            for i, place in enumerate(places)
            for k, axis in enumerate("xy")
        }
        right_to_left = self.ocr.recognizer.settings.right_to_left
        return TextCell(
            index=0,
            text=item.text,
            orig=item.text,
            confidence=item.score,
            from_ocr=True,
            rect=BoundingRectangle(**rect, coord_origin=CoordOrigin.TOPLEFT),
            text_direction=TextDirection.RIGHT_TO_LEFT
            if right_to_left
            else TextDirection.LEFT_TO_RIGHT,
        )

    @classmethod
    def get_options_type(cls) -> type[OcrOptions]:
        """Return the class of the options, whose kind is the name of the engine."""
        return PaddleocrTorchOptions


def ocr_engines() -> dict[str, list[type[BaseOcrModel]]]:
    """Return what Docling registers."""
    return {"ocr_engines": [PaddleocrTorchModel]}
