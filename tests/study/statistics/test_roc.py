"""The area, checked against scipy's U statistic, the jackknife, and the trapezoid under the curve."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import mannwhitneyu, t

from histosynth.study.statistics.bootstrap import FIXED, mean_area
from histosynth.study.statistics.roc import (
    area,
    area_at_large,
    area_from_kernel,
    curve,
    delong_variance,
    mann_whitney_kernel,
)

scores = st.lists(st.sampled_from([-5, -3, -1, 1, 2, 4]), min_size=2, max_size=40)


@given(real=scores, synthetic=scores)
def test_the_area_equals_the_u_statistic_and_the_area_under_the_curve(real: list[int], synthetic: list[int]) -> None:
    x, truth = [*real, *synthetic], [False] * len(real) + [True] * len(synthetic)
    result, roc = area(x, truth), curve(x, truth)
    assert result is not None
    assert roc is not None
    u = mannwhitneyu(synthetic, real).statistic / len(real) / len(synthetic)
    assert result.value == pytest.approx(u)
    assert np.trapezoid(roc.true_positives, roc.false_positives) == pytest.approx(u)
    assert 0 <= result.low <= result.value <= result.high <= 1


def test_delong_s_variance_equals_the_jackknife() -> None:
    """Leaving out one case changes the area exactly by its placement."""
    rng = np.random.default_rng(0)
    psi = mann_whitney_kernel(rng.normal(size=50), np.arange(50) % 2 == 1)
    m, n = psi.shape
    rows = np.array([np.delete(psi, i, axis=0).mean() for i in range(m)])
    columns = np.array([np.delete(psi, i, axis=1).mean() for i in range(n)])
    jackknife = sum((k - 1) / k * ((x - x.mean()) ** 2).sum() for k, x in ((m, rows), (n, columns)))
    # the placements' variances are over m - 1, the jackknife's too: (m-1)/m * sum (S_i/(m-1))^2
    assert delong_variance(psi) == pytest.approx(jackknife)


def test_a_known_example() -> None:
    """Four of each: 13.5 of 16 pairs, placements by hand."""
    result = area([1, 2, 3, 4, 2, 4, 5, 6], [False] * 4 + [True] * 4)
    assert result is not None
    assert result.value == pytest.approx((1.5 + 3.5 + 4 + 4) / 16)
    psi = mann_whitney_kernel([1, 2, 3, 4, 2, 4, 5, 6], [False] * 4 + [True] * 4)
    rows, columns = np.array([1.5, 3.5, 4, 4]) / 4, np.array([4, 3.5, 3, 2.5]) / 4
    assert delong_variance(psi) == pytest.approx(rows.var(ddof=1) / 4 + columns.var(ddof=1) / 4)


def test_if_all_pairs_agree_uncertainty_remains() -> None:
    result = area([-1] * 10 + [1] * 10, [False] * 10 + [True] * 10)
    assert result is not None
    assert (result.value, result.high) == (1.0, 1.0)
    assert result.low == pytest.approx(0.025 ** (1 / 10))


def test_cases_of_one_kind_have_no_area() -> None:
    assert area([1, 2], [True, True]) is None
    assert curve([1, 2], [True, True]) is None


def test_the_bootstrap_for_these_readers_is_close_to_delong() -> None:
    rng = np.random.default_rng(1)
    truth = np.arange(200) % 2 == 1
    psi = np.stack([mann_whitney_kernel(rng.normal(0.4 * truth), truth) for _ in range(2)])
    result, delong = mean_area(psi, rng=rng, replicates=4000), area_from_kernel(psi.mean(axis=0))
    assert delong is not None
    assert result.note == FIXED
    assert result.value == pytest.approx(delong.value)
    assert (result.low, result.high) == pytest.approx((delong.low, delong.high), abs=0.006)


def test_the_area_for_readers_at_large_by_the_formula() -> None:
    """The covariances of placements are computed by loops."""
    rng = np.random.default_rng(4)
    truth = np.arange(60) % 2 == 1
    common = rng.normal(truth.astype(float))
    psi = np.stack([mann_whitney_kernel(common + rng.normal(size=60) + d * truth, truth) for d in (0.0, 1.0, 2.0)])
    areas, pairs = psi.mean(axis=(1, 2)), [(0, 1), (0, 2), (1, 2)]
    cov = np.mean(
        [sum(np.cov(psi[a].mean(axis=axis), psi[b].mean(axis=axis))[0, 1] / 30 for axis in (0, 1)) for a, b in pairs]
    )
    variance = areas.var(ddof=1) / 3 + cov
    df = 2 * (variance / (areas.var(ddof=1) / 3)) ** 2
    result = area_at_large(psi)
    assert result is not None
    assert result.value == pytest.approx(areas.mean())
    reach = t.ppf(0.975, df) * np.sqrt(variance) / (result.value * (1 - result.value))
    assert logit(result.high) - logit(result.value) == pytest.approx(reach)


def test_one_reader_has_no_area_for_readers_at_large() -> None:
    assert area_at_large(np.full((1, 4, 4), 0.5)) is None


def test_readers_who_differ_widen_the_bootstrap() -> None:
    rng = np.random.default_rng(2)
    truth = np.arange(200) % 2 == 1
    alike = np.stack([mann_whitney_kernel(rng.normal(1.0 * truth), truth) for _ in range(6)])
    unlike = np.stack([mann_whitney_kernel(rng.normal(d * truth), truth) for d in (0, 0.4, 0.8, 1.2, 1.6, 2)])
    a, b = (mean_area(psi, rng=rng) for psi in (alike, unlike))
    assert b.high - b.low > 2 * (a.high - a.low)
    assert a.note is None
