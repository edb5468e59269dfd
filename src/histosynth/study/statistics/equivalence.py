"""Equivalence to guessing: two one-sided tests (TOST; Schuirmann 1987) around 1/2, of the accuracy and of the area.

A missing difference does not prove equality. Equivalence is shown by rejecting both that the accuracy is too low and
that it is too high, by the margin δ declared before anyone read:

    p_low  = P(X ≥ k | n, 1/2 - δ),     p_high = P(X ≤ k | n, 1/2 + δ),     p = max(p_low, p_high)

which is at most α exactly if the 1 - 2α interval of Clopper and Pearson lies within 1/2 ± δ. For 52 of 100 with
δ = 0.10, p = 0.064: equivalence is not shown, although 52% does not differ significantly from 50%. Both tails are those
of the beta distribution, so k and n may be effective numbers (`crossed`).

Accuracy alone does not show it: readers with d' = 0.8 who call four of five patches real are right in 57%. The area
under the ROC curve does not depend on such a preference (`area`), so equivalence needs both, each within its own
margin. The larger p is that of both together (Berger 1982, Technometrics 24, 295). Guessing is ruled out if either
rejects it; the smaller p is doubled, since there are two (Bonferroni).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc

from histosynth.study.statistics.proportion import exact_limits

Conclusion = Literal["equivalent", "not shown", "different"]


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """The test of an accuracy, or of an area, with its p-values and interval.

    `equivalent`: within 1/2 ± margin at level alpha. `different`: not equivalent, and guessing itself is rejected at
    alpha (two-sided). `not shown`: neither; more readings might decide.
    """

    conclusion: Conclusion
    p: float
    """The larger p-value of the two one-sided tests."""
    p_guessing: float
    """Two-sided p-value against exactly 1/2."""
    low: float
    """Interval at 1 - 2 alpha: equivalent if it lies within 1/2 ± margin."""
    high: float
    margin: float
    alpha: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on guessing: `equivalent` if accuracy and area both are; `different` if guessing is ruled out."""

    conclusion: Conclusion
    p: float | None
    """Of equivalence: the larger of accuracy and area; None without an area."""
    p_guessing: float | None
    """Against guessing: twice the smaller of accuracy and area; None if only real or only synthetic cases were read."""
    accuracy: Equivalence
    area: Equivalence | None
    """None if no reader read both real and synthetic cases."""


def verdict(accuracy: Equivalence, area: Equivalence | None) -> Verdict:
    """Return the verdict of both tests. Without an area, the accuracy is that of a preference, and decides nothing."""
    if area is None:
        return Verdict(conclusion="not shown", p=None, p_guessing=None, accuracy=accuracy, area=None)
    p, p_guessing = max(accuracy.p, area.p), min(1.0, 2 * min(accuracy.p_guessing, area.p_guessing))
    return Verdict(
        conclusion=conclude(p, p_guessing, alpha=accuracy.alpha),
        p=p,
        p_guessing=p_guessing,
        accuracy=accuracy,
        area=area,
    )


def conclude(p: float, p_guessing: float, *, alpha: float) -> Conclusion:
    """Return the conclusion from the p-values of equivalence and of guessing."""
    return "equivalent" if p <= alpha else "different" if p_guessing <= alpha else "not shown"


def tost(count: ArrayLike, n: ArrayLike, *, margin: float) -> NDArray[np.float64]:
    """Return the p-value of equivalence to 1/2, element by element; 1 where n is 0."""
    k, m = np.asarray(count, dtype=np.float64), np.asarray(n, dtype=np.float64)
    return np.maximum(_at_least(k, m, 0.5 - margin), _at_most(k, m, 0.5 + margin))


def equivalence(count: float, n: float, *, margin: float, alpha: float) -> Equivalence:
    """Return the test of `count` correct of `n` independent readings.

    Args:
        count: correct readings; may be a fraction if effective.
        n: readings; may be a fraction if effective.
        margin: the distance from 1/2 that still counts as guessing, as declared.
        alpha: the significance level of each test, as declared.
    """
    k, m = np.asarray(count, dtype=np.float64), np.asarray(n, dtype=np.float64)
    p = float(tost(k, m, margin=margin))
    p_guessing = min(1.0, 2 * float(min(_at_least(k, m, 0.5), _at_most(k, m, 0.5))))
    low, high = exact_limits(k, m, level=1 - 2 * alpha)
    return Equivalence(
        conclusion=conclude(p, p_guessing, alpha=alpha),
        p=p,
        p_guessing=p_guessing,
        low=float(low),
        high=float(high),
        margin=margin,
        alpha=alpha,
    )


def _at_least(k: NDArray[np.float64], n: NDArray[np.float64], p: float) -> NDArray[np.float64]:
    """Return P(X ≥ k)."""
    return np.where(k > 0, betainc(np.maximum(k, 1e-300), n - k + 1, p), 1.0)


def _at_most(k: NDArray[np.float64], n: NDArray[np.float64], p: float) -> NDArray[np.float64]:
    """Return P(X ≤ k)."""
    return np.where(k < n, 1 - betainc(k + 1, np.maximum(n - k, 1e-300), p), 1.0)
