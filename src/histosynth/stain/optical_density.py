"""Optical density: light is absorbed exponentially, so stains add up in OD = -ln((I + 1) / I0) (Beer-Lambert law).

I0 = 240 is the light that glass transmits, the usual value of Macenko implementations; the 1 keeps black finite.
Brighter pixels have a slightly negative density.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", np.uint8, np.float32)
I0 = 240.0
_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / np.float32(I0))
_BLOCK = 8192  # pixels; all data of one block fit into the cache


def to_density(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the optical density of 8-bit pixels of any shape, between -0.06 (white) and 5.48 (black)."""
    density: NDArray[np.float32] = np.take(_DENSITY, rgb)
    return density


def min_channel(pixels: NDArray[Number]) -> NDArray[Number]:
    """Return the minimum over channels of (N, 3) pixels or densities; `numpy.min` is slow on such a short axis."""
    return np.minimum(np.minimum(pixels[:, 0], pixels[:, 1]), pixels[:, 2])


def to_rgb(density: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the 8-bit pixels nearest to a density: the exact inverse of `to_density`, clipped at black and white."""
    light = np.float32(I0) * np.exp(-density) - 1
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def apply_matrix(rgb: NDArray[np.uint8], matrix: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return `to_rgb(to_density(rgb) @ matrix)` of pixels (..., 3), block by block and to base 2, which is faster."""
    pixels = np.ascontiguousarray(rgb).reshape(-1, 3)
    mixed = np.empty_like(pixels)
    light, light_out = np.empty((2, _BLOCK, 3), np.float32)
    for start in range(0, len(pixels), _BLOCK):
        block = pixels[start : start + _BLOCK]
        x, y = light[: len(block)], light_out[: len(block)]
        np.add(block, np.float32(1), out=x)
        x *= np.float32(1 / I0)
        np.log2(x, out=x)
        np.matmul(x, matrix, out=y)
        np.exp2(y, out=y)
        y *= np.float32(I0)
        y -= np.float32(0.5)  # minus the 1 of the density, plus 0.5 to round by truncation
        mixed[start : start + _BLOCK] = np.clip(y, 0, 255, out=y)
    return mixed.reshape(rgb.shape)
