"""False equivalence when cases of one patient resemble each other, and false differences in confidence.

Reader r perceives x = w_p + v_c + ε in case c, plus a shift for readers. For real cases, w_p is common to the cases of
a patient and has the share ICC of the variance; synthetic cases have no patient. The reader is right if x exceeds a
threshold that makes the true accuracy exactly 60%, the margin: equivalence is false, and should be declared in at most
5% of studies. There are five readers and 200 cases, half of them real. `cases` are taken for independent, as before;
`patients` are the clusters of the analysis. Both columns test the accuracy alone; the area is a further condition.

The second table has readers whose confidence differs by chance in either direction, with the given standard deviation
of their shift on synthetic patches, but does not differ on average: 100 cases, no patients. A difference should be
declared in at most 5% of studies. `these readers` is DeLong's interval, which the report used before.

    .venv/bin/python benchmarks/study/study_patients.py [--simulations 2000] [--seed 0] [--quick]

Takes one minute of processor time. The last line is JSON: `equivalence` and `confidence` are the highest rates of the
analysis.
"""

import argparse
import json

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from tqdm import tqdm

from histosynth.study.statistics.area import pooled_area
from histosynth.study.statistics.crossed import pooled

READERS, CASES, MARGIN, ALPHA = 5, 200, 0.10, 0.05
PATIENTS = (100, 20, 10, 5)
CORRELATIONS = (0.2, 0.4)
READER_SD = (0.0, 0.2, 0.3, 0.4)


def correct_readings(icc: float, clusters: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Simulate correct readings (R, C) at a true accuracy of 60%."""
    patient = rng.normal(0, icc**0.5, 2 * CASES)[clusters]
    x = patient + rng.normal(0, (1 - icc) ** 0.5, (READERS, CASES))
    return (x > norm.ppf(0.5 - MARGIN)).astype(float)


def false_equivalence(icc: float, patients: int, simulations: int, seed: int) -> tuple[float, float]:
    """Return how often equivalence is declared with cases, and with patients, as clusters."""
    rng = np.random.default_rng([seed, 0, patients, round(100 * icc)])
    synthetic = np.arange(CASES) % 2 == 1
    clusters = np.where(synthetic, CASES + np.arange(CASES), np.arange(CASES) // 2 % patients)
    declared = np.zeros(2)
    for _ in range(simulations):
        y = correct_readings(icc, clusters, rng)
        for column, groups in enumerate((None, clusters)):
            test = pooled(y, strata=synthetic, clusters=groups, margin=MARGIN, alpha=ALPHA)[0].equivalence
            assert test is not None
            declared[column] += test.conclusion == "equivalent"
    these, by_patient = declared / simulations
    return float(these), float(by_patient)


def false_difference(reader_sd: float, simulations: int, seed: int) -> dict[str, float]:
    """Return how often a difference in confidence is declared, by scope."""
    rng = np.random.default_rng([seed, 1, round(100 * reader_sd)])
    synthetic, declared = np.arange(100) % 2 == 1, {"these readers": 0, "readers at large": 0}
    for _ in range(simulations):
        common = rng.normal(0, 0.5**0.5, 100)
        shift = rng.normal(0, reader_sd, (READERS, 1)) * synthetic
        x = common + rng.normal(0, 0.5**0.5, (READERS, 100)) + shift
        for result in pooled_area(np.digitize(x, [-1, -0.3, 0.3, 1]), synthetic=synthetic):
            declared[result.scope] += not result.low <= 0.5 <= result.high
    return {scope: count / simulations for scope, count in declared.items()}


def main() -> None:
    """Print both tables and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="20 simulations: only shows that the script runs")
    options = parser.parse_args()
    simulations = 20 if options.quick else options.simulations
    designs = [(icc, patients) for icc in CORRELATIONS for patients in PATIENTS]
    rates = [false_equivalence(*design, simulations, options.seed) for design in tqdm(designs, unit="design")]
    print("\n| correlation within patients | patients | cases as clusters | patients as clusters |")
    print("| --- | --- | --- | --- |")
    for (icc, patients), (by_case, by_patient) in zip(designs, rates, strict=True):
        print(f"| {icc} | {patients} | {by_case:.1%} | {by_patient:.1%} |")
    differences = [false_difference(sd, simulations, options.seed) for sd in tqdm(READER_SD, unit="design")]
    print("\n| standard deviation between readers | these readers | readers at large |\n| --- | --- | --- |")
    for sd, row in zip(READER_SD, differences, strict=True):
        print(f"| {sd} | {row['these readers']:.1%} | {row['readers at large']:.1%} |")
    print(json.dumps({
        "name": "study_patients", "equivalence": max(rate for _, rate in rates), "alpha": ALPHA,
        "confidence": max(row["readers at large"] for row in differences), "unit": "rate", "simulations": simulations,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
