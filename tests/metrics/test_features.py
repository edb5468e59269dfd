"""Features are validated where they enter a measure, and never a second time."""

import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.metrics import features as module
from histosynth.metrics.classifier import LabeledFeatures
from histosynth.metrics.features import Features
from histosynth.metrics.frechet import frechet_infinity, frechet_influence, frechet_interval
from histosynth.metrics.inception_score import inception_score
from histosynth.metrics.kid import kid_interval, kid_of_subsets
from histosynth.metrics.manifold import membership, precision_recall
from histosynth.metrics.statistics import Statistics
from histosynth.metrics.uncertainty import image_units


@pytest.fixture
def validations(monkeypatch):
    """The arrays that are validated, in order."""
    arrays, validated = [], module._validated

    def record(features, **options):
        arrays.append(features)
        return validated(features, **options)

    monkeypatch.setattr(module, "_validated", record)
    return arrays


X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
RNG = np.random.default_rng(2)
MEASURES = {
    "membership": lambda x, y: membership(x, y),
    "precision_recall": lambda x, y: precision_recall(x, y),
    "kid_interval": lambda x, y: kid_interval(x, y),
    "kid_of_subsets": lambda x, y: kid_of_subsets(x, y, rng=RNG, size=5, subsets=2),
    "frechet_interval": lambda x, y: frechet_interval(x, y, real_units=image_units(len(x)), rng=RNG, replicates=5),
}
ONE_SIDED = {
    "statistics": lambda y: Statistics.of(y),
    "frechet_influence": lambda y: frechet_influence(y, other=Statistics.of(Features.of(X))),
    "frechet_infinity": lambda y: frechet_infinity(Statistics.of(Features.of(X)), y, rng=RNG, points=3),
    "inception_score": lambda y: inception_score(y, splits=[slice(None)]),
    "labeled": lambda y: LabeledFeatures.of(y, ["a"] * len(y), name="synthetic"),
}


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_validates_each_array_once_and_features_not_at_all(measure, validations):
    MEASURES[measure](X, Y)
    assert [id(array) for array in validations] == [id(X), id(Y)]
    valid = Features.of(X), Features.of(Y)
    validations.clear()
    MEASURES[measure](*valid)
    assert validations == []


@pytest.mark.parametrize("measure", ONE_SIDED)
def test_a_measure_of_one_side_validates_it_once(measure, validations):
    ONE_SIDED[measure](Y)
    assert [id(array) for array in validations].count(id(Y)) == 1
    assert len(validations) <= 2  # the other side, if any
    valid = Features.of(Y)
    validations.clear()
    ONE_SIDED[measure](valid)
    assert not any(array is valid.values or array is Y for array in validations)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("side", "name"), [(0, "real"), (1, "synthetic")])
def test_a_measure_rejects_invalid_arrays_and_names_the_side(measure, side, name):
    broken = [X, Y]
    broken[side] = broken[side].copy()
    broken[side][[4, 7], 1] = np.nan, np.inf
    message = (
        rf"the {name} features hold values that are not finite in 2 of {len(broken[side])} images \(first: row 4\)"
    )
    with pytest.raises(HistosynthError, match=message):
        MEASURES[measure](*broken)
    broken[side] = X[0]
    with pytest.raises(HistosynthError, match=rf"the {name} features must have the shape .*, found \(3,\)"):
        MEASURES[measure](*broken)
    broken[side] = X[:1]
    with pytest.raises(HistosynthError, match=rf"needs \d or more {name} images, found 1; add images"):
        MEASURES[measure](*broken)
    broken[side] = np.ones((60, 2))
    with pytest.raises(HistosynthError, match=r"cannot compare \d features with \d; extract both sides with the same"):
        MEASURES[measure](*broken)


@pytest.mark.parametrize("measure", ONE_SIDED)
def test_a_measure_of_one_side_rejects_invalid_arrays(measure):
    with pytest.raises(HistosynthError, match=r"not finite in 50 of 50 images \(first: row 0\)"):
        ONE_SIDED[measure](np.full((50, 3), np.nan))
    with pytest.raises(HistosynthError, match="must have the shape"):
        ONE_SIDED[measure](Y[0])


def test_features_cannot_become_invalid():
    valid = Features.of(Y.copy())
    for features in (valid, valid[3:9], valid[np.array([5, 1])], Features.concatenate([valid, valid])):
        with pytest.raises(ValueError, match="read-only"):
            features.values[0, 0] = np.nan


def test_slices_and_concatenations_hold_the_same_values():
    valid = Features.of(Y)
    np.testing.assert_array_equal(valid[np.array([5, 1])].values, Y[[5, 1]])
    np.testing.assert_array_equal(Features.concatenate([valid[:20], valid[20:]]).values, Y)
    assert (len(valid), valid.dimension, valid.values.dtype) == (50, 3, np.float32)
    assert Features.of([[1, 2], [3, 4]]).values.dtype == np.float64
