import numpy as np
import pytest
from scipy import stats

from histosynth.errors import HistosynthError
from histosynth.metrics.frechet import frechet_distance, frechet_interval
from histosynth.metrics.statistics import Statistics
from histosynth.metrics.uncertainty import Units, image_units, jackknife_interval, patient_units


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


def test_the_jackknife_of_a_mean_is_students_interval():
    """Leave-outs of a mean give its standard error exactly; the second side has no spread and takes no part."""
    x = np.random.default_rng(1).normal(5, 2, size=40)
    without = (x.sum() - x) / 39
    interval = jackknife_interval(x.mean(), (without, np.full(7, 3.0)), note="a note")
    expected = stats.t.interval(0.95, 39, loc=x.mean(), scale=stats.sem(x))
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert (interval.value, interval.note) == (x.mean(), "a note")


def test_the_jackknife_adds_the_variances_of_both_sides():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=30), rng.normal(size=20) * 2
    interval = jackknife_interval(0.0, ((x.sum() - x) / 29, (y.sum() - y) / 19))
    welch = stats.ttest_ind(x, y, equal_var=False).confidence_interval()
    assert interval.high - interval.low == pytest.approx(welch.high - welch.low)


def test_the_same_seed_gives_the_same_interval():
    x = np.random.default_rng(1).normal(size=(30, 4))
    one, two = (frechet_interval(x, x + 1, real_units=grouped(6, 5), rng=np.random.default_rng(7)) for _ in range(2))
    assert one == two
    assert one != frechet_interval(x, x + 1, real_units=grouped(6, 5), rng=np.random.default_rng(8))


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
    with pytest.raises(HistosynthError, match="two or more units to leave out, found 1"):
        jackknife_interval(1.0, (np.ones(1), np.ones(4)))
    with pytest.raises(HistosynthError, match="two or more units"):
        frechet_interval(
            np.eye(4), np.eye(4), real_units=Units(index=np.zeros(4, int), count=1, kind="patients"), rng=rng
        )
    with pytest.raises(HistosynthError, match="units of 3 images do not match values of 4"):
        frechet_interval(np.eye(4), np.eye(4), real_units=image_units(3), rng=rng)
    with pytest.raises(HistosynthError, match="not finite"):
        frechet_interval(np.full((4, 2), np.nan), np.ones((4, 2)), real_units=image_units(4), rng=rng)
