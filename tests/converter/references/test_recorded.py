"""Recorded references: every network has one, and what is damaged or altered fails."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from converter.catalog import cards as catalog
from converter.cli.main import main
from converter.diagnosis.records import Verified, prove, verify
from converter.errors import ConverterError, SourceError
from converter.parity.report import ParityReport
from converter.references.recorded.record import Record, find_records, read_record, shipped_record
from converter.references.seeded import seeded_weight
from converter.reports.record_results import result_of
from converter.reports.write import read_report
from schemas.record import InputRow, RecordFacts
from tests.support.paths import CONFIGS, RECORDS
from tests.support.shipped_records import NAMES

SMALL = "cls__cls_mv3"
LITE = "rec__multi_language__rec_en_number_lite_train"


@pytest.fixture
def record(tmp_path) -> Path:
    """A copy of a small record."""
    return Path(shutil.copytree(RECORDS / SMALL, tmp_path / "records" / SMALL))


def change(record: Path, **facts) -> None:
    file = record / "reference.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


def change_arrays(record: Path, **arrays) -> None:
    with np.load(record / "outputs.npz") as archive:
        kept = dict(archive)
    kept |= arrays
    np.savez(record / "outputs.npz", **{k: v for k, v in kept.items() if v is not None})


def outcome(record: Path) -> ParityReport | ConverterError:
    (verified,) = verify([record])
    assert verified.folder == record
    return verified.result


def refusal(record: Path) -> str:
    """Return the one line in which a damaged record ends."""
    result = outcome(record)
    assert isinstance(result, SourceError)
    message = str(result)
    assert message.isprintable()
    assert str(record) in message
    return message


def test_there_is_a_record_of_every_network():
    of_paddlex = {name for name in NAMES if name.startswith("paddlex__")}
    smaller = {f"rec__{config.stem}" for config in CONFIGS.glob("*")}
    named = {config["recorded"] for config in catalog.configs()}
    assert set(NAMES) - of_paddlex - smaller <= named <= set(NAMES)
    mappings = {config["paddlex"]["mapping"] for config in catalog.configs() if "paddlex" in config}
    proved = [catalog.card(name.removeprefix("paddlex__")).paddlex for name in of_paddlex]
    assert {network.mapping for network in proved if network} == mappings
    assert find_records(RECORDS) == [RECORDS / name for name in NAMES]
    assert find_records(RECORDS, "^rec.*v4_m") == [RECORDS / "rec__PP-OCRv4__PP-OCRv4_mobile_rec"]
    assert all(shipped_record(name).name == name for name in NAMES)
    assert shipped_record("none") is None


def test_a_recogniser_is_compared_by_classes_too():
    report = prove(read_record(RECORDS / LITE))
    probes = [comparison.probe for comparison in report.comparisons]
    assert probes[:3] == ["out", "out, classes", "head.fc"]
    assert [bool(found.histogram) for found in report.comparisons[:3]] == [True, False, False]


# The rule.


@pytest.mark.parametrize(
    ("name", "shape", "first", "last"),
    [
        ("a.bn._mean", (4,), -0.012952368, -0.017639332),
        ("a.bn._variance", (4,), 1.2063261, 1.1870447),
        ("a.bn.weight", (4,), 1.0460688, 0.9522934),
        ("a.bias", (4,), -0.02313529, -0.0682843),
        ("lstm.weight_ih_l0", (8, 4), 0.524656, -0.8633296),
        ("word_emb.weight", (5, 3), 0.23390011, 0.027713893),
        ("fc.weight", (12, 3), -0.80677474, -0.014373866),
        ("fc.weight", (4, 3), -1.3711506, 0.8725008),
        ("pos_embed", (1, 3, 2), 0.80809885, 0.1276944),
        ("conv.weight", (2, 3, 2, 2), 0.05990573, 0.3263112),
        ("depthwise.weight", (2, 1, 2, 2), 0.24194627, -0.3841043),
    ],
)
def test_seeded_weights(name, shape, first, last):
    """The rule is a contract with every record there is: these numbers never change."""
    array = seeded_weight(0, name, shape)
    assert (array.shape, array.dtype) == (shape, np.float32)
    np.testing.assert_allclose(array.ravel()[[0, -1]], [first, last], rtol=1e-6)


def test_the_salt_and_the_exponent():
    plain = seeded_weight(0, "conv.weight", (2, 3, 2, 2))
    np.testing.assert_array_equal(seeded_weight(0, "conv.weight", (2, 3, 2, 2), -3), plain / 8)
    assert not np.allclose(seeded_weight(1, "conv.weight", (2, 3, 2, 2)), plain)


@pytest.mark.parametrize(
    ("rule", "first", "last"),
    [("uniform(-1,1)", -0.06438578, 0.97962826), ("waves", 0.070605814, 0.3182566)],
)
def test_seeded_inputs(rule, first, last):
    facts = RecordFacts(inputs=(InputRow("image", (1, 3, 8, 16), "float32", rule),))
    image = Record("x", facts, {}).inputs()["image"]
    assert (image.shape, image.dtype) == ((1, 3, 8, 16), np.float32)
    np.testing.assert_allclose(image.ravel()[[0, -1]], [first, last], rtol=1e-5)


def test_stored_inputs():
    stored = np.arange(4, dtype=np.int32)
    facts = RecordFacts(inputs=(InputRow("ids", (2, 2), "int64", "stored: tokens"),))
    ids = Record("x", facts, {"input:ids": stored}).inputs()["ids"]
    assert ids.dtype == np.int64
    np.testing.assert_array_equal(ids, [[0, 1], [2, 3]])


# What does not pass.


def test_a_value_that_was_altered_names_the_layer(record):
    facts = json.loads((record / "reference.json").read_text())
    row = next(i for i, entry in enumerate(facts["trace"]) if entry[0] == "backbone.conv2.bn")
    with np.load(record / "outputs.npz") as archive:
        rows = archive["trace"].copy()
    rows[row, 5] += 0.01 * rows[row, 2]
    change_arrays(record, trace=rows)
    report = outcome(record)
    assert not report.passed
    assert report.first_difference.startswith("backbone.conv2.bn: the largest difference is 1.0")


def test_an_output_that_was_altered_is_seen(record):
    with np.load(record / "outputs.npz") as archive:
        out = archive["out"].copy()
    out[0] += 2e-4
    change_arrays(record, out=out)
    report = outcome(record)
    assert not report.passed
    assert report.worst.probe == "out"
    assert report.first_difference == ""


def test_another_class_is_seen(tmp_path):
    name = "rec__multi_language__rec_en_number_lite_train"
    record = Path(shutil.copytree(RECORDS / name, tmp_path / name))
    with np.load(record / "outputs.npz") as archive:
        classes = archive["out@argmax"].copy()
    classes.ravel()[3] += 1
    change_arrays(record, **{"out@argmax": classes})
    report = outcome(record)
    assert (report.worst.probe, report.worst.fault) == ("out, classes", "1 classes differ")


def test_another_shape_is_seen(record):
    facts = json.loads((record / "reference.json").read_text())
    facts["trace"][0][3][1] = 16
    change(record, trace=facts["trace"])
    report = outcome(record)
    assert report.first_difference.startswith("backbone.conv1.conv: Paddle gives (2, 16, 24, 96)")


def test_a_weight_of_another_salt_is_seen(record):
    change(record, salt=1)
    assert outcome(record).first_difference.startswith("backbone.conv1.conv: ")


def test_an_unknown_rule_of_weights(record):
    change(record, rule=2)
    assert "has weights by rule 2; this version knows rule 1" in refusal(record)


def test_an_unknown_rule_of_inputs(record):
    change(record, inputs=[["image", [2, 3, 48, 192], "float32", "noise"]])
    result = outcome(record)
    assert "unknown rule 'noise' for the input image" in str(result)


@pytest.mark.parametrize(
    ("rule", "low", "high"),
    [
        ("uniform(-1,1)", -1, 1),
        ("waves", -2, 2),
        ("clip(waves, -1, 1)", -1, 1),
        ("127.5 + 127.5 * uniform(-1,1)", 0, 255),
    ],
)
def test_every_rule_of_inputs(rule, low, high):
    shape = (2, 3, 16, 24)
    facts = RecordFacts(inputs=(InputRow("image", shape, "float32", rule),))
    image = Record("x", facts, {}).inputs()["image"]
    assert (image.shape, image.dtype) == (shape, np.float32)
    assert low <= image.min() < low / 2 + high / 2 < image.max() <= high


def test_clipped_waves_are_waves_but_for_the_peaks():
    waves, clipped = (
        Record(
            "x", RecordFacts(inputs=(InputRow("image", (2, 3, 32, 32), "float32", rule),)), {}
        ).inputs()["image"]
        for rule in ("waves", "clip(waves, -1, 1)")
    )
    beyond = np.abs(waves) > 1
    assert 0 < beyond.mean() < 0.1
    np.testing.assert_array_equal(waves[~beyond], clipped[~beyond])
    np.testing.assert_array_equal(np.abs(clipped[beyond]), 1)


def test_an_unknown_network(record):
    architecture = json.loads((record / "reference.json").read_text())["architecture"]
    change(record, architecture=architecture | {"Backbone": {"name": "ViT"}})
    assert "unknown Backbone 'ViT'" in str(outcome(record))


def test_a_missing_weight(record):
    parameters = json.loads((record / "reference.json").read_text())["parameters"]
    change(record, parameters=parameters[1:])
    assert parameters[0][0] in str(outcome(record))


def test_a_record_that_compares_nothing(record):
    change(record, outputs=[], trace=[])
    change_arrays(record, trace=np.zeros((0, 11), np.float32))
    report = outcome(record)
    assert not report.passed
    assert report.worst.fault == "the record has no such layer"


@pytest.mark.parametrize("key", ["salt", "rule", "architecture", "parameters", "trace", "outputs"])
def test_a_missing_key(record, key):
    file = record / "reference.json"
    facts = json.loads(file.read_text())
    del facts[key]
    file.write_text(json.dumps(facts))
    assert f"lacks {key}" in refusal(record)


@pytest.mark.parametrize("name", ["out", "trace"])
def test_a_missing_array(record, name):
    change_arrays(record, **{name: None})
    assert "is inconsistent (KeyError: " in refusal(record)


@pytest.mark.parametrize("rows", [[["name"]], 3, [None], {"a": 1}])
def test_rows_that_are_none(record, rows):
    change(record, parameters=rows)
    assert "in parameters: " in refusal(record) or "as parameters, expected" in refusal(record)


@pytest.mark.parametrize("file", ["reference.json", "outputs.npz"])
def test_a_missing_file(record, file):
    (record / file).unlink()
    assert "is not a recorded reference: " in refusal(record)


@pytest.mark.parametrize("file", ["reference.json", "outputs.npz"])
def test_truncated_files(record, file):
    data = (record / file).read_bytes()
    for size in (0, 1, 100, len(data) // 2, len(data) - 2):
        (record / file).write_bytes(data[:size])
        assert "is not a recorded reference: " in refusal(record)


def test_flipped_bytes_end_in_one_line(record):
    dice = random.Random(0)
    data = (record / "outputs.npz").read_bytes()
    for _ in range(60):
        damaged = bytearray(data)
        damaged[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        (record / "outputs.npz").write_bytes(damaged)
        result = outcome(record)
        assert isinstance(result, (SourceError, ParityReport))


def test_a_pickle_is_not_loaded(record):
    change_arrays(record, out=np.array([{}], object))
    assert "allow_pickle=False" in refusal(record)


# The command.


def test_verify(capsys, tmp_path):
    file, wanted = tmp_path / "all.json", [SMALL, LITE]
    code = main(["verify", str(RECORDS), "--only", "|".join(wanted), "--json", str(file)])
    *lines, last = capsys.readouterr().out.splitlines()
    assert code == 0
    assert [line.partition(":")[0] for line in lines] == wanted
    assert last == "2 passed, 0 failed"
    reports = json.loads(file.read_text())
    assert {name: report["status"] for name, report in reports.items()} == dict.fromkeys(
        wanted, "passed"
    )


def test_a_network_that_cannot_take_the_input(tmp_path):
    record = Path(shutil.copytree(RECORDS / LITE, tmp_path / LITE))
    change(record, inputs=[["image", [2, 3, 64, 160], "float32", "uniform(-1,1)"]])
    assert "AssertionError: the feature map must have height 1" in refusal(record)


def test_verify_goes_on_after_a_failure(record, capsys, tmp_path):
    broken = shutil.copytree(record, record.parent / "broken")
    (broken / "outputs.npz").write_bytes(b"")
    altered = shutil.copytree(record, record.parent / "altered")
    change(altered, salt=5)
    file = tmp_path / "all.json"
    assert main(["verify", str(record.parent), "--json", str(file)]) == 5
    first, second, third, last = capsys.readouterr().out.splitlines()
    assert first.startswith("altered: FAILED ")
    assert "first difference: backbone.conv1.conv: " in first
    assert second.startswith(f"broken: FAILED {broken} is not a recorded reference")
    assert third.startswith(f"{SMALL}: ")
    assert last == "1 passed, 2 failed"
    statuses = {name: report["status"] for name, report in json.loads(file.read_text()).items()}
    assert statuses == {"altered": "failed", "broken": "failed", SMALL: "passed"}


def test_verify_writes_the_parity_report(record, capsys, tmp_path):
    altered = shutil.copytree(record, record.parent / "altered__rec")
    change(altered, salt=5)
    broken = shutil.copytree(record, record.parent / "det__broken")
    (broken / "outputs.npz").unlink()
    assert main(["verify", str(record.parent), "--report", str(tmp_path / "new" / "out")]) == 5
    assert capsys.readouterr().out.endswith("1 passed, 2 failed\n")
    rows = read_report(tmp_path / "new" / "out" / "parity.json")
    assert [(row.name, row.status, row.exit_code) for row in rows] == [
        ("altered__rec", "failed", 5),
        ("det__broken", "failed", 3),
        (SMALL, "passed", 0),
    ]
    first, second, last = rows
    assert first.message.splitlines()[1].startswith(
        "the first layer that differs is backbone.conv1"
    )
    assert (second.task, second.parity, second.counts) == ("det", None, None)
    assert list(second.sources) == ["reference.json"]
    assert second.message.startswith(f"{broken} is not a recorded reference")
    assert (last.task, last.reference, last.message) == ("cls", "recorded", "")
    assert last.counts["used"] > 100
    assert last.difference < last.limit == 1e-4
    assert last.versions["paddle"] == "3.3.1"
    assert last.versions["torch"]
    assert {len(digest) for digest in last.sources.values()} == {64}


def test_the_report_counts_all_networks_of_a_record(record):
    ((_, result, read, plans, seconds),) = verify([record])
    one, two = (result_of(Verified(record, result, read, plans * n, seconds)) for n in (1, 2))
    assert two.counts["used"] == 2 * one.counts["used"]
    assert two.counts["dropped"] == {why: 2 * n for why, n in one.counts["dropped"].items()}


def test_a_report_that_cannot_be_written_ends_before_any_work(record, capsys):
    assert main(["verify", str(record.parent), "--report", str(record / "reference.json")]) == 2
    captured = capsys.readouterr()
    assert "cannot be made: File exists" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{none}"], "is not a folder of records"),
        (["{records}", "--only", "xyz"], "has no record that matches 'xyz'"),
        (["{records}", "--only", "cls", "--json", "{none}/all.json"], "does not exist; create it"),
    ],
)
def test_verify_without_anything_to_do(capsys, tmp_path, arguments, message):
    places = {"none": tmp_path / "none", "records": RECORDS}
    assert main(["verify", *(text.format(**places) for text in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("converter verify: ")
    assert error.count("\n") == 1


def test_verify_by_a_pattern_that_is_none(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["verify", str(RECORDS), "--only", "("])
    assert "argument --only: '(' is no regular expression: missing )" in capsys.readouterr().err
