"""The formats of documents: their writers, and what they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from pipelines.documents.types import Document
from pipelines.documents.writers.data import to_json
from pipelines.documents.writers.markdown import to_markdown
from pipelines.documents.writers.web_page import to_html
from pipelines.documents.writers.word import to_docx
from pipelines.documents.writers.workbook import to_xlsx


@dataclass(frozen=True)
class Format:
    """A format of documents.

    Attributes:
        write: returns the file of a document, from it, its title and the folder of the figures.
        extra: the extra of this package that it needs, and its modules.
        modules: that have to be installed.
    """

    write: Callable[[Document, str, str], bytes]
    extra: str = ""
    modules: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Return the modules that are not installed."""
        return [name for name in self.modules if not find_spec(name)]


_MATHS = ("latex2mathml",)
FORMATS: Mapping[str, Format] = {
    "md": Format(lambda document, _, images: to_markdown(document, images)),
    "html": Format(lambda document, title, _: to_html(document, title), "documents", _MATHS),
    "docx": Format(
        lambda document, _, __: to_docx(document), "documents", ("docx", "lxml", *_MATHS)
    ),
    "xlsx": Format(lambda document, _, __: to_xlsx(document), "excel", ("openpyxl",)),
    "json": Format(lambda document, _, __: to_json(document)),
}
"""Formats by the ending of their files."""
