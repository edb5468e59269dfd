"""The eight symmetries of the square, numbered 0 to 7.

Number k is k % 4 quarter turns counterclockwise, and from 4 on mirrored left to right after them. Pixels are moved as
bytes: by views where patches are in the memory of the computer, by one table of indices where they are on a GPU.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

COUNT = 8
_PIXEL = np.dtype("V3")  # a pixel is moved as a whole, which is several times as fast as by channels


def turn_into(out: NDArray[np.uint8], images: NDArray[np.uint8], symmetries: Iterable[int]) -> None:
    """Copy images (N, S, S, 3) to `out`, of the same shape, each turned by the symmetry of its number."""
    for target, image, number in zip(out.view(_PIXEL)[..., 0], images.view(_PIXEL)[..., 0], symmetries, strict=True):
        target[:] = _turned(image, number)


def pixel_order(side: int) -> Tensor:
    """Return for each symmetry which pixel comes to each place, counted row by row: (8, side²)."""
    places = np.arange(side**2).reshape(side, side)
    return torch.from_numpy(np.stack([_turned(places, number).ravel() for number in range(COUNT)]))


def _turned(image: NDArray[np.generic], number: int) -> NDArray[np.generic]:
    rotated = np.rot90(image, number % 4)
    return rotated[:, ::-1] if number >= 4 else rotated
