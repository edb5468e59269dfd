"""The main results of a report, from features alone: per label, overall, and each label against every other.

The floor, the same measure between two sets of real patches (training and held-out), is computed too. It shows what a
measure gives for tissue that is real on both sides; no synthetic result can be interpreted without it.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from histosynth.metrics.frechet import (
    Extrapolation,
    frechet_distance,
    frechet_infinity,
    frechet_infinity_interval,
    frechet_interval,
)
from histosynth.metrics.inception_score import InceptionScore, adm_splits, inception_score
from histosynth.metrics.kid import kid_interval
from histosynth.metrics.manifold_interval import manifold_intervals
from histosynth.metrics.statistics import Statistics
from histosynth.metrics.uncertainty import Interval
from histosynth.report.activations import Activations
from histosynth.report.sides import SEED, SideName

PAIRS: Mapping[str, tuple[SideName, SideName]] = {
    "fake_vs_held_out": ("fake", "held_out"),
    "fake_vs_train": ("fake", "train"),
    "train_vs_held_out": ("train", "held_out"),
}
PAIR_TITLES: Mapping[str, str] = {
    "fake_vs_held_out": "synthetic to held-out",
    "fake_vs_train": "synthetic to training",
    "train_vs_held_out": "training to held-out (both real)",
}
MEASURES: Mapping[str, str] = {
    "frechet_distance": "Fréchet distance",
    "spatial_frechet_distance": "sFID",
    "kernel_distance": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
"""Measures of two sets, in the order of the tables; sFID only where the extractor gives spatial features."""
DISTANCES = frozenset({"frechet_distance", "spatial_frechet_distance", "kernel_distance"})
"""Measures of which lower is nearer; of the others, higher is better."""
SPATIAL, LOGITS = "spatial", "logits"
_MIN_KERNEL = 3


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One set against another. In precision and recall, the first has the role of the synthetic set."""

    n: int  # of each side; 0 where there is no result
    available: tuple[int, int]  # patches in the stores
    measures: Mapping[str, Interval] = field(default_factory=dict)  # those of `MEASURES` that could be computed
    frechet_infinity: Extrapolation | None = None  # of the overall results, where n is large enough
    frechet_infinity_interval: Interval | None = None
    rank_deficient: bool = False  # n <= number of features: the distance is biased upward
    note: str | None = None  # why there is no result

    def value(self, measure: str) -> float | None:
        """Return the value of a measure; None where there is none."""
        interval = self.measures.get(measure)
        return None if interval is None else interval.value


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Fréchet distances of each label of one side (rows) to each label of the other (columns), all at the same n."""

    labels: list[str]
    n: int
    frechet_distance: list[list[float | None]]
    diagonal_lowest: int  # rows in which the same label is the nearest
    rows: int  # rows in which that could be decided


@dataclass(frozen=True, kw_only=True)
class Results:
    """The main results; keys of the inner dictionaries are those of `PAIRS`."""

    overall: dict[str, Comparison]
    overall_labels: list[str]
    labels: dict[str, dict[str, Comparison]]
    matrices: dict[str, Matrix]
    inception_score: dict[SideName, InceptionScore]  # of the overall patches, where the extractor gives logits

    @property
    def rows(self) -> dict[str, dict[str, Comparison]]:
        """The rows of a table: the overall results, then each label where there are several."""
        return {"Overall": self.overall, **(self.labels if len(self.labels) > 1 else {})}

    @property
    def measures(self) -> list[str]:
        """Those of `MEASURES` that any comparison has."""
        comparisons = [c for row in self.rows.values() for c in row.values()]
        return [name for name in MEASURES if any(name in c.measures for c in comparisons)]


def compare_sides(activations: Activations, *, neighbors: int) -> Results:
    """Compute all results that the plan allows."""
    plan = activations.plan
    overall = {key: _compare(activations, plan.pooled, key, neighbors, pooled=True) for key in PAIRS}
    return Results(
        overall=overall,
        overall_labels=plan.pooled,
        labels={label: {key: _compare(activations, [label], key, neighbors) for key in PAIRS} for label in plan.labels},
        matrices=_matrices(activations),
        inception_score=_inception_scores(activations),
    )


def _compare(
    activations: Activations, labels: Sequence[str], key: str, neighbors: int, *, pooled: bool = False
) -> Comparison:
    plan, (a, b) = activations.plan, PAIRS[key]
    counted = plan.labels if pooled else labels
    count_a, count_b = (sum(len(plan.sides[side].rows[label]) for label in counted) for side in (a, b))
    if not labels or not all(plan.usable(side, label) for side in (a, b) for label in labels):
        if plan.reference == "train" and b == "held_out":
            return Comparison(n=0, available=(count_a, count_b), note="not compared")
        few = min(count_a, count_b)
        return Comparison(n=0, available=(count_a, count_b), note=f"too few (n={few})" if few else "none")
    return _measure(activations, labels, key, (count_a, count_b), neighbors, extrapolate=pooled and a == "fake")


def _measure(
    activations: Activations,
    labels: Sequence[str],
    key: str,
    available: tuple[int, int],
    neighbors: int,
    *,
    extrapolate: bool,
) -> Comparison:
    # Features, the units to resample, and a generator whose seed names the comparison.
    a, b = PAIRS[key]
    first, second = activations.of(a, labels), activations.of(b, labels)
    units, real_units = activations.units(a, labels), activations.units(b, labels)
    rng = np.random.default_rng([SEED, zlib.crc32("/".join((key, *labels)).encode())])

    # Each measure with its interval; only those of Fréchet distances draw from `rng`.
    measures = {"frechet_distance": frechet_interval(second, first, real_units=real_units, fake_units=units, rng=rng)}
    if activations.has(SPATIAL):
        spatial_real, spatial_fake = (activations.of(side, labels, output=SPATIAL) for side in (b, a))
        measures["spatial_frechet_distance"] = frechet_interval(
            spatial_real, spatial_fake, real_units=real_units, fake_units=units, rng=rng
        )
    if min(len(first), len(second)) >= _MIN_KERNEL:
        measures["kernel_distance"] = kid_interval(second, first, real_units=real_units, fake_units=units)
    measures |= manifold_intervals(
        second,
        first,
        neighbors=neighbors,
        density_neighbors=min(5, len(first) - 1),
        real_units=real_units,
        fake_units=units,
    )

    # The limit for infinitely many synthetic patches.
    infinity = infinity_interval = None
    if extrapolate and len(first) > 2 * first.dimension + 30:  # enough for a line of 15 points
        infinity = frechet_infinity(Statistics.of(second), first, rng=rng)
        infinity_interval = frechet_infinity_interval(infinity, at_n=measures["frechet_distance"])
    return Comparison(
        n=len(first),
        available=available,
        measures=measures,
        frechet_infinity=infinity,
        frechet_infinity_interval=infinity_interval,
        rank_deficient=len(first) <= first.dimension,
    )


def _inception_scores(activations: Activations) -> dict[SideName, InceptionScore]:
    plan = activations.plan
    if not activations.has(LOGITS) or not plan.pooled:
        return {}
    logits = {side: activations.of(side, plan.pooled, output=LOGITS) for side in plan.present}
    rng = np.random.default_rng(SEED)
    return {side: inception_score(x, splits=adm_splits(len(x)), rng=rng) for side, x in logits.items()}


def _matrices(activations: Activations) -> dict[str, Matrix]:
    plan = activations.plan
    labels = [label for label in plan.labels if plan.n[label]]
    if len(labels) < 2:
        return {}
    n = min(plan.n[label] for label in labels)
    statistics = {
        (side, label): Statistics.of(activations.of(side, [label])[:n])
        for side in plan.present
        for label in labels
        if plan.usable(side, label)
    }
    return {
        key: _matrix({k: statistics.get((a, k)) for k in labels}, {k: statistics.get((b, k)) for k in labels}, n)
        for key, (a, b) in PAIRS.items()
        if a in plan.present and b in plan.present
    }


def _matrix(rows: Mapping[str, Statistics | None], columns: Mapping[str, Statistics | None], n: int) -> Matrix:
    distances = [[frechet_distance(c, r) if r and c else None for c in columns.values()] for r in rows.values()]
    decided = lowest = 0
    for i, row in enumerate(distances):
        same_label, others = row[i], [value for j, value in enumerate(row) if j != i and value is not None]
        if same_label is not None and others:
            decided += 1
            lowest += same_label < min(others)
    return Matrix(labels=list(rows), n=n, frechet_distance=distances, diagonal_lowest=lowest, rows=decided)
