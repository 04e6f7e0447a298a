"""The head of the DB detectors.

Real-time Scene Text Detection with Differentiable Binarization, https://arxiv.org/abs/1911.08947;
PaddleOCR: `ppocr/modeling/heads/det_db_head.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.activations import Activation
from architectures.interfaces import OutputPart
from architectures.layers.conv import BatchNormAct, ConvBNAct
from architectures.layers.onednn import has_onednn
from architectures.layers.pyramid import PyramidConv2d


class Head(nn.Module):
    """One map of probabilities, four times as large as the features."""

    folds: ClassVar = (("conv1", "conv_bn1"), ("conv2", "conv_bn2"))
    folded_in_exports = True

    def __init__(self, in_channels: int, kernel_list: Sequence[int]) -> None:
        super().__init__()
        channels = in_channels // 4
        first, second, third = kernel_list
        self.conv1 = nn.Conv2d(in_channels, channels, first, padding=first // 2, bias=False)
        self.conv_bn1 = BatchNormAct(channels, "relu")
        self.conv2 = nn.ConvTranspose2d(channels, channels, second, stride=2)
        self.conv_bn2 = BatchNormAct(channels, "relu")
        self.conv3 = nn.ConvTranspose2d(channels, 1, third, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, 1, 4 * H, 4 * W)`."""
        return self.conv3(self.features(x)).sigmoid()

    def features(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to the features of the map, `(N, in_channels / 4, 2H, 2W)`."""
        x = self.conv_bn1(self.conv1(x))
        return self.conv_bn2(self.conv2(x))


class DBHead(OutputPart):
    """The branch of text probabilities, `binarize`; the threshold branch is for training only.

    That is `thresh`, the thresholds, and, where `aux_in_channels` are given, a pair of such heads
    for each of three maps of the neck, which nothing here runs. In training mode the results are
    the maps that `architectures.losses.db_loss` takes; `k` is the steepness of the binary one.
    """

    logits_layers: tuple[str, ...] = ("binarize.conv3",)
    activations: Mapping[str, Activation] = {"output": Activation("sigmoid", ("binarize.conv3",))}
    loss = "db"
    reader: tuple[str, str] = ("binarize.conv1", "binarize.conv_bn1")

    def __init__(
        self,
        in_channels: int,
        kernel_list: Sequence[int] = (3, 2, 2),
        aux_in_channels: int = 0,
        k: float = 50,
    ) -> None:
        super().__init__()
        self.k = k
        self.binarize = Head(in_channels, kernel_list)
        self.thresh: Head | None = Head(in_channels, kernel_list)
        if aux_in_channels:
            for level in ("p4", "p3", "p2"):
                self.add_module(f"aux_binarize_{level}", Head(aux_in_channels, kernel_list))
                self.add_module(f"aux_thresh_{level}", Head(aux_in_channels, kernel_list))

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """`(N, in_channels, H / 4, W / 4)` to `(N, 1, H, W)`; in training to three such maps."""
        text: Tensor = self.binarize(x)
        return self._maps(x, text, text) if self.training else text

    def _maps(self, x: Tensor, shrink: Tensor, base: Tensor) -> dict[str, Tensor]:
        """Return the maps of training: probabilities, thresholds, and `base` compared to these."""
        if self.thresh is None:
            raise RuntimeError(
                "the branch of thresholds was removed when the network was deployed; "
                "architectures.training.trainable makes a network that can be trained"
            )
        thresh: Tensor = self.thresh(x)
        binary = ((base - thresh) * self.k).sigmoid()
        return {"shrink": shrink, "thresh": thresh, "binary": binary}

    def deployed(self) -> nn.Module:
        """The head without its training branches."""
        for name, _ in list(self.named_children()):
            if name.startswith("aux_"):
                delattr(self, name)
        self.thresh = None
        return self


class LocalModule(nn.Module):
    """A map of logits from features of half its size and a first map of probabilities."""

    def __init__(self, in_channels: int, mid_channels: int) -> None:
        super().__init__()
        self.last_3 = ConvBNAct(in_channels + 1, mid_channels, 3, act="relu")
        self.last_1 = nn.Conv2d(mid_channels, 1, 1)

    def forward(self, x: Tensor, init_map: Tensor) -> Tensor:
        """`(N, in_channels, H / 2, W / 2)` and `(N, 1, H, W)` to `(N, 1, H, W)`."""
        enlarged = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.last_1(self.last_3(torch.cat([init_map, enlarged], 1)))

    def joined(self) -> nn.Module:
        """Return the same module without enlarged features, if oneDNN can."""
        is_folded = isinstance(self.last_3.bn, nn.Identity)
        return JoinedLocalModule(self) if is_folded and has_onednn() else self


class JoinedLocalModule(nn.Module):
    """`LocalModule` for inference, of fewer multiplications.

    Args:
        module: with its BatchNorm folded.
    """

    def __init__(self, module: LocalModule) -> None:
        super().__init__()
        conv = copy.copy(module.last_3.conv)
        rolled = conv.weight.detach().roll(-1, 1)  # the first map, which comes first, is the finest
        conv._parameters = {**conv._parameters, "weight": nn.Parameter(rolled, requires_grad=False)}
        self.last_3 = PyramidConv2d(conv, (conv.in_channels - 1, 1), (2, 1), relu=True)
        self.last_1 = module.last_1

    def forward(self, x: Tensor, init_map: Tensor) -> Tensor:
        """`(N, in_channels, H / 2, W / 2)` and `(N, 1, H, W)` to `(N, 1, H, W)`."""
        return self.last_1(self.last_3((x, init_map)))


class PFHeadLocal(DBHead):
    """The mean of the map of text probabilities and of a second one, refined from it.

    The second is computed from the first.
    """

    logits_layers = ("binarize.conv3", "cbn_layer.last_1")
    activations: Mapping[str, Activation] = {"output": Activation("sigmoid", logits_layers)}
    REDUCTIONS: ClassVar = {"large": 4, "small": 8}

    def __init__(
        self,
        in_channels: int,
        kernel_list: Sequence[int] = (3, 2, 2),
        mode: str = "small",
        k: float = 50,
    ) -> None:
        super().__init__(in_channels, kernel_list, k=k)
        if mode not in self.REDUCTIONS:
            raise ValueError(
                f"PFHeadLocal has no mode {mode!r}; known: {', '.join(self.REDUCTIONS)}"
            )
        self.cbn_layer = LocalModule(in_channels // 4, in_channels // self.REDUCTIONS[mode])

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """`(N, in_channels, H / 4, W / 4)` to `(N, 1, H, W)`; in training to three such maps."""
        features = self.binarize.features(x)
        base = self.binarize.conv3(features).sigmoid()
        refined = self.cbn_layer(features, base).sigmoid()
        return self._maps(x, refined, base) if self.training else 0.5 * (base + refined)
