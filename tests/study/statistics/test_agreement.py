"""Agreement, checked against the packages krippendorff and statsmodels."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats import inter_rater

from histosynth.study.statistics.agreement import (
    agreement,
    cohen_kappa,
    counts,
    fleiss_kappa,
    krippendorff_alpha,
    repeats,
)


@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from(["nominal", "ordinal"]))
def test_alpha_equals_that_of_the_package_krippendorff(seed: int, readers: int, level: str) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 5, (readers, 25)).astype(float)
    x[rng.random(x.shape) < 0.15] = np.nan
    truth = krippendorff.alpha(x, level_of_measurement=level, value_domain=list(range(5)))
    assert krippendorff_alpha(counts(x, categories=5), ordinal=level == "ordinal") == pytest.approx(truth)


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_fleiss_kappa_equals_that_of_statsmodels(seed: int, readers: int) -> None:
    table = counts(np.random.default_rng(seed).integers(0, 2, (readers, 20)), categories=2)
    assert fleiss_kappa(table) == pytest.approx(inter_rater.fleiss_kappa(table))


@given(st.integers(0, 10_000))
def test_cohen_kappa_and_its_interval_equal_those_of_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.random(40) < 0.4
    b = np.where(rng.random(40) < 0.7, a, ~a)
    table = np.zeros((2, 2))
    np.add.at(table, (a.astype(int), b.astype(int)), 1)
    truth, result = inter_rater.cohens_kappa(table), cohen_kappa(a, b)
    assert result is not None
    assert result.value == pytest.approx(truth.kappa)
    expected = max(-1, truth.kappa_low), min(1, truth.kappa_upp)
    assert (result.low, result.high) == pytest.approx(expected)


def test_perfect_agreement_is_one_and_identical_answers_are_undefined() -> None:
    same = np.tile(np.arange(10) % 2, (3, 1)).astype(float)
    rng = np.random.default_rng(0)
    for measure in ("fleiss", "alpha", "ordinal alpha"):
        result = agreement(same, categories=2, measure=measure, rng=rng, replicates=50)
        assert result is not None
        assert result.value == pytest.approx(1)
        assert agreement(np.ones((3, 10)), categories=2, measure=measure, rng=rng) is None
    assert cohen_kappa([1, 1], [1, 1]) is None
    assert cohen_kappa([], []) is None


def test_the_interval_contains_the_value() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((3, 80)) < rng.choice([0.2, 0.8], 80)).astype(float)
    result = agreement(x, categories=2, measure="alpha", rng=rng, replicates=300)
    assert result is not None
    assert 0.1 < result.low < result.value < result.high < 0.7


def test_agreement_of_a_reader_with_themselves() -> None:
    result = repeats([1, 1, 0, 0], [1, 0, 0, 0], [0, -2, 1, 0])
    assert (result.same.count, result.same.n, result.confidence_shift) == (3, 4, 0.75)
    assert result.kappa is not None
    assert result.kappa.value == pytest.approx(0.5)
