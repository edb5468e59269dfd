"""Area under the ROC curve from signed confidence, and how far it varies (DeLong et al. 1988, Biometrics 44, 837).

Said "synthetic" with confidence k counts as +k, said "real" as -k: a scale from surely real to surely synthetic. The
area is the chance that a synthetic patch is scored above a real one, a tie counting half; 1/2 for a guesser:

    A = mean over pairs of ψ(s, r),     ψ = 1, 1/2, 0 for s >, =, < r

Each case's placement is its mean ψ against all cases of the other kind. For m synthetic and n real cases, and S² the
variances of their placements, var A = S²_s / m + S²_r / n. For the mean area of several readers of the same cases,
placements are averaged over readers first: that is DeLong's covariance between readers, and holds for these readers.

For readers at large (Obuchowski & Rockette 1995, Commun Stat B 24, 285; degrees of freedom of Hillis 2007, Stat Med 26,
596), with MS the variance of the R readers' areas, here never less than their error, and cov DeLong's mean covariance
of two readers:

    var Ā = MS / R + max(cov, 0),     df = (R - 1) (var Ā / (MS / R))²

Intervals are made on the logit of A (Pepe 2003, 5.2.4), so they stay within 0 and 1. Where all pairs agree, the
variance is none; then the limit is that of as many agreeing pairs as share no case.
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
    """A curve: the share of real and of synthetic patches scored at or above each threshold, from none to all."""

    false_positives: list[float]
    true_positives: list[float]


def mann_whitney_kernel(scores: ArrayLike, synthetic: ArrayLike) -> Array:
    """ψ of each synthetic case (a row) against each real one (a column)."""
    x, truth = np.asarray(scores, dtype=np.float64), np.asarray(synthetic, dtype=bool)
    above = x[truth][:, None] - x[~truth][None, :]
    return np.asarray((np.sign(above) + 1) / 2)


def area(scores: ArrayLike, synthetic: ArrayLike, *, level: float = LEVEL) -> Interval | None:
    """One reader's area with DeLong's interval; None without cases of both kinds."""
    return area_from_kernel(mann_whitney_kernel(scores, synthetic), level=level)


def area_from_kernel(psi: Array, *, level: float = LEVEL) -> Interval | None:
    """The area and DeLong's interval from ψ (m, n): of one reader, or the mean over readers of the same cases."""
    m, n = psi.shape
    if not (m and n):
        return None
    value = float(psi.mean())
    if min(m, n) == 1 or value in (0.0, 1.0):
        pairs = min(m, n)
        low, high = exact_limits(value * pairs, pairs, level=level)
        return Interval(value=value, low=float(low), high=float(high), level=level, note="limits of separate pairs")
    return _on_logit(value, float(norm.ppf((1 + level) / 2)) * delong_variance(psi) ** 0.5, level=level)


def area_at_large(psi: Array, *, level: float = LEVEL) -> Interval | None:
    """The mean area for readers at large, from ψ (R, m, n) of two or more readers of the same cases; else None.

    None, too, where all pairs agree, or there are fewer than two cases of a kind.
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
