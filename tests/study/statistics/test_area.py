"""The area, checked against scipy's U statistic, the jackknife over patients, loops, and simulated patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import mannwhitneyu, t

from histosynth.study.statistics.area import EXACT, area_variation, pooled_area, tost_of_area
from histosynth.study.statistics.bootstrap import FIXED, mean_area
from histosynth.study.statistics.roc import mann_whitney_kernel

TRUTH = np.arange(60) % 2 == 1
scores = st.lists(st.sampled_from([-5, -3, -1, 1, 2, 4]), min_size=2, max_size=40)


@given(real=scores, synthetic=scores)
def test_the_area_equals_the_u_statistic(real: list[int], synthetic: list[int]) -> None:
    x, truth = [[*real, *synthetic]], [False] * len(real) + [True] * len(synthetic)
    (result,) = pooled_area(x, synthetic=truth)
    u = mannwhitneyu(synthetic, real).statistic / len(real) / len(synthetic)
    assert result.value == pytest.approx(u)
    assert 0 <= result.low <= result.value <= result.high <= 1


@pytest.mark.parametrize("patients", [30, 6])
def test_the_variance_equals_the_jackknife_over_patients(patients: int) -> None:
    """Leaving out a patient changes the area by the patient's placements; exactly so for patients of equal size."""
    x = np.random.default_rng(0).normal(size=(1, 60))
    clusters = np.where(TRUTH, 100 + np.arange(60), np.arange(60) // 2 % patients)
    jackknife = 0.0
    for kind in (False, True):
        groups = np.unique(clusters[kind == TRUTH])
        without = [mann_whitney_kernel(x[0, clusters != group], TRUTH[clusters != group]).mean() for group in groups]
        jackknife += (len(groups) - 1) / len(groups) * float(((without - np.mean(without)) ** 2).sum())
    result = area_variation(x, synthetic=TRUTH, clusters=clusters)
    assert result.same_readers == pytest.approx(jackknife)


def test_a_known_example() -> None:
    """Four of each: 13.5 of 16 pairs, placements by hand."""
    result = area_variation([[1, 2, 3, 4, 2, 4, 5, 6]], synthetic=[False] * 4 + [True] * 4)
    assert result.estimate == pytest.approx((1.5 + 3.5 + 4 + 4) / 16)
    rows, columns = np.array([1.5, 3.5, 4, 4]) / 4, np.array([4, 3.5, 3, 2.5]) / 4
    assert result.same_readers == pytest.approx(rows.var(ddof=1) / 4 + columns.var(ddof=1) / 4)


def test_if_nothing_varies_uncertainty_remains() -> None:
    (result,) = pooled_area([[-1] * 10 + [1] * 10], synthetic=[False] * 10 + [True] * 10)
    assert (result.value, result.high, result.note) == (1.0, 1.0, EXACT)
    assert result.low == pytest.approx(0.025 ** (1 / 10))
    (always_real,) = pooled_area([[-3] * 20], synthetic=[False] * 10 + [True] * 10, margin=0.14)
    assert always_real.low < 0.25
    assert always_real.equivalence is not None
    assert always_real.equivalence.conclusion == "not shown"


def test_one_patient_shows_nothing_about_others() -> None:
    x = np.random.default_rng(0).normal(size=(3, 60))
    for result in pooled_area(x, synthetic=TRUTH, clusters=np.where(TRUTH, 100 + np.arange(60), 0), margin=0.14):
        assert result.high - result.low > 0.9
        assert result.equivalence is not None
        assert result.equivalence.conclusion == "not shown"


def test_cases_of_one_kind_have_no_area() -> None:
    assert pooled_area([[1, 2]], synthetic=[True, True]) == []
    nan = np.nan
    assert len(pooled_area([[1, 2, nan], [1, nan, 2]], synthetic=[False, False, True])) == 1  # one reader read both


def test_the_bootstrap_for_these_readers_is_close_to_delong() -> None:
    rng = np.random.default_rng(1)
    truth = np.arange(200) % 2 == 1
    x = rng.normal(0.4 * truth, size=(2, 200))
    psi = np.stack([mann_whitney_kernel(row, truth) for row in x])
    result, delong = mean_area(psi, rng=rng, replicates=4000), pooled_area(x, synthetic=truth)[0]
    assert result.note == FIXED
    assert result.value == pytest.approx(delong.value)
    assert (result.low, result.high) == pytest.approx((delong.low, delong.high), abs=0.006)


def test_the_area_for_readers_at_large_by_the_formula() -> None:
    """The covariances of placements are computed by loops; the degrees of freedom are nearly Hillis's."""
    rng = np.random.default_rng(4)
    common = rng.normal(TRUTH.astype(float))
    x = np.stack([common + rng.normal(size=60) + d * TRUTH for d in (0.0, 1.0, 2.0)])
    psi = np.stack([mann_whitney_kernel(row, TRUTH) for row in x])
    areas, pairs = psi.mean(axis=(1, 2)), [(0, 1), (0, 2), (1, 2)]
    cov = np.mean(
        [sum(np.cov(psi[a].mean(axis=axis), psi[b].mean(axis=axis))[0, 1] / 30 for axis in (0, 1)) for a, b in pairs]
    )
    variance = areas.var(ddof=1) / 3 + cov
    hillis = 2 * (variance / (areas.var(ddof=1) / 3)) ** 2
    v = area_variation(x, synthetic=TRUTH)
    assert v.estimate == pytest.approx(areas.mean())
    assert v.all == pytest.approx(variance)
    assert v.all_df == pytest.approx(hillis, rel=0.05)
    result = next(area for area in pooled_area(x, synthetic=TRUTH) if area.scope == "readers at large")
    reach = t.ppf(0.975, float(v.all_df)) * np.sqrt(variance) / (result.value * (1 - result.value))
    assert logit(result.high) - logit(result.value) == pytest.approx(reach)


def test_missing_readings_are_left_out() -> None:
    x = np.random.default_rng(5).normal(size=(3, 60))
    padded, truth = np.hstack([x, np.full((3, 2), np.nan)]), np.append(TRUTH, [True, False])
    a, b = area_variation(x, synthetic=TRUTH), area_variation(padded, synthetic=truth)
    np.testing.assert_allclose([a.estimate, a.same_readers, a.all], [b.estimate, b.same_readers, b.all])


def test_many_studies_at_once_equal_one_by_one() -> None:
    x = np.random.default_rng(6).integers(-5, 6, (4, 3, 60)).astype(float)
    at_once = area_variation(x, synthetic=TRUTH)
    for i in range(4):
        alone = area_variation(x[i], synthetic=TRUTH)
        np.testing.assert_allclose([at_once.all[i], at_once.all_df[i]], [alone.all, alone.all_df])


def test_equivalent_exactly_if_the_interval_lies_within_the_margin() -> None:
    rng = np.random.default_rng(7)
    for _ in range(50):
        (result,) = pooled_area(rng.normal(0.3 * TRUTH, size=(1, 60)), synthetic=TRUTH, margin=0.2)
        test = result.equivalence
        assert test is not None
        assert (test.conclusion == "equivalent") == (test.low >= 0.3 and test.high <= 0.7)
    assert tost_of_area(0.5, 0.0, 10, margin=0.1) == 1.0


def test_readers_who_differ_widen_the_bootstrap() -> None:
    rng = np.random.default_rng(2)
    truth = np.arange(200) % 2 == 1
    alike = np.stack([mann_whitney_kernel(rng.normal(1.0 * truth), truth) for _ in range(6)])
    unlike = np.stack([mann_whitney_kernel(rng.normal(d * truth), truth) for d in (0, 0.4, 0.8, 1.2, 1.6, 2)])
    a, b = (mean_area(psi, rng=rng) for psi in (alike, unlike))
    assert b.high - b.low > 2 * (a.high - a.low)
    assert a.note is None


def test_patients_widen_the_bootstrap() -> None:
    rng = np.random.default_rng(3)
    patient = np.arange(30) % 5
    x = rng.normal(size=60)
    x[~TRUTH] = np.repeat(rng.normal(size=5), 6)[np.argsort(np.argsort(patient, kind="stable"), kind="stable")]
    psi = mann_whitney_kernel(x, TRUTH)[None]
    alone, together = mean_area(psi, rng=rng), mean_area(psi, patients=patient, rng=rng)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
