"""The eight symmetries of a square patch: quarter turns, and their mirror images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SYMMETRIES = (
    "unchanged", "rotated 90° left", "rotated 180°", "rotated 90° right",
    "mirrored", "rotated 90° left, mirrored", "rotated 180°, mirrored", "rotated 90° right, mirrored",
)  # fmt: skip
"""Symmetries by number: quarter turns to the left; from 4 on, followed by mirroring left to right."""


def apply_symmetry(patches: NDArray[Any], symmetry: int) -> NDArray[Any]:
    """Apply one of the eight `SYMMETRIES` to (N, H, W, …) patches."""
    rotated = np.rot90(patches, symmetry % 4, axes=(1, 2))
    return rotated[:, :, ::-1] if symmetry >= 4 else rotated


def undo_symmetry(patches: NDArray[Any], symmetry: int) -> NDArray[Any]:
    """Apply the inverse; a mirrored symmetry is its own."""
    return apply_symmetry(patches, symmetry if symmetry >= 4 else -symmetry % 4)
