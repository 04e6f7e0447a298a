"""A diagnosis as text: a table of the layers around the first that differs, and the cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from converter.diagnosis.examination import Examination
from converter.diagnosis.explain import Row

_BEFORE, _AFTER = 4, 6  # layers shown around the first that differs
_WIDTH = 52  # of a name


def lines(examination: Examination, *, everything: bool = False) -> Iterator[str]:
    """Yield the lines of the text; `>` marks the first layer that differs, `!` later ones.

    Args:
        examination: the result of examining a model.
        everything: whether to list all layers.
    """
    rows, first = examination.diagnosis.rows, examination.diagnosis.first
    report = examination.report
    size = f"an input of {report.worst.input_shape}" if report.comparisons else "no input"
    yield f"{examination.name} against its {report.reference} reference, {size}"
    start, end = 0, len(rows)
    if not everything:
        start = len(rows) if first is None else max(0, first - _BEFORE)
        end = len(rows) if first is None else min(len(rows), first + 1 + _AFTER)
    if first is None:
        yield _agreement(rows)
    elif start:
        yield f"{_agreement(rows[:start])}, then:"
    if start < end:
        yield from _table(rows[start:end], None if first is None else first - start)
    if rest := rows[end:]:
        differing = sum(bool(row.fault) for row in rest)
        yield f"{len(rest)} more layers, of which {differing} differ, being fed by these"
    if first is not None:
        yield f"\nfirst layer that differs: {examination.diagnosis.difference}"
        yield f"likely cause: {examination.diagnosis.cause}"
    elif not report.passed:
        worst = report.worst
        yield f"but the check fails at {worst.probe}: {worst.fault}"


def _agreement(rows: Sequence[Row]) -> str:
    if not rows:
        return "no layer could be compared"
    worst = max(rows, key=lambda row: row.difference)
    return f"{len(rows)} layers agree (worst {worst.difference:.1e} of the maximum, {worst.name})"


def _table(rows: Sequence[Row], first: int | None) -> Iterator[str]:
    cells = [
        [
            "",
            "layer",
            "shape",
            "Paddle: mean",
            "std",
            "max",
            "PyTorch: mean",
            "std",
            "max",
            "difference",
            "limit",
        ]
    ]
    for place, row in enumerate(rows):
        theirs, ours = row.theirs, row.ours
        mine = (ours.mean, ours.std, ours.largest) if ours else ()
        numbers = [f"{n:.4g}" for n in (theirs.mean, theirs.std, theirs.largest, *mine)]
        cells.append(
            [
                ">" if place == first else "!" if row.fault else "",
                shortened(row.name, _WIDTH),
                "x".join(map(str, row.shape)),
                *numbers,
                *([] if ours else ["no such layer", "", ""]),
                f"{row.difference:.1e}",
                f"{row.limit:.0e}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = (
            cell.ljust(width) if place in (0, 1, 2) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        yield "  ".join(padded).rstrip()


def shortened(name: str, width: int) -> str:
    """Shorten a name to `width` characters by leaving out its middle.

    >>> shortened("head.ctc_encoder.encoder.svtr_block.0.mixer.proj", 21)
    'head.ctc_e…mixer.proj'
    """
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"
