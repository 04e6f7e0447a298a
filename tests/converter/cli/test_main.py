"""The overview of the subcommands, and how one of them is chosen."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from converter import __version__
from converter.cli.main import COMMANDS, SCRIPT
from tests.support.paths import ROOT

CLASSIFIER = "ch_ppocr_mobile_v2.0_cls"


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_the_overview_has_one_line_per_command(convert, option):
    done = convert(option)
    assert (done.code, done.err) == (0, "")
    for name, command in COMMANDS.items():
        assert f"\n  {name:<13}{command.summary}\n" in done.out
    assert all(len(line) <= 100 for line in done.out.splitlines())
    assert "COMMAND --help" in done.out


def test_every_module_of_a_command_is_listed():
    files = {file.stem for file in (ROOT / "converter/cli").glob("*.py")}
    parts = {"__init__", "main", "options", "vision_language"}  # the last is a part of convert
    assert files - parts == {c.module for c in COMMANDS.values()}


def test_the_version(convert):
    done = convert("--version")
    assert (done.code, done.out) == (0, f"{__version__}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_every_option_explained(convert, name):
    done = convert(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: python -m converter {name} ")
    parser = import_module(f"converter.cli.{COMMANDS[name].module}").build_parser(name)
    assert all(action.help for action in parser._actions)


def test_the_command_convert_may_be_named(convert, classifier):
    arguments = (CLASSIFIER, "--paddle-dir", classifier, "--plan")
    unnamed, named = convert(*arguments), convert("convert", *arguments)
    assert (unnamed.code, unnamed.err) == (0, "")
    assert unnamed == named


def test_help_names_the_console_script(convert, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"/usr/bin/{SCRIPT}"])
    assert convert("verify", "--help").out.startswith(f"usage: {SCRIPT} verify ")
    assert convert("--help").out.startswith(f"usage: {SCRIPT} ")


def test_verbose_errors_have_a_traceback(convert, tmp_path):
    arguments = ("convert-all", "--paddle-root", tmp_path / "none", "--out", tmp_path / "out")
    quiet, verbose = convert(*arguments), convert(*arguments, "-v")
    assert quiet.code == verbose.code == 3
    assert "Traceback" not in quiet.err
    assert "Traceback" in verbose.err


def test_an_expression_that_is_nested_too_deep(convert, tmp_path):
    done = convert("convert-all", "--only", "(" * 5000, "--out", tmp_path / "out")
    assert done.code == 2
    assert "is no regular expression" in done.err
    assert max(map(len, done.err.splitlines())) < 300


LONG = "a" * 5000  # no system takes it, like a folder that may not be entered


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("ch_PP-OCRv4_det", "--paddle-dir", LONG, "--out", "x.pth"), 3),
        (("ch_PP-OCRv4_det", "--paddle-dir", ".", "--program-dir", LONG, "--out", "x.pth"), 3),
        (("ch_PP-OCRv4_det", "--paddle-dir", ".", "--out", f"{LONG}/x.pth"), 2),
        (("ch_PP-OCRv4_det", "--paddle-dir", ".", "--out", "x.pth", "--report", LONG), 2),
        (("convert-all", "--paddle-root", LONG, "--out", "out"), 3),
        (("convert-all", "--map", f"ch_PP-OCRv4_det={LONG}", "--out", "out"), 3),
        (("verify", LONG), 3),
    ],
)
def test_paths_that_cannot_be_looked_at(convert, tmp_path, monkeypatch, arguments, code):
    monkeypatch.chdir(tmp_path)
    done = convert(*arguments)
    assert done.code == code
    assert "File name too long" in done.err
    assert "Traceback" not in done.err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
@pytest.mark.parametrize(("where", "code"), [("> /dev/full", 2), (">&-", 0)])
def test_standard_output_that_is_full_or_closed(where, code):
    """Also at the very end, where Python flushes what is left."""
    command = f"{sys.executable} -m converter --list {where}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == code
    message = "converter: standard output cannot be written: No space left on device\n"
    assert done.stderr == (message if code else "")


TRUNCATED = """
import os, sys
from pathlib import Path
from converter.__main__ import handle_truncation
from converter.sources.mapped_files import map_file

handle_truncation()
view = map_file(Path(sys.argv[1]))
os.truncate(sys.argv[1], 0)
print(bytes(view)[:1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the handler is installed there")
def test_a_file_that_is_truncated_while_it_is_read(tmp_path):
    file = tmp_path / "inference.pdiparams"
    file.write_bytes(bytes(1 << 16))
    done = subprocess.run(
        [sys.executable, "-c", TRUNCATED, str(file)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert "became shorter while it was read" in done.stderr
