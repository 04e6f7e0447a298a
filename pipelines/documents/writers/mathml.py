"""LaTeX to MathML, by latex2mathml (`pip install paddleocr-to-torch[documents]`).

latex2mathml neither escapes texts nor refuses links with scripts, so its elements are rebuilt here
from those names and attributes of MathML Core that show a formula.
"""

from __future__ import annotations

import html
from importlib.util import find_spec
from xml.etree.ElementTree import Element, tostring

MAX_LENGTH = 10_000
"""Longer formulas are shown as LaTeX, in characters."""
MAX_DEPTH = 100
"""Formulas of deeper nesting are shown as LaTeX."""
NAMESPACE = "http://www.w3.org/1998/Math/MathML"
ELEMENTS = frozenset(
    {"math", "menclose", "mfenced", "mfrac", "mi", "mn", "mo", "mover", "mpadded", "mphantom"}
    | {"mroot", "mrow", "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup", "mtable", "mtd"}
    | {"mtext", "mtr", "munder", "munderover"}
)
ATTRIBUTES = frozenset(
    {"accent", "columnalign", "columnspacing", "display", "displaystyle", "fence", "form"}
    | {"linethickness", "lspace", "mathsize", "mathvariant", "maxsize", "minsize", "movablelimits"}
    | {"rspace", "scriptlevel", "separator", "stretchy", "symmetric", "width"}
)


def to_mathml(latex: str, *, display: bool) -> Element | None:
    """Return the MathML of a formula, or None where latex2mathml cannot read it.

    Args:
        latex: of the formula.
        display: whether it stands on a line of its own.
    """
    if len(latex) > MAX_LENGTH or find_spec("latex2mathml") is None:
        return None
    from latex2mathml import converter

    try:
        made = converter.convert_to_element(latex, display="block" if display else "inline")
        return _rebuilt(made)
    # Its exceptions have no base of their own, and some faults give others, such as KeyError.
    except Exception:
        return None


def mathml_text(element: Element) -> str:
    """Return an element as text, escaped."""
    return tostring(element, "unicode")


def _rebuilt(element: Element, depth: int = 0) -> Element:
    """Copy an element without what MathML Core does not need; texts hold entities, as HTML."""
    if depth > MAX_DEPTH:
        raise ValueError(f"the formula is nested more than {MAX_DEPTH} deep")
    name = element.tag if element.tag in ELEMENTS else "mrow"
    kept = {key: value for key, value in element.attrib.items() if key in ATTRIBUTES}
    copy = Element(name, kept)
    if not depth:
        copy.set("xmlns", NAMESPACE)
    if element.text:
        copy.text = html.unescape(element.text)
    for child in element:
        copy.append(_rebuilt(child, depth + 1))
    return copy
