import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.metrics.frechet import frechet_distance, frechet_interval
from histosynth.metrics.statistics import Statistics
from histosynth.metrics.uncertainty import Units, image_units, mean_interval, patient_units


def grouped(patients: int, each: int) -> Units:
    return patient_units([f"p{i // each}" for i in range(patients * each)])


def test_units_are_patients_unless_there_are_too_few():
    units = patient_units(["b", "a", "b", "c", "d", "e"])
    assert (units.kind, units.count, units.note) == ("patients", 5, None)
    assert units.index.tolist() == [1, 0, 1, 2, 3, 4]
    few = patient_units(["b", "a", "b", "c", "d"])
    assert (few.kind, few.count) == ("images", 5)
    assert "only 4 patients" in few.note
    assert "patients are not named" in patient_units(["a", None, "b"]).note


def test_the_interval_carries_the_note_of_the_units():
    units = patient_units(["a", "b", "a", "b"])
    interval = mean_interval([1.0, 2, 3, 4], units=units, rng=np.random.default_rng(0))
    assert "only 2 patients" in interval.note


def test_the_interval_of_a_mean_agrees_with_student():
    x = np.random.default_rng(1).normal(5, 2, size=400)
    interval = mean_interval(x, units=image_units(400), rng=np.random.default_rng(2), replicates=4000)
    error = x.std(ddof=1) / 20
    assert interval.value == pytest.approx(x.mean())
    assert (interval.low, interval.high) == pytest.approx(
        (x.mean() - 1.966 * error, x.mean() + 1.966 * error), abs=0.1 * error
    )


def test_the_same_seed_gives_the_same_interval():
    x = np.random.default_rng(1).normal(size=(30, 4))
    one, two = (frechet_interval(x, x + 1, real_units=grouped(6, 5), rng=np.random.default_rng(7)) for _ in range(2))
    assert one == two
    assert one != frechet_interval(x, x + 1, real_units=grouped(6, 5), rng=np.random.default_rng(8))


@pytest.mark.parametrize("patients", [6, 12])
def test_intervals_of_shares_cover_the_truth_over_patients(patients):
    """Each patient has a probability of their own, 15 patches each; 95 % intervals of the mean probability."""
    rng, units, covered, covered_by_image = np.random.default_rng(3), grouped(patients, 15), 0, 0
    for _ in range(300):
        inside = rng.random(patients * 15) < np.repeat(rng.beta(3, 2, size=patients), 15)
        interval = mean_interval(inside, units=units, rng=rng, replicates=200)
        covered += interval.low <= 0.6 <= interval.high
        naive = mean_interval(inside, units=image_units(len(inside)), rng=rng, replicates=100)
        covered_by_image += naive.low <= 0.6 <= naive.high
    assert 0.89 * 300 <= covered <= 0.99 * 300  # skewed shares of 6 patients lose two points
    assert covered_by_image < 0.8 * 300  # the coverage if patients are ignored


@pytest.mark.parametrize(
    ("n", "d", "patients", "spread"),
    [(300, 6, None, 0.0), (40, 20, None, 0.0), (30, 60, None, 0.0), (200, 10, 10, 0.6), (60, 40, 10, 0.6)],
    ids=["many images", "few images", "fewer images than features", "patients", "patients, few images"],
)
def test_the_frechet_interval_covers_its_expectation(n, d, patients, spread):
    """The expectation at these numbers, from 150 independent repetitions: 95 % intervals, slightly conservative."""
    rng, scale = np.random.default_rng(4), np.exp(-np.arange(d) / d)
    units = grouped(patients, n // patients) if patients else image_units(n)
    intervals = []
    for _ in range(150):
        real = (rng.normal(size=(n, d)) + (spread * rng.normal(size=(units.count, d)))[units.index]) * scale
        fake = (rng.normal(size=(n, d)) * 1.3 + 0.3) * scale
        intervals.append(frechet_interval(real, fake, real_units=units, rng=rng, replicates=100))
    values = np.array([f.value for f in intervals])
    covered = np.mean([f.low <= values.mean() <= f.high for f in intervals])
    assert 0.9 <= covered <= 1.0
    width = np.mean([f.high - f.low for f in intervals]) / 2
    assert 1.7 * values.std() < width < 3.2 * values.std()  # neither too narrow nor uselessly wide


def test_the_frechet_interval_covers_the_true_distance_of_many_images():
    """Known Gaussians, 3 features and 2000 images per side, where the bias is a small part of the interval."""
    rng, covered = np.random.default_rng(5), 0
    truth = 3 * (0.5**2 + 0.5**2)
    for _ in range(150):
        real, fake = rng.normal(size=(2000, 3)), rng.normal(0.5, 1.5, size=(2000, 3))
        interval = frechet_interval(real, fake, real_units=image_units(2000), rng=rng, replicates=60)
        covered += interval.low <= truth <= interval.high
    assert covered >= 0.89 * 150


def test_resampling_images_would_add_distance():
    """The reason to resample the expansion: a plain bootstrap of the same sets lies entirely above the distance."""
    rng = np.random.default_rng(6)
    real, fake = rng.normal(size=(80, 40)), rng.normal(size=(80, 40)) * 1.2
    value = frechet_distance(Statistics.of(real), Statistics.of(fake))
    plain = [
        frechet_distance(Statistics.of(real[rng.integers(80, size=80)]), Statistics.of(fake[rng.integers(80, size=80)]))
        for _ in range(50)
    ]
    assert min(plain) > value
    interval = frechet_interval(real, fake, real_units=image_units(80), rng=rng)
    assert interval.low < value < interval.high < min(plain)


def test_input_without_an_interval_is_rejected():
    rng = np.random.default_rng(7)
    with pytest.raises(HistosynthError, match="two or more units"):
        mean_interval([1.0], units=image_units(1), rng=rng)
    with pytest.raises(HistosynthError, match="units of 3 images do not match values of 4"):
        mean_interval(np.ones(4), units=image_units(3), rng=rng)
    with pytest.raises(HistosynthError, match="not finite"):
        frechet_interval(np.full((4, 2), np.nan), np.ones((4, 2)), real_units=image_units(4), rng=rng)
