"""d' and the criterion, checked by hand and by symmetry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from histosynth.study.statistics.signal import d_prime_and_criterion, signal


def test_measures_by_hand() -> None:
    said = [1] * 16 + [0] * 4 + [1] * 5 + [0] * 15
    result = signal(said, [1] * 20 + [0] * 20)
    H, F = 16.5 / 21, 5.5 / 21
    assert (result.sensitivity.value, result.specificity.value) == (0.8, 0.75)
    assert result.d_prime is not None
    assert result.criterion is not None
    assert result.d_prime.value == pytest.approx(norm.ppf(H) - norm.ppf(F))
    assert result.criterion.value == pytest.approx(-(norm.ppf(H) + norm.ppf(F)) / 2)
    error = np.sqrt(H * (1 - H) / 20 / norm.pdf(norm.ppf(H)) ** 2 + F * (1 - F) / 20 / norm.pdf(norm.ppf(F)) ** 2)
    assert result.d_prime.high - result.d_prime.value == pytest.approx(1.959964 * error, rel=1e-6)


@given(n=st.integers(1, 200), m=st.integers(1, 200), a=st.floats(0, 1), b=st.floats(0, 1))
def test_always_finite_and_antisymmetric_in_the_kinds(n: int, m: int, a: float, b: float) -> None:
    hits, alarms = round(a * n), round(b * m)
    d, c, error = d_prime_and_criterion(hits, n, alarms, m)
    assert np.isfinite([d, c, error]).all()
    swapped = d_prime_and_criterion(alarms, m, hits, n)
    assert swapped[:2] == pytest.approx((-d, c))


def test_cases_of_one_kind_have_neither() -> None:
    result = signal([1, 0], [1, 1])
    assert result.d_prime is None
    assert result.specificity.value is None
