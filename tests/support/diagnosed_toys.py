"""Two small networks in which every setting is an argument, to differ in one thing alone.

And what to ask of a diagnosis.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converter.diagnosis.explain import Diagnosis
from converter.parity.layerwise import Pair, SampledTensor, SideBySide

MAXIMUM = partial(F.max_pool2d, kernel_size=3, stride=2, padding=1)
NEAREST = partial(F.interpolate, scale_factor=2)
TANH_GELU = partial(F.gelu, approximate="tanh")


class Toy(nn.Module):
    form, logits_layers, extra_inputs = "train", ("last",), ()
    architecture: ClassVar = {}


class Picture(Toy):
    """Convolutions and what stands between them; what differs is an argument."""

    def __init__(
        self,
        act=F.relu,
        gate=lambda x: (0.2 * x + 0.5).clamp(0, 1),
        pool=MAXIMUM,
        mean=F.adaptive_avg_pool2d,
        resize=NEAREST,
        order=(0, 1),
        stride=2,
        padding=1,
        dilation=1,
        eps=1e-5,
        batch=False,
    ) -> None:
        super().__init__()
        self.act, self.gate, self.pool, self.mean, self.resize = act, gate, pool, mean, resize
        self.order, self.batch = order, batch
        self.first = nn.Conv2d(3, 8, 3, stride, padding, dilation, bias=False)
        self.norm = nn.BatchNorm2d(8, eps=eps)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.third = nn.Conv2d(8, 8, 3, padding=1)
        self.weigh = nn.Conv2d(8, 8, 1)
        self.last = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.norm.training = self.batch
        x = self.norm(self.first(x))
        y = self.third(self.second(self.pool(self.act(x))))
        y = y * self.gate(self.weigh(self.mean(y, 1)))
        z = [self.resize(y), F.hardswish(self.resize(y))]
        return self.last(torch.cat([z[place] for place in self.order], 1))


class Sentence(Toy):
    """Attention and a recurrent layer; what differs is an argument."""

    def __init__(
        self, eps=1e-6, split="3hd", scale=None, act=TANH_GELU, axis=-1, qkv=(0, 1, 2)
    ) -> None:
        super().__init__()
        self.split, self.scale, self.act, self.axis, self.qkv_order = split, scale, act, axis, qkv
        self.norm = nn.LayerNorm(12, eps=eps)
        self.qkv = nn.Linear(12, 36)
        self.proj = nn.Linear(12, 12)
        self.narrow = nn.Linear(12, 12)
        self.lstm = nn.LSTM(12, 5, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(10, 4, batch_first=True)
        self.last = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean(2).transpose(1, 2)  # (N, T, 12)
        lengths = {"3": 3, "h": 3, "d": 4}
        parts = self.qkv(self.norm(x)).unflatten(2, [lengths[axis] for axis in self.split])
        three, heads, size = (2 + self.split.index(axis) for axis in "3hd")
        qkv = parts.permute(three, 0, heads, 1, size).unbind()
        y = F.scaled_dot_product_attention(*(qkv[i] for i in self.qkv_order), scale=self.scale)
        y = self.narrow(self.act(self.proj(y.transpose(1, 2).flatten(2))))
        return self.last(self.gru(self.lstm(torch.softmax(y, self.axis))[0])[0])


def seeded(kind: type[Toy], **arguments: Any) -> Toy:
    """Return a toy whose tensors are far from all defaults."""
    network = kind(**arguments).eval()
    random = torch.Generator().manual_seed(3)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            scale = 0.02 if name.startswith("weigh") else 0.5  # a gate that is neither 0 nor 1
            drawn = torch.randn(tensor.shape, generator=random) * scale
            tensor.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)
    return network


def image(kind: type[Toy]) -> np.ndarray:
    shape = (2, 3, 24, 24) if kind is Picture else (2, 12, 3, 7)
    return np.random.default_rng(0).uniform(-2, 2, shape).astype(np.float32)


def sampled(sides: SideBySide) -> SideBySide:
    """Leave of the reference what a record would hold."""

    def row(array: np.ndarray) -> np.ndarray:
        places = np.linspace(0, array.size - 1, 8).astype(int)
        values = [array.mean(), array.std(), np.abs(array).max(), *array.ravel()[places]]
        return np.array(values, np.float32)

    pairs = [
        Pair(
            p.name,
            p.title,
            SampledTensor(p.expected.shape, row(p.expected.array)),
            p.actual,
            p.slack,
        )
        for p in sides.pairs
    ]
    return SideBySide(sides.network, sides.batch, tuple(pairs), sides.outputs, sides.run)


def first(diagnosis: Diagnosis) -> str:
    assert diagnosis.first is not None
    assert not any(row.fault for row in diagnosis.rows[: diagnosis.first])
    return diagnosis.rows[diagnosis.first].name


def evidence(cause: str) -> float:
    """Return what the difference falls to; it was no rounding before."""
    before, after = re.search(r"falls from (\S+) to (\S+)$", cause).groups()
    assert float(before) > 1e-4
    return float(after)
