"""How differently slides are stained: the colors of their stains, whatever amount of each stain they show.

Two slides are as far apart as their stains at the 99th percentile of concentration, in optical density:

    d(a, b) = sqrt( 1/2 sum_k || m_k^a s_k^a - m_k^b s_k^b ||^2 ),   k = hematoxylin, eosin.

A slide of many nuclei and one of few, stained alike, are near each other here, though their mean colors differ.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from histosynth.stain.two_stains import StainFit


def stain_distance(a: StainFit, b: StainFit) -> float:
    """The distance above: 0 where two slides are stained alike; in optical density."""
    return float(np.sqrt(np.mean(np.sum((_colors(a) - _colors(b)) ** 2, axis=1))))


def between_slides(fits: Sequence[StainFit]) -> float | None:
    """Mean distance between any two slides; None for fewer than two."""
    pairs = [stain_distance(a, b) for a, b in combinations(fits, 2)]
    return float(np.mean(pairs)) if pairs else None


def _colors(fit: StainFit) -> NDArray[np.float64]:
    """Optical densities of the two stains at their strongest, (2, 3)."""
    colors: NDArray[np.float64] = np.array(fit.max_concentrations)[:, None] * np.array(fit.stains)
    return colors
