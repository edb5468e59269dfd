"""How differently slides are stained: the colors of their stains, whatever amount of each stain they show.

Two slides are as far apart as their stains at the 99th percentile of concentration, in optical density:

    d(a, b) = sqrt( 1/2 sum_k || m_k^a s_k^a - m_k^b s_k^b ||^2 ),   k = hematoxylin, eosin.

A slide of many nuclei and one of few, stained alike, are near each other here, though their mean colors differ.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from histosynth.stain.two_stains import StainFit

_MOST = 2_000


def stain_distance(a: StainFit, b: StainFit) -> float:
    """The distance above: 0 where two slides are stained alike; in optical density."""
    return float(np.sqrt(np.mean(np.sum((_colors(a) - _colors(b)) ** 2, axis=1))))


def mean_stain_distance(fits: Sequence[StainFit]) -> float | None:
    """Mean distance between any two slides, of 2,000 evenly taken where there are more; None for fewer than two."""
    if len(fits) < 2:
        return None
    some = fits[:: -(-len(fits) // _MOST)]
    return float(pdist(np.stack([_colors(fit).ravel() for fit in some])).mean() / np.sqrt(2))


def _colors(fit: StainFit) -> NDArray[np.float64]:
    """Optical densities of the two stains at their strongest, (2, 3)."""
    colors: NDArray[np.float64] = np.array(fit.max_concentrations)[:, None] * np.array(fit.stains)
    return colors
