"""Files to documents: page by page, then what holds over pages.

import pipelines

document = pipelines.parse("report.pdf", models="models")
for page, block in document.blocks():
    print(page.number, block.label, block.text)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.batching import BATCH_SIZE
from pipelines.documents.levels import assign_levels
from pipelines.documents.networks import load_networks
from pipelines.documents.page_tables import mark_tables
from pipelines.documents.paragraphs import mark_paragraphs
from pipelines.documents.parser import PageParser, ParsedPage
from pipelines.documents.roles import ROLES, find_models
from pipelines.documents.settings import PRESETS, TEXT_LAYER, ParseSettings
from pipelines.documents.text_layer import lines_of_layer, text_layer_of
from pipelines.documents.types import Document, Page
from pipelines.io.files import DPI, find_files, open_document
from pipelines.io.files import Document as OpenFile
from pipelines.io.images import PAGE_ERRORS, ImageError, reason_of
from pipelines.runtime import NetworkSource
from schemas.processing import SettingsError

logger = logging.getLogger(__name__)


def parse(
    paths: str | Path | Sequence[str | Path],
    models: str | Path | None = None,
    *,
    preset: str | ParseSettings = "default",
    text: str = "auto",
    dpi: float = DPI,
    device: str = "cpu",
    half: bool = False,
    compile: bool = False,
    batch_size: int = BATCH_SIZE,
    **networks: NetworkSource,
) -> Document:
    """Parse images and PDFs.

    Args:
        paths: a file, a folder or a pattern, or several.
        models: a folder of converted weights, of which the best for each role is taken.
        preset: the name of settings in `PRESETS`, or settings.
        text: "auto" takes sound text layers of PDFs, "layer" all, "ocr" none.
        dpi: resolution of PDF pages, in pixels per inch.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).
        batch_size: lines per call of a network.
        networks: networks by role, such as `layout="X.pth"`, in place of those in `models`.

    Returns:
        The pages of all files; those that could not be parsed have an `error`.

    Raises:
        SettingsError: a network is of another kind than its role; a preset, a role or `text` is
            unknown; there is neither a layout network nor one that reads text.
        ArtefactError: weights are missing or damaged.
        DeviceError: the device is not available.
    """
    if text not in TEXT_LAYER:
        raise SettingsError(f"text is {text}, expected {', '.join(TEXT_LAYER)}")
    settings = settings_of(preset)
    sources = choose_networks(models, networks, settings)
    runtime = {"device": device, "half": half, "compile": compile}
    parser = PageParser(
        load_networks(sources, settings, batch_size=batch_size, **runtime), settings
    )
    given = [paths] if isinstance(paths, (str, Path)) else paths
    files, failures = find_files(given)
    pages = [Page(str(each.source), 0, error=each.message) for each in failures]
    for file in files:
        try:
            with open_document(file, dpi) as document:
                found = [
                    each if isinstance(each, Page) else each.page
                    for each in parse_pages(parser, document, file.name, text=text)
                ]
        except ImageError as error:
            found = [Page(file.name, 0, error=str(error))]
        pages += finish(found, settings)
    return Document(tuple(pages))


def settings_of(preset: str | ParseSettings) -> ParseSettings:
    """Return the settings of a preset.

    Raises:
        SettingsError: there is no such preset.
    """
    if isinstance(preset, ParseSettings):
        return preset
    if preset not in PRESETS:
        raise SettingsError(f"there is no preset {preset}; there are {', '.join(PRESETS)}")
    return PRESETS[preset]


def choose_networks(
    models: str | Path | None, networks: Mapping[str, NetworkSource], settings: ParseSettings
) -> dict[str, NetworkSource]:
    """Return the network of each role that has one; log what is lost without the others.

    Raises:
        SettingsError: `models` cannot be read; there is neither a layout network nor a reader.
    """
    sources = find_networks(models, networks)
    for line in losses(sources, settings):
        logger.warning("%s", line)
    return sources


def find_networks(
    models: str | Path | None, networks: Mapping[str, NetworkSource]
) -> dict[str, NetworkSource]:
    """Return the network of each role that has one.

    Raises:
        SettingsError: `models` cannot be read; there is neither a layout network nor a reader.
    """
    sources: dict[str, NetworkSource] = {}
    if models is not None:
        try:
            sources |= find_models(Path(models))
        except OSError as error:
            raise SettingsError(f"{models} cannot be read: {error.strerror}") from error
    sources |= networks
    reads = {"detection", "recognition"} <= sources.keys()
    if not reads and "layout" not in sources:
        where = f" in {models}" if models is not None else ""
        raise SettingsError(
            f"there is neither a layout network nor a detector and a recogniser of text{where}; "
            "give a folder of converted weights with models=, or single networks such as layout="
        )
    return sources


def losses(sources: Mapping[str, NetworkSource], settings: ParseSettings) -> Iterator[str]:
    """Yield a line for each role without a network that the settings ask for."""
    off = {
        "orientation": not settings.preprocess,
        "unwarping": not settings.preprocess,
        "region": not settings.areas,
        "seal": not settings.seals,
    }
    by_rules = ("table_classifier", "wired_table", "wired_cells")
    off |= dict.fromkeys(by_rules, settings.table_rules == "paddleocr")
    for name, role in ROLES.items():
        if name not in sources and not off.get(name):
            yield f"without a {role.title}: {role.lost}"


def parse_pages(
    parser: PageParser,
    document: OpenFile,
    source: str,
    *,
    text: str = "auto",
    folder: Path | None = None,
) -> Iterator[ParsedPage | Page]:
    """Parse a file page by page, with one image in memory at a time.

    Args:
        parser: parses a page.
        document: the open file.
        source: its name.
        text: where the text of PDFs comes from, see `TEXT_LAYER`.
        folder: where figures are written; None to keep them in memory.

    Yields:
        Each page; those that could not be parsed without their image.
    """
    for number in range(1, document.count + 1):
        yield parse_page(parser, document, source, number, text=text, folder=folder)


def parse_page(
    parser: PageParser,
    document: OpenFile,
    source: str,
    number: int,
    *,
    text: str = "auto",
    folder: Path | None = None,
) -> ParsedPage | Page:
    """Parse a page of a file.

    Args:
        parser: parses it.
        document: the open file.
        source: its name.
        number: of the page, from 1.
        text: where the text of PDFs comes from, see `TEXT_LAYER`.
        folder: where figures are written; None to keep them in memory.

    Returns:
        The page; one that could not be parsed without its image.
    """
    try:
        return parse_readable_page(parser, document, source, number, text=text, folder=folder)
    except PAGE_ERRORS as error:
        return failed_page(source, number, error)


def parse_readable_page(
    parser: PageParser,
    document: OpenFile,
    source: str,
    number: int,
    *,
    text: str = "auto",
    folder: Path | None = None,
) -> ParsedPage:
    """Parse a page of a file; the arguments are those of `parse_page`.

    Raises:
        One of `PAGE_ERRORS`: the page could not be parsed.
    """
    layer = text_layer_of(document, number, text)
    image = document.read(number)
    lines = None if layer is None else lines_of_layer(layer, image.shape[:2])
    return parser(image, source, number, text_layer=lines, folder=folder)


def failed_page(source: str, number: int, error: Exception) -> Page:
    """Return a page that could not be parsed."""
    return Page(source, number, error=reason_of(error))


def finish(pages: Iterable[Page], settings: ParseSettings) -> list[Page]:
    """Add what holds over the pages of a file: levels, paragraphs and tables over breaks."""
    found = list(pages)
    if settings.levels == "document":
        found = assign_levels(found)
    return mark_tables(mark_paragraphs(found))
