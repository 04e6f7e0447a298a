"""LayoutLM, LayoutLMv2 and LayoutXLM: networks that take tokens and their places on the page.

What is called image elsewhere, the first input, is `input_ids` here, (N, T) int64. All other inputs
are made from its shape and values, so that two sides that get the same tokens get the same page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from converter.adapters.base import HeadAdapter, RecordedInput, RecordRows

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.backbones._relation_decoder import RelationDecoder

WITHOUT_IMAGE = "LayoutLMForSer"  # the only network besides those of mode `vi`
VOCABULARY = 20_000  # tokens below this are in all of PaddleNLP's vocabularies
PICTURE = 224  # height and width of the image, in pixels
RECORDED = 32  # rows of the relations that a record holds
USED = 0.9  # of the length; the rest of the last text is padding
QUESTION, ANSWER = 1, 2
RULES = {
    "input_ids": "integers",
    "bbox": "words in lines, from 0 to 1000",
    "attention_mask": "zeros behind the last text's tokens",
    "token_type_ids": "zeros",
    "image": "a drawn page",
    "entities": "row 0 the count, then start, end, label",
    "relations": "row 0 the count, then every question with every answer",
}


class TokenAdapter(HeadAdapter):
    """Both networks take the same inputs, PaddleOCR's in one list."""

    first_input = "input_ids"
    image_in_list = True

    def tokens(self, count: int, length: int, seed: int) -> np.ndarray:
        """Return tokens that every vocabulary of the network has, (count, length) int64."""
        most = min(VOCABULARY, (self.options.get("sizes") or {}).get("vocab_size", VOCABULARY))
        return np.random.default_rng(seed).integers(5, most, (count, length))

    def fitting(self, length: int) -> int:
        """Return a length of texts, cut to what the network has places for."""
        return min(length, (self.options.get("sizes") or {}).get("max_position_embeddings", length))

    @property
    def extra_inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The inputs beside the tokens; the image only where the network sees one."""
        sees = self.options.get("mode", "base") == "base"
        image = sees and self.options.get("name") != WITHOUT_IMAGE
        return ("bbox", "attention_mask", "token_type_ids", *(("image",) if image else ()))

    def extra_values(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return boxes in rows, a mask that ends early in the last text, and a drawn page."""
        values = {
            "bbox": boxes_in_rows(image),
            "attention_mask": mask_of(image),
            "token_type_ids": np.zeros_like(image),
            "image": picture(len(image)),
        }
        return {name: values[name] for name in self.extra_inputs if name in values}

    def recorded_inputs(self, image: np.ndarray) -> dict[str, RecordedInput]:
        """Return the inputs beside the tokens."""
        return {
            name: RecordedInput(f"stored: {RULES.get(name, 'as at inference')}", values)
            for name, values in self.extra_values(image).items()
        }

    def call_paddle(self, network: Any, image: Any, extra: Mapping[str, Any]) -> Any:
        """Run PaddleOCR's network; LayoutLMv2's scores are a tuple of one."""
        return _alone(network(*self.paddle_arguments(image, list(extra.values()))))


class RelationAdapter(TokenAdapter):
    """Entities are the same arrays on both sides; a record also holds the scores of the pairs."""

    record_call_inputs: ClassVar = ("entities", "relations")
    index_inputs: ClassVar = frozenset({"entities", "relations"})
    decodes: ClassVar = True
    loops_over_images: ClassVar = True
    cut: ClassVar = frozenset({"output.loss"})

    @property
    def extra_inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """As of the network of tokens, then entities and relations."""
        return (*super().extra_inputs, "entities", "relations")

    def extra_values(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return also entities of a few tokens each, and every question with every answer."""
        entities = entities_of(image)
        return {
            **super().extra_values(image),
            "entities": entities,
            "relations": np.stack([every_pair(page) for page in entities]),
        }

    def first_steps(self, network: Model, image: Tensor, /, **extra: Tensor) -> dict[str, Tensor]:
        """Run the network; relations follow from the scores, even where none is found."""
        results = cast("dict[str, Tensor]", network(image, **extra))
        return {**results, "pred_relations": results["pred_relations"] + results["loss"].long()}

    def record_paddle(self, network: Any, image: Any, extra: Mapping[str, Any]) -> Any:
        """Run PaddleOCR's network; of the relations a record holds the first."""
        results = self.with_scores(network, image, extra)
        return {**results, "pred_relations": results["pred_relations"][:, :RECORDED]}

    def with_scores(self, network: Any, image: Any, extra: Mapping[str, Any]) -> dict[str, Any]:
        """Return the results, and the scores of the pairs, which the network does not return."""
        import paddle

        scores: list[Any] = []
        classifier = network.backbone.model.extractor.rel_classifier
        hook = classifier.register_forward_post_hook(lambda *call: scores.append(call[-1]))
        try:
            results = self.call_paddle(network, image, extra)
        finally:
            hook.remove()
        return {**results, "scores": paddle.stack(scores)}

    def record_results(
        self, network: Model, image: Tensor, inputs: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Return the results of the network, and the scores of the pairs."""
        import torch

        from architectures.backbones._relation_decoder import candidate_pairs

        extra = {name: inputs[name] for name in network.extra_inputs}
        results = cast("dict[str, Tensor]", network(image, **extra))
        decoder = cast("RelationDecoder", network.get_submodule("backbone.model.extractor"))
        states = results["hidden_states"]
        last = states[:, -1] if states.dim() == 4 else states
        pages = zip(last, *(inputs[name] for name in self.record_call_inputs), strict=True)
        scores = [
            decoder.score(page, entities, candidate_pairs(entities, relations)[0])
            for page, entities, relations in pages
        ]
        found = results["pred_relations"][:, :RECORDED]
        return {**results, "pred_relations": found, "scores": torch.stack(scores)}


class LayoutLMv2RelationAdapter(RelationAdapter):
    """PaddleNLP's LayoutLMv2 takes entities and relations as lists, and pairs in no fixed order."""

    record_rows: ClassVar = RecordRows(optional=frozenset({"pred_relations"}))

    def extra_values(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the relations in the order in which Python's sets, as PaddleNLP's, have them."""
        values = super().extra_values(image)
        for page in values["relations"]:
            page[1:] = list(set({(int(head), int(tail)) for head, tail in page[1:]}))
        return values

    def call_paddle(self, network: Any, image: Any, extra: Mapping[str, Any]) -> Any:
        """Run PaddleOCR's network on lists, and return what all networks of relations do."""
        import paddle

        lists = dict(extra)
        for name, keys in (
            ("entities", ("start", "end", "label")),
            ("relations", ("head", "tail")),
        ):
            lists[name] = [
                dict(zip(keys, rows[1 : 1 + rows[0][0]].T.tolist(), strict=True))
                for rows in extra[name].numpy()
            ]
        results = network([image, *lists.values()])
        found = relation_rows(results["pred_relations"], extra["entities"].shape[1])
        kept = {name: results[name] for name in ("loss", "hidden_states")}
        return {**kept, "pred_relations": paddle.to_tensor(found)}

    def record_paddle(self, network: Any, image: Any, extra: Mapping[str, Any]) -> Any:
        """As of any network of relations, without the relations, which are lists here."""
        results = self.with_scores(network, image, extra)
        del results["pred_relations"]
        return results

    def record_results(
        self, network: Model, image: Tensor, inputs: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Score the pairs in the order in which Python's sets, which PaddleNLP uses, list them."""
        relations = inputs["relations"].clone()
        for page in relations:
            pairs = {(int(head), int(tail)) for head, tail in page[1 : 1 + int(page[0, 0])]}
            page[1 : 1 + len(pairs)] = page.new_tensor(list(set(pairs)))
        return super().record_results(network, image, {**inputs, "relations": relations})


def relation_rows(pages: Sequence[Sequence[Mapping[str, Any]]], most: int) -> np.ndarray:
    """Return PaddleNLP's relations as `RelationDecoder` does, (N, most * most, 7, 2) int64."""
    rows = np.full((len(pages), most**2, 7, 2), -1, np.int64)
    for page, relations in zip(rows, pages, strict=True):
        for row, relation in zip(page[1 : len(relations) + 1], relations, strict=True):
            for side, first in (("head", 0), ("tail", 3)):
                row[first, 0] = relation[f"{side}_id"]
                row[first + 1] = relation[side]
                row[first + 2, 0] = relation[f"{side}_type"]
            row[-1, 0] = relation["type"]
        if relations:
            page[0] = len(relations)
    return rows


def _alone(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) and len(result) == 1 else result


def boxes_in_rows(tokens: np.ndarray) -> np.ndarray:
    """Return a box for each token, (N, T, 4) int64 from 0 to 1000, as words stand in lines."""
    _, length = tokens.shape
    widths = 20 + tokens % 61
    ends = np.cumsum(widths + 12, 1)
    left = (ends - widths) % 880 + 20
    top = 20 + 28 * (ends // 900) % 940
    boxes = np.stack([left, top, left + widths, top + 18 + tokens % 7], -1)
    boxes = np.minimum(boxes, 1000).astype(np.int64)
    boxes[mask_of(tokens) == 0] = 0
    return boxes.reshape(len(tokens), length, 4)


def mask_of(tokens: np.ndarray) -> np.ndarray:
    """Return a mask, (N, T) int64, by which the last text ends before the others."""
    mask = np.ones_like(tokens)
    mask[-1, int(USED * tokens.shape[1]) :] = 0
    return mask


def picture(count: int) -> np.ndarray:
    """Return drawn pages, (count, 3, 224, 224) float32, values from 0 to 255.

    PaddleOCR normalises pages, and the network does so again, after which they hardly differ from
    each other. So that a mistake in the visual branch shows, these are not normalised before.
    """
    from converter.parity.rendered_inputs import page

    pages = [page(PICTURE, PICTURE, seed) for seed in range(count)]
    return np.ascontiguousarray(np.stack(pages).transpose(0, 3, 1, 2), np.float32)


def entities_of(tokens: np.ndarray) -> np.ndarray:
    """Return questions, answers and a heading in turns, (N, T + 1, 3) int64."""
    count, length = tokens.shape
    entities = np.full((count, length + 1, 3), -1, np.int64)
    used = int(USED * length)
    number = min(8, used // 4)
    for row in range(number):
        start = row * (used // number)
        entities[:, row + 1] = start, start + 3, (row + 1) % 3
    entities[:, 0] = number
    return entities


def every_pair(entities: np.ndarray) -> np.ndarray:
    """Return each question with each answer of a page, after the row with their number, int64."""
    labels = entities[1 : entities[0, 0] + 1, 2]
    pairs = [
        (question, answer)
        for question in np.flatnonzero(labels == QUESTION)
        for answer in np.flatnonzero(labels == ANSWER)
    ]
    return np.array([(len(pairs), len(pairs)), *pairs], np.int64)
