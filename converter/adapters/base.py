"""The interface of the adapters; its defaults are for networks that take an image and nothing else.

Paddle's process imports the adapters too, so they import neither PyTorch nor Paddle at module
level.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from converter.sources.ir import Program

RECORDED_STEPS = 16  # the most tokens that a decoding loop writes for a record
SIZES = frozenset({"im_shape", "scale_factor"})  # inputs of exports that go on to boxes
TRACED_STEPS = 3  # by then, what a step hands on to later ones has reached every layer


@dataclass(frozen=True)
class RecordedInput:
    """An input whose values a record stores.

    Attributes:
        rule: the record's words for how the values were made.
        values: the array, of the shape and type that PaddleOCR's network takes.
    """

    rule: str
    values: np.ndarray


@dataclass(frozen=True)
class RecordRows:
    """How the results of records correspond to those that `HeadAdapter.record_results` computes.

    Attributes:
        names: our name of each result that some records hold under another one.
        ranked: results whose rows follow a top-k over scores that rounding can reorder, so that
            rows are matched by value, not by position. Each with the result whose measured noise is
            that of its values, since at one position there are other rows in each measurement.
        left_out: results that are not compared, each with the reason.
        optional: results that some records lack.
        untraced: modules of our network whose layers are compared by the results alone, each with
            the reason.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    ranked: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    untraced: Mapping[str, str] = field(default_factory=dict)

    def is_traced(self, layer: str) -> bool:
        """Return whether a layer of our network is compared at its first call."""
        return not layer.startswith(tuple(f"{module}." for module in self.untraced))


@dataclass(frozen=True)
class HeadAdapter:
    """The inputs and calls of a head on both sides.

    PaddleOCR computes the extra inputs from the image or from its options before the network runs.
    Some of them, positions and masks that depend on shapes only, our networks compute themselves.

    Attributes:
        options: the Head section of the architecture.
        first_input: the name of the first input, which is an image in most networks.
        extra_inputs: names of the inputs of PaddleOCR's network beside the image, in its order.
        computed_inside: those of them that our network computes itself.
        index_inputs: those of them that hold the places of other values. Neither side computes
            features from them, and each looks values up in its own way, so data flow does not
            follow them.
        image_in_list: whether PaddleOCR's network takes image and extra inputs in one list; else it
            takes the image, and a list of the extra inputs as a second argument.
        record_call_inputs: inputs of a record whose results `record_results` computes; without
            them, or if this is None, a record holds what the network returns.
        record_rows: how a record's results correspond to those of `record_results`.
        decodes: whether the head computes its results step by step. Exports of such heads run
            layers in a loop, or several times, and are aligned with what `first_steps` runs.
        loops_over_images: whether the loop of a `.pdmodel` runs once for each image, so that of one
            image the last values in it are those of our layers.
        cut: names of results that versions of Paddle before 3 cut to integers when they export a
            loop. There they are not compared, but what they are computed from.
        post_processing: names of inputs of exports that go on from the network's results to boxes
            in pixels of the original. Their last layers are aligned and compared, not the boxes.
        fewer_steps: options of the head that limit its loop, with the limit for comparisons with an
            export, of decoders each of whose steps repeats all before; its own would take hours.
        ranked_layers: beginnings of the names of layers whose rows follow a top-k over scores, so
            that they are matched by value.
        sees_order: whether some layers see the order of these rows, so that a comparison with an
            export gives both sides the order of Paddle's (`references/choices.py`).
    """

    options: Mapping[str, Any]
    first_input: ClassVar[str] = "x"
    extra_inputs: ClassVar[tuple[str, ...]] = ()
    computed_inside: ClassVar[frozenset[str]] = frozenset()
    index_inputs: ClassVar[frozenset[str]] = frozenset()
    image_in_list: ClassVar[bool] = False
    record_call_inputs: ClassVar[tuple[str, ...] | None] = None
    record_rows: ClassVar[RecordRows] = RecordRows()
    decodes: ClassVar[bool] = False
    loops_over_images: ClassVar[bool] = False
    cut: ClassVar[frozenset[str]] = frozenset()
    post_processing: ClassVar[frozenset[str]] = frozenset()
    ranked_layers: ClassVar[tuple[str, ...]] = ()
    sees_order: ClassVar[bool] = False
    fewer_steps: ClassVar[Mapping[str, int]] = MappingProxyType({})

    # Values of the extra inputs, (N, C, H, W) float32 being the image.

    def extra_values(self, image: np.ndarray) -> dict[str, np.ndarray]:  # noqa: ARG002
        """Return the extra inputs, in order, for lines that fill the whole image."""
        return {}

    def padded_values(self, image: np.ndarray) -> dict[str, RecordedInput]:  # noqa: ARG002
        """Return those of the extra inputs that describe padding, for lines with some padding.

        A record holds these: ratios and masks of only ones would prove little.
        """
        return {}

    def teacher_tokens(self, image: np.ndarray) -> dict[str, np.ndarray]:  # noqa: ARG002
        """Return the teacher-forced tokens, (N, T) int64, that a record of a decoder needs."""
        return {}

    def paddle_inputs(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return all inputs of PaddleOCR's network in its order, the image first."""
        return {self.first_input: image, **self.extra_values(image)}

    def post_processes(self, names: Iterable[str]) -> bool:
        """Return whether an export with inputs of these names goes on to boxes."""
        return not self.post_processing.isdisjoint(names)

    def program_inputs(self, image: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the inputs of an export in its order; the image is as large as the original.

        Args:
            image: (N, C, H, W) float32.
            names: those of the export's inputs.
        """
        if not self.post_processes(names):
            return self.paddle_inputs(image)
        sizes = np.tile(np.array(image.shape[2:], np.float32), (len(image), 1))
        known = {"im_shape": sizes, "scale_factor": np.ones_like(sizes)}
        return {name: known.get(name, image) for name in names}

    def recorded_inputs(self, image: np.ndarray) -> dict[str, RecordedInput]:
        """Return what a record stores beside the image: extra inputs and teacher-forced tokens."""
        inputs = {
            name: RecordedInput("stored: as at inference", values)
            for name, values in self.extra_values(image).items()
        }
        inputs |= self.padded_values(image)
        for name, tokens in self.teacher_tokens(image).items():
            inputs[name] = RecordedInput("stored: a start token, then others", tokens)
        return inputs

    # PaddleOCR's network, in Paddle's process. Paddle has no types, hence `Any`.

    def paddle_arguments(self, image: Any, extra: Sequence[Any]) -> list[Any]:
        """Return the arguments of PaddleOCR's network: tensors, or the specifications of such."""
        if not extra:
            return [image]
        return [[image, *extra]] if self.image_in_list else [image, list(extra)]

    def call_paddle(self, network: Any, image: Any, extra: Mapping[str, Any]) -> Any:
        """Run PaddleOCR's network as its own inference does."""
        return network(*self.paddle_arguments(image, list(extra.values())))

    def record_paddle(self, network: Any, image: Any, extra: Mapping[str, Any]) -> Any:
        """Run PaddleOCR's network, or parts of it, and return the results that a record holds."""
        return self.call_paddle(network, image, extra)

    # Our network.

    def record_results(
        self, network: Model, image: Tensor, inputs: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Compute with our network what `record_paddle` did with PaddleOCR's.

        Args:
            network: ours.
            image: (N, C, H, W) float32.
            inputs: the record's other inputs by name, among them `record_call_inputs`.

        Returns:
            The results by the record's names.
        """
        raise NotImplementedError(f"{type(self).__name__} has no calls of its own for a record")

    @contextmanager
    def as_exported(self, network: Model, program: Program) -> Iterator[None]:  # noqa: ARG002
        """Let our network decode as the program does: as many steps, those of `fewer_steps`."""
        with ExitStack() as stack:
            for option, steps in self.fewer_steps.items():
                stack.enter_context(limited(network.head, option, steps))
            yield

    def faults_of(self, program: Program) -> tuple[str, ...]:  # noqa: ARG002
        """Describe what an exported program computes otherwise than PaddleOCR's network."""
        return ()

    def prime(self, network: Model, image: Tensor, extra: Mapping[str, Tensor]) -> None:
        """Make the first calls of layers that PaddleOCR's decoder makes and ours does not.

        Layers are compared at their first call. Some of PaddleOCR's decoders process the whole text
        again for every character that they add, at first one of start tokens alone. Ours keep the
        state of earlier characters and never call a layer with a text of that length.

        Args:
            network: ours; it runs after this.
            image: (N, C, H, W) float32.
            extra: its extra inputs by name.
        """

    def first_steps(
        self, network: Model, image: Tensor, /, **extra: Tensor
    ) -> Tensor | dict[str, Tensor]:
        """Run our network for `TRACED_STEPS` steps of its loop, through the layers of an export.

        Unlike `Model.forward` it never stops before, whatever the weights, and what follows the
        last step is the same.

        Args:
            network: ours.
            image: (N, C, H, W) float32.
            **extra: its extra inputs by name.
        """
        return network(image, **extra)


def seeded_tokens(name: str, image: np.ndarray, vocabulary: int, start: int) -> np.ndarray:
    """Return 12 tokens for each image, (N, 12) int64, the first of them the start token.

    Args:
        name: the input's; another length of it gives other tokens.
        image: (N, C, H, W) float32.
        vocabulary: tokens from 3 up to below this number follow the start token.
        start: the start token.
    """
    tokens = np.random.default_rng(len(name)).integers(3, vocabulary, (len(image), 12))
    tokens[:, 0] = start
    return tokens


def positions(image: np.ndarray, count: int) -> np.ndarray:
    """Return 0, 1, ... up to `count` for each image, (N, count) int64."""
    return np.tile(np.arange(count, dtype=np.int64), (len(image), 1))


@contextmanager
def limited(owner: Any, setting: str, value: int) -> Iterator[None]:
    """Give a setting of a decoding loop, Paddle's or ours, another value for a while."""
    before = getattr(owner, setting)
    setattr(owner, setting, value)
    try:
        yield
    finally:
        setattr(owner, setting, before)


def limited_steps(head: Any) -> AbstractContextManager[None]:
    """Let the decoding loop of a head, Paddle's or ours, end after `RECORDED_STEPS` tokens."""
    return limited(head, "max_seq_len", RECORDED_STEPS)
