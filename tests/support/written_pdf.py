"""PDFs with a text layer, as a word processor would write them, and PDFs of scans."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.pdf_files import CATALOG, pdf

FONT = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"


def written(pages: Sequence[Sequence[tuple[float, float, str]]], *, size: int = 12, extra: str = "",
            rotate: int = 0) -> bytes:  # fmt: skip
    """Return a PDF of pages of 300 x 400 points with lines of text.

    Args:
        pages: their lines, each x and y of its start in points from the bottom left, and its text.
        size: of the letters, in points.
        extra: more of what each page draws.
        rotate: by which viewers rotate the pages.
    """
    objects = [CATALOG, "", FONT]
    for lines in pages:
        shown = "".join(
            f"BT /F1 {size} Tf {x} {y} Td ({_escaped(text)}) Tj ET\n" for x, y, text in lines
        )
        drawing = extra + shown
        number = len(objects) + 1
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] /Rotate {rotate} "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {number + 1} 0 R >>",
            f"<< /Length {len(drawing)} >>\nstream\n{drawing}\nendstream",
        ]
    kids = " ".join(f"{4 + 2 * index} 0 R" for index in range(len(pages)))
    objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>"
    return pdf(*objects)


SCAN = "q 300 0 0 400 0 0 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \x80 EI Q\n"
"""A picture that covers the page."""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
