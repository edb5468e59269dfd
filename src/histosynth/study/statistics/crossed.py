"""Readers crossed with cases: the variance of a mean over both, and its interval.

All readers read the same cases, so readings are not independent: some readers are better, some cases easier. Consider
an estimate θ = mean over readers of Σ_c w_c y_rc, whose weights sum to 1 over a stratum of cases (or to ±1, for a
difference). With e = y minus its stratum's mean, the variances clustered on readers, on cases and on neither are
(Cameron, Gelbach & Miller 2011, J Bus Econ Stat 29, 238; in a complete design, the mean squares of a two-way analysis
of variance):

    V_R = R/(R-1) Σ_r (Σ_g d_rg)²,   V_C = Σ_s C_s/(C_s-1) Σ_{g in s} (Σ_r d_rg)²,   V_0 = Σ_rg d_rg²

where d_rg = Σ_{c in g} w_c e_rc / R_c sums over the cases of a patient (`clusters`), R_c readers read a case, and
stratum s has C_s patients. With other readers and other cases of other patients, θ has the variance

    V = V_0 + max(V_R - V_0, 0) + max(V_C - V_0, 0)

and with the same readers, V_C. The degrees of freedom are Satterthwaite's.

The interval of a proportion is exact for the number of independent readings with the same variance (Korn & Graubard
1998, Surv Methodol 24, 193): n* = θ(1-θ)/V, at most the number of readings, times (t_{n-1}/t_df)² for the degrees of
freedom. It stays within 0 and 1; with one reader and one case per patient it is that of Clopper and Pearson.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from histosynth.study.statistics import MIN_READERS_AT_LARGE
from histosynth.study.statistics.clusters import Array, Clusters, all_single, variance_of_total
from histosynth.study.statistics.equivalence import Equivalence, equivalence
from histosynth.study.statistics.proportion import LEVEL, Proportion, exact_limits, proportion

Scope = Literal["one reader", "these readers", "readers at large"]


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Variances of the estimate; arrays if there are several matrices."""

    estimate: Array
    same_readers: Array
    """Variance for the same readers with other cases."""
    same_readers_df: Array
    all: Array
    """Variance for other readers with other cases."""
    all_df: Array

    def of(self, scope: Scope) -> tuple[Array, Array]:
        """Return the variance for a scope, and its degrees of freedom."""
        return (self.all, self.all_df) if scope == "readers at large" else (self.same_readers, self.same_readers_df)


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """A share of readings over all readers, for one scope."""

    scope: Scope
    value: float
    low: float
    high: float
    level: float
    readings: int
    effective: float
    """Number of independent readings with the same variance."""
    equivalence: Equivalence | None
    """None if no margin was given."""


def variation(
    y: ArrayLike, *, strata: ArrayLike, clusters: ArrayLike | None = None, weights: ArrayLike | None = None
) -> Variation:
    """Return the variances of Σ_c w_c · (mean over readers of y) for readings y (…, R, C), NaN if missing.

    Args:
        y: one matrix, or many of the same design.
        strata: (C,) the kind of each case (real or synthetic, or its generator); kinds are not random.
        clusters: (C,) the patient of each case; each case by itself by default.
        weights: (C,) of the cases; equal by default.
    """
    # Weights of the readings.
    y = np.asarray(y, dtype=np.float64)
    is_read = ~np.isnan(y)
    values = np.where(is_read, y, 0.0)
    readers_of_case = np.maximum(is_read.sum(axis=-2, keepdims=True), 1)
    cases = is_read.any(axis=-2)
    w = cases / cases.sum(axis=-1, keepdims=True) if weights is None else np.asarray(weights, dtype=np.float64)
    share = w[..., None, :] / readers_of_case * is_read
    # Deviations from the mean of each stratum, summed by cluster: (…, R, G).
    kind = np.unique(np.asarray(strata), return_inverse=True)[1]
    e = values.copy()
    for s in range(kind.max() + 1):
        n = np.maximum(is_read[..., kind == s].sum(axis=(-2, -1), keepdims=True), 1)
        e[..., kind == s] -= values[..., kind == s].sum(axis=(-2, -1), keepdims=True) / n
    groups = Clusters.of(kind, clusters)
    e = groups.sum(e * share)
    read_clusters = np.asarray(groups.sum(cases) > 0)
    # Variances clustered on readers, on clusters of cases and on neither.
    readers = np.maximum(is_read.any(axis=-1).sum(axis=-1), 1)
    by_reader = readers / np.maximum(readers - 1, 1) * (e.sum(axis=-1) ** 2).sum(axis=-1)
    by_case, case_df = variance_of_total(e.sum(axis=-2), read_clusters, groups.kind)
    neither = (e**2).sum(axis=(-2, -1))
    from_readers = np.where(readers > 1, np.maximum(by_reader, neither), np.inf)
    from_cases = np.maximum(by_case - neither, 0)
    total = from_readers + from_cases
    with np.errstate(invalid="ignore", divide="ignore"):
        df = total**2 / (from_readers**2 / np.maximum(readers - 1, 1) + from_cases**2 / case_df)
    return Variation(
        estimate=np.asarray((values * share).sum(axis=(-2, -1))),
        same_readers=np.asarray(by_case),
        same_readers_df=np.asarray(case_df, dtype=np.float64),
        all=np.asarray(total),
        all_df=np.where(np.isfinite(df), df, np.maximum(readers - 1, 1)),
    )


def effective_number(p: ArrayLike, variance: ArrayLike, df: ArrayLike, *, n: ArrayLike, level: float = LEVEL) -> Array:
    """Return the number of independent readings with the same variance of a proportion p: n* of Korn and Graubard."""
    p, variance, n = np.asarray(p), np.asarray(variance), np.asarray(n, dtype=np.float64)
    spread = p * (1 - p)
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = np.where(variance * n > spread, spread / variance, n)
    tail = (1 + level) / 2
    ratio = stats.t.ppf(tail, np.maximum(n - 1, 1)) / stats.t.ppf(tail, np.asarray(df))
    return np.asarray(effective * np.minimum(ratio, 1.0) ** 2)


def pooled(
    y: ArrayLike,
    *,
    strata: ArrayLike,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    margin: float | None = None,
    alpha: float = 0.05,
    level: float = LEVEL,
) -> list[Pooled]:
    """Return the share of readings y (R, C) over all readers, with its interval and verdict, for each scope.

    The conclusion rests on the first item: readers at large from `MIN_READERS_AT_LARGE` readers on, else these readers.
    A single reader of one case per patient has the exact binomial interval.

    Args:
        y: 1 or 0, NaN if missing; at least one reading.
        strata: (C,) the kind of each case.
        clusters: (C,) the patient of each case; each case by itself by default.
        weights: (C,) of the cases; equal by default.
        margin: of equivalence to 1/2; without it there is no verdict.
        alpha: of the equivalence test.
        level: of the interval.
    """
    y = np.asarray(y, dtype=np.float64)
    n = int((~np.isnan(y)).sum())
    v = variation(y, strata=strata, clusters=clusters, weights=weights)
    binomial = len(y) == 1 and all_single(clusters)
    exact = np.asarray(0.0), np.asarray(float(n))  # at most n readings are effective
    return [
        _pooled(scope, v.estimate, *(exact if binomial else v.of(scope)), n=n, margin=margin, alpha=alpha, level=level)
        for scope in scopes(len(y))
    ]


def scopes(readers: int) -> list[Scope]:
    """Return the scopes of a result over this many readers; the conclusion rests on the first."""
    if readers == 1:
        return ["one reader"]
    at_large = readers >= MIN_READERS_AT_LARGE
    return ["readers at large", "these readers"] if at_large else ["these readers", "readers at large"]


def share_of_readings(y: ArrayLike, *, strata: ArrayLike, clusters: ArrayLike | None = None) -> Proportion:
    """Return the share of correct readings y (R, C), NaN if missing, with the interval for the first scope."""
    y = np.asarray(y, dtype=np.float64)
    read = ~np.isnan(y)
    n, count = int(read.sum()), int(np.nansum(y))
    if not n:
        return proportion(0, 0)
    readers = read.any(axis=1)
    first = pooled(y[readers], strata=strata, clusters=clusters, weights=read.sum(axis=0) / n)[0]
    return Proportion(count=count, n=n, value=count / n, low=first.low, high=first.high)


def _pooled(
    scope: Scope,
    p: Array,
    variance: Array,
    df: Array,
    *,
    n: int,
    margin: float | None,
    alpha: float,
    level: float,
) -> Pooled:
    effective = effective_number(p, variance, df, n=n, level=level)
    low, high = exact_limits(p * effective, effective, level=level)
    verdict = None
    if margin is not None:
        at_alpha = float(effective_number(p, variance, df, n=n, level=1 - 2 * alpha))
        verdict = equivalence(float(p) * at_alpha, at_alpha, margin=margin, alpha=alpha)
    return Pooled(
        scope=scope,
        value=float(p),
        low=float(low),
        high=float(high),
        level=level,
        readings=n,
        effective=float(effective),
        equivalence=verdict,
    )
