"""Two generators, checked against statsmodels, scipy, and a t test for one reader."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from histosynth.study.statistics.generators import difference, fisher, holm, mcnemar


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_mcnemar_equals_that_of_statsmodels(pairs: list[tuple[bool, bool]]) -> None:
    a, b = np.array(pairs).T
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    assert mcnemar(a, b).p == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


def test_fisher_equals_that_of_scipy() -> None:
    assert fisher([1] * 8 + [0] * 2, [1] * 3 + [0] * 9) == pytest.approx(stats.fisher_exact([[8, 2], [3, 9]]).pvalue)


def test_for_one_reader_the_difference_is_a_t_test() -> None:
    rng = np.random.default_rng(0)
    y, first = (rng.random((1, 60)) < 0.5).astype(float), np.arange(60) < 20
    result = difference(y, first)
    truth = stats.ttest_ind(y[0, first], y[0, ~first], equal_var=False)
    assert result.p == pytest.approx(truth.pvalue, rel=1e-9)
    assert result.scope == "one reader"
    interval = truth.confidence_interval(0.95)
    assert (result.difference.low, result.difference.high) == pytest.approx((interval.low, interval.high))


def test_a_true_difference_is_detected_and_antisymmetric() -> None:
    rng = np.random.default_rng(1)
    first = np.arange(100) % 2 == 0
    y = (rng.random((6, 100)) < np.where(first, 0.8, 0.4)).astype(float)
    forward, backward = difference(y, first), difference(y, ~first)
    assert forward.p < 1e-3
    assert forward.scope == "readers at large"
    assert forward.difference.low < 0.4 < forward.difference.high
    assert backward.difference.value == pytest.approx(-forward.difference.value)


def test_readers_who_differ_on_one_generator_widen_the_interval() -> None:
    rng = np.random.default_rng(2)
    first = np.arange(200) % 2 == 0
    share = np.where(first, np.linspace(0.1, 0.9, 6)[:, None], 0.5)
    unlike = difference((rng.random((6, 200)) < share).astype(float), first).difference
    alike = difference((rng.random((6, 200)) < 0.5).astype(float), first).difference
    assert unlike.high - unlike.low > 2 * (alike.high - alike.low)


@pytest.mark.parametrize("number", [1, 2, 7])
def test_holm_equals_that_of_statsmodels(number: int) -> None:
    p = (np.random.default_rng(number).random(number) ** 3).tolist()
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_no_comparisons_and_no_difference() -> None:
    assert holm([]) == []
    assert difference(np.ones((2, 10)), np.arange(10) < 5).p == pytest.approx(1.0)


def test_identical_answers_still_leave_uncertainty() -> None:
    first = np.arange(6) < 3
    result = difference(first[None, :].astype(float), first)
    assert result.difference.value == 1
    assert 0.001 < result.p < 0.2
    assert result.difference.low < 0.9
