"""Readers crossed with cases: how far a mean over both varies, and an interval for it.

All readers read the same cases, so readings are not independent: some readers are better, some cases easier. For an
estimate θ = mean over readers of Σ_c w_c y_rc, whose weights sum to 1 over a stratum of cases (or to ±1, for a
difference), with e = y less its stratum's mean, clustered on readers, on cases, and on neither (Cameron, Gelbach &
Miller 2011, J Bus Econ Stat 29, 238; in a complete design the mean squares of a two-way analysis of variance):

    V_R = R/(R-1) Σ_r (Σ_c w_c e_rc / R_c)²,   V_C = C/(C-S) Σ_c (Σ_r w_c e_rc / R_c)²,   V_0 = Σ_rc (w_c e_rc / R_c)²

with R_c readers of a case, and S strata. Other readers and other cases would give θ with the variance

    V = V_0 + max(V_R - V_0, 0) + max(V_C - V_0, 0)

and the same readers with other cases, V_C. Degrees of freedom are Satterthwaite's, C - S for the same readers.

The interval of a proportion is exact for the number of independent readings that would vary as much (Korn & Graubard
1998, Surv Methodol 24, 193): n* = θ(1-θ)/V, never more than the readings, times (t_{n-1}/t_df)² for the degrees of
freedom. It stays within 0 and 1, and with one reader it is that of Clopper and Pearson.
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
    """Variances of the estimate; arrays where there are several matrices."""

    estimate: Array
    same_readers: Array
    """Of the same readers with other cases."""
    same_readers_df: Array
    all: Array
    """Of other readers with other cases."""
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
    """Independent readings that would vary as much."""
    equivalence: Equivalence | None
    """None where no margin was given."""


def variation(y: ArrayLike, *, strata: ArrayLike, weights: ArrayLike | None = None) -> Variation:
    """The variances of Σ_c w_c · (mean over readers of y) for readings y (…, R, C), NaN where absent.

    Args:
        y: one matrix, or many of the same design.
        strata: (C,) what kind of case each is (real or synthetic, or whose generator); kinds are not random.
        weights: (C,) of the cases; all alike where not given.
    """
    y = np.asarray(y, dtype=np.float64)
    there = ~np.isnan(y)
    values = np.where(there, y, 0.0)
    readers_of_case = np.maximum(there.sum(axis=-2, keepdims=True), 1)
    cases = there.any(axis=-2)
    w = cases / cases.sum(axis=-1, keepdims=True) if weights is None else np.asarray(weights, dtype=np.float64)
    share = w[..., None, :] / readers_of_case * there
    names, kind = np.unique(np.asarray(strata), return_inverse=True)
    e = values.copy()
    for s in range(len(names)):
        here = kind == s
        n = np.maximum(there[..., here].sum(axis=(-2, -1), keepdims=True), 1)
        e[..., here] -= values[..., here].sum(axis=(-2, -1), keepdims=True) / n
    e = e * share
    readers = np.maximum(there.any(axis=-1).sum(axis=-1), 1)
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
    """How many independent readings a proportion p of this variance is worth: n* of Korn and Graubard."""
    p, variance, n = np.asarray(p), np.asarray(variance), np.asarray(n, dtype=np.float64)
    spread = p * (1 - p)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(variance * n > spread, spread / variance, n)
    tail = (1 + level) / 2
    ratio = stats.t.ppf(tail, np.maximum(n - 1, 1)) / stats.t.ppf(tail, np.asarray(df))
    return np.asarray(found * np.minimum(ratio, 1.0) ** 2)


def pooled(
    y: ArrayLike, *, strata: ArrayLike, margin: float | None = None, alpha: float = 0.05, level: float = LEVEL
) -> list[Pooled]:
    """Return the share of readings y (R, C) over all readers, with its interval and verdict, for each scope.

    The conclusion rests on the first item: readers at large from `MIN_READERS_AT_LARGE` readers on, else these readers.
    A single reader has only the exact binomial interval.

    Args:
        y: 1 or 0, NaN where absent; at least one reading.
        strata: (C,) what kind of case each is.
        margin: of equivalence to 1/2; no verdict where not given.
        alpha: of the verdict.
        level: of the interval.
    """
    y = np.asarray(y, dtype=np.float64)
    n = int((~np.isnan(y)).sum())
    found = variation(y, strata=strata)
    scopes: dict[Scope, tuple[Array, Array]] = {
        "these readers": (found.same_readers, found.same_readers_df),
        "readers at large": (found.all, found.all_df),
    }
    if len(y) == 1:
        scopes = {"one reader": (np.asarray(0.0), np.asarray(float(n)))}  # no variance of its own: the binomial's
    elif len(y) >= MIN_READERS_AT_LARGE:
        scopes = dict(reversed(scopes.items()))
    return [
        _pooled(scope, found.estimate, *variance_and_df, n=n, margin=margin, alpha=alpha, level=level)
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
