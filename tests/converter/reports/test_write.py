"""The report of many models: what is written, what is read back, what a stranger's text does."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from converter.conversion.result import ModelResult
from converter.errors import OutputError, SourceError
from converter.parity.comparison import DECADES
from converter.reports.formatting import scientific
from converter.reports.write import (
    FILES,
    markdown,
    read_report,
    write_report,
)
from tests.support.many_results import proof, result, stopped

WRONG = proof(3e-3)
RESULTS = [
    result("det_a"),
    result("rec_unproven", status="unverified", parity=None, reference=None),
    result("rec_b", proof(1e-6), fresh=False),
    result("rec_wrong", WRONG, error="Paddle and PyTorch disagree", exit_code=5, weights=None),
    stopped("det_stopped", "2 faults\n  a | b\n  c"),
]
ORDER = ["det_stopped", "rec_wrong", "rec_unproven", "det_a", "rec_b"]


@pytest.fixture
def folder(tmp_path) -> Path:
    write_report(tmp_path / "new" / "parity", RESULTS, title="Parity")
    return tmp_path / "new" / "parity"


@pytest.fixture(scope="module")
def schema() -> dict:
    text = (resources.files("converter.reports") / "static" / "report.schema.json").read_text(
        "utf-8"
    )
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return json.loads(text)


def content(folder: Path) -> dict:
    return json.loads((folder / "parity.json").read_text("utf-8"))


def test_three_files_and_nothing_else(folder):
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)


def test_the_json_fits_its_schema(folder, schema):
    written = content(folder)
    jsonschema.validate(written, schema)
    assert [model["name"] for model in written["models"]] == ORDER
    assert written["summary"] == {"failed": 2, "unverified": 1, "passed": 2}
    assert written["decades"] == list(DECADES)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "fine"},
        {"status": "passed", "parity": None},
        {"status": "passed", "error": "no"},
        {"sources": {"a": "123"}},
        {"seconds": -1},
        {"surplus": 1},
        {"parity": {"comparisons": []}},
    ],
)
def test_the_schema_refuses_what_is_no_report(folder, schema, change):
    written = content(folder)
    written["models"][0] |= change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written, schema)


def test_the_schema_knows_every_comparison(folder, schema):
    """A field that is added to the report is to be described."""
    described = set(schema["$defs"]["comparison"]["properties"])
    models = content(folder)["models"]
    assert {key for c in models[1]["parity"]["comparisons"] for key in c} == described
    assert models[1]["parity"].keys() == schema["$defs"]["parity"]["properties"].keys()
    assert models[1].keys() == schema["$defs"]["model"]["properties"].keys()


def test_what_was_written_is_read(folder):
    read = read_report(folder / "parity.json")
    by_name = {each.name: each for each in RESULTS}
    assert [each.name for each in read] == ORDER
    for each in read:
        expected = by_name[each.name]
        assert replace(each, parity=None) == replace(expected, parity=None)
        assert (each.difference, each.limit) == (expected.difference, expected.limit)
    write_report(folder / "again", read, title="Parity")
    again = content(folder / "again")
    assert again["models"] == content(folder)["models"]


def test_a_report_without_histograms_is_read(folder):
    """Artefacts of older versions have none."""
    written = content(folder)
    for model in written["models"]:
        for comparison in (model["parity"] or {}).get("comparisons", ()):
            del comparison["histogram"]
    (folder / "parity.json").write_text(json.dumps(written))
    write_report(folder, read_report(folder / "parity.json"), title="Parity")
    assert '<td class="histogram" data-sort="">' in (folder / "parity.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", "not a parity report of format 1"),
        ('{"format": 2, "models": []}', "not a parity report of format 1"),
        ('{"format": 1}', "without a list of models"),
        ('{"format": 1, "models": [3]}', "model 1: expected a mapping, found int"),
        ('{"format": 1, "models": [{"name": "x", "extra": 1}]}', "missing or unknown: counts"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(SourceError, match=message):
        read_report(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"status": "fine"}, "the status should be"), ({"seconds": "1"}, "seconds is of type str"),
     ({"sources": []}, "sources is of type list"), ({"exit_code": True}, "exit_code is of type")],
)  # fmt: skip
def test_a_field_of_another_type_is_refused(folder, change, message):
    written = content(folder)
    written["models"][2] |= change
    (folder / "parity.json").write_text(json.dumps(written))
    with pytest.raises(SourceError, match=f"model 3: {message}"):
        read_report(folder / "parity.json")


def test_a_missing_report(tmp_path):
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        read_report(tmp_path / "none.json")


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made: Not a directory"):
        write_report(tmp_path / "file" / "parity", RESULTS, title="Parity")
    (tmp_path / "parity.md").mkdir()
    with pytest.raises(OutputError, match="is a folder; name a file"):
        write_report(tmp_path, RESULTS, title="Parity")
    assert not (tmp_path / "parity.json").exists()


def test_a_failure_leaves_the_former_files(folder, monkeypatch):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_report(folder, RESULTS[:1], title="Other")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


# What a result says of itself.


def test_the_worst_difference_and_its_limit():
    assert result("a").limit == 1e-4
    assert result("a", WRONG).limit == 1e-3  # the backbone failed first
    assert result("a", WRONG).difference == pytest.approx(2.9e-3, rel=0.1)
    undecided = result("a", proof(1e-7, "another text"))
    assert (undecided.difference, undecided.limit) == (math.inf, 1e-4)
    assert (RESULTS[4].difference, RESULTS[4].limit) == (None, None)


def test_why_it_failed():
    assert result("a").message == ""
    assert RESULTS[4].message.startswith("2 faults")
    first, second = result("a", WRONG).message.splitlines()
    assert first.startswith("the largest difference is 2.")
    assert second.startswith("the first layer that differs is backbone.conv1.bn: ")
    assert result("a", status="failed", parity={}).message == "the comparison failed"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.inf, "∞"), (math.nan, "∞"), (0.0, "0"), (1e-4, "1e-4"),
     (2.736e-6, "2.74e-6"), (5.1e-7, "5.10e-7"), (0.4, "4e-1")],
)  # fmt: skip
def test_numbers_for_a_person(value, text):
    assert scientific(value) == text


# Markdown.


def table(text: str) -> list[list[str]]:
    """Return the cells of a table, read as GitHub does: a bar splits unless it is escaped."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [row.replace("\\|", "\0").strip("|").split("|") for row in rows]


def test_the_table(folder):
    text = (folder / "parity.md").read_text("utf-8")
    head, ruler, *rows = table(text)
    assert "**2 failed, 1 unverified, 2 passed** of 5 models" in text
    assert {len(row) for row in [head, ruler, *rows]} == {12}
    assert [row[1].strip().replace("\\", "") for row in rows] == ORDER
    assert rows[0][-1].strip() == "2 faults<br>  a \0 b<br>  c"
    assert rows[1][-1].strip() == "Paddle and PyTorch disagree"
    assert [cell.strip() for cell in rows[3][2:]] == [
        "det", "program", rows[3][4].strip(), "1e-4", "logits (head.fc)", "342", "58", "1", "4.5 s",
        "",
    ]  # fmt: skip
    assert rows[4][10].strip() == "up to date"


def test_without_failures_there_is_no_column_of_messages():
    text = markdown([RESULTS[0]], "Parity")
    assert {len(row) for row in table(text)} == {11}
    assert "**1 passed**\n" in text
    assert "**No models**" in markdown([], "Parity")


def test_a_long_message_is_cut():
    text = markdown([stopped("a", "\n".join(["fault"] * 500))], "Parity")
    assert text.count("fault") == 12
    assert "(all of it in parity.json)" in text
    assert len(markdown([stopped("a", "x" * 10**6)], "Parity")) < 3000


EVIL = "x|y`<script>alert(1)</script>\r\n| a | b |\u2028*[z](http://evil)\\|"


def test_a_strangers_text_stays_in_its_cell():
    text = markdown([stopped(EVIL, EVIL), replace(RESULTS[0], task=EVIL)], EVIL)
    assert {len(row) for row in table(text)} == {12}
    assert len(text.splitlines()) == 8
    assert "<script" not in text.replace("\\<", "")
    assert "\\\\\\|" in text


def test_a_name_that_is_no_text(tmp_path):
    """A file's name in another encoding is a lone surrogate in Python."""
    write_report(tmp_path, [stopped("rec_\udcff", "\udcfe is wrong")], title="Parity")
    (read,) = read_report(tmp_path / "parity.json")
    assert (read.name, read.error) == ("rec_\udcff", "\udcfe is wrong")
    for name in FILES:
        assert "rec_" in (tmp_path / name).read_text("utf-8").replace("\\_", "_")


def test_a_result_is_what_the_contract_says():
    least = ModelResult("n", "det", "passed", "program", {}, {}, 1.0, {}, {}, None)
    assert (least.error, least.exit_code, least.fresh) == ("", 0, True)
