"""The dependencies that setup.cfg and the Makefile pin are the same."""

from __future__ import annotations

import configparser
import re

import pytest

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
