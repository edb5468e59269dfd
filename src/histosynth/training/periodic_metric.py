"""A look at a model in training by whoever can judge it: training hands out images and takes figures.

So training knows no metric. `metrics.quick_frechet` builds the checkup of the Fréchet distance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Measure = Callable[[Mapping[str, NDArray[np.uint8]]], float]
"""Synthetic images, label -> (N, S, S, 3), to a figure: the lower, the better."""


@dataclass(frozen=True, kw_only=True)
class PeriodicMetric:
    """What to measure, and when.

    Attributes:
        name: of the figure, in the log.
        every: images between two.
        per_label: synthetic images of each label.
        measure: runs on the main process alone.
    """

    name: str
    every: int
    per_label: int
    measure: Measure
