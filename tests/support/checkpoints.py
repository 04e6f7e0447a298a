"""What there is to convert: seeded checkpoints, written without Paddle, and released exports."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import yaml

from converter.references.recorded.record import read_record
from converter.references.seeded import seeded_weight
from tests.support.paths import RECORDS

CLS, DET = "cls__cls_mv3", "det__ch_PP-OCRv2__ch_PP-OCRv2_det_student"
CRNN = "rec__multi_language__rec_en_number_lite_train"

# Folders of the package that carries the released models.
EXPORTS = {
    "ch_PP-OCRv4_rec": "ch_PP-OCRv4_rec_infer",
    "ch_PP-OCRv4_det": "ch_PP-OCRv4_det_infer",
    "ch_ppocr_mobile_v2.0_cls": "ch_ppocr_mobile_v2_cls_infer",
}


def weights(record: str) -> dict[str, np.ndarray]:
    """Return the weights of a record in Paddle's names."""
    return read_record(RECORDS / record).weights()


def save(file: Path, tensors: dict[str, np.ndarray]) -> Path:
    """Write a checkpoint as `paddle.save` does."""
    table = {name: f"parameter_{i}" for i, name in enumerate(tensors)}
    with file.open("wb") as stream:
        pickle.dump({**tensors, "StructuredToParameterName@@": table}, stream, protocol=4)
    return file


def fine_tuned(folder: Path, characters: str = "abcxyz", **architecture: object) -> Path:
    """Write a recogniser with another dictionary: checkpoint, table and training YAML.

    `architecture` replaces sections of the network in the YAML, not in the checkpoint.
    """
    tensors = weights(CRNN)
    classes = len(characters) + 2  # the blank and the space
    tensors["head.fc.weight"] = seeded_weight(0, "head.fc.weight", (96, classes))
    tensors["head.fc.bias"] = seeded_weight(0, "head.fc.bias", (classes,))
    save(folder / "best_accuracy.pdparams", tensors)
    (folder / "own_dict.txt").write_text("".join(f"{c}\n" for c in characters), encoding="utf-8")
    trained = read_record(RECORDS / CRNN).facts.architecture | architecture
    if trained["Head"]["name"] == "CTCHead":
        trained = {**trained, "Head": {"name": "CTCHead", "fc_decay": 1e-5}}
    content = {
        "Global": {"character_dict_path": "own_dict.txt", "use_space_char": True},
        "Architecture": trained,
        "Train": {"loader": {"batch_size_per_card": 64}},
    }
    (folder / "train.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder
