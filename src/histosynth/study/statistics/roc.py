"""Area under the ROC curve from signed confidence, and how far it varies (DeLong et al. 1988, Biometrics 44, 837).

Said "synthetic" with confidence k counts as +k, said "real" as -k: a scale from surely real to surely synthetic. The
area is the chance that a synthetic patch is scored above a real one, a tie counting half; 1/2 for a guesser:

    A = mean over pairs of ψ(s, r),     ψ = 1, 1/2, 0 for s >, =, < r

Each case's placement is its mean ψ against all cases of the other kind. For m synthetic and n real cases, and S² the
variances of their placements, var A = S²_s / m + S²_r / n. For the mean area of several readers of the same cases,
placements are averaged over readers first: that is DeLong's covariance between readers, and holds for these readers.

The interval is made on the logit of A (Pepe 2003, 5.2.4), so it stays within 0 and 1. Where all pairs agree, the
variance is none; then the limit is that of as many agreeing pairs as share no case.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from histosynth.metrics.uncertainty import Interval
from histosynth.study.statistics.proportion import LEVEL, exact_limits

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Roc:
    """A curve: the share of real and of synthetic patches scored at or above each threshold, from none to all."""

    false_positives: list[float]
    true_positives: list[float]


def wins(scores: ArrayLike, synthetic: ArrayLike) -> Array:
    """ψ of each synthetic case (a row) against each real one (a column)."""
    x, truth = np.asarray(scores, dtype=np.float64), np.asarray(synthetic, dtype=bool)
    above = x[truth][:, None] - x[~truth][None, :]
    return np.asarray((np.sign(above) + 1) / 2)


def area(scores: ArrayLike, synthetic: ArrayLike, *, level: float = LEVEL) -> Interval | None:
    """One reader's area with DeLong's interval; None without cases of both kinds."""
    return area_of_wins(wins(scores, synthetic), level=level)


def area_of_wins(psi: Array, *, level: float = LEVEL) -> Interval | None:
    """The area and DeLong's interval from ψ (m, n): of one reader, or the mean over readers of the same cases."""
    m, n = psi.shape
    if not (m and n):
        return None
    value = float(psi.mean())
    if min(m, n) == 1 or value in (0.0, 1.0):
        pairs = min(m, n)
        low, high = exact_limits(value * pairs, pairs, level=level)
        return Interval(value=value, low=float(low), high=float(high), level=level, note="limits of separate pairs")
    error = float(np.sqrt(delong_variance(psi)))
    reach = norm.ppf((1 + level) / 2) * error / (value * (1 - value))
    low, high = expit(logit(value) + np.array([-reach, reach]))
    return Interval(value=value, low=float(low), high=float(high), level=level)


def delong_variance(psi: Array) -> float:
    """The variance of the mean of ψ (m, n), with m and n two or more."""
    m, n = psi.shape
    return float(psi.mean(axis=1).var(ddof=1) / m + psi.mean(axis=0).var(ddof=1) / n)


def curve(scores: ArrayLike, synthetic: ArrayLike) -> Roc | None:
    """The empirical curve; None without cases of both kinds."""
    x, truth = np.asarray(scores, dtype=np.float64), np.asarray(synthetic, dtype=bool)
    if truth.all() or not truth.any():
        return None
    at = [np.inf, *np.unique(x)[::-1]]
    return Roc(
        false_positives=[float((x[~truth] >= t).mean()) for t in at],
        true_positives=[float((x[truth] >= t).mean()) for t in at],
    )
