"""Readers crossed with cases: the variance of a mean over both, and its interval.

All readers read the same cases, so readings are not independent: some readers are better, some cases easier. Consider
an estimate θ = mean over readers of Σ_c w_c y_rc, whose weights sum to 1 over a stratum of cases (or to ±1, for a
difference). With e = y minus its stratum's mean, the variances clustered on readers, on cases and on neither are
(Cameron, Gelbach & Miller 2011, J Bus Econ Stat 29, 238; in a complete design, the mean squares of a two-way analysis
of variance):

    V_R = R/(R-1) Σ_r (Σ_c w_c e_rc / R_c)²,   V_C = C/(C-S) Σ_c (Σ_r w_c e_rc / R_c)²,   V_0 = Σ_rc (w_c e_rc / R_c)²

with R_c readers of a case, and S strata. With other readers and other cases, θ has the variance

    V = V_0 + max(V_R - V_0, 0) + max(V_C - V_0, 0)

and with the same readers and other cases, V_C. The degrees of freedom are Satterthwaite's, or C - S for the same
readers.

The interval of a proportion is exact for the number of independent readings with the same variance (Korn & Graubard
1998, Surv Methodol 24, 193): n* = θ(1-θ)/V, at most the number of readings, times (t_{n-1}/t_df)² for the degrees of
freedom. It stays within 0 and 1; with one reader it is that of Clopper and Pearson.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from histosynth.study.statistics import MIN_READERS_AT_LARGE
from histosynth.study.statistics.equivalence import Equivalence, equivalence
from histosynth.study.statistics.proportion import LEVEL, exact_limits

Scope = Literal["one reader", "these readers", "readers at large"]
Array = NDArray[np.float64]


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


def variation(y: ArrayLike, *, strata: ArrayLike, weights: ArrayLike | None = None) -> Variation:
    """Return the variances of Σ_c w_c · (mean over readers of y) for readings y (…, R, C), NaN if missing.

    Args:
        y: one matrix, or many of the same design.
        strata: (C,) the kind of each case (real or synthetic, or its generator); kinds are not random.
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
    # Deviations from the mean of each stratum.
    names, kind = np.unique(np.asarray(strata), return_inverse=True)
    e = values.copy()
    for s in range(len(names)):
        stratum = kind == s
        n = np.maximum(is_read[..., stratum].sum(axis=(-2, -1), keepdims=True), 1)
        e[..., stratum] -= values[..., stratum].sum(axis=(-2, -1), keepdims=True) / n
    e = e * share
    # Variances clustered on readers, on cases and on neither.
    readers = np.maximum(is_read.any(axis=-1).sum(axis=-1), 1)
    columns = cases.sum(axis=-1)
    case_df = np.maximum(columns - len(names), 1)
    by_reader = readers / np.maximum(readers - 1, 1) * (e.sum(axis=-1) ** 2).sum(axis=-1)
    by_case = columns / case_df * (e.sum(axis=-2) ** 2).sum(axis=-1)
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
    y: ArrayLike, *, strata: ArrayLike, margin: float | None = None, alpha: float = 0.05, level: float = LEVEL
) -> list[Pooled]:
    """Return the share of readings y (R, C) over all readers, with its interval and verdict, for each scope.

    The conclusion rests on the first item: readers at large from `MIN_READERS_AT_LARGE` readers on, else these readers.
    A single reader has only the exact binomial interval.

    Args:
        y: 1 or 0, NaN if missing; at least one reading.
        strata: (C,) the kind of each case.
        margin: of equivalence to 1/2; without it there is no verdict.
        alpha: of the equivalence test.
        level: of the interval.
    """
    y = np.asarray(y, dtype=np.float64)
    n = int((~np.isnan(y)).sum())
    v = variation(y, strata=strata)
    scopes: dict[Scope, tuple[Array, Array]] = {
        "these readers": (v.same_readers, v.same_readers_df),
        "readers at large": (v.all, v.all_df),
    }
    if len(y) == 1:
        scopes = {"one reader": (np.asarray(0.0), np.asarray(float(n)))}  # the binomial variance
    elif len(y) >= MIN_READERS_AT_LARGE:
        scopes = dict(reversed(scopes.items()))
    return [
        _pooled(scope, v.estimate, *variance_and_df, n=n, margin=margin, alpha=alpha, level=level)
        for scope, variance_and_df in scopes.items()
    ]


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
