"""Do readers agree with each other, and with themselves?

Chance-corrected agreement is κ or α = 1 - D_observed / D_expected: 0 where readers agree as if each answered blindly, 1
where always. Of readers who cannot tell, none should be expected: agreement then shows that they share a wrong clue.

**Krippendorff's α** (2011, "Computing Krippendorff's alpha-reliability") takes gaps, and an order: with o_ck the
coincidences of answers c and k within a case (each pair of its m answers weighted 1/(m-1)), n_c their margins, n all,

    α = 1 - (n - 1) Σ o_ck δ²_ck / Σ n_c n_k δ²_ck,     δ² = 1 for c ≠ k, or ordinal (Σ_{g=c..k} n_g - (n_c + n_k)/2)²

**Fleiss' κ** (1971, Psychol Bull 76, 378) is over the cases that all readers read. **Cohen's κ** (1960) is of one
reader's first and second answer to the same case. Intervals of α and κ resample cases (percentiles); Cohen's has the
large-sample error of Fleiss, Cohen & Everitt (1969, Psychol Bull 72, 323).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from histosynth.metrics.uncertainty import REPLICATES, Interval
from histosynth.study.statistics.proportion import LEVEL, Proportion, proportion

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """One reader's answers to the same cases twice."""

    same: Proportion
    kappa: Interval | None
    """None where it is undefined: all answers alike."""
    confidence_shift: float | None
    """Mean absolute change of confidence."""


def counts(answers: ArrayLike, *, categories: int) -> Array:
    """How many readers gave each case each category, (C, K), from answers (R, C) in 0 … K-1 with NaN where absent."""
    x = np.asarray(answers, dtype=np.float64)
    return np.stack([(x == k).sum(axis=0) for k in range(categories)], axis=1).astype(np.float64)


def fleiss_kappa(table: Array, *, weights: ArrayLike | None = None) -> float | None:
    """κ of (C, K) counts, all cases read by equally many; None where all answers are alike. Weights count cases."""
    w = np.ones(len(table)) if weights is None else np.asarray(weights, dtype=np.float64)
    raters = table[0].sum() if len(table) else 0.0
    if raters < 2:
        return None
    share = w @ table / (w.sum() * raters)
    expected = float((share**2).sum())
    agreed: float = float(w @ ((table * (table - 1)).sum(axis=1) / (raters * (raters - 1))) / w.sum())
    return None if expected >= 1 - 1e-12 else (agreed - expected) / (1 - expected)


def krippendorff_alpha(table: Array, *, ordinal: bool = False, weights: ArrayLike | None = None) -> float | None:
    """α of (C, K) counts; cases of one answer say nothing and are left out. None where nothing varies."""
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
    found = span - (margin[:, None] + margin[None, :]) / 2
    np.fill_diagonal(found, 0.0)
    return np.asarray(found**2)


def agreement(
    answers: ArrayLike,
    *,
    categories: int,
    measure: Literal["fleiss", "alpha", "ordinal alpha"],
    rng: np.random.Generator,
    level: float = LEVEL,
    replicates: int = REPLICATES,
) -> Interval | None:
    """`fleiss`, `alpha` or `ordinal alpha` of answers (R, C) with an interval over cases; None where undefined."""
    x = np.asarray(answers, dtype=np.float64)
    table = counts(x, categories=categories)
    if measure == "fleiss":
        table = table[~np.isnan(x).any(axis=0)]

    def of(weights: ArrayLike | None) -> float | None:
        if measure == "fleiss":
            return fleiss_kappa(table, weights=weights)
        return krippendorff_alpha(table, ordinal=measure == "ordinal alpha", weights=weights)

    value = of(None)
    if value is None:
        return None
    draws = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), size=replicates)
    drawn = [found for weights in draws if (found := of(weights)) is not None]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high), level=level)


def repeats(first: ArrayLike, second: ArrayLike, shift: ArrayLike, *, level: float = LEVEL) -> Repeats:
    """One reader's first and second answers (N,), and the changes of confidence (N,)."""
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    moved = np.abs(np.asarray(shift, dtype=np.float64))
    return Repeats(
        same=proportion(int((a == b).sum()), len(a), level=level),
        kappa=cohen_kappa(a, b, level=level),
        confidence_shift=float(moved.mean()) if len(moved) else None,
    )


def cohen_kappa(first: ArrayLike, second: ArrayLike, *, level: float = LEVEL) -> Interval | None:
    """κ of two rows of yes or no; None where it is undefined: all alike, or none."""
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
    both = row[None, :] + column[:, None]  # of cell (i, j): the margins p_.i + p_j.
    on = sum(p[i, i] * (1 - (row[i] + column[i]) * (1 - kappa)) ** 2 for i in range(2))
    off = (1 - kappa) ** 2 * sum(p[i, j] * both[i, j] ** 2 for i in range(2) for j in range(2) if i != j)
    rest = (kappa - expected * (1 - kappa)) ** 2
    error = np.sqrt(max(on + off - rest, 0.0) / len(a)) / (1 - expected)
    reach = float(norm.ppf((1 + level) / 2) * error)
    return Interval(value=kappa, low=max(-1.0, kappa - reach), high=min(1.0, kappa + reach), level=level)
