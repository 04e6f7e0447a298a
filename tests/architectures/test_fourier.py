"""Large kernels by their Fourier coefficients compute what the convolution does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from architectures import joining
from architectures.joining import join_
from architectures.layers import fourier
from architectures.layers.fourier import FourierConv2d


def error(conv: nn.Conv2d, layer: nn.Module, x: torch.Tensor) -> float:
    """Return the largest difference of a layer and the convolution in float64, relative."""
    expected = torch.nn.functional.conv2d(
        x.double(),
        conv.weight.double(),
        None if conv.bias is None else conv.bias.double(),
        padding=conv.padding,
    )
    result = layer(x)
    assert result.shape == expected.shape
    assert result.dtype == torch.float32
    return float((result - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    ("kernel", "padding", "bias", "size"),
    [
        (9, 4, True, (2, 33, 50)),
        (9, 4, False, (1, 16, 16)),
        (7, 3, True, (1, 47, 21)),
        (9, 0, True, (1, 24, 40)),
        ((7, 11), (1, 6), True, (2, 20, 31)),
    ],
)
@pytest.mark.parametrize("most", [1, 5, 128])
@torch.inference_mode()
def test_the_results_are_those_of_the_convolution(monkeypatch, kernel, padding, bias, size, most):
    monkeypatch.setattr(fourier, "SMALLEST_MAP", 0)
    monkeypatch.setattr(fourier, "MOST_TILES", most)
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 5, kernel, padding=padding, bias=bias)
    count, height, width = size
    x = torch.randn(count, 6, height, width)
    for layout in (torch.contiguous_format, torch.channels_last):
        assert error(conv, FourierConv2d(conv), x.contiguous(memory_format=layout)) < 2e-6


@torch.inference_mode()
def test_small_maps_are_convolved(monkeypatch):
    layer = FourierConv2d(conv := nn.Conv2d(4, 3, 7, padding=3))
    monkeypatch.setattr(layer, "_transformed", lambda *_: pytest.fail("a small map"))
    assert error(conv, layer, torch.randn(1, 4, 39, 40)) < 2e-6


@pytest.mark.parametrize(
    ("faster", "options"),
    [
        (True, {"kernel_size": 7, "padding": 3}),
        (True, {"kernel_size": (9, 12)}),
        (False, {"kernel_size": 5, "padding": 2}),
        (False, {"kernel_size": 13}),
        (False, {"kernel_size": 9, "groups": 32}),
        (False, {"kernel_size": 9, "stride": 2}),
        (False, {"kernel_size": 9, "dilation": 2}),
        (False, {"kernel_size": 9, "padding": "same"}),
        (False, {"kernel_size": 9, "padding": 4, "padding_mode": "reflect"}),
        (False, {"kernel_size": 9, "dtype": torch.bfloat16}),
        (False, {"kernel_size": 9, "in_channels": 16}),
    ],
)
def test_which_layers_are_replaced(faster, options):
    layers = nn.Sequential(nn.Conv2d(**{"in_channels": 32, "out_channels": 32, **options}))
    join_(layers)
    assert isinstance(layers[0], FourierConv2d) == faster


@torch.inference_mode()
def test_large_maps_of_a_joined_network(monkeypatch):
    torch.manual_seed(0)
    layers = nn.Sequential(conv := nn.Conv2d(32, 32, 9, padding=4), nn.ReLU())
    x = torch.randn(1, 32, 41, 44)
    expected = layers(x)
    join_(layers)
    assert torch.allclose(layers(x), expected, atol=1e-5)
    monkeypatch.setattr(joining, "is_faster", lambda _: False)
    join_(plain := nn.Sequential(conv, nn.ReLU()))
    assert not torch.equal(layers(x), plain(x))  # they are rounded in another way
