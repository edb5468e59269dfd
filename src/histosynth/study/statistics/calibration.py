"""Do readers know when they know? The share correct among the readings of each confidence, with its exact interval.

A calibrated reader is at 50 % where he guesses, and higher with each step. The interval takes readings as independent:
over several readers of the same cases it is somewhat too narrow.
"""

import numpy as np
from numpy.typing import ArrayLike

from histosynth.study.statistics.proportion import LEVEL, Proportion, proportion

CONFIDENCES = range(1, 6)


def calibration(correct: ArrayLike, confidence: ArrayLike, *, level: float = LEVEL) -> dict[int, Proportion]:
    """By confidence 1 to 5, from readings (N,)."""
    right, sure = np.asarray(correct, dtype=bool), np.asarray(confidence)
    return {k: proportion(int(right[sure == k].sum()), int((sure == k).sum()), level=level) for k in CONFIDENCES}
