"""Teach a converted recogniser a character that it lacks, on lines that are drawn here.

    python examples/teach_character.py ch_PP-OCRv4_rec.pth © --out taught

widens the head by a class (`add-classes`), trains until all held-out lines are read
(`fine_tune.py`), fuses the network, compares the fused one with the trained one, and exports it as
ONNX, or with `--to` for another program. The folder then has the labels and images, and the weights
of each step. The character must be one that Pillow's own font has.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from fine_tune import classes_by_character, read_lines, train
from PIL import Image, ImageDraw, ImageFont

import architectures
from converter.cli.main import main as main_of_converter

WORDS = ("2024", "River", "Library", "Press", "1998", "Works", "Edition", "Maps")
LIMIT = 1e-4


def main() -> None:
    """Run the steps one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("weights", type=Path, help="the converted recogniser")
    parser.add_argument("character", help="the new character")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--lines", type=int, default=32, help="how many lines to train on")
    parser.add_argument("--epochs", type=int, default=20, help="the most epochs")
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--to", default="onnx", help="the target of the export")
    options = parser.parse_args()
    folder, character = options.out, options.character
    folder.mkdir(parents=True, exist_ok=True)
    random.seed(0)

    card = architectures.load(options.weights).card
    if card is None or card.dictionary is None or not card.dictionary.characters:
        raise SystemExit(f"{options.weights} has no table of characters; give a CTC recogniser")
    known = list(card.dictionary.characters)
    if known[-1] == " ":  # which add-classes puts behind the others again
        known.pop()
    table = "".join(f"{each}\n" for each in (*known, character))
    (folder / "longer.txt").write_text(table, encoding="utf-8")
    wide = folder / "wide.pth"
    converter("add-classes", options.weights, folder / "longer.txt", "--out", wide)

    network = architectures.load(wide)
    class_of, height = classes_by_character(network), card.input.height or 48
    words = [word for word in WORDS if set(word) <= set(class_of)] or known
    lines, held_out = (
        read_lines(draw_lines(folder / name, count, words, character, height), class_of)
        for name, count in (("train", options.lines), ("held_out", 8))
    )
    train(
        network,
        lines,
        held_out,
        epochs=options.epochs,
        batch_size=4,
        learning_rate=options.learning_rate,
    )
    architectures.save(network, folder / "tuned.pth")
    print(f"wrote {folder / 'tuned.pth'}")

    network = architectures.load(folder / "tuned.pth")
    fused = architectures.fuse(network)
    image = torch.rand(2, 3, height, 320) * 2 - 1
    with torch.inference_mode():
        expected = network(image)
        difference = ((fused(image) - expected).abs().max() / expected.max()).item()
    if not difference <= LIMIT:
        raise SystemExit(f"the fused network differs by {difference:.1e} of the maximum")
    architectures.save(fused, folder / "fused.pth", card=network.card)
    print(f"fused: worst difference {difference:.1e} of the maximum")
    converter("export", folder / "fused.pth", "--to", options.to, "--out", folder)


def draw_lines(folder: Path, count: int, words: Sequence[str], character: str, height: int) -> Path:
    """Draw lines with the character, a quarter without it; return the file of their labels."""
    folder.mkdir(exist_ok=True)
    rows = []
    for number in range(count):
        parts = [random.choice(words)]
        if number % 4:
            parts.insert(random.randint(0, 1), character)
        text = "".join(parts)
        draw_line(text, height).save(folder / f"{number}.png")
        rows.append(f"{number}.png\t{text}\n")
    labels = folder / "labels.txt"
    labels.write_text("".join(rows), encoding="utf-8")
    return labels


def draw_line(text: str, height: int) -> Image.Image:
    """Draw a line of text in Pillow's own font, dark on a light ground, with some noise."""
    font = ImageFont.load_default(height * random.uniform(0.55, 0.75))
    left, top, right, bottom = font.getbbox(text)
    size = (round(right - left) + 16, height)
    image = Image.new("RGB", size, (random.randint(210, 255),) * 3)
    at = (8 - left, (height - bottom - top) / 2 + random.uniform(-2, 2))
    ImageDraw.Draw(image).text(at, text, fill=(random.randint(0, 90),) * 3, font=font)
    noise = np.random.default_rng(random.randrange(2**32)).normal(0, 5, (*size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def converter(*arguments: object) -> None:
    """Run a command of the converter; stop if it fails."""
    if code := main_of_converter([str(argument) for argument in arguments]):
        raise SystemExit(code)


if __name__ == "__main__":
    main()
