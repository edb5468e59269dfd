"""Sample size: the exact power by brute force, the simulated power against it, and goals that no number can reach."""

import numpy as np
import pytest
from scipy.stats import binom

from histosynth.errors import HistosynthError
from histosynth.study.design.planning import as_text, plan
from histosynth.study.design.power import Assumptions, exact_power, simulated_power
from histosynth.study.statistics.equivalence import equivalence


def assume(**changes: float) -> Assumptions:
    facts = {"margin": 0.15, "power": 0.8, "alpha": 0.05, "accuracy": 0.5, "reader_sd": 0.0, "case_sd": 0.0,
             "simulations": 400, "seed": 0, "max_cases": 200}  # fmt: skip
    return Assumptions(**(facts | changes))


def test_the_exact_power_is_the_probability_that_the_test_accepts() -> None:
    for accuracy in (0.5, 0.56):
        truth = sum(
            binom.pmf(k, 80, accuracy)
            for k in range(81)
            if equivalence(k, 80, margin=0.15, alpha=0.05).conclusion == "equivalent"
        )
        assert exact_power(80, accuracy=accuracy, margin=0.15, alpha=0.05) == pytest.approx(truth)


def test_at_the_margin_the_power_is_at_most_alpha() -> None:
    sizes = [exact_power(n, accuracy=0.6, margin=0.1, alpha=0.05) for n in range(10, 300, 10)]
    assert max(sizes) <= 0.05
    assert max(sizes) > 0.03


def test_one_reader_needs_the_least_number_with_lasting_power() -> None:
    (need,) = plan(assume(), readers=[1], progress=False).needs
    assert need.cases is not None
    power = {n: exact_power(n, accuracy=0.5, margin=0.15, alpha=0.05) for n in range(2, 201, 2)}
    assert all(value >= 0.8 for n, value in power.items() if n >= need.cases)
    assert power[need.cases - 2] < 0.8
    assert need.power == power[need.cases]
    assert 80 <= need.cases <= 110  # (1.645 + 1.282)² / 4 / 0.15² = 95


def test_two_independent_readers_have_the_power_of_one_with_twice_the_cases() -> None:
    these, at_large = simulated_power(assume(simulations=3000), readers=2, cases=60)
    one = exact_power(120, accuracy=0.5, margin=0.15, alpha=0.05)
    assert these == pytest.approx(one, abs=0.06)
    assert at_large < these


def test_more_cases_do_not_compensate_for_variation_between_readers() -> None:
    few, many = (simulated_power(assume(reader_sd=0.6), readers=3, cases=cases)[1] for cases in (60, 600))
    assert many < 0.5
    assert many - few < 0.35
    needs = plan(assume(reader_sd=0.6, max_cases=100), readers=[3], progress=False).needs
    assert [(n.claim, n.cases, n.concludes) for n in needs][1] == ("readers at large", None, False)


def test_more_readers_need_fewer_cases_and_plans_are_reproducible() -> None:
    a = assume(reader_sd=0.2, case_sd=0.5)
    first, second = (plan(a, readers=[8, 2, 8], repeats=20, progress=False) for _ in range(2))
    assert first == second
    two, eight = (next(n.cases for n in first.needs if n.readers == r and n.concludes) for r in (2, 8))
    assert two is not None
    assert eight is not None
    assert eight < two
    assert first.repeat_interval is not None
    np.testing.assert_allclose(first.repeat_interval, (0.563, 0.943), atol=5e-4)  # 16 of 20
    text = as_text(first)
    assert "±15 points" in text
    assert f"{two}" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": 0.0}, "--margin"),
        ({"alpha": 0.7}, "--alpha"),
        ({"power": 0.01}, "--power"),
        ({"accuracy": 0.7}, "equivalence is false there"),
    ],
)
def test_impossible_assumptions_are_rejected(changes: dict[str, float], message: str) -> None:
    with pytest.raises(HistosynthError, match=message):
        assume(**changes)
    with pytest.raises(HistosynthError, match="--readers"):
        plan(assume(), readers=[0], progress=False)
