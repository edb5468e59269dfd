"""Coverage of the intervals of a reader study, measured with simulated readers of known skill.

In case c, reader r perceives x = (d + u_r) [synthetic] + v_c + ε. Here u_r (standard deviation 0.25) is the difference
of the reader's skill from the average, v_c is common to all readers of the case (half of the variance), and ε is
specific to one reading; the variance of x within real or synthetic cases is 1. Above the reader's threshold, d/2 + b_r
with b_r of standard deviation 0.3, the answer is "synthetic"; the distance from the threshold gives the confidence. The
true values of all results are therefore known in closed form, for these readers and for readers at large. There are 50
real and 50 synthetic cases, and intervals at 95%. Equivalence is tested within ±10 points at alpha 0.05; its size is
measured where it is false, at an accuracy of exactly 60%.

    .venv/bin/python benchmarks/study/study_coverage.py [--simulations 1000] [--seed 0] [--quick]

Takes seven minutes of processor time; `--quick` takes six seconds and only shows that the script runs. The last line is
JSON: `low` and `high` are the lowest and highest coverage of all intervals, `ratio` is the lowest over the nominal
coverage, and `size` is the highest rate at which equivalence was declared falsely.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm
from tqdm import tqdm

from histosynth.metrics.uncertainty import Interval
from histosynth.study.statistics import bootstrap
from histosynth.study.statistics.agreement import agreement, cohen_kappa, counts, krippendorff_alpha
from histosynth.study.statistics.area import Area, pooled_area
from histosynth.study.statistics.calibration import calibration
from histosynth.study.statistics.crossed import Pooled, pooled, share_of_readings
from histosynth.study.statistics.equivalence import equivalence
from histosynth.study.statistics.generators import difference
from histosynth.study.statistics.learning import learning
from histosynth.study.statistics.proportion import Proportion
from histosynth.study.statistics.roc import mann_whitney_kernel
from histosynth.study.statistics.signal import pooled_signal
from histosynth.study.statistics.times import times

Array = NDArray[np.float64]
SKILLS = {"guessing": 0.0, "d' = 0.5": 0.5, "d' = 1.5": 1.5}
SKILL_SD, THRESHOLD_SD, CASE_SHARE = 0.25, 0.3, 0.5
CASES = 100
SYNTHETIC = np.arange(CASES) % 2 == 1
CUTS = np.array([0.25, 0.5, 0.8, 1.2])
MARGIN, ALPHA = 0.10, 0.05
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)


@dataclass(frozen=True)
class Readers:
    """The skills and thresholds of readers."""

    skill: Array
    threshold: Array

    @classmethod
    def draw(cls, number: int, d: float, rng: np.random.Generator) -> "Readers":
        """Draw readers at random."""
        skill = d + rng.normal(0, SKILL_SD, number)
        return cls(skill, d / 2 + rng.normal(0, THRESHOLD_SD, number))

    def scores(self, synthetic: NDArray[np.bool_], rng: np.random.Generator, case: Array | None = None) -> Array:
        """Simulate signed confidence (R, C)."""
        common = rng.normal(0, CASE_SHARE**0.5, len(synthetic)) if case is None else case
        own = rng.normal(0, (1 - CASE_SHARE) ** 0.5, (len(self.skill), len(synthetic)))
        x = self.skill[:, None] * synthetic + common + own - self.threshold[:, None]
        return np.where(x > 0, 1.0, -1.0) * (1 + np.digitize(np.abs(x), CUTS))

    def score_probabilities(self) -> tuple[Array, Array]:
        """Return the probability of each of the ten scores, (R, 10), for real and for synthetic cases."""
        edges = np.concatenate([[-np.inf], -CUTS[::-1], [0], CUTS, [np.inf]])
        real = np.diff(norm.cdf(edges + self.threshold[:, None]), axis=1)
        return real, np.diff(norm.cdf(edges + (self.threshold - self.skill)[:, None]), axis=1)

    @property
    def sensitivity(self) -> Array:
        """The sensitivity of each reader, (R,)."""
        return norm.sf(self.threshold - self.skill)

    @property
    def accuracy(self) -> Array:
        """The accuracy of each reader, (R,)."""
        return (self.sensitivity + norm.cdf(self.threshold)) / 2

    @property
    def area(self) -> Array:
        """The area under the ROC curve of the ten scores, per reader, (R,)."""
        real, synthetic = self.score_probabilities()
        below = np.cumsum(real, axis=1) - real
        return (synthetic * (below + real / 2)).sum(axis=1)

    @property
    def confidence_above(self) -> Array:
        """The probability of more confidence on a synthetic than on a real case, a tie half, per reader, (R,)."""
        real, synthetic = (levels[:, 5:] + levels[:, 4::-1] for levels in self.score_probabilities())
        below = np.cumsum(real, axis=1) - real
        return (synthetic * (below + real / 2)).sum(axis=1)

    @property
    def sure(self) -> Array:
        """The probability of the highest confidence, and of being right with it, per reader, (R, 2)."""
        real, synthetic = self.score_probabilities()
        right = (real[:, 0] + synthetic[:, -1]) / 2
        return np.stack([right + (real[:, -1] + synthetic[:, 0]) / 2, right], axis=1)


def at_large(measure: Callable[[Readers], Array], d: float) -> Array:
    """Return the mean of a measure over the population of readers."""
    u, b = np.meshgrid(NODES, NODES)
    every = Readers(d + SKILL_SD * u.ravel(), d / 2 + THRESHOLD_SD * b.ravel())
    w = np.outer(WEIGHTS, WEIGHTS).ravel()
    return np.asarray(w @ measure(every) / w.sum())


def covers(interval: Interval | Pooled | Proportion | Area | None, truth: float) -> bool | None:
    return None if interval is None else interval.low <= truth <= interval.high


def one_study(d: float, rng: np.random.Generator) -> Iterator[tuple[str, bool | None]]:
    """Simulate one study and yield whether each interval covers the truth."""
    strata = SYNTHETIC
    for number in (1, 2, 5, 10):
        readers = Readers.draw(number, d, rng)
        score = readers.scores(SYNTHETIC, rng)
        said_synthetic = score > 0
        correct = (said_synthetic == SYNTHETIC).astype(float)
        accuracy = {p.scope: p for p in pooled(correct, strata=strata)}
        area = {result.scope: result for result in pooled_area(score, synthetic=SYNTHETIC)}
        signals = {result.scope: result for result in pooled_signal(said_synthetic, synthetic=SYNTHETIC)}
        psi = np.stack([mann_whitney_kernel(row, SYNTHETIC) for row in score])
        if number == 1:
            yield "accuracy, one reader", covers(accuracy["one reader"], readers.accuracy[0])
            sensitivity = share_of_readings(correct[:, SYNTHETIC], strata=SYNTHETIC[SYNTHETIC])
            yield "sensitivity, one reader", covers(sensitivity, readers.sensitivity[0])
            own = signals["one reader"]
            yield "d', one reader", covers(own.d_prime, readers.skill[0])
            yield "criterion, one reader", covers(own.criterion, (readers.threshold - readers.skill / 2)[0])
            yield "area, one reader (DeLong)", covers(area["one reader"], readers.area[0])
            position = rng.permutation(CASES) / (CASES - 1)
            yield "learning (none), one reader", covers(learning(correct[0], position, np.zeros(CASES)), 0.0)
            yield "median time, one reader", covers(times(rng.lognormal(2, 0.6, CASES)).median, np.exp(2))
            continue
        yield f"accuracy, these {number} readers", covers(accuracy["these readers"], readers.accuracy.mean())
        if number >= 5:
            truth = at_large_known("accuracy", d)
            yield f"accuracy, readers at large ({number} read)", covers(accuracy["readers at large"], truth)
            mean = bootstrap.mean_area(psi, rng=rng)
            yield f"area, readers at large ({number} read, bootstrap)", covers(mean, at_large_known("area", d))
            yield f"area, readers at large ({number} read)", covers(area["readers at large"], at_large_known("area", d))
            yield f"d', readers at large ({number} read)", covers(signals["readers at large"].d_prime, d)
            yield f"criterion, readers at large ({number} read)", covers(signals["readers at large"].criterion, 0.0)
            sure = calibration(correct, np.abs(score))[5]
            yield f"calibration, highest confidence ({number} read)", covers(sure, at_large_known("sure", d))
            above = pooled_area(np.abs(score), synthetic=SYNTHETIC)[0]
            yield f"confidence, readers at large ({number} read)", covers(above, at_large_known("confidence_above", d))
        else:
            yield f"area, these {number} readers (DeLong)", covers(area["these readers"], readers.area.mean())
            mean = bootstrap.mean_area(psi, rng=rng)
            yield f"area, these {number} readers (bootstrap)", covers(mean, readers.area.mean())
            above = pooled_area(np.abs(score), synthetic=SYNTHETIC)[0]
            yield "confidence, these 2 readers", covers(above, readers.confidence_above.mean())
        generators = difference(said_synthetic[:, SYNTHETIC].astype(float), np.arange(CASES // 2) % 2 == 0)
        yield f"two like generators, {number} readers", covers(generators.difference, 0.0)


KNOWN: dict[tuple[str, float], float] = {}


def at_large_known(name: str, d: float) -> float:
    if (name, d) not in KNOWN:
        mean = at_large(lambda readers: getattr(readers, name), d)
        KNOWN[name, d] = float(mean[1] / mean[0] if name == "sure" else mean)
    return KNOWN[name, d]


def agreements(d: float, simulations: int, seed: int) -> Iterator[tuple[str, bool | None]]:
    """Yield coverage for three fixed readers: of alpha between them, and of kappa of one of them over 40 repeats."""
    rng = np.random.default_rng([seed, 1])
    readers = Readers.draw(3, d, rng)
    many = np.arange(200_000) % 2 == 1
    case = rng.normal(0, CASE_SHARE**0.5, len(many))
    first, second = readers.scores(many, rng, case) > 0, readers.scores(many, rng, case) > 0
    alpha = krippendorff_alpha(counts(first.astype(float), categories=2))
    kappa = cohen_kappa(first[0], second[0])
    assert alpha is not None
    assert kappa is not None
    for _ in range(simulations):
        said_synthetic = (readers.scores(SYNTHETIC, rng) > 0).astype(float)
        yield (
            "Krippendorff's alpha, 3 readers",
            covers(agreement(said_synthetic, categories=2, measure="alpha", rng=rng, replicates=400), alpha),
        )
        repeated, case = SYNTHETIC[:40], rng.normal(0, CASE_SHARE**0.5, 40)
        a, b = (readers.scores(repeated, rng, case)[0] > 0 for _ in range(2))
        yield "Cohen's kappa, 40 repeats", covers(cohen_kappa(a, b), kappa.value)


def false_equivalence(simulations: int, seed: int) -> dict[str, float]:
    """Return how often equivalence is declared at an accuracy of exactly 1/2 + margin."""
    rng = np.random.default_rng([seed, 2])
    d = brentq(lambda d: at_large(lambda readers: readers.accuracy, d) - 0.5 - MARGIN, 0.1, 2)
    declared: dict[str, list[bool]] = {}
    for _ in range(simulations):
        k = int(rng.binomial(CASES, 0.5 + MARGIN))
        verdict = equivalence(k, CASES, margin=MARGIN, alpha=ALPHA)
        declared.setdefault("one reader", []).append(verdict.conclusion == "equivalent")
        for number in (2, 5, 10):
            readers = Readers.draw(number, d, rng)
            if number == 2:  # for these readers, their own mean accuracy must be at the margin
                shift = brentq(lambda s, r=readers: Readers(r.skill + s, r.threshold).accuracy.mean() - 0.6, -3, 5)
                readers = Readers(readers.skill + shift, readers.threshold)
            correct = ((readers.scores(SYNTHETIC, rng) > 0) == SYNTHETIC).astype(float)
            first = pooled(correct, strata=SYNTHETIC, margin=MARGIN, alpha=ALPHA)[0]
            assert first.equivalence is not None
            scope = f"{first.scope} ({number} read)"
            declared.setdefault(scope, []).append(first.equivalence.conclusion == "equivalent")
    return {name: float(np.mean(values)) for name, values in declared.items()}


def main() -> None:
    """Print the tables and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="40 simulations: only shows that the script runs")
    options = parser.parse_args()
    simulations = 40 if options.quick else options.simulations
    table: dict[str, dict[str, list[bool | None]]] = {}
    for name, d in SKILLS.items():
        for i in tqdm(range(simulations), desc=name, unit="study"):
            for figure, covered in one_study(d, np.random.default_rng([options.seed, 0, i])):
                table.setdefault(figure, {}).setdefault(name, []).append(covered)
        for figure, covered in agreements(d, simulations, options.seed):
            table.setdefault(figure, {}).setdefault(name, []).append(covered)
    print(f"\nCoverage of 95% intervals, {simulations} simulations\n")
    print(f"| interval | {' | '.join(SKILLS)} |\n| --- |{' --- |' * len(SKILLS)}")
    every = []
    for figure, row in table.items():
        shares = [float(np.mean([c for c in row[name] if c is not None])) for name in SKILLS]
        every += shares
        print(f"| {figure} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    undefined = sum(c is None for row in table.values() for cells in row.values() for c in cells)
    print(f"\nundefined and left out: {undefined}")
    sizes = false_equivalence(simulations, options.seed)
    print(f"\nEquivalence declared at an accuracy of exactly {0.5 + MARGIN:.0%} (alpha {ALPHA:g})\n")
    print("| scope | rate |\n| --- | --- |")
    for scope, rate in sizes.items():
        print(f"| {scope} | {rate:.1%} |")
    print(json.dumps({
        "name": "study_coverage", "ratio": min(every) / 0.95, "low": min(every), "high": max(every), "unit": "coverage",
        "nominal": 0.95, "simulations": simulations, "size": max(sizes.values()), "alpha": ALPHA,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
