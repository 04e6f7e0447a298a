"""The README of a folder for Hugging Face: what the network is, how to load it, and its proof."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from converter.exporting.artefact import Artefact
from converter.exporting.proof import ExportProof

TAGS = {
    "rec": "image-to-text",
    "det": "object-detection",
    "cls": "image-classification",
    "unwarp": "image-to-image",
}
"""Hugging Face's names of what a task does."""


def model_card(artefact: Artefact, auto: str, architecture: str, proof: ExportProof) -> str:
    """Return the text of a model card.

    Args:
        artefact: the network.
        auto: the class of Transformers that loads the folder.
        architecture: the class that it gives.
        proof: the comparison of what is loaded with the network.
    """
    card = artefact.card
    lines = [
        *_head(card.name or artefact.path.stem, auto, architecture, TAGS.get(card.task or "")),
        f"Transformers loaded this folder, and its results were compared with those of "
        f"`{artefact.path.name}`: {proof.describe()}.",
        "",
        *_origin(artefact),
        *_LICENCE,
    ]
    return "\n".join(lines)


def vision_language_card(
    name: str,
    call: str,
    architecture: str,
    proof: str,
    hashes: Mapping[str, str],
) -> str:
    """Return the text of a model card of a vision-language model.

    Args:
        name: the released model.
        call: Transformers' class that loads the folder, and further options of the call.
        architecture: the class that it gives.
        proof: what was compared, a sentence.
        hashes: the SHA-256 of each file that the weights come from.
    """
    auto, _, options = call.partition(", ")
    lines = [
        *_head(name, auto, architecture, "image-text-to-text", options),
        proof,
        "",
        "The weights come from:",
        "",
        *(f"- `{file}`, sha256 `{digest}`" for file, digest in hashes.items()),
        *_LICENCE,
    ]
    return "\n".join(lines)


_LICENCE = (
    "",
    "The licence is that of PaddleOCR's released models; weights that were trained further may",
    "have another one.",
    "",
)


def _head(
    name: str, auto: str, architecture: str, tag: str | None, options: str = ""
) -> Iterator[str]:
    """Yield the lines up to the proof."""
    yield from ("---", "license: apache-2.0", "library_name: transformers")
    if tag:
        yield f"pipeline_tag: {tag}"
    yield from ("tags: [ocr, paddleocr]", "---", "", f"# {name}", "")
    yield f"Weights of PaddleOCR, converted to PyTorch and written for {architecture}."
    yield from ("", "```python", f"from transformers import {auto}", "")
    more = f", {options}" if options else ""
    yield f'model = {auto}.from_pretrained("FOLDER"{more})'
    yield from ("```", "", "## Proof", "")


def _origin(artefact: Artefact) -> Iterator[str]:
    """Yield what the weights come from, a line each."""
    card = artefact.card
    verified = (card.parity or {}).get("reference")
    compared = f", compared with the reference {verified}" if verified else ""
    yield f"The weights are {card.status or 'UNVERIFIED'}{compared}. They come from:"
    yield ""
    yield f"- `{card.weights.file}`, sha256 `{card.weights.sha256}`"
    for ancestor in card.derived_from:
        yield f"- `{ancestor.file}`, {ancestor.status}, sha256 `{ancestor.sha256}`"
    for file, digest in card.source.files.items():
        yield f"- `{file}`, sha256 `{digest}`"
