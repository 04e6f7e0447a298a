"""The wheel and its use outside of a checkout; the pinned dependencies."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from converter import __version__
from converter.catalog import cards as catalog
from tests.oracle.paddleocr_source import VERSIONS
from tests.support import rapidocr_networks
from tests.support.checkpoints import CLS, save, weights
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


# The wheel.

CLASSIFIER = "ch_ppocr_mobile_v2.0_cls"
NOT_SHIPPED = {"build", "dist", "docs", "downloads", "examples", "out", "scripts", "tests"}
TYPED = ("architectures", "converter", "cores", "pipelines")


def shipped_files() -> set[str]:
    """Every file in the checkout's folders of code and data, which a wheel has to hold."""
    folders = [
        folder
        for folder in ROOT.iterdir()
        if folder.is_dir()
        and folder.name not in NOT_SHIPPED
        and not folder.name.startswith(".")
        and folder.suffix != ".egg-info"
    ]
    return {
        file.relative_to(ROOT).as_posix()
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built without network from a copy, so that the checkout stays as it is."""
    copy = tmp_path_factory.mktemp("checkout")
    tops = {file.partition("/")[0] for file in shipped_files()}
    for name in tops:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / file, copy)
    pip("wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation", "-w", copy / "dist", copy)
    (file,) = (copy / "dist").iterdir()
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Run a command with the installed wheel, in another folder than the checkout."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    pip("install", "-q", "--no-index", "--no-deps", "--target", site, wheel)
    environment = {k: v for k, v in os.environ.items() if k not in ("PADDLEOCR", "PYTHONPATH")}
    environment |= {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def installed(program: str, *arguments: object) -> str:
        start = (
            [sys.executable] if program == "python" else [sys.executable, site / "bin" / program]
        )
        done = subprocess.run(
            [*start, *map(str, arguments)],
            cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    installed.site, installed.folder = site, folder
    return installed


def test_the_wheel_holds_every_file_of_the_checkout(wheel):
    assert wheel.name == f"paddleocr_to_torch-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
        (scripts,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert archive.read(scripts).decode().count(" = ") == 4
    assert files == shipped_files()
    assert {f"{package}/py.typed" for package in TYPED} <= files


def test_the_installed_code_is_the_wheels(installed):
    code = f"import {', '.join(TYPED)}\n"
    code += f"for package in ({', '.join(TYPED)}): print(package.__file__)"
    files = installed("python", "-c", code).split()
    assert [Path(file).parent.parent for file in files] == [installed.site] * len(TYPED)


def test_the_console_scripts(installed):
    assert installed("paddleocr-to-torch", "--version").strip() == __version__
    listed = installed("paddleocr-to-torch", "--list")
    assert all(f"\n  {name} " in listed for name in catalog.names())
    assert "recognize" in installed("paddleocr-torch-pipelines", "--help")
    assert "usage: " in installed("paddleocr-torch-pipelines", "ocr", "--help")


def test_the_installed_wheel_verifies_a_record(installed):
    records = installed.site / "records"
    said = installed("python", "-m", "converter", "verify", records, "--only", f"^{CLS}$")
    assert "1 passed, 0 failed" in said


def test_the_installed_wheel_converts(installed):
    release = installed.folder / f"downloads/{CLASSIFIER}_train"
    release.mkdir(parents=True)
    checkpoint = save(release / "best_accuracy.pdparams", weights(CLS))
    one = ("--paddle-dir", checkpoint, "--out", "one.pth", "--reference", "recorded")
    assert "(recorded reference, " in installed("paddleocr-to-torch", CLASSIFIER, *one)
    many = ("convert-all", "--paddle-root", "downloads", "--out", "many")
    assert "1 converted, 0 failed" in installed("paddleocr-to-torch", *many)
    code = "import architectures, sys; print(architectures.load(sys.argv[1]).class_counts)"
    for weights_file in ("one.pth", f"many/{CLASSIFIER}.pth"):
        assert installed("python", "-c", code, weights_file).strip() == "{'cls': 2}"
    assert (installed.folder / "many/report/parity.html").is_file()


# The pins.


def test_the_makefile_installs_what_the_extras_say(setup: configparser.ConfigParser) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (models,) = re.findall(r"^ONNX_MODELS := (.+)$", makefile, re.MULTILINE)
    assert models.split() == setup["options.extras_require"]["benchmark-models"].split()
    (models,) = re.findall(r"^RAPIDOCRLITE := (.+)$", makefile, re.MULTILINE)
    assert models.split() == setup["options.extras_require"]["rapidocrlite"].split()
    (models,) = re.findall(r"^STRUCTURE_MODELS := (.+)$", makefile, re.MULTILINE)
    assert models.split() == setup["options.extras_require"]["structure-models"].split()
    judges = setup["options.extras_require"]["judges"].split()
    versions = {**VERSIONS, "rapidocr": rapidocr_networks.VERSION}
    assert judges == [f"{name}=={version}" for name, version in versions.items()]


def test_the_lock_fits_every_requirement_of_the_setup(setup: configparser.ConfigParser) -> None:
    extras = setup["options.extras_require"]
    wanted = [setup["options"]["install_requires"]]
    wanted += [extras[name] for name in ("paddle", "test", "cells", "documents", "download")]
    wanted += [extras[name] for name in ("excel", "formula", "pdf", "serve")]
    wanted += [extras[name] for name in ("demo", "judges")]
    lines = [line for text in wanted for line in text.split("\n") if line.strip()]
    requirements = [Requirement(line) for line in lines if not line.startswith("paddleocr-to-")]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.findall(r"^(\S+==.+?) \\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n?)+)", lock, re.M)
    assert len(entries) == len(re.findall(r"^\w", lock, re.MULTILINE))  # no pin without a hash
    locked = {}
    for entry, _hashes in entries:
        pin = Requirement(entry)
        if pin.marker is None or pin.marker.evaluate(default_environment()):
            (version,) = pin.specifier
            locked[pin.name.lower()] = version.version
    for requirement in requirements:
        if requirement.name != "torch":  # its builds differ in their hashes; see the Makefile
            assert requirement.specifier.contains(locked[requirement.name.lower()]), requirement
