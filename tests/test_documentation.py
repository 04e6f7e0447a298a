"""The README and the pages of docs/: links, lists that follow from the code, and commands."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import generate_docs
import pytest

from converter.catalog import cards as catalog
from converter.cli.main import COMMANDS as CONVERTER_COMMANDS
from converter.errors import ConverterError
from pipelines.cli.main import COMMANDS as PIPELINE_COMMANDS
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
PAGES = [page for page in PAGES if page.name != "commands.md"]  # made when the site is built
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
# A path of the repository in code: a folder of it, and below that a file or a folder.
PATH = re.compile(
    r"(?<![\w./~-])((?:architectures|configs|converter|cores|docs|examples|mappings|pipelines|records"
    r"|schemas|scripts|tests)/[\w./+-]*)"
)
MADE_LATER = ("mappings/NAME.yaml", "configs/picodet/mine.yml")
NO_LONGER = ("tests/recorded",)  # what CHANGELOG.md says was moved


def identifier(page):
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """Return a page without its fenced code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    words = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"\s+", "-", heading) for heading in words}


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_links_lead_somewhere(page):
    for link in LINK.findall(prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{link} of {identifier(page)}"
        if anchor:
            assert anchor in anchors(target), f"{link} of {identifier(page)}"


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_files_that_are_named_exist(page):
    named = PATH.findall(page.read_text(encoding="utf-8"))
    for path in named:
        file = path.rstrip(".")
        assert file in MADE_LATER + NO_LONGER or (ROOT / file).exists(), (
            f"{file} in {identifier(page)}"
        )


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_what_python_code_imports_exists(page):
    text = page.read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        lines = code.splitlines()
        exec("\n".join(line for line in lines if line.startswith(("import ", "from "))), {})
        compile(code, str(page), "exec")


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    listed = set(re.findall(r"[\w-]+\.md", navigation))
    assert listed == {page.name for page in DOCS.glob("*.md")} | {"commands.md"}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


def test_the_readme_counts_the_models():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (count,) = re.findall(r"(\d+) released models", readme)
    assert int(count) == len(catalog.names())


def test_the_pages_name_what_is_installed():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    scripts = setup["options.entry_points"]["console_scripts"].split("\n")
    extras = set(setup["options.extras_require"])
    for page in (DOCS / "getting-started.md", DOCS / "command-line.md"):
        for script in filter(None, scripts):
            name = script.partition(" =")[0]
            assert f"`{name}`" in page.read_text(encoding="utf-8")
    page = (DOCS / "getting-started.md").read_text(encoding="utf-8")
    table = page.partition("| extra |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert cells
    assert {name for cell in cells for name in re.findall(r"`([a-z]+)`", cell)} <= extras


def test_the_list_of_models_is_generated():
    page = (DOCS / "models.md").read_text(encoding="utf-8")
    assert page == generate_docs.models_page(), "run python scripts/generate_docs.py"
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\S+)`", row)}
    assert named >= {
        *catalog.names(), *catalog.vision_language(), *catalog.refused()
    }  # fmt: skip


def test_the_table_of_exports_is_generated():
    page = (DOCS / "exports.md").read_text(encoding="utf-8")
    assert page == generate_docs.exports_page(), "run python scripts/generate_docs.py"


def test_models_without_a_passing_record_are_not_published():
    results = {"a": {"status": "passed"}, "b": {"status": "failed"}}
    with pytest.raises(ValueError, match="these records failed: b"):
        generate_docs.measured(results)


def test_every_exit_code_is_listed():
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    table = page.partition("## Exit codes")[2]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert listed == {0} | exit_codes(ConverterError)


def test_every_command_is_listed():
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `python -m converter ([a-z-]+) ", page, re.MULTILINE))
    assert listed == set(CONVERTER_COMMANDS) - {"convert"}
    listed = set(re.findall(r"^\| `python -m pipelines ([a-z-]+) ", page, re.MULTILINE))
    assert listed == set(PIPELINE_COMMANDS)


def test_the_help_of_every_command_is_printed():
    page = generate_docs.commands_page()
    for package, commands in (("converter", CONVERTER_COMMANDS), ("pipelines", PIPELINE_COMMANDS)):
        for command in commands:
            section = page.partition(f"## `python -m {package} {command}`")[2].partition("\n## ")[0]
            assert "usage: " in section, command
            assert "--help" in section, command


def test_options_that_are_named_exist():
    """Every `--option` in a line that calls a command is one of that command's options."""
    calls = re.compile(r"python -m (converter|pipelines) ([^`\n]*(?:\\\n[^`\n]*)*)")
    helps = generate_docs.commands_page()
    checked = 0
    for page in PAGES:
        for package, call in calls.findall(page.read_text(encoding="utf-8")):
            commands = CONVERTER_COMMANDS if package == "converter" else PIPELINE_COMMANDS
            first = call.split(maxsplit=1)[0] if call.strip() else ""
            command = first if first in commands else "convert"
            text = helps.partition(f"## `python -m {package} {command}`")[2].partition("\n## ")[0]
            for option in re.findall(r"(?<!\S)--[a-z-]+", call):
                if option != "--version":
                    assert f"{option}" in text, f"{option} of {command} in {identifier(page)}"
                    checked += 1
    assert checked > 30


def exit_codes(error: type[ConverterError]) -> set[int]:
    own = {error.exit_code} if hasattr(error, "exit_code") else set()
    return own.union(*map(exit_codes, error.__subclasses__()))
