"""The versions of all that takes part in a proof."""

from __future__ import annotations

import platform

import numpy as np

from converter import __version__


def versions(paddle: str | None = None) -> dict[str, str]:
    """Return the versions by name; Paddle's is what the other side says of itself."""
    import torch

    found = {
        "converter": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
    return found | ({"paddle": paddle} if paddle else {})
