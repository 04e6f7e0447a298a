"""The change of an image by which a network's amplification of rounding errors is measured.

Records state the measured change, so whoever writes one needs these too, without PyTorch.
"""

from __future__ import annotations

JITTER = 1e-6  # the most by which a value of the image is moved
