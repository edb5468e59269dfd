"""Area under the ROC curve of signed confidence, and its variance (DeLong et al. 1988, Biometrics 44, 837).

"Synthetic" with confidence k has the score +k, "real" has -k: a scale from certainly real to certainly synthetic. The
area is the probability that a synthetic patch scores higher than a real one, a tie counting half; 1/2 for guessing:

    A = mean over pairs of ψ(s, r),     ψ = 1, 1/2, 0 for s >, =, < r

Each case's placement is its mean ψ against all cases of the other kind. For m synthetic and n real cases, and S² the
variances of their placements, var A = S²_s / m + S²_r / n. For the mean area of several readers of the same cases,
placements are averaged over readers first, which includes DeLong's covariance between readers; it holds for these
readers.

For readers at large (Obuchowski & Rockette 1995, Commun Stat B 24, 285; degrees of freedom of Hillis 2007, Stat Med 26,
596), with MS the variance of the R readers' areas, here at least their error variance, and cov DeLong's mean covariance
of two readers:

    var Ā = MS / R + max(cov, 0),     df = (R - 1) (var Ā / (MS / R))²

Intervals are computed on the logit of A (Pepe 2003, 5.2.4), so they stay within 0 and 1. If all pairs agree, the
variance is 0; the limit is then the exact one for the number of pairs that share no case.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm, t

from histosynth.metrics.uncertainty import Interval
from histosynth.study.statistics.proportion import LEVEL, exact_limits

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Roc:
    """A curve: the shares of real and of synthetic patches scored at or above each threshold, from none to all."""

    false_positives: list[float]
    true_positives: list[float]


def mann_whitney_kernel(scores: ArrayLike, synthetic: ArrayLike) -> Array:
    """Return ψ of each synthetic case (row) against each real case (column)."""
    x, truth = np.asarray(scores, dtype=np.float64), np.asarray(synthetic, dtype=bool)
    above = x[truth][:, None] - x[~truth][None, :]
    return np.asarray((np.sign(above) + 1) / 2)


def area(scores: ArrayLike, synthetic: ArrayLike, *, level: float = LEVEL) -> Interval | None:
    """Return one reader's area with DeLong's interval; None without both real and synthetic cases."""
    return area_from_kernel(mann_whitney_kernel(scores, synthetic), level=level)


def area_from_kernel(psi: Array, *, level: float = LEVEL) -> Interval | None:
    """Return the area with DeLong's interval from ψ (m, n) of one reader, or a mean over readers of the same cases."""
    m, n = psi.shape
    if not (m and n):
        return None
    value = float(psi.mean())
    if min(m, n) == 1 or value in (0.0, 1.0):
        pairs = min(m, n)
        low, high = exact_limits(value * pairs, pairs, level=level)
        return Interval(
            value=value, low=float(low), high=float(high), level=level, note="exact limits of pairs that share no case"
        )
    return _on_logit(value, float(norm.ppf((1 + level) / 2)) * delong_variance(psi) ** 0.5, level=level)


def area_at_large(psi: Array, *, level: float = LEVEL) -> Interval | None:
    """Return the mean area for readers at large, from ψ (R, m, n) of two or more readers of the same cases.

    None for one reader, if all pairs agree, or with fewer than two cases of a kind.
    """
    readers, m, n = psi.shape
    value = float(psi.mean())
    if readers < 2 or min(m, n) < 2 or value in (0.0, 1.0):
        return None
    covariance = np.cov(psi.mean(axis=2)) / m + np.cov(psi.mean(axis=1)) / n  # DeLong's, (R, R)
    common = float(covariance[~np.eye(readers, dtype=bool)].mean())
    own = float(np.diag(covariance).mean()) - common
    from_readers = max(float(psi.mean(axis=(1, 2)).var(ddof=1)), own) / readers
    variance = from_readers + max(common, 0.0)
    df = (readers - 1) * (variance / from_readers) ** 2 if from_readers else np.inf
    return _on_logit(value, float(t.ppf((1 + level) / 2, df)) * variance**0.5, level=level)


def _on_logit(value: float, reach: float, *, level: float) -> Interval:
    low, high = expit(logit(value) + np.array([-reach, reach]) / (value * (1 - value)))
    return Interval(value=value, low=float(low), high=float(high), level=level)


def delong_variance(psi: Array) -> float:
    """Return the variance of the mean of ψ (m, n), for m and n of two or more."""
    m, n = psi.shape
    return float(psi.mean(axis=1).var(ddof=1) / m + psi.mean(axis=0).var(ddof=1) / n)


def curve(scores: ArrayLike, synthetic: ArrayLike) -> Roc | None:
    """Return the empirical curve; None without both real and synthetic cases."""
    x, truth = np.asarray(scores, dtype=np.float64), np.asarray(synthetic, dtype=bool)
    if truth.all() or not truth.any():
        return None
    thresholds = [np.inf, *np.unique(x)[::-1]]
    return Roc(
        false_positives=[float((x[~truth] >= t).mean()) for t in thresholds],
        true_positives=[float((x[truth] >= t).mean()) for t in thresholds],
    )
