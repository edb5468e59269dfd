"""Frequencies of an image: the orthonormal discrete cosine transform (DCT-II), and bands of its coefficients.

    Y = C X Cᵀ,   C_kn = √(2 / S) cos(π (n + 1/2) k / S), its first row divided by √2

C is orthogonal: white noise stays white, and so does its standard deviation. Coefficient k has k/2 periods per side.
"""

import math

import torch
from torch import Tensor

_EDGES_AT_32 = (0, 1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 32)  # each band a fourth to a half wider than the one before


def cosine_basis(size: int) -> Tensor:
    """Return C, (size, size) float64."""
    n = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi * (n[None] + 0.5) * n[:, None] / size) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis


def band_edges(size: int) -> list[int]:
    """Return the first coefficient of each band and, last, `size`.

    The first band is the mean of the image alone. The others hold the same frequencies per pixel at every size, as far
    as there are coefficients for them.
    """
    scaled = [1, *(round(edge * size / 32) for edge in _EDGES_AT_32[2:])]
    return [0, *sorted(edge for edge in set(scaled) if 0 < edge <= size)]


def band_of_coefficient(size: int) -> Tensor:
    """Return the number of the band of each coefficient, (size,)."""
    edges = torch.tensor(band_edges(size))
    return torch.searchsorted(edges, torch.arange(size), right=True) - 1
