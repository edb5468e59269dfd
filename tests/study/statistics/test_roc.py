"""The curve, checked by the trapezoid under it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histosynth.study.statistics.roc import curve, mann_whitney_kernel

scores = st.lists(st.sampled_from([-5, -3, -1, 1, 2, 4]), min_size=2, max_size=40)


@given(real=scores, synthetic=scores)
def test_the_area_under_the_curve_is_the_share_of_pairs(real: list[int], synthetic: list[int]) -> None:
    x, truth = [*real, *synthetic], [False] * len(real) + [True] * len(synthetic)
    roc = curve(x, truth)
    assert roc is not None
    assert np.trapezoid(roc.true_positives, roc.false_positives) == pytest.approx(mann_whitney_kernel(x, truth).mean())


def test_cases_of_one_kind_have_no_curve() -> None:
    assert curve([1, 2], [True, True]) is None
