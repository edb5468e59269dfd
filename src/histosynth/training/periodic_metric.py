"""A metric that is computed periodically during training, from synthetic images that the loop provides.

Training itself implements no metric. `metrics.quick_frechet` provides the measure of the Fréchet distance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Measure = Callable[[Mapping[str, NDArray[np.uint8]]], float]
"""Function of synthetic images, label -> (N, S, S, 3); lower values are better."""


@dataclass(frozen=True, kw_only=True)
class PeriodicMetric:
    """What to measure, and how often.

    Attributes:
        name: name of the metric in the log.
        every: training images between two measurements.
        per_label: synthetic images per label.
        measure: the function; it runs on the main process only.
    """

    name: str
    every: int
    per_label: int
    measure: Measure
