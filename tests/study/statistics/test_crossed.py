"""Readers crossed with cases: the mean squares of a textbook, and the exact binomial for one reader."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from histosynth.study.design.power import Design, simulate
from histosynth.study.statistics.crossed import effective_number, pooled, variation


def matrix(readers: int, cases: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((readers, cases)) < 0.55).astype(float)


def test_variances_equal_the_mean_squares_of_a_complete_design() -> None:
    y = matrix(4, 30)
    result = variation(y, strata=np.zeros(30))
    reader = 30 * y.mean(axis=1).var(ddof=1) / y.size
    case = 4 * y.mean(axis=0).var(ddof=1) / y.size
    neither = y.var() / y.size
    assert result.estimate == pytest.approx(y.mean())
    assert result.same_readers == pytest.approx(case)
    assert result.all == pytest.approx(neither + max(reader - neither, 0) + max(case - neither, 0))
    assert result.same_readers_df == pytest.approx(29)


def test_patients_are_clusters_as_in_statsmodels() -> None:
    y, patient = matrix(1, 60), np.arange(60) % 12
    result = variation(y, strata=np.zeros(60), clusters=patient)
    fit = sm.OLS(y[0], np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": patient, "use_correction": False})
    assert result.same_readers == pytest.approx(fit.bse[0] ** 2 * 12 / 11)
    assert result.same_readers_df == pytest.approx(11)


def test_one_patient_shows_nothing_about_others() -> None:
    for share in pooled(matrix(3, 40), strata=np.zeros(40), clusters=np.zeros(40), margin=0.1):
        assert (share.low, share.high) == (0, 1)
        assert share.equivalence is not None
        assert share.equivalence.conclusion == "not shown"


@pytest.mark.parametrize("patients", [20, 5])
def test_few_patients_do_not_show_equivalence_at_the_margin(patients: int) -> None:
    """A short run of `benchmarks/study/study_patients.py`: before, .08 to .14 of these studies showed it."""
    rng, strata = np.random.default_rng(3), np.arange(200) % 2
    clusters = np.where(strata == 0, np.arange(200) // 2 % patients, 1000 + np.arange(200))
    shown = []
    for _ in range(400):
        x = rng.normal(0, 0.2**0.5, 2000)[clusters] + rng.normal(0, 0.8**0.5, (5, 200))
        y = (x + norm.ppf(0.6) > 0).astype(float)
        test = pooled(y, strata=strata, clusters=clusters, margin=0.1)[0].equivalence
        assert test is not None
        shown.append(test.conclusion == "equivalent")
    assert np.mean(shown) <= 0.06


def test_kinds_of_cases_are_fixed() -> None:
    y = np.tile([1.0, 0.0], (3, 10))
    result = variation(y, strata=np.arange(20) % 2)
    assert result.estimate == pytest.approx(0.5)
    assert result.same_readers == pytest.approx(0)


def test_missing_readings_are_left_out() -> None:
    y = matrix(3, 12)
    padded = np.hstack([y, np.full((3, 2), np.nan)])
    a, b = (variation(x, strata=np.zeros(x.shape[1])) for x in (y, padded))
    np.testing.assert_allclose([a.estimate, a.same_readers, a.all], [b.estimate, b.same_readers, b.all])


def test_many_matrices_at_once_equal_one_by_one() -> None:
    y, strata = np.stack([matrix(3, 20, seed) for seed in range(4)]), np.arange(20) % 2
    at_once = variation(y, strata=strata)
    for i in range(4):
        alone = variation(y[i], strata=strata)
        np.testing.assert_allclose(at_once.all[i], alone.all)
        np.testing.assert_allclose(at_once.all_df[i], alone.all_df)


def test_one_reader_has_the_exact_interval() -> None:
    y = matrix(1, 50)
    (result,) = pooled(y, strata=np.arange(50) % 2, margin=0.1)
    truth = binomtest(int(y.sum()), 50).proportion_ci(method="exact")
    assert (result.low, result.high) == pytest.approx((truth.low, truth.high))
    assert result.scope == "one reader"
    assert result.effective == 50


def test_readers_who_always_agree_count_as_one() -> None:
    one = matrix(1, 200)
    these = pooled(np.repeat(one, 4, axis=0), strata=np.zeros(200))[0]
    assert these.scope == "these readers"
    assert these.effective == pytest.approx(200, rel=0.02)


def test_from_five_readers_on_the_conclusion_is_about_readers_at_large() -> None:
    strata = np.arange(40) % 2
    assert [p.scope for p in pooled(matrix(4, 40), strata=strata)] == ["these readers", "readers at large"]
    assert [p.scope for p in pooled(matrix(5, 40), strata=strata)] == ["readers at large", "these readers"]


@given(p=st.floats(0, 1), variance=st.floats(0, 0.1), df=st.floats(1, 100), n=st.integers(2, 1000))
def test_the_effective_number_never_exceeds_the_readings(p: float, variance: float, df: float, n: int) -> None:
    assert 0 <= effective_number(p, variance, df, n=n) <= n * (1 + 1e-12)


@pytest.mark.parametrize("readers", [1, 2, 6])
def test_intervals_cover_the_truth(readers: int) -> None:
    """A short run of `benchmarks/study/study_coverage.py`: 300 studies, with a standard error of 1.3 points."""
    rng = np.random.default_rng(7)
    reader_sd = 0.3 if readers > 1 else 0.0  # a single reader does not vary
    design = Design.of(60, patients=0)
    studies = simulate(
        300, readers=readers, design=design, accuracy=0.5, reader_sd=reader_sd, case_sd=0.7, patient_sd=0.0, rng=rng
    )
    results = [pooled(y, strata=np.arange(60) % 2, margin=0.1)[-1 if readers == 2 else 0] for y in studies]
    covered = np.mean([p.low <= 0.5 <= p.high for p in results])
    assert covered > 0.91
    if readers == 6:
        assert covered < 0.995  # and they are not needlessly wide
