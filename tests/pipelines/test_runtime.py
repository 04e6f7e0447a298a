"""Converted weights as functions of arrays, and on which devices."""

from __future__ import annotations

import os
import signal
from functools import partial

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from pipelines import runtime
from pipelines.runtime import DeviceError, TorchNetwork, as_network, find_device
from tests.support.small_networks import CRNN
from tests.support.small_weights import save_network

CLASSIFIER = {
    "model_type": "cls",
    "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
    "Head": {"name": "ClsHead"},
}


@pytest.fixture
def weights(tmp_path):
    return save_network(tmp_path / "rec.pth", CRNN, ctc=4)


def lines(count, width, height=32):
    return np.random.RandomState(0).standard_normal((count, 3, height, width)).astype(np.float32)


def test_weights_are_a_network(weights):
    path, model = weights
    network = TorchNetwork(path)
    with torch.no_grad():
        expected = model(torch.from_numpy(lines(2, 64))).numpy()
    result = network(lines(2, 64))
    assert isinstance(result, np.ndarray)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert (network.card.task, network.card.input.height) == ("rec", 32)


def test_what_can_be_folded_is_folded(weights):
    path, model = weights
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules()) > 10
    network = TorchNetwork(path)
    assert network.module.form == "fused"
    assert all(part.inplace for part in network.module.modules() if hasattr(part, "inplace"))
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.module.modules())
    convolutions = [m for m in network.module.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in convolutions)
    assert not network.module.training


@pytest.mark.parametrize(
    "shape", [(2, 3, 5, 7), (1, 3, 1, 4), (2, 1, 3, 3), (1, 5, 2, 1), (0, 3, 4, 4)]
)
def test_images_take_the_order_of_the_weights(shape):
    images = np.random.RandomState(0).rand(*shape).astype(np.float32)
    for given in (images, images[..., ::-1]):
        ordered = runtime._channels_last(given)
        np.testing.assert_array_equal(ordered, given)
        if given.size and given.shape[1] > 1:
            tensor = torch.from_numpy(ordered)
            assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_half_precision(weights, monkeypatch):
    monkeypatch.setattr(runtime, "has_bfloat16", lambda: True)  # others compute it slowly
    path, _ = weights
    expected = TorchNetwork(path)(lines(2, 64))
    network = TorchNetwork(path, half=True)
    assert next(network.module.parameters()).dtype == torch.bfloat16
    result = network(lines(2, 64))
    assert result.dtype == np.float32
    assert 0 < np.abs(result - expected).max() < 0.02 * np.abs(expected).max()


def test_other_sizes_are_not_compiled_anew(tmp_path, monkeypatch):
    # The guards, which say what a compilation holds for, are those of every backend.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    counters.clear()
    _, model = save_network(tmp_path / "cls.pth", CLASSIFIER, cls=2)
    network, eager = TorchNetwork(model, compile=True), TorchNetwork(model)
    for count, width in ((2, 64), (2, 96), (3, 130), (4, 333)):
        np.testing.assert_allclose(
            network(lines(count, width, 64)), eager(lines(count, width, 64)), atol=1e-6
        )
    assert counters["stats"]["unique_graphs"] == 1


def test_devices():
    assert find_device("cpu") == torch.device("cpu")
    for name in ("cuda:99", "meta", "nonsense", ""):
        with pytest.raises(
            DeviceError, match=f"the device {name} is not available: .* finds .*cpu"
        ):
            find_device(name)


@pytest.mark.parametrize("has", [False, True])
def test_half_precision_needs_a_processor_that_computes_with_bfloat16(has, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    if has:
        assert find_device("cpu", half=True) == torch.device("cpu")
        return
    with pytest.raises(DeviceError, match="neither avx512_bf16 nor amx"):
        find_device("cpu", half=True)


def test_a_device_is_looked_for_before_weights_are_read():
    with pytest.raises(DeviceError):
        TorchNetwork("none.pth", "cuda:99")


def test_a_callable_is_taken_as_it_is(weights):
    assert as_network(len) is len
    assert isinstance(as_network(str(weights[0])), TorchNetwork)


def test_contended_cores_are_logged_once(weights, monkeypatch, caplog):
    monkeypatch.setattr(runtime, "_warned_of_contention", False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(runtime, "threads_spin", lambda: True)
    monkeypatch.setattr(runtime, "cores_are_contended", lambda: False)
    TorchNetwork(weights[0])
    assert caplog.messages == []
    monkeypatch.setattr(runtime, "cores_are_contended", lambda: True)
    monkeypatch.setattr(runtime, "threads_spin", lambda: False)
    TorchNetwork(weights[0])
    assert caplog.messages == []
    monkeypatch.setattr(runtime, "threads_spin", lambda: True)
    TorchNetwork(weights[0])
    TorchNetwork(weights[0])
    (message,) = caplog.messages
    assert "call pipelines.configure_threads() before PyTorch is imported" in message


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_forked_process_reads_on(weights):
    network, batch, threads = TorchNetwork(weights[0]), lines(1, 64), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        network(batch)
        if (child := os.fork()) == 0:
            signal.alarm(30)  # it hangs otherwise
            network(batch)
            os._exit(torch.get_num_threads())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_a_network_on_a_cpu_has_no_weights_that_slow_it_down(weights, monkeypatch):
    monkeypatch.setattr(runtime, "join_", lambda _: None)  # which hides them from `parameters`
    _, model = weights
    with torch.no_grad():
        kernel = next(each for each in model.parameters() if each.dim() == 4)
        kernel[0] *= 1e-35
    expected = model(torch.from_numpy(lines(2, 64))).detach().numpy()
    network = TorchNetwork(model)
    assert all(
        float(each.detach().abs()[each != 0].min()) > 1e-30
        for each in network.module.parameters()
        if (each != 0).any()
    )
    np.testing.assert_allclose(network(lines(2, 64)), expected, atol=1e-5)
