"""The versions of the packages that take part in a comparison."""

from __future__ import annotations

import platform

import numpy as np

from converter import __version__


def versions(paddle: str | None = None) -> dict[str, str]:
    """Return the versions of the converter, Python and the packages, by name.

    Args:
        paddle: the version that the Paddle process reports, if there is one.
    """
    import torch

    names = {
        "converter": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
    return names | ({"paddle": paddle} if paddle else {})
