"""d' and the criterion: by hand, and by symmetry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from histosynth.study.statistics.signal import d_prime_and_criterion, signal


def test_by_hand() -> None:
    said = [1] * 16 + [0] * 4 + [1] * 5 + [0] * 15
    found = signal(said, [1] * 20 + [0] * 20)
    H, F = 16.5 / 21, 5.5 / 21
    assert (found.sensitivity.value, found.specificity.value) == (0.8, 0.75)
    assert found.d_prime is not None
    assert found.criterion is not None
    assert found.d_prime.value == pytest.approx(norm.ppf(H) - norm.ppf(F))
    assert found.criterion.value == pytest.approx(-(norm.ppf(H) + norm.ppf(F)) / 2)
    error = np.sqrt(H * (1 - H) / 20 / norm.pdf(norm.ppf(H)) ** 2 + F * (1 - F) / 20 / norm.pdf(norm.ppf(F)) ** 2)
    assert found.d_prime.high - found.d_prime.value == pytest.approx(1.959964 * error, rel=1e-6)


@given(n=st.integers(1, 200), m=st.integers(1, 200), a=st.floats(0, 1), b=st.floats(0, 1))
def test_finite_always_and_turned_round_with_the_kinds(n: int, m: int, a: float, b: float) -> None:
    hits, alarms = round(a * n), round(b * m)
    d, c, error = d_prime_and_criterion(hits, n, alarms, m)
    assert np.isfinite([d, c, error]).all()
    turned = d_prime_and_criterion(alarms, m, hits, n)
    assert turned[:2] == pytest.approx((-d, c))


def test_one_kind_has_neither() -> None:
    found = signal([1, 0], [1, 1])
    assert found.d_prime is None
    assert found.specificity.value is None
