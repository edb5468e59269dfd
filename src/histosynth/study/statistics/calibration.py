"""Calibration of confidence: the share of correct readings at each confidence, with its exact interval.

A calibrated reader has an accuracy of 50 % when guessing, and a higher one at each step of confidence. The interval
treats readings as independent: over several readers of the same cases it is somewhat too narrow.
"""

import numpy as np
from numpy.typing import ArrayLike

from histosynth.study.statistics.proportion import LEVEL, Proportion, proportion

CONFIDENCES = range(1, 6)


def calibration(correct: ArrayLike, confidence: ArrayLike, *, level: float = LEVEL) -> dict[int, Proportion]:
    """Return the share correct by confidence, 1 to 5, from readings (N,)."""
    is_correct, x = np.asarray(correct, dtype=bool), np.asarray(confidence)
    return {k: proportion(int(is_correct[x == k].sum()), int((x == k).sum()), level=level) for k in CONFIDENCES}
