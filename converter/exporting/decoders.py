"""Heads that write a text step by step, as two graphs: one of the image, and one of a step.

The graph of the image runs once, and gives what all steps read. That of a step takes this and the
tokens so far, and scores those that follow. What a step hands on to the next one is a result named
`next_X`, which becomes the input `X`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import architectures
from architectures.heads import (
    _beam_search,
    _mbart,
    rec_att_head,
    rec_latexocr_head,
    rec_nrtr_head,
    table_master_head,
)
from architectures.heads.table_att_head import as_sequence
from converter.exporting.parts import GraphPart

Tensors = Mapping[str, Tensor]
Step = Callable[[Tensors, Tensor], Tensors]
"""Runs a step, as `Decoder.step` does."""
NEXT = "next_"


class Decoder:
    """A head whose steps score all tokens so far anew, by `TeacherForced.score_tokens`.

    Attributes:
        head: the head.
        start: the token that a text begins with.
        setting: the name of the head's option that limits the steps.
        more: what the option is for no step at all.
        tokens: the network's result that holds the text, `output` if it is the only one; empty
            where all of its results are scores.
        starts: how many start tokens the result holds.
        scores: the network's results, by the names of a step's results that they stack.
        whole: the network's results, by the names of the last step's results that they are.
        short: whether every text takes the same steps, few enough for one graph.
        beams: how many texts of each image the network follows; 1 where it takes the token of the
            greatest score.
    """

    start: int = 0
    setting: ClassVar[str] = ""
    more: ClassVar[int] = 0
    tokens: ClassVar[str] = ""
    starts: int = 0
    scores: ClassVar[Mapping[str, str]] = {}
    whole: ClassVar[Mapping[str, str]] = {}
    short: ClassVar[bool] = False
    beams: int = 1

    def __init__(self, head: Any) -> None:
        self.head = head

    @property
    def end(self) -> int:
        """The token that ends a text."""
        raise NotImplementedError(f"{type(self).__name__} does not state its end token")

    @property
    def width(self) -> int:
        """How many tokens a step writes."""
        return 1

    @property
    def owner(self) -> Any:
        """What has the option `setting`."""
        return self.head

    @property
    def longest(self) -> int:
        """How many steps there are at most."""
        return (getattr(self.owner, self.setting) - self.more) // self.width

    def memory(self, features: Any) -> Tensors:
        """Return what the steps read of the image, from what the head takes."""
        return {"memory": features}

    def step(self, memory: Tensors, tokens: Tensor) -> Tensors:
        """Return a step's results, of which `scores` are those of the next tokens, (N, K, V).

        Args:
            memory: of the image, and what the step before handed on.
            tokens: (N, T) int64, all so far, from the start token on.
        """
        return {"scores": self.head.score_tokens(memory["memory"], tokens)[:, -1:]}

    def write(self, step: Step, memory: Tensors, tokens: Tensor, steps: int) -> Tensor:
        """Return the tokens (N, T) int64 that the network writes in so many steps.

        Args:
            step: runs a step.
            memory: of the image.
            tokens: the start tokens, (N, width) int64.
            steps: how many.
        """
        for _ in range(steps):
            results = step(memory, tokens)
            handed_on = {key: tensor for key, tensor in results.items() if key.startswith(NEXT)}
            memory = {**memory, **{key.removeprefix(NEXT): t for key, t in handed_on.items()}}
            tokens = torch.cat([tokens, results["scores"].argmax(2)], 1)
        return tokens


class NRTR(Decoder):
    """NRTR, whose head has layers for the image too."""

    start, end = rec_nrtr_head.START, rec_nrtr_head.END
    setting, more, tokens, starts = "max_len", 1, "tokens", 1

    def memory(self, features: Tensor) -> Tensors:  # noqa: D102
        return {"memory": self.head.encode(features)}

    def step(self, memory: Tensors, tokens: Tensor) -> Tensors:  # noqa: D102
        return {"scores": self.head.score_memory(memory["memory"], tokens)[:, -1:]}


class SATRN(Decoder):
    """SATRN, which writes a fixed number of characters."""

    setting, scores, short = "places", {"scores": "output"}, True

    @property
    def start(self) -> int:  # type: ignore[override]  # noqa: D102
        return int(self.head.decoder.start)

    end = start  # one class stands for both

    @property
    def owner(self) -> Any:  # noqa: D102
        return self.head.decoder

    def memory(self, features: Tensor) -> Tensors:  # noqa: D102
        return {"memory": self.head.encoder(features)}

    def step(self, memory: Tensors, tokens: Tensor) -> Tensors:  # noqa: D102
        scores = self.head.decoder.score_tokens(memory["memory"], tokens)[:, -1:]
        return {"scores": scores.softmax(-1)}


class LaTeXOCR(Decoder):
    """LaTeX-OCR."""

    start, end = rec_latexocr_head.START, rec_latexocr_head.END
    setting, tokens = "max_seq_len", "output"


class MBart(Decoder):
    """UniMERNet and PP-FormulaNet; a step of PP-FormulaNet-S writes several tokens."""

    start, end = _mbart.START, _mbart.END
    setting, tokens = "max_seq_len", "output"

    @property
    def width(self) -> int:  # noqa: D102
        return int(self.head.step)

    @property
    def starts(self) -> int:  # type: ignore[override]  # noqa: D102
        return self.width

    def step(self, memory: Tensors, tokens: Tensor) -> Tensors:  # noqa: D102
        scores = self.head.score_steps(memory["memory"], tokens)
        # A slice would be a view, which a graph of PyTorch takes for another one in the first step.
        last = torch.arange(-self.width, 0, device=tokens.device) + tokens.shape[1]
        return {"scores": scores.index_select(1, last)}


class Attention(Decoder):
    """RARE, which writes a fixed number of characters from the state of a recurrent cell."""

    start = rec_att_head.START
    setting, scores, short = "batch_max_length", {"scores": "output"}, True

    @property
    def end(self) -> int:  # noqa: D102
        return int(self.head.generator.out_features) - 1

    @property
    def cell(self) -> Any:
        """The recurrent cell."""
        return self.head.attention_cell

    def memory(self, features: Any) -> Tensors:  # noqa: D102
        state, keys = self.cell.start(features)
        states = {f"state{n}": tensor for n, tensor in enumerate(state)}
        return {"features": features, "keys": keys, **states}

    def step(self, memory: Tensors, tokens: Tensor) -> Tensors:  # noqa: D102
        state = tuple(memory[name] for name in memory if name.startswith("state"))
        state = self.cell(state, memory["features"], memory["keys"], tokens[:, -1])
        handed_on = {f"{NEXT}state{n}": tensor for n, tensor in enumerate(state)}
        return {**self.describe(state[0]), **handed_on}

    def describe(self, state: Tensor) -> Tensors:
        """Return what is read from a state `(N, hidden_size)`."""
        return {"scores": self.head.generator(state).softmax(-1).unsqueeze(1)}


class SEED(Decoder):
    """SEED, whose text is that of a beam search over the steps; their scores are logarithms."""

    setting, tokens = "max_len_labels", "rec_pred"

    @property
    def start(self) -> int:  # type: ignore[override]  # noqa: D102
        return int(self.head.decoder.start)

    @property
    def end(self) -> int:  # noqa: D102
        return int(self.head.eos)

    @property
    def beams(self) -> int:  # type: ignore[override]  # noqa: D102
        return int(self.head.beam_width)

    def memory(self, features: Tensor) -> Tensors:  # noqa: D102
        unit = self.head.decoder.decoder
        state = unit.embed_fc(self.head.embedder(features))
        return {"features": features, "keys": unit.attention_unit.keys(features), "state": state}

    def step(self, memory: Tensors, tokens: Tensor) -> Tensors:  # noqa: D102
        given = (memory[name] for name in ("state", "features", "keys"))
        logits, state = self.head.decoder.decoder(*given, tokens[:, -1])
        return {"scores": logits.log_softmax(1).unsqueeze(1), f"{NEXT}state": state}

    def write(  # noqa: D102
        self, step: Step, memory: Tensors, tokens: Tensor, steps: int
    ) -> Tensor:
        memory = {name: each.repeat_interleave(self.beams, 0) for name, each in memory.items()}

        def follow(state: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
            results = step({**memory, "state": state}, last.unsqueeze(1))
            return results["scores"].squeeze(1), results[f"{NEXT}state"]

        state = memory["state"]
        text = _beam_search.search(follow, state, self.start, self.end, self.beams, steps)
        return torch.cat([tokens, text], 1)


class Structure(Attention):
    """SLANet and SLANeXt, which write tokens of HTML and the boxes of cells."""

    setting, more, short = "max_text_length", -1, False
    scores: ClassVar = {"scores": "structure_probs", "boxes": "loc_preds"}

    @property
    def end(self) -> int:  # noqa: D102
        return int(self.head.end)

    @property
    def cell(self) -> Any:  # noqa: D102
        return self.head.structure_attention_cell

    def memory(self, features: Any) -> Tensors:  # noqa: D102
        return super().memory(as_sequence(features))

    def describe(self, state: Tensor) -> Tensors:  # noqa: D102
        scores = self.head.structure_generator(state).softmax(-1)
        return {"scores": scores.unsqueeze(1), "boxes": self.head.loc_generator(state).unsqueeze(1)}


class TableAttention(Structure):
    """EDD, which writes a fixed number of tokens and reads a part of the image for each."""

    @property
    def end(self) -> int:  # noqa: D102
        return int(self.head.structure_generator.out_features) - 1

    def memory(self, features: Any) -> Tensors:  # noqa: D102
        sequence = as_sequence(features)
        places = self.head.loc_fea_trans(sequence.transpose(1, 2)).transpose(1, 2)
        return {**super().memory(features), "places": places}

    def step(self, memory: Tensors, tokens: Tensor) -> Tensors:  # noqa: D102
        results = super().step({n: t for n, t in memory.items() if n != "places"}, tokens)
        place = memory["places"][:, tokens.shape[1] - 1]
        located = torch.cat([results[f"{NEXT}state0"], place], 1)
        return {**results, "boxes": self.head.loc_generator(located).sigmoid().unsqueeze(1)}

    def describe(self, state: Tensor) -> Tensors:  # noqa: D102
        return {"scores": self.head.structure_generator(state).softmax(-1).unsqueeze(1)}


class TableMaster(Decoder):
    """TableMASTER, whose steps decode all tokens anew and may change what was before.

    A padding token attends to all others, later ones included.
    """

    setting, more = "max_text_length", -1
    whole: ClassVar = {"probabilities": "structure_probs", "boxes": "loc_preds"}

    @property
    def start(self) -> int:  # type: ignore[override]  # noqa: D102
        return int(self.head.out_channels) - table_master_head.SOS

    @property
    def end(self) -> int:  # noqa: D102
        return int(self.head.out_channels) - table_master_head.EOS

    def memory(self, features: Any) -> Tensors:  # noqa: D102
        layers = enumerate(self.head.image_keys_values(features))
        return {
            f"{name}{n}": tensor
            for n, layer in layers
            for name, tensor in zip(("keys", "values"), layer, strict=True)
        }

    def step(self, memory: Tensors, tokens: Tensor) -> Tensors:  # noqa: D102
        keys, values = (
            [tensor for name, tensor in memory.items() if name.startswith(kind)]
            for kind in ("keys", "values")
        )
        logits, boxes = self.head.decode_tokens(list(zip(keys, values, strict=True)), tokens)
        probabilities = logits.softmax(2)
        last = torch.tensor([-1], device=tokens.device) + tokens.shape[1]
        scores = probabilities.index_select(1, last)
        return {"scores": scores, "probabilities": probabilities, "boxes": boxes}


DECODERS: Mapping[str, type[Decoder]] = {
    "AsterHead": SEED,
    "AttentionHead": Attention,
    "AttentionLSTM": Attention,
    "LaTeXOCRHead": LaTeXOCR,
    "PPFormulaNet_Head": MBart,
    "SATRNHead": SATRN,
    "SLAHead": Structure,
    "TableAttentionHead": TableAttention,
    "TableMasterHead": TableMaster,
    "Transformer": NRTR,
    "UniMERNetHead": MBart,
}
"""By PaddleOCR's name of the head."""


def decoder_of(network: architectures.Model) -> Decoder | None:
    """Return how a network writes its text, or None where it does not do so step by step."""
    head = network.architecture.get("Head") or {}
    kind = DECODERS.get(head.get("name", ""))
    return kind(network.head) if kind else None


class ImagePart(GraphPart):
    """The network up to its decoder, as a module that returns `Decoder.memory`."""

    def __init__(self, network: architectures.Model) -> None:
        super().__init__()
        self.network, self.decoder = network, decoder_of(network)
        self.inputs = ("x",)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return what the steps read of images (N, C, H, W)."""
        for part in (self.network.transform, self.network.backbone, self.network.neck):
            x = part(x)
        assert self.decoder is not None
        return dict(self.decoder.memory(x))


class StepPart(nn.Module):
    """A step of a decoder, which takes the memory by position, then the tokens."""

    def __init__(self, decoder: Decoder, names: tuple[str, ...]) -> None:
        super().__init__()
        self.head, self.decoder, self.names = decoder.head, decoder, names

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return `Decoder.step` of tensors of the memory and tokens (N, T) int64."""
        *memory, tokens = inputs
        return dict(self.decoder.step(dict(zip(self.names, memory, strict=True)), tokens))
