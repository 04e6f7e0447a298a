"""Counting what a protobuf message holds before protobuf makes objects of it.

An empty message has two bytes in a file and a hundred in memory, so a small file could exhaust the
memory. Wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

State = TypeVar("State")


def count_entries(
    content: bytes | memoryview,
    most: int,
    root: State,
    inside: Callable[[State, int], State | None],
) -> int:
    """Count messages and strings; counting ends at the first fault, and beyond `most`.

    Args:
        content: the outermost message.
        most: where counting ends.
        root: what stands for the outermost message in calls of `inside`.
        inside: called with what stands for a message and the number of one of its fields; returns
            what stands for the message in that field, None to count it without looking inside.
    """
    count, waiting = 0, [(0, len(content), root)]
    while waiting and count <= most:
        position, end, state = waiting.pop()
        while position < end and count <= most:
            tag, position = _varint(content, position, end)
            if tag & 7 == 0:
                _, position = _varint(content, position, end)
            elif tag & 7 == 2:
                size, position = _varint(content, position, end)
                count += 1
                inner = inside(state, tag >> 3)
                if inner is not None and position + size <= end:
                    waiting.append((position, position + size, inner))
                position += size
            else:
                position += {1: 8, 5: 4}.get(tag & 7, end)
    return count


def _varint(content: bytes | memoryview, position: int, end: int) -> tuple[int, int]:
    """Return a number of variable length and the position after it."""
    if position < end and (first := content[position]) < 0x80:  # most have one byte
        return first, position + 1
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    return value, end
