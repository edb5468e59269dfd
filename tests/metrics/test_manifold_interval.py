"""Intervals of precision, recall, density and coverage: leave-outs by definition, and their coverage."""

import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.metrics import manifold
from histosynth.metrics.manifold import membership
from histosynth.metrics.manifold_interval import manifold_intervals
from histosynth.metrics.uncertainty import Units, image_units, jackknife_interval, merged, patient_units

SHARES = ("precision", "recall", "density", "coverage")


def patients(count: int, each: int) -> Units:
    return patient_units([f"p{i // each}" for i in range(count * each)])


@pytest.mark.parametrize("block", [7, 2048])
def test_values_and_leave_outs_are_those_of_the_definition(monkeypatch, block):
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(60, 3)), rng.normal(size=(50, 3)) * 0.9 + 0.3
    of_x = patient_units([f"p{i}" for i in rng.integers(6, size=60)])
    of_y = merged(image_units(50), most=20)
    x_left = [membership(real[of_x.index != g], fake) for g in range(6)]
    y_left = [membership(real, fake[of_y.index != g]) for g in range(20)]
    monkeypatch.setattr(manifold, "_BLOCK", block)
    intervals = manifold_intervals(real, fake, real_units=of_x)
    whole = membership(real, fake)
    for name in SHARES:
        left = [np.array([getattr(m, name) for m in side]) for side in (x_left, y_left)]
        expected = jackknife_interval(getattr(whole, name), left)
        got = intervals[name]
        assert (got.value, got.low) == pytest.approx((expected.value, max(0, expected.low)))
        assert got.high == pytest.approx(expected.high if name == "density" else min(1, expected.high))


def test_intervals_cover_the_expectation_over_other_patients_and_other_samples():
    """8 patients x 30 patches, 95 %; with the manifold held fixed, precision and density covered less than 90 %."""
    rng, units, intervals = np.random.default_rng(1), patients(8, 30), []
    for _ in range(80):
        real = rng.normal(size=(240, 8)) + (0.7 * rng.normal(size=(8, 8)))[units.index]
        intervals.append(manifold_intervals(real, rng.normal(size=(240, 8)) * 1.2, real_units=units))
    for name in SHARES:
        values = np.array([i[name].value for i in intervals])
        covered = np.mean([i[name].low <= values.mean() <= i[name].high for i in intervals])
        assert covered >= 0.9, name
        width = np.median([i[name].high - i[name].low for i in intervals]) / 2
        assert width < 5 * values.std(), f"{name}: uselessly wide"


def test_many_units_are_joined_as_a_whole():
    units = patients(50, 3)
    few = merged(units, most=20)
    assert (few.count, len(set(few.index))) == (20, 20)
    assert all(len(set(few.index[units.index == p])) == 1 for p in range(50))
    assert merged(patients(6, 3), most=20).index.tolist() == patients(6, 3).index.tolist()


def test_the_note_of_the_units_is_kept_and_shares_stay_in_their_range():
    x = np.random.default_rng(2).normal(size=(20, 2))
    intervals = manifold_intervals(x, x, real_units=patient_units(["one"] * 20))
    assert "only 1 patient" in intervals["recall"].note
    assert (intervals["precision"].value, intervals["precision"].high) == (1, 1)


def test_four_images_with_three_neighbors():
    """The fewest that a report accepts: a leave-out has no third neighbor."""
    rng = np.random.default_rng(3)
    intervals = manifold_intervals(rng.normal(size=(4, 2)), rng.normal(size=(4, 2)), neighbors=3, density_neighbors=3)
    assert all(np.isfinite([i.low, i.high]).all() for i in intervals.values())
    with pytest.raises(HistosynthError, match="4 or more real images, found 3"):
        manifold_intervals(np.zeros((3, 2)), np.zeros((9, 2)), neighbors=3, density_neighbors=3)
