"""d' and the criterion, checked by hand, by symmetry and by simulated readers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from histosynth.study.statistics.signal import pooled_signal, quantile


def test_one_reader_by_hand() -> None:
    said = [1] * 16 + [0] * 4 + [1] * 5 + [0] * 15
    (result,) = pooled_signal([said], synthetic=[1] * 20 + [0] * 20)
    H, F = 16.5 / 21, 5.5 / 21
    assert result.d_prime.value == pytest.approx(norm.ppf(H) - norm.ppf(F))
    assert result.criterion.value == pytest.approx(-(norm.ppf(H) + norm.ppf(F)) / 2)
    error = np.sqrt(H * (1 - H) / 20 / norm.pdf(norm.ppf(H)) ** 2 + F * (1 - F) / 20 / norm.pdf(norm.ppf(F)) ** 2)
    assert result.d_prime.high - result.d_prime.value == pytest.approx(1.959964 * error, rel=1e-6)
    assert result.criterion.high - result.criterion.value == pytest.approx(1.959964 * error / 2, rel=1e-6)


@given(n=st.integers(1, 200), m=st.integers(1, 200), a=st.floats(0, 1), b=st.floats(0, 1))
def test_always_finite_and_antisymmetric_in_the_kinds(n: int, m: int, a: float, b: float) -> None:
    said = [1] * round(a * n) + [0] * (n - round(a * n)) + [1] * round(b * m) + [0] * (m - round(b * m))
    truth = np.arange(n + m) < n
    (result,), (swapped,) = pooled_signal([said], synthetic=truth), pooled_signal([said], synthetic=~truth)
    assert np.isfinite([result.d_prime.value, result.d_prime.low, result.criterion.value, result.criterion.high]).all()
    assert swapped.d_prime.value == pytest.approx(-result.d_prime.value)
    assert swapped.criterion.value == pytest.approx(result.criterion.value)


def test_cases_of_one_kind_have_neither() -> None:
    assert pooled_signal([[1, 0]], synthetic=[1, 1]) == []


def test_extreme_readers_do_not_vanish() -> None:
    """Every reader right about everything: the variation is 0, the uncertainty is not."""
    truth = np.arange(20) % 2 == 1
    z, variance = quantile(10, 10)
    for result in pooled_signal(np.tile(truth, (5, 1)), synthetic=truth):
        assert result.d_prime.value == pytest.approx(2 * float(z))
        assert result.d_prime.high - result.d_prime.value > 1.9 * np.sqrt(2 * variance / 5)


@pytest.mark.parametrize("patients", [60, 6])
def test_the_intervals_of_means_cover_the_truth(patients: int) -> None:
    """Five readers with d' = 0.8 and c = 0.5, real cases of patients; 300 studies, standard error 1.3 points."""
    rng = np.random.default_rng(1)
    truth = np.arange(120) % 2 == 1
    clusters = np.where(truth, 1000 + np.arange(120), np.arange(120) // 2 % patients)
    covered = []
    for _ in range(300):
        of_patient = rng.normal(0, 0.5, 2000)[clusters]
        x = 0.8 * truth + of_patient + rng.normal(0, 0.75**0.5, (5, 120)) + rng.normal(0, 0.1, (5, 1))
        first = pooled_signal(x > 0.4 + 0.5, synthetic=truth, clusters=clusters)[0]
        covered.append(
            (first.d_prime.low <= 0.8 <= first.d_prime.high, first.criterion.low <= 0.5 <= first.criterion.high)
        )
    assert np.mean(covered, axis=0) == pytest.approx((0.95, 0.95), abs=0.045)
