"""Items that a program takes out of a stack again, followed as themselves.

PaddleX's detectors stack the boxes of all layers of the decoder and take the last one's; our
networks keep these alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from converter.sources.ir import Operation


def take_items(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Return the operations; one that takes an item of a stack is a copy of the item.

    Args:
        operations: of a program, in their order.
    """
    stacks: dict[str, Operation] = {}
    found = []
    for operation in operations:
        item = _item(operation, stacks)
        found.append(operation if item is None else _copy(item, operation))
        stacks |= dict.fromkeys(operation.outputs, operation) if operation.kind == "stack" else {}
    return tuple(found)


def _item(operation: Operation, stacks: dict[str, Operation]) -> str | None:
    """Return the item of a stack that an operation takes; None if it does anything else."""
    source = next(iter(operation.inputs.get("x", ())), "")  # none of a constant that is cut
    if operation.kind != "slice" or not (stack := stacks.get(source)):
        return None
    attributes, items = operation.attributes, stack.inputs["x"]
    axes, starts = (tuple(attributes.get(key, ())) for key in ("axes", "starts"))
    if axes != (stack.attributes["axis"],) or axes != tuple(attributes.get("decrease_axis", ())):
        return None
    return items[starts[0]] if len(starts) == 1 and -len(items) <= starts[0] < len(items) else None


def _copy(item: str, operation: Operation) -> Operation:
    return Operation("assign", {"x": (item,)}, operation.outputs, {})
