"""Comparison of two generators: whose patches do readers recognize more often? Paired and unpaired tests.

McNemar's test needs pairs: two answers that differ only in the generator. Synthetic patches of two generators are
different images, and the real patches are the same for both, so the readings of a study are not paired by themselves.
Pairing the first patch of one with the first of the other would be arbitrary: another order would give another p.
Samples are paired if they were made from the same seed for the same label, that is, from the same starting noise. Then,
for each reader separately (two readers of one pair are not independent), with b pairs of which only the first
generator's patch was recognized, and c of which only the second's,

    p = min(1, 2 P(X ≤ min(b, c) | b + c, 1/2))          (McNemar 1947, exact)

Without pairs, the shares recognized as synthetic are compared. For each reader, Fisher's exact test is used. For all
readers, it is the difference of the shares and its variance over readers and cases (`crossed`), since every reader
reads both generators and each case comes from one. If all answers are alike, that variance is 0; it is replaced by at
least the variance of as many independent readings with one more of each answer (Agresti & Caffo 2000, Am Stat 54, 280).
Several comparisons are adjusted together (Holm 1979, Scand J Stat 6, 65).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from histosynth.metrics.uncertainty import Interval
from histosynth.study.statistics import MIN_READERS_AT_LARGE
from histosynth.study.statistics.crossed import Scope, variation
from histosynth.study.statistics.proportion import LEVEL


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """The exact test on pairs; `first_only` is b, `second_only` is c."""

    pairs: int
    first_only: int
    second_only: int
    p: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The share of synthetic patches recognized, first generator minus second, over all readers."""

    scope: Scope
    difference: Interval
    p: float


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Return McNemar's exact test of what one reader recognized (N,) of the first and second patches of N pairs."""
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    first_only, second_only = int((a & ~b).sum()), int((~a & b).sum())
    fewer, discordant = min(first_only, second_only), first_only + second_only
    p = min(1.0, 2 * float(stats.binom.cdf(fewer, discordant, 0.5)))
    return McNemar(pairs=len(a), first_only=first_only, second_only=second_only, p=p)


def fisher(first: ArrayLike, second: ArrayLike) -> float:
    """Return Fisher's exact p for what one reader recognized (N,) of one generator and (M,) of another."""
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    table = [[int(a.sum()), int((~a).sum())], [int(b.sum()), int((~b).sum())]]
    return float(stats.fisher_exact(table).pvalue)


def difference(recognized: ArrayLike, is_first: ArrayLike, *, level: float = LEVEL) -> Difference:
    """Return the difference between two generators over all readers, from what was recognized (R, C) of either's cases.

    The interval and p are Student's. They hold for readers at large from `MIN_READERS_AT_LARGE` readers on, else for
    these readers.
    """
    y, first = np.asarray(recognized, dtype=np.float64), np.asarray(is_first, dtype=bool)
    weights = np.where(first, 1 / first.sum(), -1 / (~first).sum())
    v = variation(y, strata=first, weights=weights)
    at_large = len(y) >= MIN_READERS_AT_LARGE
    variance, df = (v.all, v.all_df) if at_large else (v.same_readers, v.same_readers_df)
    least = sum(_least_variance(y[:, kind]) for kind in (first, ~first))
    value, error = float(v.estimate), float(np.sqrt(max(float(variance), least)))
    reach = float(stats.t.ppf((1 + level) / 2, df)) * error
    p = float(2 * stats.t.sf(abs(value) / error, df))
    scope: Scope = "one reader" if len(y) == 1 else "readers at large" if at_large else "these readers"
    interval = Interval(value=value, low=max(-1.0, value - reach), high=min(1.0, value + reach), level=level)
    return Difference(scope=scope, difference=interval, p=p)


def _least_variance(y: NDArray[np.float64]) -> float:
    n = int((~np.isnan(y)).sum()) + 2
    share = (float(np.nansum(y)) + 1) / n
    return share * (1 - share) / n


def holm(p: Sequence[float]) -> list[float]:
    """Return the p-values adjusted by Holm's method, which controls the family-wise error rate."""
    values: NDArray[np.float64] = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    step_down = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(step_down, 1.0)
    return [float(x) for x in adjusted]
