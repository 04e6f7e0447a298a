"""A small VI-LayoutXLM: exports with seeded weights, and a checkpoint folder with the same."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import torch
import yaml

from converter.sources.reader import read_program
from tests.support.checkpoints import save
from tests.support.paddle_files import description
from tests.support.paths import ROOT

TOKENS = 52
SIZES = {
    "vocab_size": 200,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": TOKENS,
    "max_2d_position_embeddings": 1024,
}
CLASSES = "OTHER\nQUESTION\nANSWER\nHEADER\n"
LABELS = ("O", "B-QUESTION", "I-QUESTION", "B-ANSWER", "I-ANSWER", "B-HEADER", "I-HEADER")


def write_export(folder: Path, kind: str, suffix: str) -> Path:
    """Write the program of a kind, `ser` or `re`, with weights, and return the folder."""
    folder.mkdir()
    program = folder / f"inference{suffix}"
    packed = ROOT / f"tests/programs/vi_layoutxlm_{kind}{suffix}.gz"
    program.write_bytes(gzip.decompress(packed.read_bytes()))
    specs = read_program(program).parameters
    generator = np.random.default_rng(40)
    data = b""
    for name in sorted(specs):
        values = weight(generator, name, specs[name].shape, specs[name].dtype)
        desc = description(specs[name].dtype, specs[name].shape)
        data += struct.pack("<IQIi", 0, 0, 0, len(desc)) + desc + values.tobytes()
    (folder / "inference.pdiparams").write_bytes(data)
    return folder


def weight(
    generator: np.random.Generator, name: str, shape: tuple[int, ...], dtype: str
) -> np.ndarray:
    """Return values with which the outputs of layers spread about as widely as their inputs.

    Tokens count for more than their places, so that lines differ from each other.
    """
    if dtype == "int64":  # the places in a text
        return np.arange(shape[-1]).reshape(shape)
    values = generator.standard_normal(shape)
    if name.startswith("layer_norm"):
        values = 0.1 * values + name.endswith("w_0")
    elif name.startswith("embedding"):
        values *= 4 if name == "embedding_0.w_0" else 1
    elif len(shape) > 1:
        values *= 1.5 / shape[-2] ** 0.5
    else:
        values *= 0.2
    return values.astype(dtype)


def write_training(folder: Path, kind: str) -> Path:
    """Write the YAML of a run, and the class list beside it."""
    (folder / "classes.txt").write_text(CLASSES, encoding="utf-8")
    name = "LayoutXLMForSer" if kind == "ser" else "LayoutXLMForRe"
    backbone = {"name": name, "mode": "vi", "sizes": SIZES}
    encode = {"order_method": "tb-yx", "class_path": "classes.txt"}
    steps = [{"VQATokenLabelEncode": encode}, {"VQATokenPad": {"max_seq_len": TOKENS}}]
    content = {
        "Architecture": {"model_type": "kie", "algorithm": "LayoutXLM", "Backbone": backbone},
        "Eval": {"dataset": {"transforms": steps}},
    }
    file = folder / f"{kind}.yml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def write_run(folder: Path, converted: Path) -> Path:
    """Write converted weights as the folder of a run: PaddleNLP's names, Paddle's layouts."""
    best = folder / "best_accuracy"
    best.mkdir(parents=True)
    state = torch.load(converted, weights_only=True)
    tensors = {}
    for name, tensor in state.items():
        matrix = tensor.dim() == 2 and "_embeddings" not in name and "entity_emb" not in name
        array = (tensor.T if matrix else tensor).contiguous().numpy()
        tensors[name.removeprefix("backbone.model.")] = array
    (best / "model_config.json").write_text('{"init_class": "any"}', encoding="utf-8")
    save(best / "model_state.pdparams", tensors)
    return folder
