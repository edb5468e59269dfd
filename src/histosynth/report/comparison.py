"""Every figure of a report, from features alone: per label, overall, and each label against every other.

The distance between two sets of real patients (training vs held-out) is measured beside the synthetic ones: it is what
the measure says of tissue that is real on both sides, and no synthetic figure can be read without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.features import Statistics
from histosynth.metrics.frechet import frechet_distance
from histosynth.metrics.manifold import precision_recall
from histosynth.report.sides import Plan, SideName

Features = Mapping[SideName, Mapping[str, NDArray[np.float32]]]  # side -> label -> (>= n, D), in the order of the plan

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


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One set against another. The first takes the part of the fake in precision and recall."""

    n: int  # of each side; 0 where there is no figure
    available: tuple[int, int]
    frechet_distance: float | None = None
    precision: float | None = None
    recall: float | None = None
    rank_deficient: bool = False  # n <= number of features: the distance is biased upward
    note: str | None = None  # why there is no figure


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Fréchet distances of each label of one side (rows) to each label of the other (columns), all at the same n."""

    labels: list[str]
    n: int
    frechet_distance: list[list[float | None]]
    diagonal_lowest: int  # rows whose own label is the nearest
    rows: int  # rows in which that could be decided


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All of them; the keys are those of `PAIRS`."""

    overall: dict[str, Comparison]
    overall_labels: list[str]
    labels: dict[str, dict[str, Comparison]]
    matrices: dict[str, Matrix]

    @property
    def rows(self) -> dict[str, dict[str, Comparison]]:
        """What a table shows: the overall figures, then each label where there are several."""
        return {"Overall": self.overall, **(self.labels if len(self.labels) > 1 else {})}


def compare(plan: Plan, features: Features, *, neighbors: int) -> Figures:
    """Measure everything that the plan allows."""
    return Figures(
        overall=_overall(plan, features, neighbors),
        overall_labels=plan.pooled,
        labels={label: _label(plan, features, label, neighbors) for label in plan.labels},
        matrices=_matrices(plan, features),
    )


def _label(plan: Plan, features: Features, label: str, neighbors: int) -> dict[str, Comparison]:
    found = {}
    for key, (a, b) in PAIRS.items():
        counts = (len(plan.sides[a].rows[label]), len(plan.sides[b].rows[label]))
        if not plan.usable(a, label) or not plan.usable(b, label):
            few = min(counts)
            found[key] = Comparison(n=0, available=counts, note=f"too few (n={few})" if few else "none")
        else:
            n = plan.n[label]
            found[key] = _measure(features[a][label][:n], features[b][label][:n], counts, neighbors)
    return found


def _overall(plan: Plan, features: Features, neighbors: int) -> dict[str, Comparison]:
    found = {}
    for key, (a, b) in PAIRS.items():
        counts = (sum(map(len, plan.sides[a].rows.values())), sum(map(len, plan.sides[b].rows.values())))
        missing = [side for side in (a, b) if side not in plan.present]
        if missing or not plan.pooled:
            few = min(counts)
            found[key] = Comparison(n=0, available=counts, note=f"too few (n={few})" if few else "none")
        else:
            x, y = (np.concatenate([features[side][k][: plan.n[k]] for k in plan.pooled]) for side in (a, b))
            found[key] = _measure(x, y, counts, neighbors)
    return found


def _measure(a: NDArray[np.float32], b: NDArray[np.float32], available: tuple[int, int], neighbors: int) -> Comparison:
    shares = precision_recall(real=b, fake=a, neighbors=neighbors)
    return Comparison(
        n=len(a),
        available=available,
        frechet_distance=frechet_distance(Statistics.of(b), Statistics.of(a)),
        precision=shares.precision,
        recall=shares.recall,
        rank_deficient=len(a) <= a.shape[1],
    )


def _matrices(plan: Plan, features: Features) -> dict[str, Matrix]:
    labels = [label for label in plan.labels if plan.n[label]]
    if len(labels) < 2:
        return {}
    n = min(plan.n[label] for label in labels)
    statistics = {
        (side, label): Statistics.of(features[side][label][:n])
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
        own, others = row[i], [value for j, value in enumerate(row) if j != i and value is not None]
        if own is not None and others:
            decided += 1
            lowest += own < min(others)
    return Matrix(labels=list(rows), n=n, frechet_distance=distances, diagonal_lowest=lowest, rows=decided)
