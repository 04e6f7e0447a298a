"""The README of a folder for Hugging Face: what the network is, how to load it, and its proof."""

from __future__ import annotations

from collections.abc import Iterator

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
    name = card.name or artefact.path.stem
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: transformers",
        *([f"pipeline_tag: {TAGS[card.task]}"] if card.task in TAGS else []),
        "tags: [ocr, paddleocr]",
        "---",
        "",
        f"# {name}",
        "",
        f"Weights of PaddleOCR, converted to PyTorch and written for {architecture}.",
        "",
        "```python",
        f"from transformers import {auto}",
        "",
        f'model = {auto}.from_pretrained("FOLDER")',
        "```",
        "",
        "## Proof",
        "",
        f"Transformers loaded this folder, and its results were compared with those of "
        f"`{artefact.path.name}`: {proof.describe()}.",
        "",
        *_origin(artefact),
        "",
        "The licence is that of PaddleOCR's released models; weights that were trained further may",
        "have another one.",
        "",
    ]
    return "\n".join(lines)


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
