"""Power: the probability that a study shows equivalence to guessing when readers do guess, by simulation.

Reader r's reading of case c is correct with

    logit P = logit π + u_r + v_c + w_p(c),     u_r ~ N(0, σ_reader²),  v_c ~ N(0, σ_case²),  w_p ~ N(0, σ_patient²)

where w is shared by the real cases of a patient p, and synthetic cases have no patient. Confidence is 1 to 5 with equal
probability, whatever the answer. A single reader has the accuracy π itself. The power is the share of simulated studies
in which the tests of the analysis, of the accuracy (`crossed.pooled`) and of the area (`area.pooled_area`), both show
equivalence.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from histosynth.errors import HistosynthError
from histosynth.study.statistics.area import area_variation, tost_of_area
from histosynth.study.statistics.clusters import all_single
from histosynth.study.statistics.crossed import Scope, effective_number, scopes, variation
from histosynth.study.statistics.equivalence import tost

_READINGS_AT_ONCE = 1_000_000  # simulated at a time, to bound memory


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """The assumptions of a plan."""

    margin: float
    """Of the accuracy."""
    area_margin: float
    """Of the area under the ROC curve."""
    power: float
    alpha: float
    accuracy: float
    """Of the average reader; 0.5 if readers truly guess."""
    reader_sd: float
    """σ_reader, on the logit: 0.2 is 5 points of accuracy near one half."""
    case_sd: float
    """σ_case, on the logit."""
    patient_sd: float
    """σ_patient, on the logit."""
    patients: int
    """Patients of the real cases; 0: one real case per patient."""
    simulations: int
    seed: int
    max_cases: int

    def __post_init__(self) -> None:
        if not 0 < self.margin < 0.5:
            raise HistosynthError(f"--margin {self.margin} is not between 0 and 0.5; 0.10 means 10 points around 50%")
        if not 0 < self.area_margin < 0.5:
            raise HistosynthError(f"--area-margin {self.area_margin} is not between 0 and 0.5")
        if self.patients == 1:
            raise HistosynthError("--patients 1: one patient shows nothing about others; pass 2 or more, or 0")
        if not 0 < self.alpha < 0.5:
            raise HistosynthError(f"--alpha {self.alpha} is not between 0 and 0.5")
        if not self.alpha < self.power < 1:
            raise HistosynthError(f"--power {self.power} is not between alpha ({self.alpha}) and 1")
        if not abs(self.accuracy - 0.5) < self.margin:
            raise HistosynthError(
                f"--accuracy {self.accuracy} lies outside 0.5 ± {self.margin}: equivalence is false there, and no "
                "study should show it"
            )


def simulated_power(assumptions: Assumptions, *, readers: int, cases: int) -> dict[Scope, float]:
    """Return the power for each scope."""
    rng = np.random.default_rng([assumptions.seed, readers, cases])
    design = Design.of(cases, patients=assumptions.patients)
    equivalent = dict.fromkeys(scopes(readers), 0)
    for studies in _batches(assumptions.simulations, readers * cases):
        correct = simulate(
            studies,
            readers=readers,
            design=design,
            accuracy=assumptions.accuracy,
            reader_sd=assumptions.reader_sd if readers > 1 else 0.0,  # the claim is about this reader
            case_sd=assumptions.case_sd,
            patient_sd=assumptions.patient_sd,
            rng=rng,
        )
        said_synthetic = correct == design.synthetic
        scores = np.where(said_synthetic, 1, -1) * rng.integers(1, 6, correct.shape)
        for scope in equivalent:
            p = np.maximum(
                tost_of_accuracies(correct, design, assumptions, scope),
                tost_of_areas(scores, design, assumptions, scope),
            )
            equivalent[scope] += int(np.count_nonzero(p <= assumptions.alpha))
    return {scope: count / assumptions.simulations for scope, count in equivalent.items()}


@dataclass(frozen=True, kw_only=True)
class Design:
    """Which cases are synthetic, (C,), and the cluster of each, (C,)."""

    synthetic: NDArray[np.bool_]
    clusters: NDArray[np.int64]

    @classmethod
    def of(cls, cases: int, *, patients: int) -> "Design":
        """Return real and synthetic cases in turn, the real ones from so many patients; 0: each its own."""
        case = np.arange(cases)
        patient = case // 2 % patients if patients else case
        return cls(synthetic=case % 2 == 1, clusters=np.where(case % 2 == 1, cases + case, patient))


def simulate(
    studies: int,
    *,
    readers: int,
    design: Design,
    accuracy: float,
    reader_sd: float,
    case_sd: float,
    patient_sd: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Simulate correct readings (studies, R, C) under the model above."""
    cases = len(design.clusters)
    reader = rng.normal(0, reader_sd, (studies, readers, 1))
    case = rng.normal(0, case_sd, (studies, 1, cases))
    patient = rng.normal(0, patient_sd, (studies, 1, 2 * cases))[..., design.clusters] * ~design.synthetic
    return np.asarray(rng.random((studies, readers, cases)) < expit(logit(accuracy) + reader + case + patient))


def tost_of_accuracies(
    correct: NDArray[np.bool_], design: Design, assumptions: Assumptions, scope: Scope
) -> NDArray[np.float64]:
    """Return p of equivalence of the accuracy of each study (S, R, C)."""
    v = variation(correct, strata=design.synthetic, clusters=design.clusters)
    n = correct.shape[1] * correct.shape[2]
    variance, df = v.of(scope)
    if scope == "one reader" and all_single(design.clusters):
        variance, df = np.zeros(len(correct)), np.full(len(correct), float(n))
    effective = effective_number(v.estimate, variance, df, n=n, level=1 - 2 * assumptions.alpha)
    return tost(v.estimate * effective, effective, margin=assumptions.margin)


def tost_of_areas(
    scores: NDArray[np.int64], design: Design, assumptions: Assumptions, scope: Scope
) -> NDArray[np.float64]:
    """Return p of equivalence of the area of each study (S, R, C)."""
    v = area_variation(scores, synthetic=design.synthetic, clusters=design.clusters)
    return tost_of_area(v.estimate, *v.of(scope), margin=assumptions.area_margin)


def _batches(simulations: int, readings_per_study: int) -> Iterator[int]:
    """Yield numbers of studies to simulate at a time, so that they fit in memory."""
    batch = max(1, _READINGS_AT_ONCE // readings_per_study)
    for start in range(0, simulations, batch):
        yield min(batch, simulations - start)
