"""Signal detection: sensitivity to the difference (d') and preference for one answer (criterion; Green & Swets 1966).

With H the share of synthetic patches called synthetic, F that of real ones, and z the normal quantile:

    d' = z(H) - z(F),     c = -(z(H) + z(F)) / 2

d' is 0 for guessing, and at 1 the difference is easily noticed; c is above 0 if a reader prefers "real". Shares of 0
and 1 have no quantile, so half a reading is always added to each cell (log-linear correction; Hautus 1995, Behav Res
Methods 27, 46). One reader of one case per patient has the normal interval (Gourevitch & Galanter 1967, Psychometrika
32, 25):

    var d' = H(1-H) / (n_s φ(z(H))²) + F(1-F) / (n_r φ(z(F))²),     var c = var d' / 4

Means over readers have Student's, with the variance over readers and cases (`crossed`) of the contributions of the
readings, (y - H) / φ(z(H)) for a synthetic case (delta method), at least that of as many independent readings.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t

from histosynth.metrics.uncertainty import Interval
from histosynth.study.statistics.clusters import Array, all_single
from histosynth.study.statistics.crossed import Scope, Variation, scopes, variation
from histosynth.study.statistics.proportion import LEVEL


@dataclass(frozen=True, kw_only=True)
class Signal:
    """Mean d' and mean criterion over readers, for one scope."""

    scope: Scope
    d_prime: Interval
    criterion: Interval


def pooled_signal(
    said_synthetic: ArrayLike, *, synthetic: ArrayLike, clusters: ArrayLike | None = None, level: float = LEVEL
) -> list[Signal]:
    """Return d' and the criterion for each scope as in `crossed.pooled`; empty if no reader read both kinds.

    Args:
        said_synthetic: (R, C) 1 or 0, NaN if missing.
        synthetic: (C,) the truth.
        clusters: (C,) the patient of each case; each case by itself by default.
        level: of the intervals.
    """
    said, truth = np.asarray(said_synthetic, dtype=np.float64), np.asarray(synthetic, dtype=bool)
    read = ~np.isnan(said)
    said = said[read[:, truth].any(axis=1) & read[:, ~truth].any(axis=1)]
    if not len(said):
        return []
    # Each reading as its reader's z(H) or z(F), plus its contribution to it.
    y, weights = np.full(said.shape, np.nan), np.zeros(said.shape[1])
    means, floor = {}, 0.0
    for kind in (True, False):
        of_kind = said[:, truth == kind]
        z, variance = quantile(np.nansum(of_kind, axis=1), (~np.isnan(of_kind)).sum(axis=1))
        share = np.nanmean(of_kind, axis=1, keepdims=True)
        y[:, truth == kind] = z[:, None] + (of_kind - share) / norm.pdf(z)[:, None]
        cases = ~np.isnan(of_kind).all(axis=0)
        weights[truth == kind] = cases / cases.sum()
        means[kind] = float(z.mean())
        floor += float(variance.mean()) / len(said)
    # d' is the difference of both means, the criterion their negative half sum.
    d_prime = (
        means[True] - means[False],
        variation(y, strata=truth, clusters=clusters, weights=np.where(truth, 1, -1) * weights),
    )
    criterion = -(means[True] + means[False]) / 2, variation(y, strata=truth, clusters=clusters, weights=-weights / 2)
    independent = len(said) == 1 and all_single(clusters)
    return [
        Signal(
            scope=scope,
            d_prime=_interval(*d_prime, scope, floor=floor, independent=independent, level=level),
            criterion=_interval(*criterion, scope, floor=floor / 4, independent=independent, level=level),
        )
        for scope in scopes(len(said))
    ]


def quantile(count: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    """Return z of the share `count` / `n`, half a reading added to each cell, and its variance; element by element."""
    number = np.asarray(n, dtype=np.float64)
    share = (np.asarray(count, dtype=np.float64) + 0.5) / (number + 1)
    z = norm.ppf(share)
    return np.asarray(z), np.asarray(share * (1 - share) / (number * norm.pdf(z) ** 2))


def _interval(value: float, v: Variation, scope: Scope, *, floor: float, independent: bool, level: float) -> Interval:
    variance, df = (np.asarray(0.0), np.asarray(np.inf)) if independent else v.of(scope)
    reach = float(t.ppf((1 + level) / 2, df) * np.sqrt(np.maximum(variance, floor)))
    return Interval(value=value, low=value - reach, high=value + reach, level=level)
