"""Fine-tune a converted CTC recogniser in plain PyTorch.

    python examples/fine_tune.py ch_PP-OCRv4_rec.pth labels.txt --out tuned.pth

`labels.txt` has PaddleOCR's format: `path/to/line.png<TAB>text`, one image per row, paths relative
to the file. The result is used like any converted model; its JSON says that it is UNVERIFIED, since
the weights are no longer Paddle's, and which weights it is derived from.

With `--held-out`, further labels in the same format, the training stops as soon as all of those
lines are read.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

import architectures
from architectures.losses import ctc_loss
from architectures.training import train_mode
from pipelines import Recognizer
from pipelines.recognition.preprocess import preprocess


@dataclass(frozen=True)
class Line:
    """An image of a line, (H, W, 3) uint8 BGR, and its text."""

    image: np.ndarray
    text: str


def main() -> None:
    """Train on the labels and write the weights with their JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("weights", type=Path, help="the converted recogniser")
    parser.add_argument("labels", type=Path, help="rows of `image<TAB>text`")
    parser.add_argument("--held-out", type=Path, help="labels to test with after each epoch")
    parser.add_argument("--out", type=Path, required=True, help="the .pth or .safetensors to write")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    options = parser.parse_args()

    network = architectures.load(options.weights)
    class_of = classes_by_character(network)
    held_out = read_lines(options.held_out, class_of) if options.held_out else []
    train(
        network,
        read_lines(options.labels, class_of),
        held_out,
        epochs=options.epochs,
        batch_size=options.batch,
        learning_rate=options.learning_rate,
    )
    architectures.save(network, options.out)
    print(f"wrote {options.out}")


def classes_by_character(network: architectures.Model) -> dict[str, int]:
    """Return the class of each character that a recogniser knows."""
    card = network.card
    if card is None or card.dictionary is None or not card.dictionary.characters:
        raise SystemExit("the network has no table of characters; give a CTC recogniser")
    return {character: index for index, character in enumerate(card.dictionary.characters, 1)}


def train(
    network: architectures.Model,
    lines: list[Line],
    held_out: list[Line],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
) -> None:
    """Train a network until it reads all held-out lines, or for a number of epochs."""
    class_of, settings = classes_by_character(network), Recognizer(network).settings
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate)
    for epoch in range(epochs):
        train_mode(network)  # the statistics of the BatchNorms stay: batches are small here
        random.shuffle(lines)
        losses = []
        for start in range(0, len(lines), batch_size):
            batch = lines[start : start + batch_size]
            images = preprocess([line.image for line in batch], settings).images
            classes = [torch.tensor([class_of[c] for c in line.text]) for line in batch]
            logits = network(torch.from_numpy(images))
            labels = torch.nn.utils.rnn.pad_sequence(classes, batch_first=True)
            loss = ctc_loss(logits, labels, torch.tensor([len(each) for each in classes]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        read = count_read(network, held_out)
        tested = f", {read} of {len(held_out)} held-out lines read" if held_out else ""
        print(f"epoch {epoch + 1}: mean loss {np.mean(losses):.4f}{tested}", flush=True)
        if held_out and read == len(held_out):
            break
    network.eval()


def read_lines(labels: Path, class_of: dict[str, int]) -> list[Line]:
    """Read labels and their images."""
    lines = []
    for row in labels.read_text(encoding="utf-8").splitlines():
        file, text = row.split("\t")
        image = cv2.imread(str(labels.parent / file))
        if image is None:
            raise SystemExit(f"{labels.parent / file} is not an image")
        if unknown := set(text) - set(class_of):
            raise SystemExit(
                f"{file}: the network has no class for {', '.join(sorted(unknown))}; "
                "`python -m converter add-classes` adds some"
            )
        lines.append(Line(image, text))
    return lines


def count_read(network: architectures.Model, lines: list[Line]) -> int:
    """Return how many lines a network reads as they are."""
    read = Recognizer(network)([line.image for line in lines])
    return sum(found.text == line.text for found, line in zip(read, lines, strict=True))


if __name__ == "__main__":
    main()
