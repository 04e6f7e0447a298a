"""UVDoc: forms, sizes, and the sampling of the page."""

from __future__ import annotations

import pytest
import torch

from architectures import build, fuse
from architectures.transforms.uvdoc import unwarp

CONFIG = {"model_type": "unwarp", "Transform": {"name": "UVDoc"}}


def identity(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    return torch.stack([x, y])[None]


def test_the_identity_grid_gives_the_page():
    image = torch.rand(1, 3, 30, 20)
    assert torch.allclose(unwarp(image, identity(5, 4)), image, atol=1e-5)


def test_a_mirrored_grid_mirrors_the_page():
    image = torch.rand(1, 3, 30, 20)
    mirrored = unwarp(image, identity(5, 4) * torch.tensor([-1.0, 1.0]).reshape(1, 2, 1, 1))
    assert torch.allclose(mirrored, image.flip(3), atol=1e-5)


def test_what_lies_outside_is_black():
    shifted = identity(5, 4)
    shifted[:, 0] += 2.5
    assert not unwarp(torch.ones(1, 3, 8, 8), shifted).any()


@pytest.mark.parametrize("size", [(64, 48), (33, 71)])
@torch.inference_mode()
def test_pages_keep_their_size_in_every_form(size):
    torch.manual_seed(3)
    network = build(CONFIG)
    image = torch.rand(1, 3, *size)
    assert network.transform.grid(image).shape == (1, 2, 45, 31)
    result = network(image)
    assert result.shape == image.shape
    assert torch.allclose(fuse(network)(image), result, atol=1e-4)
