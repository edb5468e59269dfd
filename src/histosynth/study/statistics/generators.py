"""Does one generator fool readers more than another? What pairs, and what does not.

McNemar's test needs pairs: two answers that differ in the generator alone. Synthetic patches of two generators are
different images, and the real patches are the same for both, so the readings of a study do not pair by themselves; to
pair the first of one with the first of the other would be arbitrary, and another order would give another p. They do
pair where the samples were made from the same seed for the same label: the same starting noise. Then, reader by reader
(two readers of one pair are not independent), with b pairs recognized of the first generator only and c of the second,

    p = min(1, 2 P(X ≤ min(b, c) | b + c, 1/2))          (McNemar 1947, exact)

Without pairs, what is compared is the share recognized as synthetic, of each generator. Each reader by Fisher's exact
test; all readers by the difference of the shares and its variance over readers and cases (`crossed`), for every reader
reads both, and cases are of one generator. Where all answers are alike that variance is none; it is never taken for
less than that of as many independent readings with one more of each answer (Agresti & Caffo 2000, Am Stat 54, 280).
Several comparisons are judged together (Holm 1979, Scand J Stat 6, 65).
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
    """The exact test on pairs; `first_only` is b, `second_only` c."""

    pairs: int
    first_only: int
    second_only: int
    p: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The share of synthetic patches recognized, first generator less second, over all readers."""

    scope: Scope
    difference: Interval
    p: float


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """The exact test of what was recognized (N,) of the first and of the second patch of N pairs, by one reader."""
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    first_only, second_only = int((a & ~b).sum()), int((~a & b).sum())
    fewer, discordant = min(first_only, second_only), first_only + second_only
    p = min(1.0, 2 * float(stats.binom.cdf(fewer, discordant, 0.5)))
    return McNemar(pairs=len(a), first_only=first_only, second_only=second_only, p=p)


def fisher(first: ArrayLike, second: ArrayLike) -> float:
    """Fisher's exact p for what one reader recognized (N,) of one generator and (M,) of another."""
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
    found = variation(y, strata=first, weights=weights)
    at_large = len(y) >= MIN_READERS_AT_LARGE
    variance, df = (found.all, found.all_df) if at_large else (found.same_readers, found.same_readers_df)
    least = sum(_least_variance(y[:, kind]) for kind in (first, ~first))
    value, error = float(found.estimate), float(np.sqrt(max(float(variance), least)))
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
    """p-values of several comparisons, adjusted so that any false one among them has its level."""
    values: NDArray[np.float64] = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(x) for x in adjusted]
