"""A small PaddleOCR checkout: its layout is PaddleOCR's, its network a toy, with a mirror of it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from architectures import Model
from architectures.interfaces import OutputPart
from converter.references.seeded import seeded_weight

SOURCE = """
from paddle import ParamAttr, nn, ones
from ppocr.modeling.parts import Block

class BaseModel(nn.Layer):
    def __init__(self, config):
        super().__init__()
        self.backbone = Block(config["Backbone"]["width"])
        with open("ppocr/classes.txt") as file:  # a path such as PGHead opens its dictionary by
            classes = len(file.readlines())
        self.head = nn.Sequential(("fc", nn.Linear(config["Backbone"]["width"], classes)))
        # PaddleOCR's classifier names its parameters; they are named again in the next network.
        self.guide = nn.Linear(2, 2, weight_attr=ParamAttr(name="fc_0.w_0"))

    def forward(self, x):
        x = self.backbone(x).mean([2, 3])
        x = nn.functional.dropout(x, 0.2, mode="downscale_in_infer")  # not told of inference
        x = x.cuda() * ones([1], "int64") + ones([1], "int64")  # as PARSeq, as CAN
        return {"probabilities": nn.functional.softmax(self.head(x))}
"""
PARTS = """
from paddle import nn

class Block(nn.Layer):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2D(3, width, 3, bias_attr=False)
        self.bn = nn.BatchNorm2D(width)

    def forward(self, x):
        return nn.functional.relu(self.bn(self.conv(x)))
"""
ARCHITECTURE = {"model_type": "cls", "Backbone": {"width": 6}, "Head": {"name": "toy"}}
WEIGHTS = {
    name: seeded_weight(0, name, shape)
    for name, shape in {
        "backbone.conv.weight": (6, 3, 3, 3),
        "backbone.bn.weight": (6,),
        "backbone.bn.bias": (6,),
        "backbone.bn._mean": (6,),
        "backbone.bn._variance": (6,),
        "head.fc.weight": (6, 4),
        "head.fc.bias": (4,),
    }.items()
}


class Block(nn.Module):
    folds = (("conv", "bn"),)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, bias=False)
        self.bn = nn.BatchNorm2d(6)

    def forward(self, x):
        return nn.functional.relu(self.bn(self.conv(x)))


class Head(OutputPart):
    logits_layers = ("fc",)

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        return nn.functional.softmax(self.fc(0.8 * x.mean((2, 3)) + 1), -1)


def write_checkout(folder: Path) -> Path:
    """Write the source and return its folder."""
    modeling = folder / "ppocr/modeling"
    (modeling / "architectures").mkdir(parents=True)
    (modeling / "architectures/__init__.py").write_text("raise ImportError('for training only')")
    (modeling / "architectures/base_model.py").write_text(SOURCE)
    (modeling / "parts.py").write_text(PARTS)
    (folder / "ppocr/classes.txt").write_text("a\nb\nc\nd\n")
    return folder


def mirror() -> Model:
    """Return the same network in PyTorch, with the weights."""
    model = Model({"Backbone": Block(), "Head": Head()}, ARCHITECTURE, {}).eval()
    words = {"_mean": "running_mean", "_variance": "running_var"}
    for name, array in WEIGHTS.items():
        owner, _, leaf = name.rpartition(".")
        tensor = getattr(model.get_submodule(owner), words.get(leaf, leaf))
        tensor.data.copy_(torch.from_numpy(array.T if name == "head.fc.weight" else array))
    return model
