"""Power: the probability that a study shows equivalence to guessing when readers do guess.

**One reader** whose accuracy is π in every case: the power of the exact test is a sum over the counts that it accepts,

    power(n) = Σ_k  [TOST p(k, n) ≤ α]  binom(k; n, π)

**Several readers** of the same cases, by simulation of the same test as in the analysis (`crossed.pooled`): reader r's
reading of case c is correct with

    logit P = logit π + u_r + v_c,     u_r ~ N(0, σ_reader²),  v_c ~ N(0, σ_case²)

and the power is the share of simulated studies that show equivalence, for *these readers* and for *readers at large*.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import binom

from histosynth.errors import HistosynthError
from histosynth.study.statistics.crossed import effective_number, variation
from histosynth.study.statistics.equivalence import tost

_READINGS_AT_ONCE = 2_000_000  # simulated at a time, to bound memory


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """The assumptions of a plan."""

    margin: float
    power: float
    alpha: float
    accuracy: float
    """Of the average reader; 0.5 if readers truly guess."""
    reader_sd: float
    """σ_reader, on the logit: 0.2 is 5 points of accuracy near one half."""
    case_sd: float
    """σ_case, on the logit."""
    simulations: int
    seed: int
    max_cases: int

    def __post_init__(self) -> None:
        if not 0 < self.margin < 0.5:
            raise HistosynthError(f"--margin {self.margin} is not between 0 and 0.5; 0.10 means 10 points around 50%")
        if not 0 < self.alpha < 0.5:
            raise HistosynthError(f"--alpha {self.alpha} is not between 0 and 0.5")
        if not self.alpha < self.power < 1:
            raise HistosynthError(f"--power {self.power} is not between alpha ({self.alpha}) and 1")
        if not abs(self.accuracy - 0.5) < self.margin:
            raise HistosynthError(
                f"--accuracy {self.accuracy} lies outside 0.5 ± {self.margin}: equivalence is false there, and no "
                "study should show it"
            )


def exact_power(n: int, *, accuracy: float, margin: float, alpha: float) -> float:
    """Return the power of one reader's exact test with n readings."""
    k = np.arange(n + 1)
    return float(binom.pmf(k, n, accuracy)[tost(k, n, margin=margin) <= alpha].sum())


def simulated_power(assumptions: Assumptions, *, readers: int, cases: int) -> tuple[float, float]:
    """Return the power for these readers and for readers at large, of two or more readers."""
    rng = np.random.default_rng([assumptions.seed, readers, cases])
    strata, equivalent = np.arange(cases) % 2, np.zeros(2)
    for studies in _batches(assumptions.simulations, readers * cases):
        correct = simulate(
            studies,
            readers=readers,
            cases=cases,
            accuracy=assumptions.accuracy,
            reader_sd=assumptions.reader_sd,
            case_sd=assumptions.case_sd,
            rng=rng,
        )
        equivalent += [np.count_nonzero(p <= assumptions.alpha) for p in tost_p_values(correct, strata, assumptions)]
    these, at_large = equivalent / assumptions.simulations
    return float(these), float(at_large)


def simulate(
    studies: int,
    *,
    readers: int,
    cases: int,
    accuracy: float,
    reader_sd: float,
    case_sd: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Simulate correct readings (studies, R, C) under the model above."""
    reader = rng.normal(0, reader_sd, (studies, readers, 1))
    case = rng.normal(0, case_sd, (studies, 1, cases))
    return np.asarray(rng.random((studies, readers, cases)) < expit(logit(accuracy) + reader + case))


def tost_p_values(
    correct: NDArray[np.bool_], strata: NDArray[np.int64], assumptions: Assumptions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return p of equivalence of each study (S, R, C), for these readers and for readers at large."""
    v = variation(correct, strata=strata)
    n = correct.shape[1] * correct.shape[2]
    p_values = []
    for variance, df in ((v.same_readers, v.same_readers_df), (v.all, v.all_df)):
        effective = effective_number(v.estimate, variance, df, n=n, level=1 - 2 * assumptions.alpha)
        p_values.append(tost(v.estimate * effective, effective, margin=assumptions.margin))
    return p_values[0], p_values[1]


def _batches(simulations: int, readings_per_study: int) -> Iterator[int]:
    """Yield numbers of studies to simulate at a time, so that they fit in memory."""
    batch = max(1, _READINGS_AT_ONCE // readings_per_study)
    for start in range(0, simulations, batch):
        yield min(batch, simulations - start)
