"""Vahadane stain normalization (Vahadane et al., "Structure-preserving color normalization ...", IEEE TMI 2016).

Sparse non-negative factorization of the densities D, (3, N): most pixels of tissue contain one stain, and no
concentration is negative. With unit stain vectors S >= 0, (2, 3), and concentrations C >= 0, (2, N),

    min over S and C of  1/2 |D - S'C|^2 + penalty * sum(C),

alternating between S and C. Given S, every pixel is a lasso of two unknowns in closed form: with b = S d - penalty, b'
its rows exchanged and g = s1.s2 >= 0, c = max(0, min(b, (b - g b') / (1 - g^2))); the three cases correspond to none,
one or both of the stains being present. Given C, the objective depends on the pixels only through CC' and CD', and the
best unit vector s_j >= 0 given the other, s_k, is max(0, (CD')_j - (CC')_jk s_k) scaled to unit length (Mairal et al.,
"Online dictionary learning for sparse coding", ICML 2009). Neither step increases the objective. The initial vectors
are the extreme directions of Macenko.

The penalty pulls the vectors toward each other: vectors far apart need more concentration for a mixed pixel than close
ones, and only pixels of one stain keep them apart. If such pixels are few or pale, the bias amounts to degrees; see
`PENALTY`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.stain.macenko import Macenko
from histosynth.stain.normalizer import StainError, normalizers
from histosynth.stain.two_stains import TwoStains

PENALTY = 0.02
"""Used by the authors to normalize (`Demo_colornorm.m`, github.com/abhishekvahadane/CodeRelease_ColorNormalization:
"smaller values of the lambda (0.01-0.1) for better reconstruction"). The vectors of mixtures that include pixels of one
stain are recovered within 0.6 degrees, those of phantom slides of 1024 px, which have hardly any, within 3.3 (Macenko:
2.8); 6 of 264 real tiles are rejected. With 0.1, as in the authors' stain separation, StainTools and TIAToolbox, the
values are 2.6 degrees, 6.4 degrees and 22 tiles, all of which leave less than `MIN_ANGLE_DEG` between the stains."""
_MAX_STEPS = 500
_TOLERANCE = 3e-5
_MIN_SINE = 1e-3
# This number of cells per unit, and the tolerance, keep the vectors of 80 real tiles within 0.3 degrees (median 0.1) of
# the minimum over all pixels; subsampling to 20 000 pixels may be off by 6 degrees.
_CELLS = 27
_START_PIXELS = 10_000


@dataclass(frozen=True)
class Vahadane(TwoStains):
    """Vahadane normalization to a target fit."""

    penalty: float = PENALTY
    """Penalty on concentrations, in optical density; 0 is plain non-negative factorization."""

    def find_stain_vectors(self, stained: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the stain vectors of the sparse factorization."""
        start = np.maximum(Macenko().find_stain_vectors(stained[:, :: 1 + stained.shape[1] // _START_PIXELS]), 0)
        start /= np.linalg.norm(start, axis=1, keepdims=True)
        density, counts = bin_densities(stained)
        return factorize(density, start, counts=counts, penalty=self.penalty)


normalizers.register("vahadane")(Vahadane())


def bin_densities(density: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Bin densities >= 0, (3, N), into a few thousand cells; return their means (3, K) and numbers of pixels (K,).

    Cells are uniform in the square root of density: noise increases with density, and dense pixels are few.
    """
    cell = (np.sqrt(density) * np.float32(_CELLS)).astype(np.int32)
    side = int(cell.max()) + 1
    index = (cell[0] * side + cell[1]) * side + cell[2]
    counts = np.bincount(index)
    occupied = np.flatnonzero(counts)
    sums = np.stack([np.bincount(index, channel)[occupied] for channel in density])
    return sums / counts[occupied], counts[occupied]


def factorize(
    density: NDArray[np.float64], stains: NDArray[np.float64], *, counts: NDArray[np.int64], penalty: float
) -> NDArray[np.float64]:
    """Return the stains (2, 3) of densities (3, K) with weights `counts`, by descent from unit vectors >= 0.

    Stops when no component changes by `_TOLERANCE`, or after `_MAX_STEPS`.

    Raises:
        StainError: the vectors coincide, or one of them is absent from all pixels.
    """
    for _ in range(_MAX_STEPS):
        if 1 - (stains[0] @ stains[1]) ** 2 < _MIN_SINE**2:
            raise StainError("one-stain")
        mixture = concentrations(density, stains, penalty=penalty)
        if not mixture.any(axis=1).all():
            raise StainError("one-stain")
        previous, stains = stains, update_stains(density, stains, mixture, counts=counts)
        if np.abs(stains - previous).max() < _TOLERANCE:
            break
    return stains


def concentrations(density: NDArray[np.float64], stains: NDArray[np.float64], *, penalty: float) -> NDArray[np.float64]:
    """Return the optimal concentrations (2, K) >= 0 of densities (3, K), given unit vectors >= 0, (2, 3)."""
    single = stains @ density - penalty  # if only this stain is present
    cosine = stains[0] @ stains[1]
    both = (single - cosine * single[::-1]) / (1 - cosine**2)
    optimal: NDArray[np.float64] = np.maximum(np.minimum(single, both), 0)
    return optimal


def update_stains(
    density: NDArray[np.float64],
    stains: NDArray[np.float64],
    mixture: NDArray[np.float64],
    *,
    counts: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the stains (2, 3) after one round of descent, given the concentrations: each optimal given the other."""
    weighted = mixture * counts
    gram, projection = weighted @ mixture.T, weighted @ density.T  # CC' and CD'
    stains = stains.copy()
    for one, other in ((0, 1), (1, 0)):
        best = np.maximum(projection[one] - gram[one, other] * stains[other], 0)
        length = np.linalg.norm(best)
        if length > 0:  # else the objective does not depend on it
            stains[one] = best / length
    return stains
