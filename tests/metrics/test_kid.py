import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.metrics import kid as kernel
from histosynth.metrics.kid import kid_interval, kid_of_subsets
from histosynth.metrics.uncertainty import Units, patient_units


def naive(x: np.ndarray, y: np.ndarray, of: np.ndarray | None = None) -> float:
    """Return the distance by its definition, one pair at a time; `of` is the patient of each row of x."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    def inner(z: np.ndarray, of: np.ndarray) -> float:
        return float(np.mean([k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if of[i] != of[j]]))

    return (
        inner(x, np.arange(len(x)) if of is None else of)
        + inner(y, np.arange(len(y)))
        - 2 * float(np.mean([k(a, b) for a in x for b in y]))
    )


def test_three_points_by_hand():
    """One feature: k(0, b) = 1; k(1, 1) = 8; k(1, 2) = 27; k(2, 2) = 125."""
    x, y = np.array([[0.0], [0.0], [1.0]]), np.array([[1.0], [2.0], [2.0]])
    inner = (1 + 1 + 1) / 3 + (27 + 27 + 125) / 3
    across = (3 + 3 + 8 + 27 + 27) / 9
    assert kid_interval(x, y).value == pytest.approx(inner - 2 * across)


@pytest.mark.parametrize("grouped", [False, True])
def test_value_and_jackknife_agree_with_the_definition(grouped, monkeypatch):
    monkeypatch.setattr(kernel, "_BLOCK", 7)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 3)) + 0.5, rng.normal(size=(12, 3))
    of = np.array([0, 1, 2, 3, 4, 4, 4, 2, 0, 0, 0, 3, 1, 2, 2, 4])
    units = Units(index=of, count=5, kind="patients") if grouped else None
    interval = kid_interval(x, y, real_units=units, level=0.9)
    groups = of if grouped else np.arange(16)
    assert interval.value == pytest.approx(naive(x, y, groups))
    without_x = [naive(x[groups != g], y, groups[groups != g]) for g in np.unique(groups)]
    without_y = [naive(x, np.delete(y, j, axis=0), groups) for j in range(12)]
    variance = sum((len(w) - 1) * np.var(w) for w in (without_x, without_y))
    assert (interval.high - interval.low) / 2 >= 1.645 * np.sqrt(variance)
    assert (interval.high - interval.low) / 2 <= 2.2 * np.sqrt(variance)  # Student's, of 4 to 26 degrees of freedom
    assert (interval.high + interval.low) / 2 == pytest.approx(interval.value)


def test_subsets_agree_with_torch_fidelity():
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(400, 24)), rng.normal(size=(300, 24)) * 1.1 + 0.1
    theirs = kid.kid_features_to_metric(
        torch.from_numpy(x),
        torch.from_numpy(y),
        kid_subsets=20,
        kid_subset_size=100,
        verbose=False,
        rng_seed=2020,
    )
    legacy = np.random.RandomState(2020)  # torch-fidelity's own draws
    ours = kid_of_subsets(x, y, rng=legacy, subsets=20, size=100)
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)
    assert ours.deviation == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-6)


def test_subsets_of_all_images_give_the_distance_of_all_images():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 5)).astype(np.float32), rng.normal(size=(40, 5)).astype(np.float32) + 1
    subsets = kid_of_subsets(x, y, rng=rng, subsets=3, size=40)
    assert subsets.mean == pytest.approx(kid_interval(x, y).value, rel=1e-6)
    assert subsets.deviation == pytest.approx(0, abs=1e-9)


def expected_kernel(a: np.ndarray, b: np.ndarray) -> float:
    """Return E (xᵀy / D + 1)³ for independent x ~ N(a, 1) and y ~ N(b, 1), from the first three moments of t = xᵀy."""
    d, ab, aa, bb = len(a), a @ b, a @ a, b @ b
    second, third = ab**2 + aa + bb + d, ab**3 + 3 * ab * aa + 3 * ab * (bb + d + 2)
    return float(1 + 3 * ab / d + 3 * second / d**2 + third / d**3)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_the_interval_covers_the_true_distance(shift):
    """95 % intervals over 300 repetitions; for equal distributions the jackknife is conservative."""
    rng = np.random.default_rng(3)
    a, b, values, covered = np.zeros(16), np.full(16, shift), [], 0
    truth = expected_kernel(a, a) + expected_kernel(b, b) - 2 * expected_kernel(a, b)
    for _ in range(300):
        interval = kid_interval(rng.normal(size=(60, 16)), rng.normal(shift, 1, size=(80, 16)))
        values.append(interval.value)
        covered += interval.low <= truth <= interval.high
    assert np.mean(values) == pytest.approx(truth, abs=4 * np.std(values) / np.sqrt(300))  # unbiased
    assert covered >= 0.92 * 300


def test_differences_between_patients_widen_the_interval():
    rng = np.random.default_rng(4)
    of = np.repeat(np.arange(8), 25)
    x, y = rng.normal(size=(200, 6)) + rng.normal(size=(8, 6))[of], rng.normal(size=(200, 6))
    by_patient = kid_interval(x, y, real_units=patient_units([f"p{i}" for i in of]))
    by_image = kid_interval(x, y)
    assert by_patient.high - by_patient.low > 2 * (by_image.high - by_image.low)


@pytest.mark.parametrize("patients", [5, 8])
def test_equal_distributions_of_clustered_patches_have_no_distance(patients):
    """Similarity within patients (intraclass correlation 0.3) is no distance: pairs of one patient do not count."""
    rng, each, values, significant, by_image = np.random.default_rng(5), 30, [], 0, 0
    units = patient_units([f"p{i // each}" for i in range(patients * each)])
    for _ in range(200):
        shared, own = rng.normal(size=(patients, 8)), rng.normal(size=(patients * each, 8))
        real = np.sqrt(0.3) * shared[units.index] + np.sqrt(0.7) * own
        fake = rng.normal(size=(patients * each, 8))
        interval = kid_interval(real, fake, real_units=units)
        values.append(interval.value)
        significant += interval.low > 0
        by_image += kid_interval(real, fake).low > 0
    assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / np.sqrt(200))
    assert significant <= 0.05 * 200
    assert by_image > 0.5 * 200, "the reason to leave out pairs of one patient"


def test_identical_images_have_an_interval_without_width():
    interval = kid_interval(np.ones((5, 2)), np.ones((6, 2)))
    assert interval.value == pytest.approx(0, abs=1e-12)
    assert interval.high - interval.low < 1e-12


def test_too_few_images_are_rejected():
    with pytest.raises(HistosynthError, match="1000 or more real images, found 30"):
        kid_of_subsets(np.zeros((30, 2)), np.zeros((30, 2)), rng=np.random.default_rng(0))
    with pytest.raises(HistosynthError, match="3 or more synthetic images, found 2"):
        kid_interval(np.zeros((30, 2)), np.zeros((2, 2)))
    with pytest.raises(HistosynthError, match="3 or more patients, found 1"):
        kid_interval(np.eye(4), np.eye(4), real_units=Units(index=np.zeros(4, int), count=1, kind="patients"))
    with pytest.raises(HistosynthError, match="units of 5 images do not match values of 4"):
        kid_interval(np.eye(4), np.eye(4), real_units=Units(index=np.arange(5), count=5, kind="images"))
