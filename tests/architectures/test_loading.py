"""Reading artefacts: the round trip, and every way in which two files can fail to be one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from architectures import Model, build, fuse, load
from architectures.loading import ArtefactError
from tests.support.small_networks import CRNN

ARCHITECTURES: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "rec": (CRNN, (32, 64)),
    "det": (
        {
            "model_type": "det",
            "Backbone": {"name": "PPLCNetV3", "scale": 0.25, "conv_kxk_num": 1, "det": True},
            "Neck": {"name": "RSEFPN", "out_channels": 16},
            "Head": {"name": "DBHead", "k": 50},
        },
        (32, 64),
    ),
}
COUNTS: dict[str, dict[str, int]] = {"rec": {"ctc": 7}, "det": {}}


def write(model: Model, path: Path, **changes: Any) -> None:
    """The two files of an artefact; `changes` replace entries of the JSON."""
    state = model.state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    describe(path, model, **changes)


def describe(path: Path, model: Model, **changes: Any) -> None:
    """The JSON of whatever lies at `path`."""
    card = {
        "format": 1,
        "architecture": model.architecture,
        "class_counts": model.class_counts,
        "form": model.form,
        "weights": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "file": path.name},
        "report": {"anything": "else"},
    }
    card.update(changes)
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pth"


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return build(ARCHITECTURES["rec"][0], class_counts=COUNTS["rec"])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("form", ["train", "deploy", "fused"])
@pytest.mark.parametrize("task", ARCHITECTURES)
def test_round_trip(task, form, suffix, tmp_path):
    architecture, size = ARCHITECTURES[task]
    torch.manual_seed(0)
    written = fuse(build(architecture, class_counts=COUNTS[task]), form)
    write(written, tmp_path / f"model{suffix}")
    found = load(tmp_path / f"model{suffix}")
    x = torch.rand(1, 3, *size)
    with torch.no_grad():
        assert torch.equal(found(x), written(x))
        assert torch.equal(load(tmp_path / f"model{suffix}", mmap=True)(x), written(x))
    assert not found.training
    assert (found.form, found.class_counts) == (form, COUNTS[task])
    assert found.architecture == written.architecture
    assert found.card is not None
    assert found.card.extra == {"report": {"anything": "else"}}
    assert {t.device.type for t in found.state_dict().values()} == {"cpu"}
    assert all(parameter.requires_grad for parameter in found.parameters())


def test_a_loaded_network_can_be_fused(model, path):
    write(model, path)
    found = load(str(path), device="cpu")
    fused = fuse(found)
    x = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), model(x))
    assert found.card is not None
    assert fused.card is None, "the artefact's description is not that of the fused network"


def test_another_device(model, path):
    write(model, path)
    assert {p.device.type for p in load(path, device="meta").parameters()} == {"meta"}


class TestErrors:
    def check(self, path: Path, message: str) -> None:
        with pytest.raises(ArtefactError, match=message):
            load(path)

    def test_no_json(self, model, path):
        write(model, path)
        path.with_suffix(".json").unlink()
        self.check(path, r"model\.json is missing")

    def test_no_weights(self, model, path):
        write(model, path)
        path.unlink()
        self.check(path, r"model\.pth: there is no such file")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"", "is not JSON"),
            (b"{", "is not JSON"),
            (b"\xff\xfe", "is not JSON"),
            (b"[1]", "no format number"),
            (b'{"format_version": 1}', "no format number"),
            (b'{"format": 2}', "has the format 2; this version reads 1"),
            (b'{"format": 1, "form": "train"}', "lacks architecture, class_counts, weights"),
        ],
    )
    def test_foreign_json(self, model, path, text, message):
        write(model, path)
        path.with_suffix(".json").write_bytes(text)
        self.check(path, message)

    def test_replaced_weights(self, model, path):
        write(model, path)
        torch.save({name: tensor + 1 for name, tensor in model.state_dict().items()}, path)
        self.check(path, "one of the two was replaced")

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_weights_that_are_none(self, model, tmp_path, suffix):
        path = tmp_path / f"model{suffix}"
        path.write_bytes(b"not weights")
        describe(path, model)
        self.check(path, "is not a ")
        with pytest.raises(ArtefactError, match="is not a "):
            load(path, mmap=True)

    def test_code_in_the_weights(self, model, path):
        torch.save(model, path)
        describe(path, model)
        self.check(path, "is not a file of PyTorch weights")

    @pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 1}])
    def test_something_else_in_the_weights(self, model, path, content):
        torch.save(content, path)
        describe(path, model)
        self.check(path, "something other than a state_dict")

    def test_all_faults_of_the_tensors_are_named(self, model, path):
        state = model.state_dict()
        state["head.fc.scale"] = state.pop("head.fc.bias")
        state["head.fc.weight"] = state["head.fc.weight"].T.contiguous()
        state["backbone.conv2.bn.weight"] = state["backbone.conv2.bn.weight"].half()
        torch.save(state, path)
        describe(path, model)
        with pytest.raises(ArtefactError) as caught:
            load(path)
        for fault in (
            "missing head.fc.bias",
            "unexpected head.fc.scale",
            r"head.fc.weight is ((16, 7), torch.float32), not ((7, 16), torch.float32)",
            "backbone.conv2.bn.weight is ((200,), torch.float16)",
        ):
            assert fault in str(caught.value)

    def test_many_faults_are_counted(self, model, path):
        torch.save({}, path)
        describe(path, model)
        self.check(path, rf"missing backbone.* and {len(model.state_dict()) - 10} more")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"form": "train", "architecture": {}}, "the architecture lacks model_type"),
            ({"form": "quick"}, "unknown form 'quick'"),
            ({"class_counts": {"ctc": 9}}, "states 7 classes"),
            ({"weights": {}}, "describes None"),
            ({"form": None}, "lacks form"),
            ({"form": "fused"}, "does not fit its network: missing backbone.conv1.conv.bias"),
        ],
    )
    def test_json_that_does_not_fit(self, model, path, changes, message):
        write(model, path, **changes)
        self.check(path, message)
