"""PDF files for tests, written by hand, so that they can be wrong."""

from __future__ import annotations


def pdf(*objects: str, trailer: str = "") -> bytes:
    """Return a PDF of these objects; the first is the catalog."""
    data = b"%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    return data + (
        f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n"
        f"<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{len(data)}\n%%EOF\n"
    ).encode("latin-1")


CATALOG = "<< /Type /Catalog /Pages 2 0 R >>"


def pages(*boxes: tuple[float, float]) -> bytes:
    """Return a PDF of pages of these sizes in points, with a red square at the top left of each."""
    objects = [CATALOG, ""]
    for width, height in boxes:
        drawing = f"1 0 0 rg 0 {height - 10} 10 10 re f"
        number = len(objects) + 1
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] "
            f"/Contents {number + 1} 0 R >>",
            f"<< /Length {len(drawing)} >>\nstream\n{drawing}\nendstream",
        ]
    kids = " ".join(f"{3 + 2 * index} 0 R" for index in range(len(boxes)))
    objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(boxes)} >>"
    return pdf(*objects)


def locked() -> bytes:
    """Return a PDF that no password opens."""
    return pdf(
        CATALOG,
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>",
        f"<< /Filter /Standard /V 1 /R 2 /O <{'00' * 32}> /U <{'11' * 32}> /P -4 >>",
        trailer="/Encrypt 4 0 R /ID [<00> <00>]",
    )
