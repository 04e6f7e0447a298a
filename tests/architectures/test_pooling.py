"""Pooling of maps that are smaller than the window: Paddle computes one row or column."""

from __future__ import annotations

import pytest
import torch

from architectures import build
from architectures.layers.pooling import AvgPool2d, MaxPool2d, avg_pool2d, max_pool2d
from tests.support.small_networks import NETWORKS

# Results of paddle.nn.functional.avg_pool2d and max_pool2d (3.3.1) on 1, 2, 3, ... row by row.
AVERAGES = [
    ((3, 2), (1, 1), [[1.0]]),
    ((3, 2), (2, 3), [[3.0]]),
    ((3, 2), (4, 3), [[4.5]]),
    ((5, 2), (3, 1), [[2.0]]),
    ((5, 2), (4, 3), [[6.0]]),
]
MAXIMA = [
    (2, None, 0, (1, 3), [[2.0]]),
    (2, None, 0, (3, 3), [[5.0]]),
    (2, None, 0, (4, 1), [[2.0], [4.0]]),
    (2, (2, 1), (0, 1), (1, 2), [[1.0, 2.0, 2.0]]),
    (2, (2, 1), (0, 1), (3, 1), [[2.0, 2.0]]),
    (3, 2, 1, (1, 3), [[2.0, 3.0]]),
]


def counting(size: tuple[int, int]) -> torch.Tensor:
    height, width = size
    return torch.arange(1.0, height * width + 1).reshape(1, 1, height, width)


@pytest.mark.parametrize(("kernel", "size", "expected"), AVERAGES)
def test_averages(kernel, size, expected):
    assert avg_pool2d(counting(size), kernel).tolist() == [[expected]]
    assert AvgPool2d(kernel)(counting(size)).tolist() == [[expected]]


@pytest.mark.parametrize(("kernel", "stride", "padding", "size", "expected"), MAXIMA)
def test_maxima(kernel, stride, padding, size, expected):
    assert max_pool2d(counting(size), kernel, stride, padding).tolist() == [[expected]]


def test_the_layer_of_maxima():
    assert MaxPool2d(2)(counting((1, 3))).tolist() == [[[[2.0]]]]


def test_larger_maps_are_pooled_as_by_pytorch():
    image = torch.rand(2, 3, 7, 9)
    assert torch.equal(avg_pool2d(image, (3, 2)), torch.nn.functional.avg_pool2d(image, (3, 2)))
    assert torch.equal(max_pool2d(image, 2), torch.nn.functional.max_pool2d(image, 2))


@pytest.mark.parametrize("height", [16, 24, 32])
def test_a_recogniser_of_48_pixels_reads_lower_lines(height):
    network = build(NETWORKS["rec v4"][0])
    with torch.inference_mode():
        scores = network(torch.rand(1, 3, height, 64))
    assert scores.shape == (1, 8, 7)
    assert torch.allclose(scores.sum(-1), torch.ones(1, 8))
