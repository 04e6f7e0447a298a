"""The versions of the packages that take part in a comparison."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import numpy as np

from converter import __version__


def versions(reference: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the versions of the converter, Python and the packages, by name.

    Args:
        reference: the version of the library that computed the reference, by its name.
    """
    import torch

    names = {
        "converter": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
    return names | dict(reference or {})
