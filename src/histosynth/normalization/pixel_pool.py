"""Pixels of many images for one fit: a subsample in their order, which needs the number of pixels alone in advance."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_POOL_PIXELS = 1_000_000


class PixelPool:
    """Every n-th pixel of a sequence of images, so that no more than a maximum number is kept."""

    def __init__(self, pixels: int, *, at_most: int = _POOL_PIXELS) -> None:
        """Set the step from `pixels`, their total number, and `at_most`, the number to keep."""
        self._step = max(1, -(-pixels // at_most))
        self._start = 0
        self._kept: list[NDArray[np.uint8]] = []

    def add(self, image: NDArray[np.uint8]) -> None:
        """Add the next image, (..., 3)."""
        flat = image.reshape(-1, 3)
        self._kept.append(flat[-self._start % self._step :: self._step].copy())
        self._start += len(flat)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The kept pixels, (N, 3)."""
        return np.concatenate(self._kept) if self._kept else np.empty((0, 3), np.uint8)


def pool_pixels(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return at most a million pixels of these images, (N, 3)."""
    pool = PixelPool(sum(image.size // 3 for image in images))
    for image in images:
        pool.add(image)
    return pool.pixels
