"""An OCR engine for OCRmyPDF (`pip install paddleocr-to-torch[ocrmypdf]`).

    ocrmypdf --paddleocr-torch-det ch_PP-OCRv4_det.pth --paddleocr-torch-rec ch_PP-OCRv4_rec.pth \\
        scan.pdf searchable.pdf

OCRmyPDF finds this module by its entry point. The engine is used where its weights are given, else
OCRmyPDF works as without it. PyTorch is imported by the processes that read pages alone.
"""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Iterable, Set
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pipelines
from cores.threads import available_cores
from pipelines.plugins.languages import known_languages, spelling
from schemas.artefact import CardError, read_card

try:
    from ocrmypdf import hookimpl
    from ocrmypdf.exceptions import BadArgsError, InputFileError, MissingDependencyError
    from ocrmypdf.hocrtransform import OcrElement
    from ocrmypdf.pluginspec import OcrEngine, OrientationConfidence
    from pydantic import BaseModel, ConfigDict, Field, ValidationError
except ImportError as error:
    raise ImportError(
        f"this engine needs OCRmyPDF 17 or newer ({error}); "
        "pip install paddleocr-to-torch[ocrmypdf]"
    ) from error

if TYPE_CHECKING:
    import numpy as np

    from pipelines.ocr import OCR

logger = logging.getLogger(__name__)

NAME = "paddleocr_torch"
TESSERACT = "ocrmypdf.builtin_plugins.tesseract_ocr"
CONFIDENT, CERTAIN = 15.0, 0.925
"""OCRmyPDF's confidence of an orientation whose probability is that of a certain one.

The classifier's training smoothed its labels by 0.1 over four classes: 0.9 + 0.1 / 4 is certain.
"""
SANDWICH = "--pdf-renderer sandwich needs an OCR engine that writes PDFs; leave it out"


class Options(BaseModel):
    """The options of the engine: `--paddleocr-torch-det` is `paddleocr_torch_det` in Python."""

    model_config = ConfigDict(extra="forbid")

    det: Annotated[Path | None, Field(description="detector of text lines")] = None
    rec: Annotated[Path | None, Field(description="recogniser of text lines")] = None
    cls: Annotated[Path | None, Field(description="classifier of upside-down lines")] = None
    doc: Annotated[
        Path | None, Field(description="classifier of page orientation, for --rotate-pages")
    ] = None
    device: Annotated[str, Field(description="cpu (default), cuda, cuda:N or mps")] = "cpu"
    threads: Annotated[
        int | None, Field(description="threads of a page (default: the cores / the pages)", ge=1)
    ] = None
    min_score: Annotated[
        float, Field(description="leave out lines with a lower score (default: 0.5)", ge=0, le=1)
    ] = 0.5
    limit_side_len: Annotated[
        int | None,
        Field(description="side in pixels to which the detector shrinks a page", ge=32, le=32768),
    ] = None

    def weights(self) -> dict[str, Path]:
        """Return the weights that are given, by the name of their option."""
        paths = {"det": self.det, "rec": self.rec, "cls": self.cls, "doc": self.doc}
        return {name: path for name, path in paths.items() if path is not None}


def option(name: str) -> str:
    """Return the option of the command line for a field of `Options`."""
    return f"--{NAME}-{name}".replace("_", "-")


@hookimpl
def initialize(plugin_manager: Any) -> None:
    """Remove OCRmyPDF's own engine where its program is missing, since it refuses every run."""
    if shutil.which("tesseract") is None:
        plugin_manager.set_blocked(TESSERACT)


@hookimpl
def register_options() -> dict[str, type[BaseModel]]:
    """Name the options; OCRmyPDF reads those of Tesseract even without it."""
    models: dict[str, type[BaseModel]] = {NAME: Options}
    if shutil.which("tesseract") is None:
        from ocrmypdf.builtin_plugins.tesseract_ocr import TesseractOptions

        models["tesseract"] = TesseractOptions
    return models


@hookimpl
def add_options(parser: ArgumentParser) -> None:
    """Add the options to the command line."""
    group = parser.add_argument_group(
        "PaddleOCR in PyTorch", "Reads with converted weights in place of Tesseract."
    )
    for name, field in Options.model_fields.items():
        kind = {"threads": int, "limit_side_len": int, "min_score": float, "device": str}
        group.add_argument(
            option(name),
            type=kind.get(name, Path),
            metavar="X.pth" if name not in kind else "N" if kind[name] is not str else "NAME",
            help=field.description,
        )


def options_of(options: Any) -> Options:
    """Return the options of this engine among all.

    Raises:
        BadArgsError: one has another type or is out of range.
    """
    try:
        found: Options = options.paddleocr_torch
    except ValidationError as error:
        faults = [
            f"{option('.'.join(map(str, fault['loc'])))} is {fault['input']!r}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise BadArgsError("; ".join(faults)) from error
    return found


def is_chosen(options: Any) -> bool:
    """Return whether this engine reads the pages: its weights are given, and no other is chosen."""
    return options.ocr_engine in ("auto", NAME) and bool(options_of(options).weights())


@hookimpl
def check_options(options: Any) -> None:
    """Check the options of the engine, the files of weights, and the languages."""
    ours = options_of(options)
    given = ours.weights()
    if not given:
        if options.ocr_engine not in ("auto", NAME):
            return
        if options.ocr_engine == NAME or ours != Options():
            raise BadArgsError(
                f"no weights are given to read pages with; name them by {option('det')} and "
                f"{option('rec')}"
            )
        if shutil.which("tesseract") is None:
            raise MissingDependencyError(
                "there is no OCR engine: install Tesseract (tesseract-ocr), or give converted "
                f"weights by {option('det')} and {option('rec')}"
            )
        return
    if options.ocr_engine not in ("auto", NAME):
        raise BadArgsError(
            f"--ocr-engine {options.ocr_engine} does not take {option(next(iter(given)))}; leave "
            "out one of the two"
        )
    if missing := [option(name) for name in ("det", "rec") if name not in given]:
        raise BadArgsError(f"give {' and '.join(missing)} too: a page needs both networks")
    if options.pdf_renderer == "sandwich":
        raise BadArgsError(SANDWICH)
    for name, path in given.items():
        if not path.is_file():
            raise BadArgsError(f"{option(name)}: there is no file {path}")
    check_languages(options.languages, ours)
    if options.rotate_pages and ours.doc is None:
        logger.warning(
            "--rotate-pages has no effect: how pages are oriented is unknown without %s",
            option("doc"),
        )
    if ours.threads is not None and "torch" in sys.modules:
        logger.warning(
            "%s has no effect: PyTorch is imported already, with its own number of threads",
            option("threads"),
        )


def check_languages(languages: Iterable[str], options: Options) -> None:
    """Check that the recogniser's dictionary can spell languages; warn of letters it lacks.

    Raises:
        BadArgsError: it cannot spell one, or there is no dictionary.
    """
    characters = dictionary(options)
    for language in languages:
        found = spelling(language, characters)
        if not found.possible:
            raise BadArgsError(
                f"{options.rec} cannot spell the language {language}: its dictionary has no "
                f"{found.missing}; name another language by -l (it spells "
                f"{', '.join(known_languages(characters))}), or any by -l und"
            )
        if found.missing:
            logger.warning(
                "the dictionary of %s has no %s, which %s has", options.rec, found.missing, language
            )


def dictionary(options: Options) -> tuple[str, ...]:
    """Return the characters that the recogniser reads, from the JSON beside its weights.

    Raises:
        BadArgsError: there are none.
    """
    assert options.rec is not None
    try:
        card = read_card(options.rec.with_suffix(".json"))
    except CardError as error:
        raise BadArgsError(f"{option('rec')}: {error}") from error
    if card.dictionary is None or not card.dictionary.characters:
        raise BadArgsError(
            f"{option('rec')}: {options.rec} has no dictionary; `python -m converter add-dict` "
            "adds one"
        )
    return card.dictionary.characters


@hookimpl
def validate(pdfinfo: Any, options: Any) -> None:
    """Share the cores among the pages that are read at the same time."""
    if is_chosen(options):
        ours = options_of(options)
        if ours.threads is None:
            ours.threads = max((options.jobs or available_cores()) // max(len(pdfinfo), 1), 1)


@hookimpl
def get_ocr_engine(options: Any) -> OcrEngine | None:
    """Return the engine where it is chosen."""
    return Engine() if options is not None and is_chosen(options) else None


_loading = threading.Lock()


def load(options: Options) -> OCR:
    """Return the networks, which a process loads once.

    Raises:
        BadArgsError: weights are damaged or of another kind, or the device is not available.
    """
    with _loading:
        return _load(**dict(options))


@cache
def _load(
    *,
    det: Path,
    rec: Path,
    cls: Path | None,
    doc: Path | None,
    device: str,
    threads: int | None,
    min_score: float,
    limit_side_len: int | None,
) -> OCR:
    if "torch" not in sys.modules:
        pipelines.configure_threads(threads)
    try:
        ocr = pipelines.OCR(
            det,
            rec,
            cls,
            doc,
            min_score=min_score,
            device=device,
            det_settings={"limit_side_len": limit_side_len},
        )
    except ValueError as error:
        raise BadArgsError(str(error)) from error
    ocr.word_boxes = "spaces" if ocr.recognizer.locates_characters else False
    return ocr


class Engine(OcrEngine):
    """Reads pages with converted weights."""

    @staticmethod
    def version() -> str:
        """Return the version of this package."""
        return version("paddleocr-to-torch")

    @staticmethod
    def creator_tag(options: Any) -> str:
        """Return what the PDF names as its creator: the version and the recogniser."""
        rec = options_of(options).rec
        assert rec is not None
        return f"paddleocr-to-torch {Engine.version()} with {rec.stem}"

    def __str__(self) -> str:
        return f"paddleocr-to-torch {self.version()}"

    @staticmethod
    def languages(options: Any) -> Set[str]:
        """Return the languages that the dictionary can spell, and the unknown ones asked for."""
        characters = dictionary(options_of(options))
        asked = {name for name in options.languages if spelling(name, characters).possible}
        return asked | known_languages(characters).keys()

    @staticmethod
    def get_orientation(input_file: Path, options: Any) -> OrientationConfidence:
        """Return by how many degrees a page is turned; without a classifier it is unknown."""
        classifier = load(options_of(options)).page_classifier
        if classifier is None:
            return OrientationConfidence(angle=0, confidence=0.0)
        (found,) = classifier.orientations([read(input_file)])
        return OrientationConfidence(found.angle, CONFIDENT * min(found.score / CERTAIN, 1))

    @staticmethod
    def get_deskew(input_file: Path, options: Any) -> float:
        """Return the degrees counter-clockwise that make the lines of a page horizontal."""
        from pipelines.geometry import skew

        detector = load(options_of(options)).detector
        return skew(detector(read(input_file)))

    @staticmethod
    def supports_generate_ocr() -> bool:
        """Return that OCRmyPDF is given elements, without files between."""
        return True

    @staticmethod
    def generate_ocr(
        input_file: Path, options: Any, page_number: int = 0
    ) -> tuple[OcrElement, str]:
        """Read a page."""
        from PIL import Image

        from pipelines.plugins.ocr_elements import page_element

        ocr = load(options_of(options))
        lines = ocr(read(input_file))
        with Image.open(input_file) as image:
            (width, height), dpi = image.size, float(image.info.get("dpi", (72, 72))[0])
        page = page_element(
            lines,
            width,
            height,
            dpi=dpi,
            number=page_number,
            right_to_left=ocr.recognizer.settings.right_to_left,
        )
        return page, "\n".join(line.text for line in lines)

    @staticmethod
    def generate_hocr(input_file: Path, output_hocr: Path, output_text: Path, options: Any) -> None:
        """Read a page into a file of hOCR and one of text."""
        from pipelines.plugins.ocr_elements import hocr

        page, text = Engine.generate_ocr(input_file, options)
        output_hocr.write_bytes(hocr(page, str(Engine())))
        output_text.write_text(text, encoding="utf-8")

    @staticmethod
    def generate_pdf(input_file: Path, output_pdf: Path, output_text: Path, options: Any) -> None:
        """Raise an error: the text layer is OCRmyPDF's own."""
        raise BadArgsError(SANDWICH)


def read(file: Path) -> np.ndarray:
    """Return the image of a page, `(H, W, 3) uint8` BGR.

    Raises:
        InputFileError: it cannot be read.
    """
    try:
        return pipelines.read_image(file)
    except pipelines.ImageError as error:
        raise InputFileError(str(error)) from error
