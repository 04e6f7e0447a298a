"""Patterns over whole names, held against regular expressions as an independent opinion."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from converter.mapping.pattern import REST, Pattern, captures_of, expand, expand_over

words = st.sampled_from(["a", "b", "ab", "a_b", "0", "10", "_mean"])
names = st.lists(words, min_size=1, max_size=5).map(".".join)
pieces = st.one_of(words, st.sampled_from(["*", "{x}", "{y}"]))


@st.composite
def patterns(draw: st.DrawFn) -> str:
    segments = draw(st.lists(pieces, max_size=4))
    tail = [REST] if draw(st.booleans()) or not segments else []
    return ".".join(segments + tail)


def oracle(pattern: str) -> re.Pattern[str]:
    """The same pattern as a regular expression with a group for each capture."""
    seen: set[str] = set()
    parts = []
    for segment in pattern.split("."):
        if segment == REST:
            parts.append("(?P<rest>.+)")
        elif segment == "*":
            parts.append("[^.]+")
        elif segment.startswith("{"):
            variable = segment[1:-1]
            parts.append(f"(?P={variable})" if variable in seen else f"(?P<{variable}>[^.]+)")
            seen.add(variable)
        else:
            parts.append(re.escape(segment))
    return re.compile(r"\.".join(parts))


@given(patterns(), names)
@example("{x}.b.{x}", "a.b.a")
@example("{x}.b.{x}", "a.b.b")
@example("a.**", "a")
@example("a.**", "ab.a")
@example("a", "a.a")
def test_match_agrees_with_a_regular_expression(pattern, name):
    found = oracle(pattern).fullmatch(name)
    expected = None
    if found:
        expected = {REST if key == "rest" else key: text for key, text in found.groupdict().items()}
    assert Pattern(pattern).match(name) == expected


@given(patterns().filter(lambda pattern: "*" not in pattern.replace(REST, "")), names)
def test_expanding_a_pattern_with_its_own_captures_gives_the_name_back(pattern, name):
    captures = Pattern(pattern).match(name)
    if captures is not None:
        assert expand(pattern, captures) == name


@given(names)
def test_a_name_matches_itself_and_what_is_general_enough(name):
    depth = name.count(".") + 1
    assert Pattern(name).match(name) == {}
    assert Pattern(".".join("*" * depth)).match(name) == {}
    assert Pattern(REST).match(name) == {REST: name}


@pytest.mark.parametrize(
    ("pattern", "name", "captures"),
    [
        ("Student.**", "Student.head.fc.bias", {REST: "head.fc.bias"}),
        ("Student.**", "Student2.head.fc.bias", None),
        ("Student.**", "Student", None),
        ("head.fc.*", "head.fc.bias", {}),
        ("head.fc.*", "head.fc.bias.more", None),
        ("head.fc.*", "my.head.fc.bias", None),
        ("head.fc", "head.fc.bias", None),
        ("{l}.cell_fw.{p}", "0.cell_fw.weight_ih", {"l": "0", "p": "weight_ih"}),
        ("a.{n}.**", "a.1.b.c", {"n": "1", REST: "b.c"}),
        ("a+b", "a+b", {}),
        ("a+b", "aab", None),
    ],
)
def test_whole_names(pattern, name, captures):
    assert Pattern(pattern).match(name) == captures


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "empty"),
        ("a..b", "empty"),
        (".a", "empty"),
        ("a.**.b", "at the end"),
        ("**.a", "at the end"),
        ("a**", "whole segments"),
        ("conv*", "whole segments"),
        ("conv{n}", "whole segments"),
        ("{n}_l", "whole segments"),
        ("{", "whole segments"),
        ("}", "whole segments"),
        ("{}", "whole segments"),
        ("{1}", "whole segments"),
        ("***", "whole segments"),
    ],
)
def test_patterns_that_are_none(pattern, message):
    with pytest.raises(ValueError, match=message):
        Pattern(pattern)


@pytest.mark.parametrize(
    ("template", "captures", "name"),
    [
        ("{p}_l{l}_reverse", {"p": "bias_hh", "l": "1"}, "bias_hh_l1_reverse"),
        ("neck.**", {REST: "conv.weight"}, "neck.conv.weight"),
        ("neck.{n}.**", {"n": "3", REST: "a.b"}, "neck.3.a.b"),
        ("**", {REST: "a.b"}, "a.b"),
        ("{n}", {"n": "{m}", "m": "x"}, "{m}"),
        ("plain", {}, "plain"),
    ],
)
def test_expand(template, captures, name):
    assert expand(template, captures) == name


def test_captures_of():
    assert captures_of("a.{n}.b_{p}.**") == {"n", "p", REST}
    assert captures_of("a.b") == set()


def test_expand_over_keeps_the_order_that_is_written():
    over = {"qkv": ["q", "k", "v"]}
    assert expand_over("{n}.{qkv}_proj", over) == ["{n}.q_proj", "{n}.k_proj", "{n}.v_proj"]
    assert expand_over("{a}.{b}", {"a": ["1", "2"], "b": ["x", "y"]}) == [
        "1.x",
        "1.y",
        "2.x",
        "2.y",
    ]


@pytest.mark.parametrize(
    ("name", "captures"),
    [
        ("blocks.0.conv", {"stage": "blocks2", "p": "conv"}),
        ("blocks.1.bias", {"stage": "blocks3", "p": "bias"}),
        ("blocks.2.bias", None),
        ("blocks.blocks2.bias", None),
    ],
)
def test_words_for_a_capture(name, captures):
    words = (("stage", (("0", "blocks2"), ("1", "blocks3"))),)
    assert Pattern("blocks.{stage}.{p}", words).match(name) == captures
