"""PaddleOCR's networks in PyTorch, under its names: `build`, `load`, `save` or `fuse` one."""

from architectures.loading import load
from architectures.model import Model
from architectures.registry import build
from architectures.reparameterize import fuse
from architectures.saving import save
from architectures.unfuse import unfuse

__all__ = ["Model", "build", "fuse", "load", "save", "unfuse"]
