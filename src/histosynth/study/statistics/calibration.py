"""Calibration of confidence: the share of correct readings at each confidence.

A calibrated reader has an accuracy of 50 % when guessing, and a higher one at each step of confidence. One reader of
one case per patient has the exact interval; over several readers it is that of `crossed`, with the readings of a reader
and of a patient as clusters. Which readings got which confidence is held fixed.
"""

import numpy as np
from numpy.typing import ArrayLike

from histosynth.study.statistics.crossed import share_of_readings
from histosynth.study.statistics.proportion import Proportion

CONFIDENCES = range(1, 6)


def calibration(
    correct: ArrayLike, confidence: ArrayLike, *, clusters: ArrayLike | None = None
) -> dict[int, Proportion]:
    """Return the share correct by confidence, 1 to 5, from readings (R, C) of patients (C,), NaN if missing."""
    y, x = np.asarray(correct, dtype=np.float64), np.asarray(confidence)
    one_kind = np.zeros(y.shape[1])
    return {k: share_of_readings(np.where(x == k, y, np.nan), strata=one_kind, clusters=clusters) for k in CONFIDENCES}
