"""PaddleOCR's networks in PyTorch, under PaddleOCR's names: `build` one, `load` one, `fuse` one."""

from architectures.fuse import fuse
from architectures.loading import load
from architectures.model import Model
from architectures.registry import build

__all__ = ["Model", "build", "fuse", "load"]
