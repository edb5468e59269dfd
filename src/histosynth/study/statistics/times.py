"""Time per case, summarized by the median because times are skewed and include breaks.

The interval comes from order statistics (Hahn & Meeker 1991, 5.2): the j-th smallest of n lies at or below the median
with the probability P(X ≥ j | n, 1/2), for any distribution.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom

from histosynth.metrics.uncertainty import Interval
from histosynth.study.statistics.proportion import LEVEL


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds per case: the median with its interval, the quartiles, and the total."""

    median: Interval | None
    lower_quartile: float | None
    upper_quartile: float | None
    total: float


def times(seconds: ArrayLike, *, level: float = LEVEL) -> Times:
    """Summarize seconds (N,). Fewer than six have no 95 % interval: theirs is the range, as its note states."""
    x = np.sort(np.asarray(seconds, dtype=np.float64))
    if not len(x):
        return Times(median=None, lower_quartile=None, upper_quartile=None, total=0.0)
    rank = int(binom.ppf((1 - level) / 2, len(x), 0.5))  # the largest j with P(X < j) within the tail
    low, high = (x[rank - 1], x[len(x) - rank]) if rank else (x[0], x[-1])
    q1, q3 = np.quantile(x, [0.25, 0.75])
    note = None if rank else "too few times for an interval at this level: minimum to maximum"
    return Times(
        median=Interval(value=float(np.median(x)), low=float(low), high=float(high), level=level, note=note),
        lower_quartile=float(q1),
        upper_quartile=float(q3),
        total=float(x.sum()),
    )
