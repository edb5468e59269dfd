import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histosynth.errors import HistosynthError
from histosynth.metrics import manifold
from histosynth.metrics.manifold import PrecisionRecall, membership, precision_recall


def naive(real: np.ndarray, fake: np.ndarray, k: int) -> PrecisionRecall:
    """Return precision and recall by their definition, one pair at a time."""

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
def test_precision_and_recall_agree_with_the_definition(seed, n, m, k):
    """On a lattice, where distances tie and points coincide."""
    rng = np.random.default_rng(seed)
    real, fake = rng.integers(0, 6, (n, 2)).astype(float), rng.integers(1, 8, (m, 2)).astype(float)
    assert precision_recall(real, fake, neighbors=k) == naive(real, fake, k)


def test_precision_and_recall_of_points_on_a_line():
    real = np.array([[0.0], [1], [2], [10]])  # k = 1: radii 1, 1, 1, 8, so the manifold is [-1, 3] and [2, 18]
    fake = np.array(
        [[-1.5], [-1], [5], [18], [19], [19.5]]
    )  # radii .5, .5, 6, 1, .5, .5: [-2, -.5], [-1, 11], [17, 20]
    shares = precision_recall(real, fake, neighbors=1)
    assert shares == PrecisionRecall(precision=3 / 6, recall=4 / 4)


def test_a_collapsed_generator_has_high_precision_and_low_recall():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 4))
    shares = precision_recall(real, real[0] + rng.normal(size=(300, 4)) * 1e-3)
    assert shares.precision == 1.0
    assert shares.recall < 0.05


def test_a_scattered_generator_has_low_precision_and_high_recall():
    rng = np.random.default_rng(0)
    shares = precision_recall(rng.normal(size=(300, 4)), rng.normal(size=(300, 4)) * 20)
    assert shares.precision < 0.05
    assert shares.recall > 0.9


def test_distant_sets_do_not_overlap():
    x = np.random.default_rng(1).normal(size=(50, 6))
    assert precision_recall(x, x + 100) == PrecisionRecall(precision=0.0, recall=0.0)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_identical_sets_cover_each_other(offset):
    """Also with copies within the set: their balls have no radius, and rounding must not move copies out of them."""
    x = np.random.default_rng(2).normal(size=(200, 1280)).astype(np.float32).astype(np.float64) + offset
    x[100:] = x[:100]
    x[50:60] = x[0]
    assert precision_recall(x, x[::-1]) == PrecisionRecall(precision=1.0, recall=1.0)


def test_the_block_size_does_not_change_results(monkeypatch):
    rng = np.random.default_rng(3)
    real, fake = rng.normal(size=(70, 5)), rng.normal(size=(55, 5)) + 0.5
    whole = precision_recall(real, fake)
    monkeypatch.setattr(manifold, "_BLOCK", 16)
    assert precision_recall(real, fake) == whole


def test_too_few_points_are_rejected():
    with pytest.raises(HistosynthError, match="4 or more real images, found 3"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)), neighbors=3)


def naive_density_coverage(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    between = np.sum((real[:, None] - fake) ** 2, axis=2)
    radii = np.sort(np.sum((real[:, None] - real) ** 2, axis=2), axis=1)[:, k]
    return (between <= radii[:, None]).sum() / (k * len(fake)), float(np.mean(between.min(axis=1) <= radii))


@given(seed=st.integers(0, 10_000), n=st.integers(6, 14), m=st.integers(6, 14), k=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_density_and_coverage_agree_with_the_definition(seed, n, m, k):
    rng = np.random.default_rng(seed)
    real, fake = rng.integers(0, 6, (n, 2)).astype(float), rng.integers(1, 8, (m, 2)).astype(float)
    members = membership(real, fake, neighbors=2, density_neighbors=k)
    assert (members.density, members.coverage) == pytest.approx(naive_density_coverage(real, fake, k))
    assert PrecisionRecall(members.precision, members.recall) == naive(real, fake, 2)


def test_density_and_coverage_of_points_on_a_line():
    real = np.array([[0.0], [1], [2], [10]])  # k = 1: balls [-1, 1], [0, 2], [1, 3], [2, 18]
    fake = np.array([[0.5], [0.6], [2.5], [30.0]])  # in 2, 2, 2 and 0 balls
    members = membership(real, fake, neighbors=1, density_neighbors=1)
    assert members.density == 6 / 4
    assert members.fake_density.tolist() == [2, 2, 2, 0]
    assert members.real_covered.tolist() == [True, True, True, True]
    assert membership(real, fake[[0, 1, 3]], neighbors=1, density_neighbors=1).coverage == 2 / 4


def test_an_outlier_raises_recall_and_not_coverage():
    """The reason for coverage: distant fake points have large balls, which hold every real point."""
    rng = np.random.default_rng(4)
    real = rng.normal(size=(200, 3))
    fake = np.concatenate([real[:1] + rng.normal(size=(190, 3)) * 0.01, rng.normal(size=(10, 3)) * 30])
    members = membership(real, fake)
    assert members.recall > 0.9
    assert members.coverage < 0.1


@pytest.mark.parametrize("k", [3, 5])
def test_equal_distributions_have_density_one_and_known_coverage(k):
    """Naeem et al. 2020, lemmas 1 and 2: density 1, coverage 1 - (N-1)...(N-k) / (2N-1)...(2N-k) in expectation."""
    rng = np.random.default_rng(5)
    n, members = 200, []
    for _ in range(20):
        members.append(membership(rng.normal(size=(n, 4)), rng.normal(size=(n, 4)), density_neighbors=k))
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    assert np.mean([f.density for f in members]) == pytest.approx(1, abs=0.02)
    assert np.mean([f.coverage for f in members]) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("n", "m", "scale"), [(600, 500, 1.0), (500, 600, 1.05), (700, 700, 0.95)])
def test_agrees_with_torch_fidelity(n, m, scale):
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    decay = np.exp(-np.arange(256) / 20)
    real, fake = (rng.normal(size=(r, 256)) * decay * s for r, s in ((n, 1.0), (m, scale)))
    theirs = prc.calculate_precision_recall_full(torch.from_numpy(fake), torch.from_numpy(real))
    ours = precision_recall(real, fake)
    assert 0.1 < ours.precision < 1
    assert (ours.precision, ours.recall) == pytest.approx(theirs, abs=1e-6)


def test_a_shift_far_from_the_origin_loses_no_digits():
    rng = np.random.default_rng(7)
    real, fake = rng.normal(size=(150, 20)), rng.normal(size=(150, 20)) * 1.1
    assert precision_recall(real + 1e5, fake + 1e5) == precision_recall(real, fake)


@pytest.mark.parametrize(
    ("real", "fake", "match"),
    [
        (np.full((9, 2), np.nan), np.zeros((9, 2)), "real features hold values that are not finite in 9 of 9"),
        (np.zeros((9, 2)), np.zeros((9, 3)), "cannot compare 2 features with 3"),
        (np.zeros((9, 2)), np.zeros((5, 2)), "6 or more synthetic images, found 5"),
        (np.zeros(9), np.zeros((9, 2)), "shape"),
    ],
)
def test_sets_without_a_manifold_are_rejected(real, fake, match):
    with pytest.raises(HistosynthError, match=match):
        membership(real, fake)


def test_zero_neighbors_are_rejected():
    with pytest.raises(HistosynthError, match="found 0"):
        precision_recall(np.zeros((9, 2)), np.zeros((9, 2)), neighbors=0)
