"""How often the 95 % intervals of a report cover the truth, over other patients and other samples.

Simulated features of 8 patients with 30 patches each and of 240 synthetic patches, 16 Gaussian features, intraclass
correlation of patches of one patient 0.3. The truth is the expectation at these numbers, over all repetitions. Two
tables are printed:

- coverage by measure, and the mean half-width of the intervals in standard deviations of the measure (1.96 is ideal for
  a normal measure). "Points only" is what the jackknife replaced: points are resampled, the manifold is held fixed.
- false alarms of the kernel distance between equal distributions (lower bound above 0), by number of patients.

    python benchmarks/metrics/interval_coverage.py      # about five minutes on one core, no data
"""

import argparse
import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.frechet import frechet_infinity, frechet_infinity_interval, frechet_interval
from histosynth.metrics.kid import kid_interval
from histosynth.metrics.manifold import membership
from histosynth.metrics.manifold_interval import manifold_intervals
from histosynth.metrics.statistics import Statistics
from histosynth.metrics.uncertainty import (
    Interval,
    Units,
    image_units,
    patient_units,
    resampled_shifts,
    shift_quantiles,
)

PATIENTS, EACH, DIMENSION, CORRELATION, LEVEL = 8, 30, 16, 0.3, 0.95
Floats = NDArray[np.float64]


def main() -> None:
    """Simulate, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    repetitions = 5 if given.quick else given.repetitions
    rng = np.random.default_rng(0)

    # Coverage.
    units = patients(PATIENTS)
    results = [measure(clustered(PATIENTS, rng), samples(1.2, rng), units, rng) for _ in range(repetitions)]
    print("| measure | coverage | points only | half-width, sd |\n| --- | --- | --- | --- |")
    coverage = {}
    for name in results[0]:
        if name.endswith(" (points)"):
            continue
        values = np.array([r[name].value for r in results])
        coverage[name] = covered([r[name] for r in results], float(values.mean()))
        points = f"{name} (points)"
        old = f"{covered([r[points] for r in results], float(values.mean())):.2f}" if points in results[0] else ""
        width = np.mean([r[name].high - r[name].low for r in results]) / 2 / values.std()
        print(f"| {name} | {coverage[name]:.2f} | {old} | {width:.1f} |")

    # False alarms of the kernel distance.
    print("\n| patients | pairs of different patients | all pairs |\n| --- | --- | --- |")
    alarms = {}
    for count in (5, 8, 20, PATIENTS * EACH):
        one_each = count == PATIENTS * EACH
        of = image_units(count) if one_each else patients(count)
        positive = np.zeros(2)
        for _ in range(repetitions):
            real = rng.normal(size=(count, DIMENSION)) if one_each else clustered(count, rng)
            fake = rng.normal(size=real.shape)
            positive += [kid_interval(real, fake, real_units=u).low > 0 for u in (of, image_units(len(real)))]
        alarms[count] = positive / repetitions
        print(
            f"| {f'{count}, one patch each' if one_each else count} | {alarms[count][0]:.3f} | {alarms[count][1]:.3f} |"
        )
    lowest = min(coverage, key=lambda name: coverage[name])
    print(json.dumps({"name": "interval_coverage", "lowest": lowest, "coverage": coverage[lowest]}))


def measure(real: Floats, fake: Floats, units: Units, rng: np.random.Generator) -> Mapping[str, Interval]:
    """Return every measure of a report with its interval, and the shares by points only."""
    shares = manifold_intervals(real, fake, real_units=units)
    distance = frechet_interval(real, fake, real_units=units, rng=rng)
    limit = frechet_infinity(Statistics.of(real), fake, rng=rng)
    inside = membership(real, fake)
    samples_units = image_units(len(fake))
    return {
        "Fréchet distance": distance,
        "Fréchet distance, n → ∞": frechet_infinity_interval(limit, at_n=distance),
        "kernel distance": kid_interval(real, fake, real_units=units),
        **shares,
        "precision (points)": points_only(inside.fake_inside, samples_units, rng),
        "recall (points)": points_only(inside.real_inside, units, rng),
        "density (points)": points_only(inside.fake_density, samples_units, rng),
        "coverage (points)": points_only(inside.real_covered, units, rng),
        "Fréchet distance, n → ∞ (points)": Interval(
            value=limit.value,
            low=limit.value - 1.96 * limit.standard_error,
            high=limit.value + 1.96 * limit.standard_error,
            level=LEVEL,
        ),
    }


def points_only(values: NDArray[np.bool_] | Floats, units: Units, rng: np.random.Generator) -> Interval:
    """Return the interval of a mean over points, with the manifold held fixed."""
    x = np.asarray(values, dtype=np.float64)
    low, high = x.mean() + shift_quantiles(resampled_shifts(x, units, level=LEVEL, replicates=300, rng=rng), LEVEL)
    return Interval(value=float(x.mean()), low=float(low), high=float(high), level=LEVEL)


def covered(intervals: list[Interval], truth: float) -> float:
    """Return the share of intervals that hold the truth."""
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


def patients(count: int) -> Units:
    """Return units of that many patients with `EACH` patches each."""
    return patient_units([f"p{i // EACH}" for i in range(count * EACH)])


def clustered(count: int, rng: np.random.Generator) -> Floats:
    """Return features of that many patients; each feature is standard normal over patients and patches."""
    shared = rng.normal(size=(count, DIMENSION)).repeat(EACH, axis=0)
    return np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * rng.normal(size=shared.shape)


def samples(scale: float, rng: np.random.Generator) -> Floats:
    """Return features of synthetic patches, more spread than real ones by `scale`."""
    return scale * rng.normal(size=(PATIENTS * EACH, DIMENSION))


if __name__ == "__main__":
    main()
