"""What is shipped and what is said of it: the package lists, the pins, the README."""

from __future__ import annotations

import configparser
import re

import pytest

from converter.catalog import cards as catalog
from converter.errors import ConverterError
from tests.oracle.paddleocr_source import VERSIONS
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_the_makefile_installs_what_the_extras_say(setup: configparser.ConfigParser) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (models,) = re.findall(r"^DEMO_MODELS := (.+)$", makefile, re.MULTILINE)
    assert models == setup["options.extras_require"]["demo"].strip()
    (models,) = re.findall(r"^ONNX_MODELS := (.+)$", makefile, re.MULTILINE)
    assert models == setup["options.extras_require"]["benchmark-models"].strip()
    (judges,) = re.findall(r"^JUDGES := (.+)$", makefile, re.MULTILINE)
    assert judges.split() == setup["options.extras_require"]["judges"].split()
    assert judges.split() == [f"{name}=={version}" for name, version in VERSIONS.items()]


def test_the_readme_names_models_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## What is supported")[2].partition("\n## ")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`(\S+)`", _cell(row, 2))}
    assert named
    assert named <= set(catalog.names())


def test_the_readme_lists_every_exit_code() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## Exit codes")[2].partition("\n## ")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert listed == {0} | _codes(ConverterError)


def _cell(row: str, number: int) -> str:
    cells = row.split("|")
    return cells[number] if len(cells) > number else ""


def _codes(error: type[ConverterError]) -> set[int]:
    own = {error.exit_code} if hasattr(error, "exit_code") else set()
    return own.union(*map(_codes, error.__subclasses__()))
