"""The Wasserstein distance: a closed form, SciPy's value, and the same digits for any number of threads."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from histosynth.metrics.wasserstein import wasserstein_distance

SCRIPT = """
import numpy as np
from histosynth.metrics.wasserstein import wasserstein_distance
rng = np.random.default_rng(0)
print([wasserstein_distance(rng.normal(size=60_000), rng.gamma(2, size=50_001)).hex() for _ in range(5)])
"""


def test_a_shift_is_its_own_distance():
    x = np.random.default_rng(0).normal(size=50)
    assert wasserstein_distance(x, x + 3) == pytest.approx(3)
    assert wasserstein_distance(x, x) == 0
    assert wasserstein_distance(np.array([0.0, 1.0]), np.array([0.5])) == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_agrees_with_scipy(dtype):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=300).round(1).astype(dtype), rng.gamma(2, size=77).astype(dtype)
    assert wasserstein_distance(a, b) == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-12)


def test_the_number_of_threads_does_not_change_a_digit():
    """A BLAS product does: SciPy's distance of these samples differs between one and three threads."""

    def run(threads: int) -> str:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        command = [sys.executable, "-c", SCRIPT]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert run(1) == run(3)
