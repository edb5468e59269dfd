"""The ROC curve of signed confidence, and the comparisons of pairs of which its area is the mean.

"Synthetic" with confidence k has the score +k, "real" has -k: a scale from certainly real to certainly synthetic. The
area is the probability that a synthetic patch scores higher than a real one, a tie counting half; 1/2 for guessing:

    A = mean over pairs of ψ(s, r),     ψ = 1, 1/2, 0 for s >, =, < r
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Roc:
    """A curve: the shares of real and of synthetic patches scored at or above each threshold, from none to all."""

    false_positives: list[float]
    true_positives: list[float]


def mann_whitney_kernel(scores: ArrayLike, synthetic: ArrayLike) -> Array:
    """Return ψ of each synthetic case (row) against each real case (column)."""
    x, truth = np.asarray(scores, dtype=np.float64), np.asarray(synthetic, dtype=bool)
    above = x[truth][:, None] - x[~truth][None, :]
    return np.asarray((np.sign(above) + 1) / 2)


def curve(scores: ArrayLike, synthetic: ArrayLike) -> Roc | None:
    """Return the empirical curve; None without both real and synthetic cases."""
    x, truth = np.asarray(scores, dtype=np.float64), np.asarray(synthetic, dtype=bool)
    if truth.all() or not truth.any():
        return None
    thresholds = [np.inf, *np.unique(x)[::-1]]
    return Roc(
        false_positives=[float((x[~truth] >= t).mean()) for t in thresholds],
        true_positives=[float((x[truth] >= t).mean()) for t in thresholds],
    )
