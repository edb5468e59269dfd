"""1-Wasserstein distance of two samples of numbers: the area between their cumulative distributions (Vallender 1974).

W₁ = ∫ |F(x) - G(x)| dx

SciPy's function returns the same, up to the last digits: its sum is a BLAS product, whose order of summation depends on
the number of threads. Results of one machine should not.
"""

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.features import Floats


def wasserstein_distance(a: Floats, b: Floats) -> float:
    """Return the distance of samples (N,) and (M,), in their unit."""
    x, y = (np.sort(np.asarray(values, dtype=np.float64)) for values in (a, b))
    both: NDArray[np.float64] = np.sort(np.concatenate([x, y]))
    shares = [np.searchsorted(values, both[:-1], side="right") / len(values) for values in (x, y)]
    return float(np.sum(np.abs(shares[0] - shares[1]) * np.diff(both)))
