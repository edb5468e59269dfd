"""Agreement between readers, and of readers with themselves.

Chance-corrected agreement is κ or α = 1 - D_observed / D_expected: 0 if readers agree only as often as random answers,
1 if they always agree. None is expected of readers who cannot tell: agreement then shows that they share a misleading
cue.

**Krippendorff's α** (2011, "Computing Krippendorff's alpha-reliability") handles missing and ordinal answers. With o_ck
the coincidences of answers c and k within a case (each pair of its m answers weighted 1/(m-1)), n_c their margins, and
n their total,

    α = 1 - (n - 1) Σ o_ck δ²_ck / Σ n_c n_k δ²_ck,     δ² = 1 for c ≠ k, or ordinal (Σ_{g=c..k} n_g - (n_c + n_k)/2)²

**Fleiss' κ** (1971, Psychol Bull 76, 378) uses the cases that all readers read. **Cohen's κ** (1960) compares one
reader's first and second answers to the same cases. Intervals of α and of Fleiss' κ resample patients with all their
cases (percentiles); that of Cohen's κ uses the large-sample error of Fleiss, Cohen & Everitt (1969, Psychol Bull 72,
323).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from histosynth.metrics.uncertainty import REPLICATES, Interval
from histosynth.study.statistics.bootstrap import draw_clusters
from histosynth.study.statistics.proportion import LEVEL, Proportion, proportion

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """One reader's agreement with themselves on repeated cases."""

    same: Proportion
    kappa: Interval | None
    """None if it is undefined: all answers are alike."""
    confidence_shift: float | None
    """Mean absolute change of confidence."""


def counts(answers: ArrayLike, *, categories: int) -> Array:
    """Count the answers of each category to each case, (C, K), from answers (R, C) in 0 … K-1, NaN if missing."""
    x = np.asarray(answers, dtype=np.float64)
    return np.stack([(x == k).sum(axis=0) for k in range(categories)], axis=1).astype(np.float64)


def fleiss_kappa(table: Array, *, weights: ArrayLike | None = None) -> float | None:
    """Return κ of (C, K) counts, with equally many answers per case and case weights; None if all answers are alike."""
    w = np.ones(len(table)) if weights is None else np.asarray(weights, dtype=np.float64)
    raters = table[0].sum() if len(table) else 0.0
    if raters < 2:
        return None
    share = w @ table / (w.sum() * raters)
    expected = float((share**2).sum())
    observed: float = float(w @ ((table * (table - 1)).sum(axis=1) / (raters * (raters - 1))) / w.sum())
    return None if expected >= 1 - 1e-12 else (observed - expected) / (1 - expected)


def krippendorff_alpha(table: Array, *, ordinal: bool = False, weights: ArrayLike | None = None) -> float | None:
    """Return α of (C, K) counts, without cases that have only one answer; None if nothing varies."""
    w = np.ones(len(table)) if weights is None else np.asarray(weights, dtype=np.float64)
    answers = table.sum(axis=1)
    pairable = answers >= 2
    t, w = table[pairable], w[pairable]
    w_pair = w / (answers[pairable] - 1)
    coincidence = (t * w_pair[:, None]).T @ t - np.diag(w_pair @ t)
    margin = coincidence.sum(axis=1)
    distance = _ordinal(margin) if ordinal else 1 - np.eye(len(margin))
    expected = float(margin @ distance @ margin)
    if expected <= 0:
        return None
    return 1 - float(margin.sum() - 1) * float((coincidence * distance).sum()) / expected


def _ordinal(margin: Array) -> Array:
    up_to, number = np.cumsum(margin), np.arange(len(margin))
    lower = np.minimum.outer(number, number)
    span = np.abs(up_to[:, None] - up_to[None, :]) + margin[lower]
    distance = span - (margin[:, None] + margin[None, :]) / 2
    np.fill_diagonal(distance, 0.0)
    return np.asarray(distance**2)


def agreement(
    answers: ArrayLike,
    *,
    categories: int,
    measure: Literal["fleiss", "alpha", "ordinal alpha"],
    rng: np.random.Generator,
    clusters: ArrayLike | None = None,
    level: float = LEVEL,
    replicates: int = REPLICATES,
) -> Interval | None:
    """Return `fleiss`, `alpha` or `ordinal alpha` of answers (R, C) with an interval over cases; None if undefined.

    `clusters` (C,) are the patients of the cases; each case by itself by default.
    """
    x = np.asarray(answers, dtype=np.float64)
    units = np.arange(x.shape[1]) if clusters is None else np.asarray(clusters)
    table = counts(x, categories=categories)
    if measure == "fleiss":
        complete = ~np.isnan(x).any(axis=0)
        table, units = table[complete], units[complete]

    def statistic(weights: ArrayLike | None) -> float | None:
        if measure == "fleiss":
            return fleiss_kappa(table, weights=weights)
        return krippendorff_alpha(table, ordinal=measure == "ordinal alpha", weights=weights)

    value = statistic(None)
    if value is None:
        return None
    draws = draw_clusters(units, replicates, rng)
    replicate_values = [v for weights in draws if (v := statistic(weights)) is not None]
    low, high = np.quantile(replicate_values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high), level=level)


def repeats(first: ArrayLike, second: ArrayLike, shift: ArrayLike, *, level: float = LEVEL) -> Repeats:
    """Compare one reader's first and second answers (N,), given the changes of confidence (N,)."""
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    absolute_shift = np.abs(np.asarray(shift, dtype=np.float64))
    return Repeats(
        same=proportion(int((a == b).sum()), len(a), level=level),
        kappa=cohen_kappa(a, b, level=level),
        confidence_shift=float(absolute_shift.mean()) if len(absolute_shift) else None,
    )


def cohen_kappa(first: ArrayLike, second: ArrayLike, *, level: float = LEVEL) -> Interval | None:
    """Return κ of two rows of yes or no; None if it is undefined: answers all alike, or no answers."""
    a, b = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    if not len(a):
        return None
    p = np.zeros((2, 2))
    np.add.at(p, (a, b), 1 / len(a))
    row, column = p.sum(axis=1), p.sum(axis=0)
    observed, expected = float(np.trace(p)), float(row @ column)
    if expected >= 1 - 1e-12:
        return None
    kappa = (observed - expected) / (1 - expected)
    margins = row[None, :] + column[:, None]  # in cell (i, j): p_.i + p_j.
    diagonal = sum(p[i, i] * (1 - (row[i] + column[i]) * (1 - kappa)) ** 2 for i in range(2))
    off_diagonal = (1 - kappa) ** 2 * sum(p[i, j] * margins[i, j] ** 2 for i in range(2) for j in range(2) if i != j)
    correction = (kappa - expected * (1 - kappa)) ** 2
    error = np.sqrt(max(diagonal + off_diagonal - correction, 0.0) / len(a)) / (1 - expected)
    reach = float(norm.ppf((1 + level) / 2) * error)
    return Interval(value=kappa, low=max(-1.0, kappa - reach), high=min(1.0, kappa + reach), level=level)
