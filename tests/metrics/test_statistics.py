import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.metrics.statistics import Statistics


@pytest.mark.parametrize("n", [4, 10, 11, 200])
def test_the_factor_holds_the_covariance(n):
    x = np.random.default_rng(n).normal(size=(n, 10)) + 1e3
    statistics = Statistics.of(x.astype(np.float64))
    np.testing.assert_allclose(statistics.mean, x.mean(axis=0))
    np.testing.assert_allclose(statistics.covariance, np.cov(x.T), atol=1e-10)
    assert statistics.n == n
    assert len(statistics.factor) <= 10 or n <= 10


def test_statistics_from_moments_have_these_moments():
    x = np.random.default_rng(0).normal(size=(5, 8))
    covariance = np.cov(x.T)  # singular
    np.testing.assert_allclose(Statistics.from_moments(x.mean(0), covariance, n=5).covariance, covariance, atol=1e-12)


def test_single_precision_features_are_summed_in_double_precision():
    x = (np.random.default_rng(1).normal(size=(2000, 3)) * 1e-3 + 1e3).astype(np.float32)
    np.testing.assert_allclose(Statistics.of(x).covariance, np.cov(x.astype(np.float64).T), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.ones((1, 3)), np.ones(3), np.full((4, 2), np.nan)])
def test_features_without_a_covariance_are_rejected(bad):
    with pytest.raises(HistosynthError, match=r"features|images"):
        Statistics.of(bad)


@pytest.mark.parametrize(
    ("mean", "covariance", "match"),
    [
        (np.zeros(2), np.eye(3), "does not fit a covariance of shape"),
        (np.zeros(2), np.full((2, 2), np.nan), "not finite"),
        (np.array([0.0, np.inf]), np.eye(2), "not finite"),
    ],
)
def test_invalid_moments_are_rejected(mean, covariance, match):
    with pytest.raises(HistosynthError, match=match):
        Statistics.from_moments(mean, covariance, n=5)
