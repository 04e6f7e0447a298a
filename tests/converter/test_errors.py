"""Messages show names from strangers' files without acting on the terminal."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from converter import errors
from converter.errors import ParityError, SourceError
from converter.parity.report import ParityReport
from converter.sources.ir import spec
from converter.sources.pdparams import read_pdparams
from schemas.messages import escape_controls
from tests.support.checkpoints import save

EVIL = "a\x1b[31m\rb\x9bc\u2028d\u202ee\x7f\x00\x85f"
SHOWN = r"a\x1b[31m\rb\x9bc\u2028d\u202ee\x7f\x00\x85f"


def test_control_characters_are_escaped():
    assert escape_controls(EVIL) == SHOWN
    assert escape_controls(SHOWN) == SHOWN


@pytest.mark.parametrize("text", ["two\nlines", "模型 ← é", "a\u200db", r"C:\path"])
def test_other_text_stays(text):
    assert escape_controls(text) == text


def all_errors(kind: type) -> list[type]:
    return [kind, *(e for each in kind.__subclasses__() for e in all_errors(each))]


@pytest.mark.parametrize("kind", [e for e in all_errors(errors.ConverterError) if e != ParityError])
def test_every_error_escapes_its_message(kind):
    assert str(kind(EVIL)) == SHOWN
    assert str(pickle.loads(pickle.dumps(kind(EVIL)))) == SHOWN


def test_a_failed_proof_escapes_its_message():
    assert str(ParityError(EVIL, ParityReport("recorded", ()))) == SHOWN


@pytest.mark.parametrize("name", ["fc.weight\nwrote x.pth", "\x1b[2Jfc.weight"])
def test_names_of_tensors_have_no_control_characters(tmp_path, name):
    file = save(tmp_path / "a.pdparams", {name: np.ones(3, np.float32)})
    with pytest.raises(SourceError, match="expected no control characters") as caught:
        read_pdparams(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="control characters in the name"):
        spec(name, [3], "float32")
