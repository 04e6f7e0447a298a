"""Exports as graphs: they load without this package, take other sizes and compute the same."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from architectures import Model, build
from architectures.heads.drrg.det_drrg_head import DRRGHead
from architectures.heads.pp_doclayout_v2_head import PPDocLayoutV2
from architectures.heads.pp_doclayout_v3_head import PPDocLayoutV3
from architectures.interfaces import OutputPart
from architectures.reparameterize import BATCH_NORMS
from architectures.saving import write_artefact
from converter.cli.main import main
from converter.errors import ExportError
from converter.exporting import decoders, onnx_file, parts, steps, torch_program
from converter.exporting.artefact import read_artefact
from converter.exporting.program import make_graph
from converter.exporting.proof import ExportProof, prove
from converter.parity import rendered_inputs
from examples import decode_onnx
from schemas.artefact import ArtefactCard, DictionaryEntry, NetworkInput
from tests.support.small_networks import NETWORKS

CHARACTERS = tuple("abcde ")


def lively(model: Model, image: torch.Tensor) -> Model:
    """Take the statistics of the normalisations from an image, so that the results vary."""
    for module in model.modules():
        if isinstance(module, BATCH_NORMS):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(image)
    return model.eval()


def written(folder: Path, name: str, architecture: dict, task: str, size: NetworkInput) -> Path:
    torch.manual_seed(0)
    model = build(architecture)
    kind, sides = "line" if task == "rec" else "page", (size.height or 320, size.width or 320)
    (batch,) = rendered_inputs.batches(kind, [sides], (0.5,) * 3, (0.5,) * 3, 2)
    lively(model, torch.from_numpy(batch))
    card = ArtefactCard(
        name="mine",
        task=task,
        architecture=model.architecture,
        class_counts=model.class_counts,
        input=size,
        dictionary=DictionaryEntry("d.txt", "0" * 64, CHARACTERS) if task == "rec" else None,
    )
    path = folder / f"{name}.pth"
    write_artefact(path, "pth", model.state_dict(), card)
    return path


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Path:
    architecture, (height, width) = NETWORKS["rec v3"]
    folder = tmp_path_factory.mktemp("reader")
    return written(folder, "reader", architecture, "rec", NetworkInput(3, height, width))


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("detector")
    backbone = NETWORKS["east"][0]["Backbone"]  # the smaller one of the two MobileNets
    architecture = {**NETWORKS["det v2"][0], "Backbone": backbone}
    return written(folder, "detector", architecture, "det", NetworkInput(multiple_of=32))


@pytest.fixture(scope="module")
def program(reader) -> Path:
    assert main(["export", str(reader), "--to", "torch", "--out", str(reader.parent)]) == 0
    return reader.with_suffix(".pt2")


LOADING = """
import sys, torch
sys.path = [path for path in sys.path if path not in ("", sys.argv[2])]
files = {"card.json": ""}
module = torch.export.load(sys.argv[1], extra_files=files).module()
for count, width in ((1, 40), (5, 200)):
    print(*module(torch.rand(count, 3, 48, width)).shape)
assert "architectures" not in sys.modules
print(files["card.json"])
"""


def test_a_program_loads_alone_and_takes_other_sizes(program):
    root = str(Path(__file__).parents[3])
    run = [sys.executable, "-c", LOADING, str(program), root]
    done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=program.parent)
    first, second, card = done.stdout.splitlines()
    assert (first, second) == ("1 5 7", "5 25 7")
    assert json.loads(card)["dictionary"]["characters"] == list(CHARACTERS)


def test_a_size_that_the_program_was_not_made_for_is_no_silent_error(program, reader):
    module = torch.export.load(program).module()
    image = torch.rand(1, 3, 48, 41)
    expected = read_artefact(reader).results(image.numpy())["output"]
    torch.testing.assert_close(module(image).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises((RuntimeError, AssertionError)):
        module(torch.rand(1, 3, 32, 40))


def test_a_detector_takes_pages_of_any_size(detector, capsys):
    assert main(["export", str(detector), "--to", "torch", "--out", str(detector.parent)]) == 0
    assert "takes (N, 3, 32*H, 32*W)" in capsys.readouterr().out


def test_onnx_has_the_characters_and_free_sides(reader, capsys):
    assert main(["export", str(reader), "--to", "onnx", "--out", str(reader.parent)]) == 0
    assert "takes (N, 3, 48, 8*W)" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(reader.with_suffix(".onnx").read_bytes())
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["character"].splitlines() == list("abcde")  # RapidOCR adds the space
    image = np.random.default_rng(0).random((3, 3, 48, 136), np.float32)
    (result,) = session.run(None, {"x": image})
    expected = read_artefact(reader).results(image)["output"]
    np.testing.assert_allclose(result, expected, atol=1e-4 * expected.max())


WRITER = {
    "model_type": "rec",
    "Backbone": {"name": "ShallowCNN", "hidden_dim": 8},
    "Neck": {"name": "SequenceEncoder", "encoder_type": "reshape"},
    "Head": {"name": "AttentionHead", "hidden_size": 8, "out_channels": 7, "batch_max_length": 12},
}


@pytest.fixture(scope="module")
def writer(tmp_path_factory) -> Path:
    path = written(
        tmp_path_factory.mktemp("writer"), "writer", WRITER, "rec", NetworkInput(3, 4, 32)
    )
    artefact = read_artefact(path)
    for tensor in artefact.network.head.parameters():
        tensor.data *= 8  # so that the text depends on the image
    write_artefact(path, "pth", artefact.network.state_dict(), artefact.card)
    assert main(["export", str(path), "--to", "onnx", "--out", str(path.parent)]) == 0
    return path


def test_a_network_that_writes_step_by_step_is_two_files(writer):
    assert {file.name for file in writer.parent.glob("*.onnx")} == {
        "writer.encoder.onnx",
        "writer.step.onnx",
    }
    image = np.random.default_rng(0).random((3, 3, 4, 56), np.float32)
    tokens, results = decode_onnx.decode(str(writer.with_suffix("")), image)
    expected = read_artefact(writer).results(image)["output"][:, : tokens.shape[1] - 1]
    np.testing.assert_allclose(results["scores"], expected, atol=1e-4 * expected.max())
    assert (tokens[:, 1:] == expected.argmax(2)).all()


def test_a_wrong_step_is_found(writer, monkeypatch):
    artefact = read_artefact(writer)
    files = [writer.with_suffix(f".{part}.onnx") for part in ("encoder", "step")]
    runs = [onnx_file.ONNX.open(file, ()) for file in files]

    def proof(network: Model) -> float:
        decoder = decoders.decoder_of(artefact.network)
        image = decoders.ImagePart(artefact.network)
        step = decoders.StepPart(decoder, ("features", "keys", "state0"))
        compared = replace(artefact, network=network)
        batches = artefact.inputs()[:1]
        own = decoders.decoder_of(network)
        return steps._prove(compared, own, (image, step), runs, batches).difference

    assert proof(artefact.network) < 1e-5
    other = copy.deepcopy(artefact.network)
    other.head.generator.bias.data += torch.arange(7) * 0.01
    with pytest.raises(ExportError, match=r"output differs by .*; nothing was written"):
        proof(other)
    right = decoders.Attention.step

    def changed(self, memory, tokens):
        results = right(self, memory, tokens)
        return {**results, "next_state0": results["next_state0"] * 1.001}

    monkeypatch.setattr(decoders.Attention, "step", changed)
    with pytest.raises(ExportError, match=r"next_state0 of step 1 differs"):
        proof(artefact.network)


def test_a_trace_of_a_free_width(reader):
    assert main(["export", str(reader), "--to", "torchscript", "--out", str(reader.parent)]) == 0
    module = torch.jit.load(str(reader.parent / "reader.torchscript.pt"))
    image = torch.rand(1, 3, 48, 168)
    torch.testing.assert_close(
        module(image).numpy(), read_artefact(reader).results(image.numpy())["output"],
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip


COMPILED = """
import sys, torch
code = torch._inductor.aoti_load_package(sys.argv[1])
for shape in ((1, 3, 4, 32), (5, 3, 4, 32), (2, 3, 8, 32)):
    try:
        print(*code(torch.rand(shape)).shape)
    except RuntimeError as error:
        print("expected: 4, but got: 8" in str(error))
print(code.get_metadata()["takes"])
"""


def test_machine_code_tells_which_sizes_it_is_for(tmp_path):
    scorer = {**WRITER, "Head": {"name": "CTCHead", "out_channels": 7}}
    path = written(tmp_path, "x", scorer, "rec", NetworkInput(3, 4, 32))
    export = ["export", str(path), "--to", "torch", "--compile", "--out", str(tmp_path)]
    assert main(export) == 0
    run = [sys.executable, "-c", COMPILED, str(tmp_path / "x.compiled.pt2")]
    environment = {**os.environ, "AOTI_RUNTIME_CHECK_INPUTS": "1"}
    done = subprocess.run(run, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == ["1 8 7", "5 8 7", "True", "(N, 3, 4, 8*W)"]


def test_machine_code_needs_a_compiler(reader, tmp_path, monkeypatch, capsys):
    options = ["export", str(reader), "--out", str(tmp_path), "--compile", "--to"]
    assert main([*options, "onnx"]) == 2
    assert "--compile goes with --to torch, not with --to onnx" in capsys.readouterr().err
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert main([*options, "torch"]) == 2
    assert "no-such-compiler is not installed; install g++" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_trace_that_keeps_the_width_is_refused(detector, monkeypatch):
    class Fixed(parts.Positional):
        def forward(self, x, *extra):
            return super().forward(x, *extra) * torch.linspace(0.5, 1, int(x.shape[-1]))

    monkeypatch.setattr(torch_program, "whole", lambda artefact: Fixed(artefact.network, "x"))
    with pytest.raises(ExportError, match=r"nothing was written|does not take"):
        torch_program.export_script(read_artefact(detector), detector.parent)
    assert not (detector.parent / "detector.torchscript.pt").exists()


def test_a_network_of_one_size_frees_the_batch_alone(tmp_path):
    architecture, (height, width) = NETWORKS["svtr"]
    path = written(tmp_path, "svtr", architecture, "rec", NetworkInput(3, height, width))
    graph = make_graph(read_artefact(path))
    assert graph.free == ("batch",)
    assert graph.takes == f"(N, 3, {height}, {width})"


def test_another_result_is_found(reader):
    artefact = read_artefact(reader)
    batches = artefact.inputs()[:1]

    def changed(batch: np.ndarray) -> dict[str, np.ndarray]:
        return {"output": artefact.results(batch)["output"] * np.float32(1.001)}

    assert prove(artefact, artefact.results, batches).difference == 0
    with pytest.raises(ExportError, match=r"differs by 1\.00e-03 of its maximum"):
        prove(artefact, changed, batches)
    with pytest.raises(ExportError, match="is missing in the export; nothing was written"):
        prove(artefact, lambda _: {}, batches)


def test_pairs_that_are_never_read_are_no_part_of_the_maximum(reader):
    artefact, batches = read_artefact(reader), [np.zeros((1,), np.float32)]
    scores = np.array([[-1e4, 0.5], [-1e4, 0.4]], np.float32)
    moved, filled = scores.copy(), scores.copy()
    moved[1, 1], filled[0, 0] = 0.401, 0

    def compared(actual: np.ndarray) -> float:
        results = ({"order": actual}, {"order": scores})
        return prove(artefact, lambda _: results[0], batches, None, lambda _: results[1]).difference

    assert compared(scores) == 0
    with pytest.raises(ExportError, match=r"differs by 2\.00e-03 of its maximum"):
        compared(moved)
    with pytest.raises(ExportError, match="pairs that are never read, the export for others"):
        compared(filled)
    rows = iter([scores, filled, filled, filled])  # rounding decides which pairs are never read
    with pytest.raises(ExportError, match=r"differs by 2\.00e-03 of its maximum"):
        prove(artefact, lambda _: {"order": moved}, batches, None, lambda _: {"order": next(rows)})


def test_what_rounding_alone_changes_is_subtracted(reader):
    artefact, batches = read_artefact(reader), read_artefact(reader).inputs()[:1]

    def amplified(batch: np.ndarray) -> dict[str, np.ndarray]:
        return {"output": np.sin(batch * factor).astype(np.float32)}

    factor = 1e4

    def compared(shift: float = 0, more: float = 0) -> ExportProof:
        return prove(
            artefact,
            lambda batch: {"output": amplified(batch + shift)["output"] + np.float32(more)},
            batches,
            reference=amplified,
        )

    assert compared().noise == 0
    proof = compared(8e-7)
    assert proof.difference < 1e-4 < proof.noise < 1.1e-2
    assert "beyond the " in proof.describe()
    with pytest.raises(ExportError, match=r"differs by 3\.\d+e-02 of its maximum"):
        compared(3e-6)
    with pytest.raises(ExportError, match=r"differs by 5\.00e-03 of its maximum"):
        compared(more=5e-3)  # within the noise of single values, but not of the mean
    factor = 1e6
    with pytest.raises(ExportError, match=r"rounding alone changes it by .*proves nothing"):
        compared(2e-7)


@pytest.mark.parametrize("route", ["onnx", "torch", "torchscript"])
def test_a_network_that_leaves_pytorch_is_refused_at_once(reader, monkeypatch, capsys, route):
    monkeypatch.setattr(OutputPart, "on_arrays", "finds boxes")
    monkeypatch.setattr(Model, "forward", None)  # which may take minutes
    assert main(["export", str(reader), "--to", route, "--out", str(reader.parent)]) == 2
    assert "finds boxes with NumPy and OpenCV between its layers" in capsys.readouterr().err


def test_drrg_leaves_pytorch_and_queries_are_ranked():
    assert DRRGHead.on_arrays
    assert not PPDocLayoutV2.on_arrays
    assert all(head.ranks for head in (PPDocLayoutV2, PPDocLayoutV3))
