"""Networks that decode step by step, as an image's part and a step, and constants of graphs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import architectures
from architectures.heads import rec_parseq_head, table_master_head
from architectures.saving import write_artefact
from architectures.transforms import stn, tps
from converter.cli.main import main
from converter.errors import ExportError
from converter.exporting import decoders, folding, onnx_file, onnx_writing, program, steps
from converter.exporting.artefact import Artefact, read_artefact
from converter.exporting.example_inputs import Images, examples_of
from examples import decode_onnx
from schemas.artefact import ArtefactCard, NetworkInput
from tests.converter.exporting.test_programs import WRITER, written
from tests.support.recorded_mistakes import honest

RECORDS = ["rec__LaTeX_OCR_rec", "rec__UniMERNet", "rec__PP-FormuaNet__PP-FormulaNet-S"]
TABLE = "table__table_mv3"
WHOLE_TABLE = "table__table_master"


def prove_recorded(name: str) -> float:
    """Compare the steps of a recorded network with the network."""
    recorded, network = honest(name)
    return prove(network, recorded.inputs()[recorded.facts.inputs[0].name])


def prove(network: architectures.Model, batch: np.ndarray) -> float:
    """Compare the steps of a network with the network, both run by PyTorch."""
    artefact = Artefact(Path("x.pth"), network, ArtefactCard())
    decoder = decoders.decoder_of(network)
    image = decoders.ImagePart(network)
    with torch.no_grad():
        names = tuple(image(torch.from_numpy(batch)))
    step = decoders.StepPart(decoder, names)

    def run_of(part: nn.Module, inputs: tuple[str, ...]) -> steps.Run:
        def run(given):
            with torch.no_grad():
                results = part(*(torch.from_numpy(given[each]) for each in inputs))
            return {key: tensor.numpy() for key, tensor in results.items()}

        return run

    runs = [run_of(image, ("x",)), run_of(step, (*names, "tokens"))]
    return steps._prove(artefact, decoder, (image, step), runs, [batch]).difference


@pytest.mark.parametrize("name", [*RECORDS, TABLE, WHOLE_TABLE])
def test_steps_make_the_text_of_the_network(name):
    assert prove_recorded(name) < 1e-5


def test_a_step_that_reads_another_part_of_the_image_is_found(monkeypatch):
    right = decoders.TableAttention.memory

    def moved(self, features):
        memory = right(self, features)
        return {**memory, "places": memory["places"].roll(1, 1)}

    monkeypatch.setattr(decoders.TableAttention, "memory", moved)
    with pytest.raises(ExportError, match=r"loc_preds differs by .*; nothing was written"):
        prove_recorded(TABLE)


@pytest.mark.parametrize("right", [True, False])
def test_a_padding_token_changes_the_steps_before_it(monkeypatch, right):
    torch.manual_seed(4)
    network = architectures.build(
        {
            "model_type": "table",
            "Backbone": {"name": "TableResNetExtra", "layers": [1, 1, 1, 1]},
            "Head": {"name": "TableMasterHead", "out_channels": 9, "d_ff": 16},
        }
    ).eval()
    head = network.head
    padding = head.out_channels - table_master_head.PAD
    head.cls_fc.bias.data[padding] = 0.3
    batch = np.random.default_rng(0).random((1, 3, 32, 64), np.float32)
    monkeypatch.setattr(head, "max_text_length", steps.STEPS - 1)
    with torch.no_grad():
        tokens = network(torch.from_numpy(batch))["structure_probs"].argmax(2)[0].tolist()
    assert padding in tokens[:-1]
    assert len(set(tokens)) > 2
    if right:
        assert prove(network, batch) < 1e-5
        return
    monkeypatch.setattr(decoders.TableMaster, "whole", {})
    monkeypatch.setattr(decoders.TableMaster, "scores", {"scores": "structure_probs"})
    with pytest.raises(ExportError, match=r"structure_probs differs by .*; nothing was written"):
        prove(network, batch)


SEARCHER = {
    **WRITER,
    "Head": {
        "name": "AsterHead",
        "sDim": 8,
        "attDim": 8,
        "max_len_labels": 6,
        "time_step": 8,
        "out_channels": 7,
    },
}


@pytest.fixture
def searcher(tmp_path) -> Path:
    """A small network of SEED's head, whose beam search finds other texts than the best steps."""
    path = written(tmp_path, "searcher", SEARCHER, "rec", NetworkInput(3, 4, 32))
    artefact = read_artefact(path)
    for tensor in artefact.network.head.parameters():
        tensor.data *= 4  # so that the text depends on the image
    write_artefact(path, "pth", artefact.network.state_dict(), artefact.card)
    return path


def test_a_network_that_searches_is_two_files_and_a_search(searcher):
    export = ["export", str(searcher), "--out", str(searcher.parent), "--to"]
    assert main([*export, "onnx"]) == 0
    network = read_artefact(searcher).network
    lines = torch.rand(4, 3, 4, 32)
    with torch.no_grad():
        searched = [network(line[None])["rec_pred"][0].tolist() for line in lines]
        network.head.beam_width = 1
        texts = [network(line[None])["rec_pred"][0].tolist() for line in lines]
    assert texts != searched
    tokens, _ = decode_onnx.decode(str(searcher.with_suffix("")), lines.numpy())
    end = network.head.eos
    for found, text in zip(tokens[:, 1:].tolist(), texts, strict=True):
        length = text.index(end) if end in text else len(text)
        assert found[:length] == text[:length]


def test_another_search_is_found(searcher, monkeypatch, capsys):
    monkeypatch.setattr(decoders.SEED, "write", decoders.Decoder.write)  # the best of each step
    options = ["export", str(searcher), "--to", "torch", "--out", str(searcher.parent)]
    assert main(options) == 5
    assert "the text differs in " in capsys.readouterr().err
    assert not list(searcher.parent.glob("*.pt2"))


def test_where_rounding_changes_the_image_the_step_reads_what_the_file_gives(searcher, monkeypatch):
    network = read_artefact(searcher).network
    batch = np.random.default_rng(0).random((4, 3, 4, 32), np.float32)
    right = decoders.ImagePart.forward
    calls: list[int] = []

    def rounded(self, x):  # the file of the image, which runs first, gives another memory
        calls.append(0)
        return {name: each + (len(calls) == 2) for name, each in right(self, x).items()}

    monkeypatch.setattr(decoders.ImagePart, "forward", rounded)
    noisy = SimpleNamespace(difference=0.0, noise=1e-2, fault="")
    with pytest.raises(ExportError, match=r"features of the image differs by"):
        prove(network, batch)
    monkeypatch.setattr(steps, "compare", lambda *_: noisy)
    calls.clear()
    assert prove(network, batch) < 1e-5
    noisy.noise = 0.0
    calls.clear()
    with pytest.raises(ExportError, match=r"with images of 4x3x4x32: the text differs in"):
        prove(network, batch)
    noisy.noise = 1e-2
    calls.clear()
    monkeypatch.setattr(decoders.SEED, "write", decoders.Decoder.write)
    with pytest.raises(ExportError, match=r"the text of its own steps differs in"):
        prove(network, batch)


@pytest.fixture
def reader(tmp_path_factory, monkeypatch) -> Path:
    """A small network, as if its texts had ends."""
    monkeypatch.setattr(decoders.Attention, "short", False)
    folder = tmp_path_factory.mktemp("reader")
    return written(folder, "reader", WRITER, "rec", NetworkInput(3, 4, 32))


def test_a_network_that_reads_to_the_end_is_two_programs(reader, tmp_path, capsys):
    assert main(["export", str(reader), "--to", "torch", "--out", str(tmp_path)]) == 0
    assert "takes (N, 3, 4, 8*W)" in capsys.readouterr().out
    found = {"card.json": "", "decoding": ""}
    encoder, step = (
        torch.export.load(tmp_path / f"reader.{part}.pt2", extra_files=found).module()
        for part in ("encoder", "step")
    )
    image, plan, rows = torch.rand(3, 3, 4, 56), json.loads(found["decoding"]), []
    with torch.no_grad():
        tokens, memory = torch.full((3, plan["tokens_of_a_step"]), plan["start"]), encoder(image)
        for _ in range(plan["steps"]):
            results = step(*memory.values(), tokens)
            memory |= {key: results[f"next_{key}"] for key in memory if f"next_{key}" in results}
            rows.append(results["scores"])
            tokens = torch.cat([tokens, rows[-1].argmax(2)], 1)
        torch.testing.assert_close(torch.cat(rows, 1), read_artefact(reader).network(image))


@pytest.mark.parametrize("target", [["torchscript"], ["torch", "--compile"]])
def test_one_graph_of_a_network_that_reads_to_the_end_is_refused(reader, tmp_path, target, capsys):
    assert main(["export", str(reader), "--out", str(tmp_path), "--to", *target]) == 2
    assert "decodes step by step until the end of a text" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_parseq_reads_after_the_end_changes_nothing(monkeypatch):
    torch.manual_seed(0)
    head = rec_parseq_head.ParseQHead(16, 9, 6, 16, 2, 2, 1, True, 1).eval()
    head.head.bias.data[rec_parseq_head.END] = 2  # so that texts end early
    memory = torch.randn(2, 5, 16)
    with torch.no_grad():
        short, expected = head.write(memory), head(memory)
        monkeypatch.setattr(rec_parseq_head, "is_exporting", lambda: True)
        assert head.write(memory).shape[1] == 7 > short.shape[1]
        torch.testing.assert_close(head(memory), expected)


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
def test_a_recurrent_layer_takes_sequences_of_any_length(layer):
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer(3, 4, 2, bidirectional=True, batch_first=True)

        def forward(self, x):
            return self.layer(x)[0] + 1

    network = Reader().eval()
    free = {0: torch.export.Dim("count", min=1), 1: torch.export.Dim("length", min=1)}
    exported = program.export_module(network, (torch.rand(2, 6, 3),), (free,))
    x = torch.rand(3, 9, 3)
    torch.testing.assert_close(exported.module()(x), network(x))


class Straightened(nn.Module):
    """Straightens a line and reads its columns."""

    def __init__(self, transform):
        super().__init__()
        self.transform, self.layer = transform, nn.LSTM(3, 4, bidirectional=True, batch_first=True)

    def forward(self, x):
        return self.layer(self.transform(x).mean(2).transpose(1, 2))[0]


def straightened(transform) -> Straightened:
    torch.manual_seed(0)
    network = Straightened(transform)
    for name, tensor in network.named_parameters():
        if "fc2.weight" in name:  # so that images are straightened each in its own way
            tensor.data.normal_(std=0.05)
    return network.eval().requires_grad_(False)


def exported_of_any_line(network: Straightened) -> torch.export.ExportedProgram:
    """Export a network with a free number of lines, and a free width."""
    free = {0: torch.export.Dim("count", min=1), 3: 8 * torch.export.Dim("width", min=1)}
    return program.export_module(network, (torch.rand(2, 3, 16, 40),), (free,))


@pytest.mark.filterwarnings("ignore")  # of the tracer
def test_lines_of_any_number_and_width_are_straightened():
    network = straightened(stn.STN_ON(3, (32, 64), (16, 32), 6, (0.05, 0.05), "none"))
    lines = torch.rand(3, 3, 16, 56)
    expected = network(lines)
    assert (expected - expected[:1]).abs().max() > 1e-2
    trace = torch.jit.trace(network, torch.rand(2, 3, 16, 40))
    torch.testing.assert_close(trace(lines), expected)
    torch.testing.assert_close(exported_of_any_line(network).module()(lines), expected)


@pytest.mark.filterwarnings("ignore")  # of the tracer
def test_onnx_keeps_no_width_of_lines_that_are_straightened_and_read(reader):
    network, lines = straightened(tps.TPS(3, 6, "small")), torch.rand(3, 3, 16, 56)
    expected, file = network(lines), reader.with_suffix(".onnx")
    trace = torch.jit.trace(network, torch.rand(2, 3, 16, 40))
    torch.testing.assert_close(trace(lines), expected)
    exported = exported_of_any_line(network)
    onnx_writing.save_onnx(read_artefact(reader), exported, ["x"], ["output"], file)
    (result,) = onnx_writing.open_session(file).run(None, {"x": lines.numpy()})
    np.testing.assert_allclose(result, expected.numpy(), atol=1e-5)


class Plate(nn.Module):
    """Multiplies by the inverse of a constant matrix, and by that of its input."""

    def forward(self, x):
        places = torch.arange(1.0, 4.0)
        return torch.linalg.inv(torch.diag(places)) @ x @ torch.linalg.inv(x)


def test_inverses_of_constants_are_computed_once():
    x = torch.eye(3) * 2
    exported = program.export_module(Plate(), (x,), None)
    targets = [node.target for node in exported.graph.nodes]
    assert targets.count(folding.INVERSE) == 1  # that of the input
    torch.testing.assert_close(exported.module()(x), Plate()(x))


def test_a_graph_that_keeps_a_width_frees_the_batch_alone(reader, monkeypatch):
    artefact = read_artefact(reader)

    class Kept:
        def module(self):
            return self

        def __call__(self, x):
            assert x.shape[3] == 32

    monkeypatch.setattr(program, "export_module", lambda *_: Kept())
    assert program.make_graph(artefact, decoders.ImagePart).free == ("batch",)


def test_an_onnx_file_that_takes_one_width_frees_the_batch_alone(reader, monkeypatch):
    monkeypatch.setattr(onnx_file, "decoder_of", lambda _: None)
    tried: list[tuple[str, ...]] = []

    def graph(_, fewer=()):
        return SimpleNamespace(free=("batch",) if fewer else ("batch", "width"))

    def write(_artefact, _folder, graph):
        tried.append(graph.free)
        if "width" in graph.free:
            raise onnx_file.DoesNotRun("another width")

    monkeypatch.setattr(onnx_file, "make_graph", graph)
    monkeypatch.setattr(onnx_file, "_write", write)
    onnx_file.export(read_artefact(reader), reader.parent)
    assert tried == [("batch", "width"), ("batch",)]


def test_what_is_beside_the_image_is_free_as_the_image_is(reader):
    arguments = [
        (torch.empty(n, 1, 48, w), torch.empty(n, 1, 48, w), torch.empty(n, 5))
        for n, w in ((2, 320), (1, 344), (3, 368))
    ]
    sizes = dict(zip(("x", "mask", "places"), program.sizes_of(arguments), strict=True))
    axes = examples_of(read_artefact(reader)).axes(("batch", "width"))
    image, (mask, places) = program.free_shapes(axes, sizes)
    assert mask == image
    assert places == {0: image[0]}
    assert program.describe_shapes(axes, sizes)["places"] == "(N, 5)"
    assert len(program.free_shapes(axes, {"x": sizes["x"]})) == 1  # no inputs beside it


def test_sides_that_a_card_states_are_kept_except_for_lines(reader):
    artefact = read_artefact(reader)
    assert examples_of(artefact).tried()[0] == ("batch", "width")
    formula = replace(artefact, card=replace(artefact.card, task="formula"))
    assert examples_of(formula).tried()[0] == ("batch",)


def test_free_sides_are_multiples_that_the_own_sizes_are_too(reader):
    artefact = read_artefact(reader)

    def multiple(**size: int) -> int:
        card = replace(artefact.card, input=replace(artefact.card.input, **size))
        return Images(replace(artefact, card=card)).multiple

    assert (multiple(width=64), multiple(width=100), multiple(height=31)) == (8, 4, 8)
    assert multiple(width=100, multiple_of=32) == 32


def test_images_to_unwarp_are_smooth():
    def steepest(task: str) -> float:
        artefact = Artefact(Path("x.pth"), nn.Identity(), ArtefactCard(task=task))
        return float(np.abs(np.diff(artefact.images(64, 64))).max())

    assert steepest("unwarp") < 0.05 < 1 < steepest("layout")
