"""Distance between the stains of slides: the colors of the stains, independent of the amount of each stain.

The distance of two slides is that of their stains at the 99th percentile of concentration, in optical density:

    d(a, b) = sqrt( 1/2 sum_k || m_k^a s_k^a - m_k^b s_k^b ||^2 ),   k = hematoxylin, eosin.

A slide with many nuclei and one with few, stained alike, have a small distance although their mean colors differ.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from histosynth.stain.two_stains import StainFit

_MAX_SLIDES = 2_000


def stain_distance(a: StainFit, b: StainFit) -> float:
    """Return the distance above, in optical density; 0 for two slides of the same stain."""
    return float(np.sqrt(np.mean(np.sum((_colors(a) - _colors(b)) ** 2, axis=1))))


def mean_stain_distance(fits: Sequence[StainFit]) -> float | None:
    """Return the mean distance over all pairs of slides, of at most 2,000 evenly selected; None for fewer than two."""
    if len(fits) < 2:
        return None
    selected = fits[:: -(-len(fits) // _MAX_SLIDES)]
    return float(pdist(np.stack([_colors(fit).ravel() for fit in selected])).mean() / np.sqrt(2))


def _colors(fit: StainFit) -> NDArray[np.float64]:
    """Return the optical densities of the two stains at the 99th percentile of their concentration, (2, 3)."""
    colors: NDArray[np.float64] = np.array(fit.max_concentrations)[:, None] * np.array(fit.stains)
    return colors
