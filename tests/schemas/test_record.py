"""The facts of a record: what is read is written back, and a damaged row is named."""

from __future__ import annotations

import json

import pytest

from schemas.record import OutputRow, RecordError, RecordFacts
from tests.support.paths import RECORDS

CONTENT = json.loads((RECORDS / "cls__cls_mv3" / "reference.json").read_text())


def test_shipped_facts_come_back_as_they_were():
    facts = RecordFacts.from_dict(CONTENT)
    assert isinstance(facts.outputs[0], OutputRow)
    written = facts.to_dict()
    assert {key: written[key] for key in CONTENT if key != "size_variant"} == {
        key: value for key, value in CONTENT.items() if key != "size_variant"
    }
    assert RecordFacts.from_dict(json.loads(json.dumps(written))) == facts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["a"], "expected an object"),
        ({key: CONTENT[key] for key in CONTENT if key != "trace"}, "lacks trace"),
        (CONTENT | {"outputs": "all"}, "'all' as outputs, expected a list of rows"),
        (CONTENT | {"outputs": [["a", [1, 2]]]}, "the row .* in outputs"),
        (CONTENT | {"inputs": [7]}, "the row 7 in inputs"),
        (CONTENT | {"aliases": [["a"]]}, "the row .* in aliases"),
    ],
)
def test_content_of_another_form(content, message):
    with pytest.raises(RecordError, match=message):
        RecordFacts.from_dict(content)
