"""Long lists in few lines, without a number lost."""

from __future__ import annotations

import pytest

from converter.mapping.name_ranges import summarize_names


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([], []),
        ([("a.0.b", "")], ["  a.0.b"]),
        ([("a.0", "x"), ("a.1", "x"), ("a.2", "x")], ["  a.{0..2}  x, 3 tensors"]),
        ([("a.0", ""), ("a.2", "")], ["  a.{0,2}  2 tensors"]),
        ([("a.9", "x"), ("a.10", "x")], ["  a.{9..10}  x, 2 tensors"]),
        ([("a.0", "x"), ("a.1", "y")], ["  a.0  x", "  a.1  y"]),
        ([("a.0", "x"), ("b.0", "x")], ["  a.0  x", "  b.0  x"]),
        ([("a.0", "(3, 4)"), ("a.1", "(3, 8)")], ["  a.{0..1}  (3, {4,8}), 2 tensors"]),
        ([("a.0", "(3, 4)"), ("a.1", "(3,)")], ["  a.0  (3, 4)", "  a.1  (3,)"]),
        ([("a1.0.b2", "x"), ("a1.1.b2", "x")], ["  a1.{0..1}.b2  x, 2 tensors"]),
    ],
)
def test_rows_that_differ_in_numbers_alone(rows, lines):
    assert summarize_names(rows) == lines
