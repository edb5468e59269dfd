"""Learning: logistic regression of correct readings on the position in the session.

With position 0 for a reader's first case and 1 for the last, and an intercept for each reader, the model

    logit P(correct) = a_r + b · position

is fitted by maximum likelihood (Newton's method); the interval b ± z √(I⁻¹)_bb comes from the information I. With b >
0, readers got better. Each reader has a different order, so easy cases do not favor a position.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from scipy.stats import norm

from histosynth.metrics.uncertainty import Interval
from histosynth.study.statistics.proportion import LEVEL

_STEPS = 50


def learning(correct: ArrayLike, position: ArrayLike, reader: ArrayLike, *, level: float = LEVEL) -> Interval | None:
    """Return the slope b of readings (N,), with positions in 0 … 1.

    None if it is undefined: all readers always right or always wrong, equal positions, or a position from which on all
    readings are right. Readers who are always right or always wrong carry no information and are left out.
    """
    y, x = np.asarray(correct, dtype=np.float64), np.asarray(position, dtype=np.float64)
    # Leave out readers without information.
    index = np.unique(np.asarray(reader), return_inverse=True)[1]
    share = np.bincount(index, weights=y) / np.bincount(index)
    informative = (share[index] > 0) & (share[index] < 1)
    y, x = y[informative], x[informative]
    index = np.unique(index[informative], return_inverse=True)[1]
    if not len(y) or np.ptp(x) == 0:
        return None
    # Newton's method.
    design = np.column_stack([np.eye(index.max() + 1)[index], x])
    beta = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = expit(design @ beta)
        information = design.T @ (design * (p * (1 - p))[:, None])
        try:
            covariance = np.linalg.inv(information)
        except np.linalg.LinAlgError:
            return None
        step = covariance @ (design.T @ (y - p))
        if not np.abs(step).max() < 1e3:
            return None
        beta = beta + step
        if np.abs(step).max() < 1e-9:
            slope, reach = float(beta[-1]), float(norm.ppf((1 + level) / 2) * np.sqrt(covariance[-1, -1]))
            return Interval(value=slope, low=slope - reach, high=slope + reach, level=level)
    return None
