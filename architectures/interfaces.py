"""The properties that a network and its modules declare.

`Part` and `OutputPart` are base classes with defaults: `Model` reads them. The protocols are
implemented by the modules that take part in a rewrite or a measurement of the whole network: who
implements one inherits from nothing, and `isinstance` tells whether a module does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from architectures.activations import Activation

DB_TEXT_MAP = ("output", 0.3)  # DBPostProcess's `thresh`


class Part(nn.Module):
    """A transform, backbone, neck or head that takes more than the part before it returns.

    Parts that take nothing else, and are not the last one, may be any `nn.Module`.

    Attributes:
        extra_inputs: PaddleOCR's names of the network inputs beside the image that `forward` gets
            as keyword arguments.
    """

    extra_inputs: tuple[str, ...] = ()


class OutputPart(Part):
    """The part whose results are the network's: a head, or the transform of super-resolution.

    Attributes:
        results: names of the results that `forward` returns as a dict, in the order in which
            PaddleOCR's exports list them. Empty for a single tensor, whose name is `output`, and
            for results that exports list by name.
        logits_layers: names of the layers inside this part whose outputs, before one activation or
            softmax, are the results. Where a result is the mean of two maps (PFHeadLocal), the
            layers of both.
        activations: the results, by name, that are known functions of such layers.
        text_map: of a detector, the result whose first channel is high where text is, and the
            threshold above which a pixel counts as text.
        text_scores: of a recogniser, the result that holds the text: class scores (N, T, C) or
            class indices. A spotter returns the scores of every pixel, (N, C, H, W). Of a network
            that extracts key information, the classes or relations. Empty means the first of
            `results`.
        sr_output: of a super-resolution network, the result that is the image, (N, 3, H, W).
        loss: where a loss is defined for what `forward` returns in training mode, `ctc` or `db`:
            that of `losses.py`.
        stepwise: whether the results, (N, T, ...), grow by one step until the end token. Exports of
            such loops run one step more.
        ranks: whether it goes on with the positions of the greatest scores. In single precision
            rounding decides which of nearly equal ones these are, and in what order.
        on_arrays: what it does on NumPy arrays between its layers, so that the network is no graph
            of PyTorch's operators; empty if nothing.
    """

    results: tuple[str, ...] = ()
    logits_layers: tuple[str, ...] = ()
    activations: Mapping[str, Activation] = {}
    text_map: tuple[str, float] = DB_TEXT_MAP
    text_scores: str = ""
    sr_output: str = ""
    loss: str = ""
    stepwise: bool = False
    ranks: bool = False
    on_arrays: str = ""


@runtime_checkable
class FeatureExtractor(Protocol):
    """A transform, backbone or neck, which declares the channels of its output.

    Attributes:
        out_channels: channels of the map, or one number for each map of several.
    """

    out_channels: Any


class TeacherForced(Protocol):
    """A head that decodes step by step and can also score a text that it is given."""

    def score_tokens(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Return the logits of each step, the tokens before it being those given.

        Args:
            features: what `forward` takes, (N, ...) float32; heads with extra inputs take them as
                further arguments.
            tokens: (N, T) int64. The head's docstring says whether they begin with the start token.

        Returns:
            (N, T, C) float32, or the dict of results that `forward` returns.
        """


@runtime_checkable
class Foldable(Protocol):
    """A module with affine maps, such as BatchNorm, that its convolutions can absorb."""

    @property
    def folds(self) -> tuple[tuple[str, str], ...]:
        """Pairs of submodule names: the convolution, and the affine map that follows it.

        The name of the module itself, where it is the convolution, is empty.
        """


@runtime_checkable
class FoldedInExports(Protocol):
    """A module whose `folds` PaddleOCR's newer code also folds when it exports."""

    folded_in_exports: bool


@runtime_checkable
class Deployable(Protocol):
    """A module that another one replaces in the deploy form."""

    def deployed(self) -> nn.Module:
        """Return the replacement; it may be the module itself, changed."""


@runtime_checkable
class Restorable(Protocol):
    """A `Deployable` module whose branches can compute what one convolution does."""

    def restore(self, conv: nn.Conv2d) -> None:
        """Set the branches, whose tensors are zero and variances one, to compute `conv`."""


@runtime_checkable
class LosesPrecision(Protocol):
    """A module that loses digits because it subtracts large numbers from each other.

    Attributes:
        rounding: the error of its output that rounding can cause, relative to the largest
            value.
    """

    rounding: float


@runtime_checkable
class Activating(Protocol):
    """A module with convolutions or linear layers whose output only an activation reads.

    Between a convolution and its activation there may be a normalisation.
    """

    @property
    def activates(self) -> tuple[tuple[str, str], ...]:
        """Pairs of submodule names: the convolution or linear layer, and the activation."""


@runtime_checkable
class Chained(Protocol):
    """A module that applies its layers one after the other, and does nothing else.

    A subclass has to declare it again.
    """

    @property
    def chain(self) -> tuple[str, ...]:
        """Names of the submodules, in the order in which they are applied."""


@runtime_checkable
class Joinable(Protocol):
    """A module that another one, of fewer operations, replaces for inference."""

    def joined(self) -> nn.Module:
        """Return the replacement, which may share tensors; or the module itself."""


@runtime_checkable
class MapJoining(Protocol):
    """A neck that enlarges maps and puts them side by side, and can leave them as they are.

    Attributes:
        map_factors: how many times as large the sides of each map become, in their order, 1 at
            last; empty if they cannot be left as they are.
        separate: whether they are, for inference: then the neck returns a tuple.
    """

    map_factors: tuple[int, ...]
    separate: bool


@runtime_checkable
class MapReading(Protocol):
    """A head of which, in eval mode, one convolution alone reads what the neck returns.

    Attributes:
        reader: names of the convolution, and of the normalisation and activation after it.
    """

    reader: tuple[str, str]


@runtime_checkable
class Deferring(Protocol):
    """A head that works in steps, and can leave work that no step needs until after the last.

    Attributes:
        deferred: whether it does, for inference: hooks see one output of all steps.
    """

    deferred: bool


@runtime_checkable
class Overwriting(Protocol):
    """A module that can write its output over its input, under PyTorch's name for the option."""

    inplace: bool
