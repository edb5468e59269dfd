"""Did readers get better on the way? Logistic regression of correct readings on the place in the session.

With the place 0 for a reader's first case and 1 for the last, and an intercept for each reader,

    logit P(correct) = a_r + b · place

by maximum likelihood (Newton's steps); interval b ± z √(I⁻¹)_bb from the information I. b > 0: they got better. Each
reader has an order of their own, so a case being easy does not favor a place.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from scipy.stats import norm

from histosynth.metrics.uncertainty import Interval
from histosynth.study.statistics.proportion import LEVEL

_STEPS = 50


def learning(correct: ArrayLike, place: ArrayLike, reader: ArrayLike, *, level: float = LEVEL) -> Interval | None:
    """The slope b of readings (N,), with places in 0 … 1.

    None where there is none to tell: all readers always right or always wrong, places all alike, or a place from which
    on all is right. Readers who are always right or always wrong say nothing of it and are left out.
    """
    y, x = np.asarray(correct, dtype=np.float64), np.asarray(place, dtype=np.float64)
    who = np.unique(np.asarray(reader), return_inverse=True)[1]
    share = np.bincount(who, weights=y) / np.bincount(who)
    tells = (share[who] > 0) & (share[who] < 1)
    y, x, who = y[tells], x[tells], np.unique(who[tells], return_inverse=True)[1]
    if not len(y) or np.ptp(x) == 0:
        return None
    design = np.column_stack([np.eye(who.max() + 1)[who], x])
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
