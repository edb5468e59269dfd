import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from histosynth.metrics.features import Statistics
from histosynth.metrics.frechet import frechet_distance


def by_sqrtm(a: Statistics, b: Statistics) -> float:
    """The textbook formula, through the root of the unsymmetric product."""
    root = sqrtm(a.covariance @ b.covariance).real
    return float(np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * root))


def test_two_normal_distributions_on_a_line():
    a = Statistics.from_moments([1.0], [[4.0]], n=10)
    b = Statistics.from_moments([-2.0], [[25.0]], n=10)
    assert frechet_distance(a, b) == pytest.approx(3**2 + (2 - 5) ** 2)


def test_covariances_that_share_their_axes():
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    s, t = np.array([0.0, 1, 2, 3, 4, 5]), np.array([2.0, 0, 1, 3, 9, 1])
    a = Statistics.from_moments(np.zeros(6), turn * s**2 @ turn.T, n=10)
    b = Statistics.from_moments(np.full(6, 0.5), turn * t**2 @ turn.T, n=10)
    assert frechet_distance(a, b) == pytest.approx(6 * 0.25 + np.sum((s - t) ** 2))


def test_a_shift_alone_adds_its_square():
    x = np.random.default_rng(1).normal(size=(50, 8))
    assert frechet_distance(Statistics.of(x), Statistics.of(x + 3.0)) == pytest.approx(8 * 9.0)


def test_orthogonal_subspaces_share_nothing():
    x = np.random.default_rng(2).normal(size=(9, 4))
    a = Statistics.of(np.hstack([x, np.zeros((9, 4))]))
    b = Statistics.of(np.hstack([np.zeros((9, 4)), x]))
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance) + np.trace(b.covariance)
    assert frechet_distance(a, b) == pytest.approx(expected)


@given(seed=st.integers(0, 10_000), n=st.integers(20, 60), m=st.integers(20, 60), d=st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_agrees_with_the_matrix_root(seed, n, m, d):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
    y = rng.normal(size=(m, d)) @ rng.normal(size=(d, d))
    a, b = Statistics.of(x), Statistics.of(y)
    assert frechet_distance(a, b) == pytest.approx(by_sqrtm(a, b), rel=1e-6, abs=1e-6)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-9, abs=1e-9)


def test_fewer_images_than_features_is_exact():
    """Rank-deficient covariances, checked through the eigenvalues of the symmetric product in the full space."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(12, 40)), rng.normal(size=(17, 40)) * 2 + 1
    a, b = Statistics.of(x), Statistics.of(y)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    shared = np.sum(np.sqrt(np.linalg.eigvalsh(root @ np.cov(y.T) @ root).clip(min=0)))
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * shared
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [5, 30, 300])
def test_identical_sets_have_no_distance(n):
    x = np.random.default_rng(4).normal(size=(n, 30)) * 100
    assert frechet_distance(Statistics.of(x), Statistics.of(x[::-1])) == pytest.approx(0, abs=1e-7)


def test_it_falls_toward_its_limit_as_n_grows():
    """The reason to compare at equal n: two samples of one distribution are farther apart the smaller they are."""
    rng = np.random.default_rng(5)
    found = [frechet_distance(*(Statistics.of(rng.normal(size=(n, 20))) for _ in range(2))) for n in (15, 60, 240, 960)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 10 * found[-1]


def test_different_numbers_of_features_do_not_compare():
    with pytest.raises(ValueError, match="3 features with 2"):
        frechet_distance(Statistics.of(np.eye(3)), Statistics.of(np.eye(2)))
