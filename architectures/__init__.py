"""PaddleOCR's networks in PyTorch, under PaddleOCR's names: `build` one, `load` one, `fuse` one."""

from architectures.loading import load
from architectures.model import Model
from architectures.registry import build
from architectures.reparameterize import fuse

__all__ = ["Model", "build", "fuse", "load"]
