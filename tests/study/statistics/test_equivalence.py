"""Two one-sided tests, checked against binomial tails and the interval at 1 - 2 alpha."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from histosynth.study.statistics.equivalence import equivalence, tost


def test_fifty_two_of_a_hundred_is_not_shown() -> None:
    result = equivalence(52, 100, margin=0.10, alpha=0.05)
    assert result.p == pytest.approx(0.0638, abs=5e-5)
    assert result.conclusion == "not shown"
    assert result.p_guessing == pytest.approx(binomtest(52, 100, 0.5).pvalue)


def test_p_is_the_larger_of_two_binomial_tails() -> None:
    for n in (1, 20, 101):
        k = np.arange(n + 1)
        truth = np.maximum(binom.sf(k - 1, n, 0.35), binom.cdf(k, n, 0.65))
        np.testing.assert_allclose(tost(k, n, margin=0.15), truth, atol=1e-12)


@pytest.mark.parametrize(
    ("k", "n", "conclusion"),
    [
        (500, 1000, "equivalent"),
        (540, 1000, "equivalent"),
        (70, 100, "different"),
        (30, 100, "different"),
        (5, 10, "not shown"),
    ],
)
def test_conclusions(k: int, n: int, conclusion: str) -> None:
    assert equivalence(k, n, margin=0.10, alpha=0.05).conclusion == conclusion


@given(n=st.integers(1, 400), share=st.floats(0, 1), margin=st.floats(0.02, 0.4), alpha=st.sampled_from([0.01, 0.05]))
def test_equivalent_exactly_if_the_interval_lies_within_the_margin(
    n: int, share: float, margin: float, alpha: float
) -> None:
    result = equivalence(round(share * n), n, margin=margin, alpha=alpha)
    if abs(result.p - alpha) > 1e-9:
        within = result.low >= 0.5 - margin and result.high <= 0.5 + margin
        assert (result.conclusion == "equivalent") == within


@given(n=st.integers(1, 300), share=st.floats(0, 1), margin=st.floats(0.01, 0.4))
def test_right_and_wrong_are_symmetric(n: int, share: float, margin: float) -> None:
    k = round(share * n)
    assert tost(k, n, margin=margin) == pytest.approx(tost(n - k, n, margin=margin), abs=1e-12)


def test_no_readings_show_nothing() -> None:
    assert equivalence(0, 0, margin=0.1, alpha=0.05).conclusion == "not shown"
