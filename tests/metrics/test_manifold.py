import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histosynth.metrics import manifold
from histosynth.metrics.manifold import PrecisionRecall, precision_recall


def naive(real: np.ndarray, fake: np.ndarray, k: int) -> PrecisionRecall:
    """The definition, one pair at a time."""

    def share(points: np.ndarray, centers: np.ndarray) -> float:
        radii = []
        for i, center in enumerate(centers):
            others = sorted(float(np.sum((center - o) ** 2)) for j, o in enumerate(centers) if j != i)
            radii.append(others[k - 1])
        inside = [any(float(np.sum((p - c) ** 2)) <= r for c, r in zip(centers, radii, strict=True)) for p in points]
        return sum(inside) / len(inside)

    return PrecisionRecall(precision=share(fake, real), recall=share(real, fake))


@given(seed=st.integers(0, 10_000), n=st.integers(5, 14), m=st.integers(5, 14), k=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_agrees_with_the_definition(seed, n, m, k):
    """On a lattice, where distances tie and points coincide."""
    rng = np.random.default_rng(seed)
    real, fake = rng.integers(0, 6, (n, 2)).astype(float), rng.integers(1, 8, (m, 2)).astype(float)
    assert precision_recall(real, fake, neighbors=k) == naive(real, fake, k)


def test_points_on_a_line():
    real = np.array([[0.0], [1], [2], [10]])  # k = 1: radii 1, 1, 1, 8, so the manifold is [-1, 3] and [2, 18]
    fake = np.array(
        [[-1.5], [-1], [5], [18], [19], [19.5]]
    )  # radii .5, .5, 6, 1, .5, .5: [-2, -.5], [-1, 11], [17, 20]
    found = precision_recall(real, fake, neighbors=1)
    assert found == PrecisionRecall(precision=3 / 6, recall=4 / 4)


def test_a_collapsed_generator_is_precise_and_covers_little():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 4))
    found = precision_recall(real, real[0] + rng.normal(size=(300, 4)) * 1e-3)
    assert found.precision == 1.0
    assert found.recall < 0.05


def test_a_scattered_generator_covers_all_and_is_imprecise():
    rng = np.random.default_rng(0)
    found = precision_recall(rng.normal(size=(300, 4)), rng.normal(size=(300, 4)) * 20)
    assert found.precision < 0.05
    assert found.recall > 0.9


def test_sets_far_apart_share_nothing():
    x = np.random.default_rng(1).normal(size=(50, 6))
    assert precision_recall(x, x + 100) == PrecisionRecall(precision=0.0, recall=0.0)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_identical_sets_cover_each_other(offset):
    """Copies within the set too: their balls have no radius, and rounding must not push a copy out of its own ball."""
    x = np.random.default_rng(2).normal(size=(200, 1280)).astype(np.float32).astype(np.float64) + offset
    x[100:] = x[:100]
    x[50:60] = x[0]
    assert precision_recall(x, x[::-1]) == PrecisionRecall(precision=1.0, recall=1.0)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(3)
    real, fake = rng.normal(size=(70, 5)), rng.normal(size=(55, 5)) + 0.5
    whole = precision_recall(real, fake)
    monkeypatch.setattr(manifold, "_BLOCK", 16)
    assert precision_recall(real, fake) == whole


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="found 3 and 9"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)), neighbors=3)
