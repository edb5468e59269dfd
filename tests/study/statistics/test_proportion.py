"""Exact intervals, checked against scipy and the tails that define them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from histosynth.study.statistics.proportion import exact_limits, proportion


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_limits_equal_those_of_scipy(level: float) -> None:
    for n in (1, 7, 100):
        for k in range(n + 1):
            result = proportion(k, n, level=level)
            truth = binomtest(k, n).proportion_ci(level, method="exact")
            np.testing.assert_allclose((result.low, result.high), (truth.low, truth.high), atol=1e-10)


@given(n=st.integers(1, 500), share=st.floats(0, 1))
def test_each_limit_leaves_half_of_alpha_in_its_tail(n: int, share: float) -> None:
    k = round(share * n)
    low, high = exact_limits(k, n)
    if k:
        assert binom.sf(k - 1, n, low) == pytest.approx(0.025, abs=1e-6)
    if k < n:
        assert binom.cdf(k, n, high) == pytest.approx(0.025, abs=1e-6)
    assert low <= k / n <= high


def test_no_readings_have_the_full_interval() -> None:
    result = proportion(0, 0)
    assert (result.value, result.low, result.high) == (None, 0.0, 1.0)


def test_fractions_lie_between_their_neighbors() -> None:
    lows, highs = exact_limits([10, 10.5, 11], 20)
    assert (np.diff(lows) > 0).all()
    assert (np.diff(highs) > 0).all()
