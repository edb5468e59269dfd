"""Vahadane stain normalization (Vahadane et al., "Structure-preserving color normalization ...", IEEE TMI 2016).

Sparse non-negative factorization of the densities D, (3, N): most tissue holds one stain where it is seen, none less
than nothing. With unit stain vectors S >= 0, (2, 3), and concentrations C >= 0, (2, N),

    min over S and C of  1/2 |D - S'C|^2 + penalty * sum(C),

by turns. Given S, every pixel is a lasso of two unknowns, in closed form: with b = S d - penalty, b' its rows
exchanged and g = s1.s2 >= 0, c = max(0, min(b, (b - g b') / (1 - g^2))), which of the three deciding whether both
stains, one or none is there. Given C, the objective knows the pixels by CC' and CD' alone, and the best unit vector
s_j >= 0 beside the other, s_k, is max(0, (CD')_j - (CC')_jk s_k) at unit length (Mairal et al., "Online dictionary
learning for sparse coding", ICML 2009). Neither step raises the objective. The start is Macenko's extreme directions.

The penalty draws the vectors toward each other: wide vectors need more concentration for a mixed pixel than narrow ones
do, and only pixels of one stain hold them apart. Where such pixels are few or pale that bias is degrees; see `PENALTY`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.stain.macenko import Macenko
from histosynth.stain.normalizer import StainError, normalizers
from histosynth.stain.two_stains import TwoStains

PENALTY = 0.02
"""What the authors normalize with (`Demo_colornorm.m`, github.com/abhishekvahadane/CodeRelease_ColorNormalization:
"smaller values of the lambda (0.01-0.1) for better reconstruction"). Mixtures with pixels of one stain give back their
vectors within 0.6 degrees, phantom slides of 1024 px, which have hardly any, within 3.3 (Macenko: 2.8); 6 of 264 real
tiles are refused. With 0.1, as in the authors' stain separation, StainTools and TIAToolbox, it is 2.6 degrees, 6.4
degrees and 22 tiles, all of which keep less than `MIN_ANGLE_DEG` between the stains."""
_MAX_STEPS = 500
_TOLERANCE = 3e-5
_MIN_SINE = 1e-3
# This many cells a unit, and the tolerance, keep the vectors of 80 real tiles within 0.3 degrees (median 0.1) of the
# minimum over every single pixel; taking one in n down to 20 000 pixels may be 6 degrees off.
_CELLS = 27
_START_PIXELS = 10_000


@dataclass(frozen=True)
class Vahadane(TwoStains):
    """Vahadane normalization to a target fit."""

    penalty: float = PENALTY
    """Price of concentration, in optical density; 0 is plain non-negative factorization."""

    def find_stain_vectors(self, stained: NDArray[np.float32]) -> NDArray[np.float64]:
        """The stain vectors of the sparse factorization."""
        start = np.maximum(Macenko().find_stain_vectors(stained[:, :: 1 + stained.shape[1] // _START_PIXELS]), 0)
        start /= np.linalg.norm(start, axis=1, keepdims=True)
        density, counts = bin_densities(stained)
        return factorize(density, start, counts=counts, penalty=self.penalty)


normalizers.register("vahadane")(Vahadane())


def bin_densities(density: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Densities >= 0, (3, N), as the few thousand colors they lie near: means (3, K), and pixels in each, (K,).

    Cells are even in the square root of density: noise grows with density, and dense pixels are few.
    """
    cell = (np.sqrt(density) * np.float32(_CELLS)).astype(np.int32)
    side = int(cell.max()) + 1
    index = (cell[0] * side + cell[1]) * side + cell[2]
    counts = np.bincount(index)
    held = np.flatnonzero(counts)
    sums = np.stack([np.bincount(index, channel)[held] for channel in density])
    return sums / counts[held], counts[held]


def factorize(
    density: NDArray[np.float64], stains: NDArray[np.float64], *, counts: NDArray[np.int64], penalty: float
) -> NDArray[np.float64]:
    """The stains (2, 3) that densities (3, K), each seen `counts` times, descend to from unit vectors >= 0.

    Ends when no component of them moves by `_TOLERANCE`, or after `_MAX_STEPS`.

    Raises:
        StainError: the vectors fall together, or one of them is in no pixel.
    """
    for _ in range(_MAX_STEPS):
        if 1 - (stains[0] @ stains[1]) ** 2 < _MIN_SINE**2:
            raise StainError("one-stain")
        found = concentrations(density, stains, penalty=penalty)
        if not found.any(axis=1).all():
            raise StainError("one-stain")
        before, stains = stains, update_stains(density, stains, found, counts=counts)
        if np.abs(stains - before).max() < _TOLERANCE:
            break
    return stains


def concentrations(density: NDArray[np.float64], stains: NDArray[np.float64], *, penalty: float) -> NDArray[np.float64]:
    """The concentrations (2, K) >= 0 that densities (3, K) have least cost with, given unit vectors >= 0, (2, 3)."""
    alone = stains @ density - penalty
    cosine = stains[0] @ stains[1]
    together = (alone - cosine * alone[::-1]) / (1 - cosine**2)
    least: NDArray[np.float64] = np.maximum(np.minimum(alone, together), 0)
    return least


def update_stains(
    density: NDArray[np.float64],
    stains: NDArray[np.float64],
    found: NDArray[np.float64],
    *,
    counts: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The stains (2, 3) after one round of descent, given the concentrations found: each the best beside the other."""
    weighted = found * counts
    among, seen = weighted @ found.T, weighted @ density.T
    stains = stains.copy()
    for one, other in ((0, 1), (1, 0)):
        best = np.maximum(seen[one] - among[one, other] * stains[other], 0)
        length = np.linalg.norm(best)
        if length > 0:  # else nothing pulls at it
            stains[one] = best / length
    return stains
