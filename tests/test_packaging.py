"""What is shipped and what is said of it: the package lists, the pins, the README."""

from __future__ import annotations

import configparser
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from paddleocr_source import VERSIONS

from converter import catalog
from converter.errors import ConverterError

ROOT = Path(__file__).parent.parent
SHIPPED = ("architectures", "configs", "converter", "mappings", "pipelines")


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def files() -> list[Path]:
    """Return every file of the shipped folders, and the records."""
    found = [file for name in SHIPPED for file in (ROOT / name).rglob("*")]
    found += (ROOT / "tests" / "recorded").rglob("*")
    return [f for f in found if f.is_file() and "__pycache__" not in f.parts]


def package_of(file: Path) -> str:
    """Return the package that ships a file: its folder, or the records' own."""
    relative = file.relative_to(ROOT)
    if relative.parts[:2] == ("tests", "recorded"):
        return "converter.recorded"
    return ".".join(relative.parent.parts)


def test_every_file_is_shipped(setup: configparser.ConfigParser) -> None:
    packages = setup["options"]["packages"].split()
    data = dict(setup["options.package_data"])
    missing = []
    for file in files():
        package = package_of(file)
        folder = ROOT / "tests/recorded" if package == "converter.recorded" else file.parent
        patterns = data.get(package, "").replace(",", " ").split()
        name = str(file.relative_to(folder))
        shipped = file.suffix == ".py" or any(fnmatch(name, pattern) for pattern in patterns)
        if package not in packages or not shipped:
            missing.append(str(file.relative_to(ROOT)))
    assert missing == []


def test_every_package_is_there(setup: configparser.ConfigParser) -> None:
    assert set(setup["options"]["packages"].split()) == {package_of(file) for file in files()}


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
