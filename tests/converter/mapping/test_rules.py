"""Mapping files: what is read from them, what is inherited, and what is refused."""

from __future__ import annotations

import pytest

from converter.errors import ConfigError
from converter.mapping.ops import ReorderGates, Squeeze, Transpose
from converter.mapping.pattern import Pattern
from converter.mapping.rules import FOLDER, Concat, DropRule, Rename, Select, Split, load_mapping
from tests.support.toy_mappings import load

# Every key of the format, as a person would write it.
EVERY_RULE = """
extends: [_base]
select:
  prefix: "Student."
  bare: allowed
  siblings:
    "Student2.**": second student of the mutual distillation
    "Teacher.**": frozen ResNet50_vd teacher
same_name: ["backbone.**", "head.fc.*"]
rename:
  "head.ctc_encoder.encoder.**": "neck.encoder.**"
  "head.ctc_head.fc.{p}": "head.fc.{p}"
  "head.project": {to: "head.project.weight", ops: [transpose, {squeeze: 0}]}
  "head.gates": {to: "head.gates", ops: [{reorder_gates: [0, 2, 1]}]}
  "head.plain": {to: "head.kept", ops: []}
drop:
  "head.sar_head.**": SAR guide, run only in training
concat:
  "head.layers.{n}.self_attn.in_proj_weight":
    from: "head.layers.{n}.self_attn.{qkv}_proj.weight"
    over: {qkv: [q, k, v]}
    each: [transpose]
    axis: 0
split:
  "blocks.{n}.mixer.qkv.{p}": {into: ["blocks.{n}.attn.{qkv}.{p}"], over: {qkv: [q, k, v]}, axis: 0}
tie: {"head.lm_head.weight": "head.embed_tokens.weight"}
layouts:
  Custom.weight: [{squeeze: 1}]
leaves:
  Norm: {_mean: mean}
aliases:
  Cell: {"cell.{p}": "{p}_l0"}
fill:
  Norm.count: 1
"""


def test_every_rule_of_the_format(tmp_path):
    mapping = load(tmp_path, EVERY_RULE)
    attention = "head.layers.{n}.self_attn"
    assert mapping.name == "toy"
    assert mapping.inherited == ()
    assert mapping.own == mapping.rules
    assert mapping.own == (
        Rename(Pattern("backbone.**"), None),
        Rename(Pattern("head.fc.*"), None),
        Rename(Pattern("head.ctc_encoder.encoder.**"), "neck.encoder.**"),
        Rename(Pattern("head.ctc_head.fc.{p}"), "head.fc.{p}"),
        Rename(Pattern("head.project"), "head.project.weight", (Transpose(), Squeeze(0))),
        Rename(Pattern("head.gates"), "head.gates", (ReorderGates((0, 2, 1)),)),
        Rename(Pattern("head.plain"), "head.kept", ()),
        DropRule(Pattern("head.sar_head.**"), "SAR guide, run only in training"),
        Concat(
            f"{attention}.in_proj_weight",
            tuple(Pattern(f"{attention}.{part}_proj.weight") for part in "qkv"),
            (Transpose(),),
            axis=0,
        ),
        Split(
            Pattern("blocks.{n}.mixer.qkv.{p}"),
            tuple(f"blocks.{{n}}.attn.{part}.{{p}}" for part in "qkv"),
            axis=0,
        ),
    )
    assert mapping.select == Select(
        "Student.",
        True,
        (
            DropRule(Pattern("Student2.**"), "second student of the mutual distillation"),
            DropRule(Pattern("Teacher.**"), "frozen ResNet50_vd teacher"),
        ),
    )
    assert mapping.tie == {"head.lm_head.weight": "head.embed_tokens.weight"}


def test_tables_by_type_are_joined_with_those_of_the_base(tmp_path):
    mapping = load(tmp_path, EVERY_RULE)
    assert mapping.layouts == {"Linear.weight": (Transpose(),), "Custom.weight": (Squeeze(1),)}
    statistics = {"_mean": "running_mean", "_variance": "running_var"}
    assert mapping.leaves == {
        "BatchNorm1d": statistics,
        "BatchNorm2d": statistics,
        "PReLU": {"_weight": "weight"},
        "Norm": {"_mean": "mean"},
    }
    assert set(mapping.aliases) == {"LSTM", "GRU", "Cell"}
    assert mapping.fill == {
        "BatchNorm1d.num_batches_tracked": 0,
        "BatchNorm2d.num_batches_tracked": 0,
        "Norm.count": 1,
    }


def test_own_entries_replace_those_of_the_base(tmp_path):
    mapping = load(tmp_path, "extends: [_base]\nlayouts: {Linear.weight: []}")
    assert mapping.layouts == {"Linear.weight": ()}


def test_rules_of_bases_are_inherited_once(tmp_path):
    mapping = load(
        tmp_path,
        "extends: [left, right]\nsame_name: [top.*]",
        left="extends: [root]\nsame_name: [left.*]",
        right="extends: [root]\nsame_name: [right.*]\nselect: {prefix: S.}",
        root="drop: {root.*: not needed}",
    )
    assert [rule.source.text for rule in mapping.own] == ["top.*"]
    assert [rule.source.text for rule in mapping.inherited] == ["left.*", "root.*", "right.*"]
    assert mapping.select == Select("S.", False, ())


def test_an_own_selection_replaces_the_inherited_one(tmp_path):
    mapping = load(tmp_path, "extends: [a]\nselect: {prefix: B.}", a="select: {prefix: A.}")
    assert mapping.select is not None
    assert mapping.select.prefix == "B."


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.yaml")))
def test_shipped_mappings_are_understood(name):
    mapping = load_mapping(name)
    assert mapping.name == name
    # Transformers' networks have PyTorch's layouts already.
    of_paddle = not name.removeprefix("_").startswith("transformers")
    assert not of_paddle or set(load_mapping("_base").layouts) <= set(mapping.layouts)


@pytest.mark.parametrize(
    ("text", "bases", "message"),
    [
        ("extends: [toy]", {}, "toy extends itself: toy -> toy"),
        (
            "extends: [a]",
            {"a": "extends: [b]", "b": "extends: [toy]"},
            "toy extends itself: toy -> a -> b -> toy",
        ),
        ("extends: [a]", {"a": "extends: [a]"}, "a extends itself: toy -> a -> a"),
        ("extends: [gone]", {}, "no mapping 'gone' in .*; there are _base, toy"),
        ("extends: [a]", {"a": "extends: [gone]"}, "no mapping 'gone'"),
        ("extends: _base", {}, "extends is a list of names, not '_base'"),
        ("extends: null", {}, "extends is a list"),
        ("extends: [a]", {"a": "drop: {x: }"}, "mapping a: drop 'x' needs a reason"),
    ],
)
def test_bases_that_do_not_hold(tmp_path, text, bases, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text, **bases)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("renames: {a: b}", "mapping toy: unknown key renames; there are .*rename"),
        ("rename: {a: {to: b, op: []}}", "rename a: unknown key op"),
        ("concat: {t: {from: 'a.{x}', over: {x: [b]}, axis: 0, ops: []}}", "unknown key ops"),
        ("split: {s: {into: [a], over: {}, axis: 0, each: []}}", "split s: unknown key each"),
        ("select: {prefix: S., sibling: {}}", "select: unknown key sibling"),
        ("rename: {a: b, a: c}", "the key 'a' occurs twice"),
        ("drop: {a: why}\ndrop: {b: why}", "the key 'drop' occurs twice"),
        ("drop: {a: !!python/name:os.system }", "could not determine a constructor"),
    ],
)
def test_keys(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize("reason", ["", "null", "''", "' '", "1", "true", "[a]"])
@pytest.mark.parametrize("rule", ["drop: {a: %s}", "select: {prefix: S., siblings: {a: %s}}"])
def test_a_drop_needs_a_reason_in_words(tmp_path, rule, reason):
    with pytest.raises(ConfigError, match="toy: drop 'a' needs a reason in words"):
        load(tmp_path, rule % reason)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("same_name: backbone", "same_name is a list of names"),
        ("same_name: [1]", "mapping toy"),
        ("same_name: ['a.**.b']", "`\\*\\*` stands at the end"),
        ("rename: {'a.*': 'b.{n}'}", "'b.{n}' uses n, not in 'a.\\*'"),
        ("rename: {'a.*': 'b.**'}", r"uses \*\*, not in"),
        ("rename: {a: {ops: [transpose]}}", "a rule lacks 'to'"),
        ("rename: {a: {to: b, ops: [flip]}}", "unknown operation 'flip'"),
        ("rename: {a: {to: b, ops: transpose}}", "unknown operation 't'"),
        ("rename: {a: {to: 3}}", "mapping toy"),
        ("rename: [a]", "mapping toy"),
        ("words: {x: [a]}", r"words are given as {theirs: ours}, not as \['a'\]"),
        ("words: {x: {a: b}}\nrename: {'a.{y}': b}", "no rename captures 'x'"),
        ("concat: {'t.{n}': {from: 'a.{x}', over: {x: [b]}, axis: 0}}", "uses n, not in 'a.b'"),
        ("concat: {t: {from: 'a.{x}', over: {x: [b]}}}", "a rule lacks 'axis'"),
        ("concat: {t: {from: 'a.{x}', over: {x: [b]}, axis: -1}}", "counted from 0, it is not -1"),
        ("concat: {t: {from: 'a.{x}', over: {x: [b]}, axis: one}}", "counted from 0"),
        ("split: {a: {into: ['b.{n}'], over: {x: [c]}, axis: 0}}", "uses n, not in 'a'"),
        ("split: {a: {into: ['b.{x}'], over: {x: [c]}, axis: true}}", "counted from 0"),
        ("select: {prefix: Student}", "the prefix 'Student' should end with a dot"),
        ("select: {bare: allowed}", "a rule lacks 'prefix'"),
        ("select: {prefix: S., bare: yes}", "bare is `allowed` or `refused`, not True"),
        ("select: null", "mapping toy"),
        ("layouts: {weight: [transpose]}", "'weight' should read ModuleType.tensor"),
        ("layouts: {nn.Linear.weight: [transpose]}", "should read ModuleType.tensor"),
        ("layouts: {Linear.weight: transpose}", "unknown operation 't'"),
        ("leaves: {Norm: _mean}", "leaves are given as {theirs: ours}, not as '_mean'"),
        ("fill: {count: 0}", "'count' should read ModuleType.tensor"),
        ("fill: {Norm.count: zero}", "filled with a number, not 'zero'"),
        ("aliases: {LSTM: {'{l}.x': '{p}'}}", "'{p}' uses p, not in '{l}.x'"),
        ("aliases: {LSTM: [a]}", "mapping toy"),
        ("[a]", "should hold a mapping"),
    ],
)
def test_rules_that_cannot_be_understood(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_words_translate_what_a_rename_captures(tmp_path):
    text = "words: {stage: {0: first, 1: second}}\nrename: {'a.{stage}.{p}': 'b.{stage}.{p}', c: d}"
    staged, plain = load(tmp_path, text).own
    assert isinstance(staged, Rename)
    assert staged.source.match("a.1.bias") == {"stage": "second", "p": "bias"}
    assert plain == Rename(Pattern("c"), "d")


def test_an_unknown_mapping_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"no mapping 'dbb'.*there are _base, .*db, "):
        load_mapping("dbb")
