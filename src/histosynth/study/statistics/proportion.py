"""Exact interval of a proportion (Clopper & Pearson 1934, Biometrika 26, 404).

The limits are the values of p at which a count as extreme as k of n has the probability (1 - level)/2 = α/2:

    low = B(α/2; k, n - k + 1),     high = B(1 - α/2; k + 1, n - k),     B the quantile of the beta distribution

so the coverage of the interval is at least its level for every n. k and n may be fractions, such as effective numbers
(`crossed.effective_number`): the beta distribution continues the binomial one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Proportion:
    """A count of n with its exact interval; the value is None if n is 0."""

    count: int
    n: int
    value: float | None
    low: float
    high: float
    level: float = LEVEL


def exact_limits(count: ArrayLike, n: ArrayLike, *, level: float = LEVEL) -> tuple[NDArray[np.float64], ...]:
    """Return Clopper-Pearson limits (low, high) of counts out of n, element by element; 0 to 1 where n is 0."""
    k, m = np.asarray(count, dtype=np.float64), np.asarray(n, dtype=np.float64)
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(k > 0, betaincinv(np.maximum(k, 1e-300), m - k + 1, tail), 0.0)
        high = np.where(k < m, betaincinv(k + 1, np.maximum(m - k, 1e-300), 1 - tail), 1.0)
    return low, high


def proportion(count: int, n: int, *, level: float = LEVEL) -> Proportion:
    """Return the proportion `count` / `n` with its exact interval."""
    low, high = exact_limits(count, n, level=level)
    return Proportion(count=count, n=n, value=count / n if n else None, low=float(low), high=float(high), level=level)
