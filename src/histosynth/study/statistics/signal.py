"""Signal detection: sensitivity to the difference (d') and preference for one answer (criterion; Green & Swets 1966).

With H the share of synthetic patches called synthetic, F that of real ones, and z the normal quantile:

    d' = z(H) - z(F),     c = -(z(H) + z(F)) / 2

d' is 0 for guessing, and at 1 the difference is easily noticed; c is above 0 if a reader prefers "real". Shares of 0
and 1 have no quantile, so half a reading is always added to each cell (log-linear correction; Hautus 1995, Behav Res
Methods 27, 46). The interval is normal (Gourevitch & Galanter 1967, Psychometrika 32, 25):

    var d' = H(1-H) / (n_s φ(z(H))²) + F(1-F) / (n_r φ(z(F))²),     var c = var d' / 4
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from histosynth.metrics.uncertainty import Interval
from histosynth.study.statistics.proportion import LEVEL, Proportion, proportion


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One reader's sensitivity, specificity, d' and criterion."""

    sensitivity: Proportion
    specificity: Proportion
    d_prime: Interval | None
    """None if no real or no synthetic patch was read."""
    criterion: Interval | None


def signal(said_synthetic: ArrayLike, synthetic: ArrayLike, *, level: float = LEVEL) -> Signal:
    """Compute the measures from the answers (N,) and the truth (N,)."""
    called, truth = np.asarray(said_synthetic, dtype=bool), np.asarray(synthetic, dtype=bool)
    n_synthetic, n_real = int(truth.sum()), int((~truth).sum())
    hits, false_alarms = int((called & truth).sum()), int((called & ~truth).sum())
    d_prime = criterion = None
    if n_synthetic and n_real:
        d, c, error = d_prime_and_criterion(hits, n_synthetic, false_alarms, n_real)
        reach = norm.ppf((1 + level) / 2) * error
        d_prime = Interval(value=d, low=d - reach, high=d + reach, level=level)
        criterion = Interval(value=c, low=c - reach / 2, high=c + reach / 2, level=level)
    return Signal(
        sensitivity=proportion(hits, n_synthetic, level=level),
        specificity=proportion(n_real - false_alarms, n_real, level=level),
        d_prime=d_prime,
        criterion=criterion,
    )


def d_prime_and_criterion(hits: int, n_synthetic: int, false_alarms: int, n_real: int) -> tuple[float, float, float]:
    """Return d', the criterion c, and the standard error of d'."""
    H, F = (hits + 0.5) / (n_synthetic + 1), (false_alarms + 0.5) / (n_real + 1)
    z_H, z_F = norm.ppf([H, F])
    variance = H * (1 - H) / (n_synthetic * norm.pdf(z_H) ** 2) + F * (1 - F) / (n_real * norm.pdf(z_F) ** 2)
    return float(z_H - z_F), float(-(z_H + z_F) / 2), float(np.sqrt(variance))
