"""Comparison of two sets of patches, feature by feature, by the Wasserstein distance.

W₁ = ∫ |F(x) - G(x)| dx, the area between the two distribution functions (Wasserstein distance; Vallender 1974), in the
unit of the feature: how far the values of one set must be moved to become those of the other. Divided by the standard
deviation of the real values, features become comparable: 1 is as far as real nuclei differ among themselves. Few values
increase it, so interpret each distance against its floor: the same function on two sets of real patches, of different
patients, at a similar n.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.morphology.measure import Morphology
from histosynth.metrics.morphology.shapes import MORPHOLOGY_FEATURES
from histosynth.metrics.wasserstein import wasserstein_distance


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One feature of two sets; None if a set has no values, or those of the second do not vary."""

    distance: float | None
    """W₁, in the unit of the feature."""
    distance_sd: float | None
    """W₁ in standard deviations of the second set."""
    medians: tuple[float | None, float | None]
    n: tuple[int, int]
    """Number of values: nuclei, or patches for the density."""


def compare_morphology(a: Morphology, b: Morphology) -> dict[str, Difference]:
    """Compare each of `MORPHOLOGY_FEATURES` of `a` (synthetic, or other real patches) with `b` (real)."""
    return {feature: _difference(a.values(feature), b.values(feature)) for feature in MORPHOLOGY_FEATURES}


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> Difference:
    distance = wasserstein_distance(a, b) if len(a) and len(b) else None
    spread = float(np.std(b)) if len(b) else 0.0
    return Difference(
        distance=distance,
        distance_sd=distance / spread if distance is not None and spread > 0 else None,
        medians=(_median(a), _median(b)),
        n=(len(a), len(b)),
    )


def _median(values: NDArray[np.float64]) -> float | None:
    return float(np.median(values)) if len(values) else None
