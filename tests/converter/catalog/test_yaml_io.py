"""YAML from strangers: plain data or one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.catalog.yaml_io import check_keys, read_training, read_yaml
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
def test_a_key_that_stands_twice(tmp_path, text):
    with pytest.raises(ConfigError, match="stands twice"):
        read_yaml(write(tmp_path, text))


def test_a_key_that_stands_twice_in_a_training_yaml(tmp_path):
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


@pytest.mark.parametrize(("text", "kind"), [("", "NoneType"), ("- 1", "list"), ("text", "str")])
def test_the_top_is_a_mapping(tmp_path, text, kind):
    with pytest.raises(ConfigError, match=f"it holds a {kind}"):
        read_yaml(write(tmp_path, text))


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*No such file"):
        read_yaml(tmp_path / "file.yaml")
    with pytest.raises(ConfigError, match=r"cannot read .*directory"):
        read_yaml(tmp_path)


def test_check_keys():
    check_keys({"a": 1}, ("a", "b"), "here")
    with pytest.raises(ConfigError, match="here: unknown key 3, aa; there are a, b"):
        check_keys({"a": 1, "aa": 2, 3: 4}, ("b", "a"), "here")
