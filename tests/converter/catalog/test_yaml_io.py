"""YAML from strangers: plain data or one clear error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from converter.catalog.yaml_io import MAX_BYTES, check_keys, read_training, read_yaml
from converter.errors import ConfigError


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "file.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_plain_yaml(tmp_path):
    text = "a: &one {b: [1, 0.5, true, null, 漢]}\nc: *one\nd: {<<: *one, e: x}\n"
    one = {"b": [1, 0.5, True, None, "漢"]}
    assert read_yaml(write(tmp_path, text)) == {"a": one, "c": one, "d": {**one, "e": "x"}}


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:pathlib.Path.touch [{marker}]",
        "a: !!python/object/new:pathlib.Path [{marker}]",
        "!!python/object/apply:os.system ['touch {marker}']",
        "a: !!python/name:os.system",
        "a: !!python/module:os",
        "? !!python/object/apply:os.system ['touch {marker}']\n: 1",
        "a: !custom 1",
    ],
)
def test_tags_never_run(tmp_path, text):
    marker = tmp_path / "ran"
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        read_yaml(write(tmp_path, text.replace("{marker}", str(marker))))
    assert not marker.exists()


@pytest.mark.parametrize(
    "text",
    ["a: 1\nb: 2\na: 3", "x: {a: 1, a: 1}", "x: [{a: 1, 'a': 2}]", "1: a\n0x1: b", "a:\na:\n"],
)
def test_a_key_that_occurs_twice(tmp_path, text):
    with pytest.raises(ConfigError, match="occurs twice"):
        read_yaml(write(tmp_path, text))


def test_a_key_that_occurs_twice_in_a_training_yaml(tmp_path):
    assert read_training(write(tmp_path, "a: {b: 1, b: 2}")) == {"a": {"b": 2}}
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        read_training(write(tmp_path, "a: !!python/name:os.system"))


def test_a_merged_key_may_be_replaced(tmp_path):
    text = "a: &a {x: 1}\nb: {<<: *a, x: 2}"
    assert read_yaml(write(tmp_path, text))["b"] == {"x": 2}


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: b: c",
        "\tb",
        "a: *missing",
        "a: 2020-99-99",
        "a: !!int x",
        "a: !!int ''",
        "a: !!bool perhaps",
        "a: !!timestamp now",
        "? [a]\n: b",
        "a: 1\n---\nb: 2",
        b"a: \x00",
        b"a: \xff\xfe",
    ],
)
def test_what_is_not_plain_yaml(tmp_path, text):
    with pytest.raises(ConfigError, match=r"file\.yaml is not plain YAML: ."):
        read_yaml(write(tmp_path, text))


@pytest.mark.parametrize("text", ["a: " + "[" * 100_000, "a: " + "{a: " * 100_000, "- " * 100_000])
def test_nesting_does_not_overflow_the_stack(tmp_path, text):
    with pytest.raises(ConfigError, match=r"nested more than 50 deep|maximum nesting depth"):
        read_yaml(write(tmp_path, text))


def nested_aliases(levels: int, each: int) -> str:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * each)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (nested_aliases(12, 9), "more than 1000000 values"),
        (nested_aliases(40, 2), "more than 1000000 values"),
        (nested_aliases(60, 1), "nested more than 50 deep"),
        ("a: &a {<<: [*a]}", "alias 'a' does not follow a whole value"),
        ("a: &a [1, *a]", "alias 'a' does not follow a whole value"),
        ("a: " + "9" * 5000, "more than 40 digits"),
        ("a: 0x" + "f" * 5000, "more than 40 digits"),
        ("a: -0b" + "1" * 5000, "more than 40 digits"),
        ("a: 1" + ":59" * 5000, "more than 40 digits"),
        ("a: 1" + ":59" * 5000 + ".5", "more than 40 digits"),
        ("a: !!int " + "'" + "9" * 5000 + "'", "more than 40 digits"),
    ],
)
@pytest.mark.parametrize("read", [read_yaml, read_training])
def test_documents_that_grow_as_they_are_read(tmp_path, text, message, read):
    with pytest.raises(ConfigError, match=f"is not plain YAML: .*{message}"):
        read(write(tmp_path, text))


def test_aliases_within_bounds(tmp_path):
    content = read_yaml(write(tmp_path, nested_aliases(5, 3)))
    assert content["a4"] == [[[[["x"]] * 3] * 3] * 3] * 3


def test_files_that_are_none(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match=r"pipe.yaml: it is not a regular file"):
        read_yaml(tmp_path / "pipe.yaml")
    with (tmp_path / "large.yaml").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match=r"large.yaml: it has more than \d+ bytes"):
        read_yaml(tmp_path / "large.yaml")
    with pytest.raises(ConfigError, match=r"cannot read .*null byte"):
        read_yaml(tmp_path / "a\0b")


@pytest.mark.parametrize(("text", "kind"), [("", "NoneType"), ("- 1", "list"), ("text", "str")])
def test_the_top_is_a_mapping(tmp_path, text, kind):
    with pytest.raises(ConfigError, match=f"it holds a {kind}"):
        read_yaml(write(tmp_path, text))


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*No such file"):
        read_yaml(tmp_path / "file.yaml")
    with pytest.raises(ConfigError, match=r"cannot read .*not a regular file"):
        read_yaml(tmp_path)


def test_check_keys():
    check_keys({"a": 1}, ("a", "b"), "here")
    with pytest.raises(ConfigError, match="here: unknown key 3, aa; there are a, b"):
        check_keys({"a": 1, "aa": 2, 3: 4}, ("b", "a"), "here")
