"""Fine-tune a converted CTC recogniser in plain PyTorch.

    python examples/fine_tune.py ch_PP-OCRv4_rec.pth labels.txt --out tuned.pth

`labels.txt` has PaddleOCR's format: `path/to/line.png<TAB>text`, one image per row, paths relative
to the file. The result is used like any converted model; its JSON says that it is UNVERIFIED, since
the weights are no longer Paddle's, and which weights it is derived from.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn.functional import ctc_loss

import architectures

BLANK = 0


def main() -> None:
    """Train on every row of the labels and write the weights with their JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("weights", type=Path, help="the converted recogniser")
    parser.add_argument("labels", type=Path, help="rows of `image<TAB>text`")
    parser.add_argument("--out", type=Path, required=True, help="the .pth or .safetensors to write")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    options = parser.parse_args()

    network = architectures.load(options.weights)
    card = network.card
    if card is None or card.dictionary is None or not card.dictionary.characters:
        raise SystemExit(f"{options.weights} has no table of characters; give a CTC recogniser")
    class_of = {character: index for index, character in enumerate(card.dictionary.characters, 1)}
    samples = read_samples(options.labels, class_of, card.input.height or 48)

    # Batches are small here, so BatchNorm keeps the statistics that it was trained with.
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate)
    for epoch in range(options.epochs):
        random.shuffle(samples)
        losses = []
        for image, classes in samples:
            log_probabilities = network(image).clamp_min(1e-9).log().transpose(0, 1)  # (T, 1, C)
            lengths = torch.tensor([len(log_probabilities)]), torch.tensor([len(classes)])
            loss = ctc_loss(log_probabilities, classes[None], *lengths, blank=BLANK)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: mean loss {np.mean(losses):.4f}")
    architectures.save(network, options.out)
    print(f"wrote {options.out}")


def read_samples(
    labels: Path, class_of: dict[str, int], height: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return images, `(1, 3, height, W) float32` from -1 to 1, and the classes of their texts."""
    samples = []
    for row in labels.read_text(encoding="utf-8").splitlines():
        file, text = row.split("\t")
        image = cv2.imread(str(labels.parent / file))
        if image is None:
            raise SystemExit(f"{labels.parent / file} is not an image")
        width = round(image.shape[1] * height / image.shape[0])
        image = cv2.resize(image, (width, height)).astype(np.float32)
        batch = torch.from_numpy(image / 127.5 - 1).permute(2, 0, 1)[None]
        samples.append((batch, torch.tensor([class_of[character] for character in text])))
    return samples


if __name__ == "__main__":
    main()
