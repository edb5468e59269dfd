"""Time for a case: skewed, and with breaks in it, so told by the median.

Its interval is from order statistics (Hahn & Meeker 1991, 5.2): the j-th smallest of n lies at or below the median with
the chance P(X ≥ j | n, 1/2), whatever the distribution.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom

from histosynth.metrics.uncertainty import Interval
from histosynth.study.statistics.proportion import LEVEL


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds a case: the median with its interval, the middle half, and all together."""

    median: Interval | None
    lower_quartile: float | None
    upper_quartile: float | None
    total: float


def times(seconds: ArrayLike, *, level: float = LEVEL) -> Times:
    """Of seconds (N,). Fewer than six have no interval at 95 %: theirs is from the least to the most, and says so."""
    x = np.sort(np.asarray(seconds, dtype=np.float64))
    if not len(x):
        return Times(median=None, lower_quartile=None, upper_quartile=None, total=0.0)
    rank = int(binom.ppf((1 - level) / 2, len(x), 0.5))  # the largest j with P(X < j) within the tail
    low, high = (x[rank - 1], x[len(x) - rank]) if rank else (x[0], x[-1])
    q1, q3 = np.quantile(x, [0.25, 0.75])
    note = None if rank else "too few for this level: from the least to the most"
    return Times(
        median=Interval(value=float(np.median(x)), low=float(low), high=float(high), level=level, note=note),
        lower_quartile=float(q1),
        upper_quartile=float(q3),
        total=float(x.sum()),
    )
