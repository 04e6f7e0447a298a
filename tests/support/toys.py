"""Small PyTorch networks, the counterparts of those that `paddle_toys.py` builds in Paddle."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from architectures.backbones.rec_efficientb3_pren import SameConv2d
from converter.alignment.layer_graph import LayerGraph, network_graph
from converter.alignment.trace import trace


class Affine(nn.Module):
    """A learnable scale and shift of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x + self.shift


class Convolutions(nn.Module):
    """Convolution with bias, batch norm, depthwise, transposed; what differs is an argument."""

    def __init__(self, width=8, stride=2, padding=1, dilation=1, groups=1, eps=1e-5, norm=True):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, stride, padding, dilation)
        self.norm = nn.BatchNorm2d(width, eps=eps) if norm else nn.Identity()
        self.depthwise = nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False)
        self.grouped = nn.Conv2d(width, width, 1, groups=2 * groups, bias=False)
        self.affine = Affine()
        self.up = nn.ConvTranspose2d(width, 6, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.hardswish(self.norm(self.first(x)))
        x = x + self.affine(self.grouped(self.depthwise(x)))
        return self.up(x)


class Attention(nn.Module):
    """Positions, layer norm, one head of attention, linear layers, some without bias."""

    def __init__(self, eps: float = 1e-6, residual: bool = True, swapped: bool = False) -> None:
        super().__init__()
        self.residual, self.swapped = residual, swapped
        self.positions = nn.Parameter(torch.zeros(1, 6, 12))
        self.norm = nn.LayerNorm(12, eps=eps)
        self.query = nn.Linear(12, 12)
        self.key = nn.Linear(12, 12)
        self.value = nn.Linear(12, 12)
        self.project = nn.Linear(12, 12, bias=False)
        self.last = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.positions
        y = self.norm(x)
        q, k, v = self.query(y), self.key(y), self.value(y)
        if self.swapped:
            q, v = v, q
        y = torch.matmul(nn.functional.softmax(torch.matmul(q, k.transpose(1, 2)), -1), v)
        y = self.project(y)
        return self.last(x + y if self.residual else y)


class Recurrent(nn.Module):
    """A bidirectional LSTM of two layers, then a GRU."""

    def __init__(self, swapped: bool = False) -> None:
        super().__init__()
        kinds = (nn.GRU, nn.LSTM) if swapped else (nn.LSTM, nn.GRU)
        self.lstm = kinds[0](12, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = kinds[1](10, 4, batch_first=True)
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.gru(self.lstm(x)[0])[0])


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 10)
        self.last = nn.Linear(10, 10)

    def forward(self, ids: Tensor) -> Tensor:
        return self.last(self.embedding(ids))


class Crnn(nn.Module):
    """A convolution, pooled to one row and read from both sides."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, (2, 1), 1, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.lstm = nn.LSTM(12, 7, num_layers=2, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(14, 9)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(self.norm(self.conv(x))).mean(2)
        return nn.functional.softmax(self.fc(self.lstm(x.transpose(1, 2))[0]), -1)


class Branches(nn.Module):
    """Two alike convolutions, told apart by their place in a concatenation, or not at all."""

    def __init__(self, join: str = "concat", *, crossed: bool = False) -> None:
        super().__init__()
        self.join, self.crossed = join, crossed
        self.left = nn.Conv2d(3, 4, 1)
        self.right = nn.Conv2d(3, 4, 1)
        self.last = nn.Conv2d(8 if join == "concat" else 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, second = nn.functional.relu(self.left(x)), nn.functional.hardswish(self.right(x))
        if self.crossed:
            first, second = second, first
        if self.join == "concat":
            return self.last(torch.cat([first, second], 1))
        return self.last(first + second)


class Padded(nn.Module):
    """Convolutions padded as Paddle's SAME does, which also ignores a dilation, and VALID."""

    def __init__(self, *, zeros: int = 1, odd: int = 2, halved: type[nn.Module] = SameConv2d):
        super().__init__()
        self.halved = halved(3, 8, 3, 2)
        self.border = nn.ZeroPad2d((0, zeros, 0, zeros))
        self.even = nn.Conv2d(8, 4, 2)
        self.odd = nn.Conv2d(4, 3, 5, padding=odd)
        self.last = nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(self.even(self.border(nn.functional.relu(self.halved(x)))))
        return self.last(nn.functional.relu(self.odd(x)))


IMAGE, SEQUENCE = torch.zeros(1, 3, 16, 16), torch.zeros(1, 6, 12)
TOYS: dict[str, tuple[type[nn.Module], tuple[object, ...], Tensor]] = {
    "convolutions": (Convolutions, (), IMAGE),
    "attention": (Attention, (), SEQUENCE),
    "recurrent": (Recurrent, (), SEQUENCE),
    "words": (Words, (), torch.zeros(1, 6, dtype=torch.int64)),
    "crnn": (Crnn, (), IMAGE),
    "concat": (Branches, ("concat",), IMAGE),
    "sum": (Branches, ("sum",), IMAGE),
    "padded": (Padded, (), IMAGE),
}


def toy(name: str) -> tuple[nn.Module, Tensor]:
    """Return a toy in eval mode and the smallest input that it takes."""
    kind, arguments, example = TOYS[name]
    return kind(*arguments).eval(), example


def graph(network: nn.Module, example: Tensor) -> LayerGraph:
    """Return the layers of a network."""
    return network_graph(trace(network.eval(), example))
