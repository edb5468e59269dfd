"""Interval of the readers' mean area by resampling readers and cases together.

Readers are crossed with cases, so each draw takes readers, real cases (all cases of a drawn patient) and synthetic
cases with replacement, and keeps every reading of a drawn case by a drawn reader (the pigeonhole bootstrap; Owen 2007,
Ann Appl Stat 1, 386: never too narrow to first order). Percentiles over few readers are too narrow by √((R-1)/R), and
because they use the normal instead of Student's quantile; widening around the estimate corrects both (Hesterberg 2015).
With fewer readers than `MIN_READERS_AT_LARGE`, only cases are drawn, and the interval holds for these readers.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from histosynth.metrics.uncertainty import REPLICATES, Interval, widening_factor
from histosynth.study.statistics import MIN_READERS_AT_LARGE
from histosynth.study.statistics.proportion import LEVEL

FIXED = "for these readers: too few for conclusions about other readers"


def mean_area(
    psi: NDArray[np.float64],
    *,
    rng: np.random.Generator,
    patients: ArrayLike | None = None,
    level: float = LEVEL,
    replicates: int = REPLICATES,
) -> Interval:
    """Return the mean area over readers of the same cases, from `roc.mann_whitney_kernel` (R, m, n).

    `patients` (n,) are those of the real cases; each case by itself by default.
    """
    readers, m, n = psi.shape
    at_large = readers >= MIN_READERS_AT_LARGE
    value = float(psi.mean())
    # Draw how often each reader and each case counts.
    of_reader = draw_clusters(np.arange(readers), replicates, rng) if at_large else np.ones((replicates, readers))
    real = np.arange(n) if patients is None else np.unique(np.asarray(patients), return_inverse=True)[1]
    of_synthetic, of_real = draw_clusters(np.arange(m), replicates, rng), draw_clusters(real, replicates, rng)
    # The mean area of each replicate.
    drawn = np.zeros(replicates)
    for r in range(readers):
        drawn += of_reader[:, r] * ((of_synthetic @ psi[r]) * of_real).sum(axis=1)
    drawn /= readers * m * of_real.sum(axis=1)
    # Percentiles, widened for small samples.
    units = min(m, int(real.max()) + 1)
    factor = widening_factor(readers if at_large else units, level=level) if units > 1 else 1.0
    low, high = value + factor * (np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) - value)
    return Interval(
        value=value,
        low=max(0.0, float(low)),
        high=min(1.0, float(high)),
        level=level,
        note=None if at_large else FIXED,
    )


def draw_clusters(clusters: ArrayLike, replicates: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw clusters with replacement and return how often each case counts, (replicates, C)."""
    of_case = np.unique(np.asarray(clusters), return_inverse=True)[1]
    number = int(of_case.max()) + 1
    return rng.multinomial(number, np.full(number, 1 / number), size=replicates).astype(np.float64)[:, of_case]
