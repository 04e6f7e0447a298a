"""MathML to OMML, the formulas of Word (ISO/IEC 29500-1, 22.1).

The elements of `mathml.py` are mapped one by one; what OMML has no element for becomes a row of its
children, so that no symbol is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

if TYPE_CHECKING:
    from lxml.etree import _Element

MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math"
SUMS = frozenset("∑∏∐∫∬∭∮∯∰⋀⋁⋂⋃⨀⨁⨂⨄⨆")
"""The operators that stand before what they apply to, with limits."""
BARS = {"‾": "top", "¯": "top", "_": "bot", "―": "top"}
BRACES = {"⏞": "top", "⏟": "bot"}


def to_omml(formula: Element) -> _Element:
    """Return the element `m:oMath` of a formula in MathML.

    Args:
        formula: the element `math`.
    """
    root = _element("oMath")
    _append_row(root, list(formula))
    return root


def _element(name: str, *children: _Element, **attributes: str) -> _Element:
    from lxml import etree

    made = etree.Element(f"{{{MATH}}}{name}", nsmap={"m": MATH})
    for key, value in attributes.items():
        made.set(f"{{{MATH}}}{key}", value)
    made.extend(children)
    return made


def _append_row(parent: _Element, row: Sequence[Element]) -> None:
    """Append the elements of a row; a sum takes the element after it as its operand."""
    index = 0
    while index < len(row):
        element = row[index]
        index += 1
        if (sum_ := _sum(element)) is not None:
            operand = _element("e")
            if index < len(row):
                _append(operand, row[index])
                index += 1
            sum_.append(operand)
            parent.append(sum_)
        else:
            _append(parent, element)


def _append(parent: _Element, element: Element) -> None:
    """Append an element, or the elements of a row."""
    make = _MAKERS.get(element.tag)
    if make is not None:
        parent.append(make(element))
    elif _is_delimited(element):
        parent.append(_delimited(element))
    elif len(element):
        _append_row(parent, list(element))
    elif element.text:
        parent.append(_run(element))


def _is_delimited(element: Element) -> bool:
    """Return whether a row stands between two brackets that grow with it."""
    forms = [child.get("form") if child.get("fence") == "true" else None for child in element]
    return len(forms) > 1 and (forms[0], forms[-1]) == ("prefix", "postfix")


def _delimited(element: Element) -> _Element:
    first, *inner, last = element
    ends = {"begChr": first.text or "", "endChr": last.text or ""}
    content = _element("e")
    _append_row(content, inner)
    return _element("d", _element("dPr", *(_element(n, val=c) for n, c in ends.items())), content)


def _part(name: str, element: Element | None) -> _Element:
    """Return an argument, such as `m:e`, that holds an element."""
    part = _element(name)
    if element is not None:
        _append(part, element)
    return part


def _run(element: Element) -> _Element:
    """Return the run of a text: upright for names of functions and texts, else italic."""
    run, text = _element("r"), element.text or ""
    if element.tag == "mtext":
        run.append(_element("rPr", _element("nor")))
    elif element.tag == "mi" and (len(text) > 1 or element.get("mathvariant") == "normal"):
        run.append(_element("rPr", _element("sty", val="p")))
    content = _element("t")
    content.text = "".join(letter for letter in text if letter >= " ")
    content.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
    run.append(content)
    return run


def _children(element: Element, count: int) -> list[Element | None]:
    """Return the first children of an element, with None for those that are missing."""
    children: list[Element | None] = [*element][:count]
    return [*children, *[None] * (count - len(children))]


def _sum(element: Element) -> _Element | None:
    """Return the start of `m:nary` for a sum with its limits, or None for another element."""
    if element.tag not in _LIMITS or not len(element):
        return None
    operator = element[0].text or ""
    if element[0].tag != "mo" or operator not in SUMS:
        return None
    limits = dict(zip(_LIMITS[element.tag], list(element)[1:], strict=False))
    place = "subSup" if element.tag.startswith("ms") else "undOvr"
    hidden = [_element(f"{name}Hide", val="1") for name in ("sub", "sup") if name not in limits]
    properties = _element(
        "naryPr", _element("chr", val=operator), _element("limLoc", val=place), *hidden
    )
    parts = [_part(name, limits.get(name)) for name in ("sub", "sup")]
    return _element("nary", properties, *parts)


_LIMITS: Mapping[str, Sequence[str]] = {
    "munderover": ("sub", "sup"),
    "msubsup": ("sub", "sup"),
    "munder": ("sub",),
    "msub": ("sub",),
    "mover": ("sup",),
    "msup": ("sup",),
}


def _fraction(element: Element) -> _Element:
    above, below = _children(element, 2)
    made = _element("f")
    if element.get("linethickness") in ("0", "0px", "0pt", "0em"):
        made.append(_element("fPr", _element("type", val="noBar")))
    made.extend([_part("num", above), _part("den", below)])
    return made


def _root(element: Element) -> _Element:
    if element.tag == "msqrt":
        hidden = _element("radPr", _element("degHide", val="1"))
        radicand = _element("e")
        _append_row(radicand, list(element))
        return _element("rad", hidden, _element("deg"), radicand)
    radicand_, degree = _children(element, 2)
    return _element("rad", _part("deg", degree), _part("e", radicand_))


def _scripts(name: str, *parts: str) -> Callable[[Element], _Element]:
    """Return the maker of an element with a base and sub- or superscripts."""

    def make(element: Element) -> _Element:
        children = _children(element, 1 + len(parts))
        arguments = zip(("e", *parts), children, strict=True)
        return _element(name, *(_part(part, child) for part, child in arguments))

    return make


def _over_or_under(element: Element) -> _Element:
    """Return an accent, a bar, a brace or a limit above or below a base."""
    base, mark = _children(element, 2)
    symbol = (mark.text or "") if mark is not None and not len(mark) else ""
    if symbol in BARS:
        properties = [_element("pos", val=BARS[symbol])]
        return _element("bar", _element("barPr", *properties), _part("e", base))
    if symbol in BRACES:
        properties = [_element("chr", val=symbol), _element("pos", val=BRACES[symbol])]
        return _element("groupChr", _element("groupChrPr", *properties), _part("e", base))
    if element.tag == "mover" and element.get("accent") == "true" and len(symbol) == 1:
        combining = _ACCENTS.get(symbol, symbol)
        return _element("acc", _element("accPr", _element("chr", val=combining)), _part("e", base))
    name = "limUpp" if element.tag == "mover" else "limLow"
    return _element(name, _part("e", base), _part("lim", mark))


_ACCENTS = {"^": "\u0302", "~": "\u0303", "→": "\u20d7", "˙": "\u0307", "¨": "\u0308"} | {
    "ˇ": "\u030c", "`": "\u0300", "´": "\u0301", "˘": "\u0306", "˜": "\u0303", ".": "\u0307",
}  # fmt: skip


def _under_and_over(element: Element) -> _Element:
    base, below, above = _children(element, 3)
    inner = _element("limLow", _part("e", base), _part("lim", below))
    return _element("limUpp", _element("e", inner), _part("lim", above))


def _table(element: Element) -> _Element:
    rows = [list(row) for row in element if row.tag == "mtr"]
    columns = max((len(row) for row in rows), default=0)
    count = _element("count", val=str(max(columns, 1)))
    justified = _element("mcJc", val="center")
    column = _element("mc", _element("mcPr", count, justified))
    made = _element("m", _element("mPr", _element("mcs", column)))
    for row in rows:
        cells = [*row, *[None] * (columns - len(row))]
        made.append(_element("mr", *(_part("e", cell) for cell in cells)))
    return made


def _fenced(element: Element) -> _Element:
    begin = _element("begChr", val=element.get("open", "("))
    end = _element("endChr", val=element.get("close", ")"))
    inner = _element("e")
    _append_row(inner, list(element))
    return _element("d", _element("dPr", begin, end), inner)


def _boxed(element: Element) -> _Element:
    inner = _element("e")
    _append_row(inner, list(element))
    return _element("borderBox", inner)


_MAKERS: Mapping[str, Any] = {
    "mi": _run,
    "mn": _run,
    "mo": _run,
    "mtext": _run,
    "mfrac": _fraction,
    "msqrt": _root,
    "mroot": _root,
    "msub": _scripts("sSub", "sub"),
    "msup": _scripts("sSup", "sup"),
    "msubsup": _scripts("sSubSup", "sub", "sup"),
    "mover": _over_or_under,
    "munder": _over_or_under,
    "munderover": _under_and_over,
    "mtable": _table,
    "mfenced": _fenced,
    "menclose": _boxed,
}
