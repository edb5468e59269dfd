"""Sample size: the simulated power against the exact one by brute force, and goals that no number can reach."""

import numpy as np
import pytest
from scipy.stats import binom

from histosynth.errors import HistosynthError
from histosynth.study.design.planning import as_text, plan
from histosynth.study.design.power import Assumptions, simulated_power
from histosynth.study.statistics.equivalence import equivalence


def assume(**changes: float) -> Assumptions:
    facts = {"margin": 0.15, "area_margin": 0.21, "power": 0.8, "alpha": 0.05, "accuracy": 0.5, "reader_sd": 0.0,
             "case_sd": 0.0, "patients": 0, "patient_sd": 0.0, "simulations": 400, "seed": 0,
             "max_cases": 200}  # fmt: skip
    return Assumptions(**(facts | changes))


def exact_power(n: int, *, accuracy: float = 0.5, margin: float = 0.15) -> float:
    """Return the probability that the exact test of one reader's accuracy accepts."""
    accepted = (k for k in range(n + 1) if equivalence(k, n, margin=margin, alpha=0.05).conclusion == "equivalent")
    return sum(binom.pmf(k, n, accuracy) for k in accepted)


def test_without_the_area_one_reader_has_the_power_of_the_exact_test() -> None:
    for accuracy in (0.5, 0.56):
        power = simulated_power(assume(simulations=2000, accuracy=accuracy, area_margin=0.49), readers=1, cases=80)
        assert power["one reader"] == pytest.approx(exact_power(80, accuracy=accuracy), abs=0.035)


def test_the_area_costs_power() -> None:
    powers = [
        simulated_power(assume(simulations=1000, area_margin=margin), readers=1, cases=120)["one reader"]
        for margin in (0.1, 0.2, 0.3)
    ]
    assert powers[0] < powers[1] - 0.2
    assert powers[1] <= powers[2]


def test_one_reader_needs_about_what_the_normal_approximation_says() -> None:
    (need,) = plan(assume(simulations=1000, area_margin=0.49), readers=[1], progress=False).needs
    assert need.cases is not None
    assert 80 <= need.cases <= 110  # (1.645 + 1.282)² / 4 / 0.15² = 95


def test_two_independent_readers_have_the_power_of_one_with_twice_the_cases() -> None:
    power = simulated_power(assume(simulations=2000, area_margin=0.49), readers=2, cases=60)
    assert power["these readers"] == pytest.approx(exact_power(120), abs=0.06)
    assert power["readers at large"] < power["these readers"]


def test_few_patients_cost_power() -> None:
    own, ten, three = (
        simulated_power(assume(simulations=500, patients=patients, patient_sd=0.8), readers=2, cases=72)
        for patients in (0, 10, 3)
    )
    assert three["these readers"] < ten["these readers"] - 0.1 < own["these readers"] - 0.2


def test_more_cases_do_not_compensate_for_variation_between_readers() -> None:
    few, many = (
        simulated_power(assume(reader_sd=0.6), readers=3, cases=cases)["readers at large"] for cases in (60, 600)
    )
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
        ({"area_margin": 0.5}, "--area-margin"),
        ({"patients": 1}, "--patients 1"),
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
