"""ONNX files that are damaged, hostile or of a kind that is not converted: one clear error each."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from converter.errors import ConverterError, ReferenceUnavailable, SourceError, UnsafeSource
from converter.sources.onnx import model as model_module
from converter.sources.onnx.model import read_model, with_outputs
from converter.sources.onnx.program import read_onnx
from converter.sources.open import open_source
from tests.support.onnx_files import model, node, recogniser, save, weight


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.onnx"


@pytest.fixture
def refused(file):
    """Write a model, read it, and return the message of the error."""

    def refused(proto, kind=SourceError) -> str:
        file.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
        with pytest.raises(ConverterError) as caught:
            read_onnx(file)
        assert type(caught.value) is kind, caught.value
        message = str(caught.value)
        assert message.startswith(str(file))
        assert "\n" not in message
        return message

    return refused


def test_the_model_of_these_tests_is_read(file):
    kinds = [op.kind for op in read_onnx(save(file, recogniser())).program.operations]
    assert kinds == ["conv2d", "relu", "reducemean", "transpose", "rnn", "while"]


def test_files_that_are_no_onnx(file, refused):
    content = recogniser().SerializeToString()
    for size in (1, 40, len(content) // 2, len(content) - 1):
        assert "not a complete ONNX file" in refused(content[:size])
    torch.save({"a": torch.zeros(1)}, file)
    assert "how PyTorch saves" in refused(file.read_bytes())
    assert "HTML" in refused(b"<html>not found</html>")
    file.write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        read_onnx(file)


@pytest.mark.parametrize("version", [6, 21])
def test_versions_of_the_operators_that_are_not_read(refused, version):
    assert f"for version {version} of ONNX's operators; expected 7 to 20" in refused(
        model([node("Relu", ["x"], ["y"])], opset=version)
    )


@pytest.mark.parametrize(
    ("single", "fault"),
    [
        (node("MultiClassNMS", ["x"], ["y"], domain="Paddle"), "'MultiClassNMS' of 'Paddle'"),
        (node("Gelu", ["x"], ["y"], domain="com.microsoft"), "'Gelu' of 'com.microsoft'"),
        (node("PyOp", ["x"], ["y"]), "the operator 'PyOp'"),
        (node("LayerNormalization", ["x", "x"], ["y"]), "'LayerNormalization', which is none"),
    ],
)
def test_operators_that_are_not_known_to_only_compute(refused, single, fault):
    assert fault in refused(model([single]), UnsafeSource)


def test_an_operator_in_a_loop_is_checked_too(refused):
    proto = recogniser()
    (loop,) = [single for single in proto.graph.node if single.op_type == "Loop"]
    loop.attribute[0].g.node[0].domain = "evil"
    assert "'MatMul' of 'evil'" in refused(proto, UnsafeSource)


def test_domains_that_are_only_named(file):
    """As PicoDet's file names Paddle's, without an operator of it; ONNX Runtime is not told."""
    proto = recogniser()
    proto.opset_import.add(domain="Paddle", version=1)
    written = onnx.ModelProto.FromString(with_outputs(save(file, proto), ["y"]))
    assert [(entry.domain, entry.version) for entry in written.opset_import] == [("", 11)]


@pytest.mark.parametrize("operator", ["QuantizeLinear", "DequantizeLinear", "ConvInteger"])
def test_quantised_networks(refused, operator):
    assert "is quantised" in refused(model([node(operator, ["x", "x", "x"], ["y"])]))


def test_types_that_no_float_network_has(refused):
    proto = recogniser()
    proto.graph.initializer.add(name="w", data_type=TensorProto.INT4, dims=[2], raw_data=b"\1")
    assert "is the network quantised?" in refused(proto)


def test_functions_and_sparse_tensors(refused):
    proto = recogniser()
    proto.functions.add(name="f", domain="d")
    assert "holds functions" in refused(proto)
    proto = recogniser()
    proto.graph.sparse_initializer.add()
    assert "sparse tensors" in refused(proto)


# Tensors.


def tensor(proto: onnx.ModelProto) -> TensorProto:
    """Return the tensor of the first constant."""
    return proto.graph.node[0].attribute[0].t


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda t: t.dims.append(2), "has 432 bytes of data; 216 values of float32 have 864"),
        (lambda t: t.dims.append(1 << 58), "impossible shape"),
        (lambda t: t.dims.append(-1), "impossible shape"),
        (lambda t: t.ClearField("raw_data"), "has 0 bytes of data"),
        (lambda t: t.float_data.append(1), "lists other data than 108 values"),
        (lambda t: setattr(t, "name", "a\x1b[2J"), "control characters"),
        (lambda t: setattr(t.segment, "begin", 1), "stored in segments"),
        (lambda t: setattr(t, "data_type", TensorProto.BOOL), "has 432 bytes of data"),
    ],
)
def test_tensors_that_do_not_fit_their_data(refused, damage, fault):
    proto = recogniser()
    damage(tensor(proto))
    assert fault in refused(proto)


def test_listed_numbers_beyond_their_type(refused):
    proto = recogniser()
    proto.graph.initializer.append(helper.make_tensor("i", TensorProto.INT8, [1], [5]))
    proto.graph.initializer[0].ClearField("raw_data")
    proto.graph.initializer[0].int32_data[:] = [300]
    assert "lists values beyond int8" in refused(proto)


def outside(proto: onnx.ModelProto, name: str, **entries: int) -> onnx.ModelProto:
    """Have the first constant in another file."""
    single = tensor(proto)
    single.ClearField("raw_data")
    single.data_location = TensorProto.EXTERNAL
    for key, value in {"location": name, **entries}.items():
        single.external_data.add(key=key, value=str(value))
    return proto


def test_data_in_a_file_beside(file, tmp_path):
    array = weight(4, 3, 3, 3, seed=7)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/weights.bin").write_bytes(b"head" + array.tobytes() + b"tail")
    save(file, outside(recogniser(), "sub/weights.bin", offset=4, length=432))
    source = open_source(file)
    np.testing.assert_array_equal(source.export.tensors["conv2d_0.w_0"], array)
    assert source.files.keys() == {"model.onnx", "weights.bin"}
    written = onnx.ModelProto.FromString(with_outputs(file, ["y"]))
    np.testing.assert_array_equal(numpy_helper.to_array(tensor(written)), array)


@pytest.mark.parametrize("form", ["..", "absolute", "link", "windows", "", "back"])
def test_data_outside_of_the_folder_is_not_read(refused, tmp_path, form):
    secret = tmp_path.parent / "secret.bin"
    secret.write_bytes(bytes(432))
    name = {
        "..": f"../{secret.name}", "absolute": str(secret), "link": "link.bin",
        "windows": "C:/secret.bin", "": "", "back": f"..\\{secret.name}",
    }[form]  # fmt: skip
    if form == "link":
        (tmp_path / name).symlink_to(secret)
    message = refused(outside(recogniser(), name), UnsafeSource)
    assert "which is not a file in the folder of the ONNX file" in message


@pytest.mark.parametrize(
    "entries", [{"offset": 1}, {"length": 400}, {"offset": -4}, {"length": 10**30}, {"offset": 432}]
)
def test_data_of_another_size(refused, tmp_path, entries):
    (tmp_path / "weights.bin").write_bytes(bytes(432))
    assert "weights.bin" in refused(outside(recogniser(), "weights.bin", **entries))


def test_data_that_is_missing(file):
    save(file, outside(recogniser(), "weights.bin"))
    with pytest.raises(SourceError, match=r"weights\.bin does not exist"):
        read_onnx(file)


# Graphs.


@pytest.mark.parametrize(
    ("nodes", "fault"),
    [
        ([node("Relu", ["z"], ["y"])], "takes 'z', which nothing before it gives"),
        ([node("Relu", ["y"], ["z"]), node("Relu", ["x"], ["y"])], "takes 'y'"),
        ([node("Relu", ["x"], ["y"]), node("Exp", ["x"], ["y"])], "gives 'y', which is there"),
        ([node("Relu", ["x"], ["z"])], "no operation gives its result 'y'"),
        ([node("Relu", [], ["y"])], "no operand or no result"),
        ([node("Constant", [], ["y"], value_string="s")], "holds no numbers"),
    ],
)
def test_graphs_that_do_not_hold_together(refused, nodes, fault):
    assert fault in refused(model(nodes))


def test_a_constant_that_cannot_be_computed(refused):
    weights = {"a": np.arange(6), "b": np.array([4, 4])}
    nodes = [node("Reshape", ["a", "b"], ["c"]), node("Add", ["x", "c"], ["y"])]
    assert "Reshape 'c' cannot be computed" in refused(model(nodes, weights))


def test_constants_that_grow_without_end(refused):
    """Each doubling is small in the file."""
    nodes = [node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(60)]
    nodes.append(node("Add", ["x", "c60"], ["y"]))
    assert "more is computed from its constants" in refused(model(nodes, {"c0": weight(1000)}))


def test_more_entries_than_memory(refused, monkeypatch):
    monkeypatch.setattr(model_module, "_MOST_ENTRIES", 50)
    assert "more than 50 entries" in refused(recogniser())


def test_more_operations_than_any_network(refused, monkeypatch):
    monkeypatch.setattr(model_module, "MOST_OPERATIONS", 10)
    assert "more than 10 operations" in refused(recogniser())


def test_a_file_that_is_too_large(refused, monkeypatch):
    monkeypatch.setattr(model_module, "LARGEST", 100)
    assert "at most 100" in refused(recogniser())


def test_outputs_that_are_not_in_the_main_graph(file):
    save(file, recogniser())
    for name in ("next", "nothing"):
        with pytest.raises(ValueError, match=name):
            with_outputs(file, [name])


def test_without_the_package_onnx(file, monkeypatch):
    save(file, recogniser())
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ReferenceUnavailable, match=r'pip install "paddleocr-to-torch\[onnx\]"'):
        read_model(file)
