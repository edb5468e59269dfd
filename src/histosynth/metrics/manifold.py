"""Precision, recall, density and coverage: how much of one set lies inside the manifold of the other.

The manifold of a set is the union of balls around its points, each reaching to the point's k-th nearest neighbor.

    precision = share of fake points inside the real manifold                      (do the synthetic images look real?)
    recall    = share of real points inside the fake manifold                      (is their variety covered?)
    density   = real balls around a fake point, mean, divided by k             (precision that outliers cannot inflate)
    coverage  = share of real points whose ball holds a fake point

Precision and recall: Kynkäänniemi et al. 2019, k = 3. Density and coverage: Naeem et al. 2020, k = 5; both use real
balls only, so an outlying fake point distorts neither. All balls are closed here (open in Naeem's code).

Squared distances are computed in float32, block by block, on centered features: besides a float32 copy of the features
(8 bytes per feature and pair of images), this takes about 60 MB of memory. A point that touches a ball to within
rounding counts as inside.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.metrics.features import Features, FeaturesLike, features_of_both_sides

_BLOCK = 2048  # rows and columns of distances held at a time
ROUNDING = 16 * float(np.finfo(np.float32).eps)  # of two squared distances, relative to the squared norms

Rows = NDArray[np.float32]  # (N, D)


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall, in [0, 1]."""

    precision: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class Membership:
    """Membership of each point in the other manifold. Measures are means of these arrays."""

    fake_inside: NDArray[np.bool_]  # (M,) in the real manifold
    real_inside: NDArray[np.bool_]  # (N,) in the fake manifold
    fake_density: NDArray[np.float64]  # (M,) real balls that hold it, divided by k
    real_covered: NDArray[np.bool_]  # (N,) whether its ball holds a fake point

    @property
    def precision(self) -> float:
        """In [0, 1]."""
        return float(self.fake_inside.mean())

    @property
    def recall(self) -> float:
        """In [0, 1]."""
        return float(self.real_inside.mean())

    @property
    def density(self) -> float:
        """At least 0; 1 in expectation if the two distributions are equal."""
        return float(self.fake_density.mean())

    @property
    def coverage(self) -> float:
        """In [0, 1]."""
        return float(self.real_covered.mean())


def membership(real: FeaturesLike, fake: FeaturesLike, *, neighbors: int = 3, density_neighbors: int = 5) -> Membership:
    """Compute all four measures of (N, D) real and (M, D) fake features in one pass.

    `neighbors` is k of precision and recall, `density_neighbors` of density and coverage. All depend on N and M: keep
    them equal.

    Raises:
        HistosynthError: a set has no more points than neighbors, so its balls have no radius; features are not finite
            or differ in number.
    """
    if min(neighbors, density_neighbors) < 1:
        raise HistosynthError(f"a ball needs 1 or more neighbors, found {min(neighbors, density_neighbors)}")
    most = max(neighbors, density_neighbors)
    a, b = features_of_both_sides(real, fake, minimum=most + 1, purpose=f"a manifold of {most} neighbors")
    # Find the radius of each ball.
    x, y = centered(a, b)
    nearest = nearest_distances(x, most)
    real_radii, density_radii = nearest[:, neighbors - 1, None], nearest[:, density_neighbors - 1, None]
    fake_radii = nearest_distances(y, neighbors)[:, neighbors - 1]
    # Compare every distance between the sides with the radii, block by block.
    fake_inside, real_inside, covered = np.zeros(len(y), bool), np.zeros(len(x), bool), np.zeros(len(x), bool)
    balls = np.zeros(len(y), np.int64)
    for rows in blocks(x):
        for columns in blocks(y):
            squared = squared_distances(x[rows], y[columns], norms=1 - ROUNDING)
            fake_inside[columns] |= (squared <= real_radii[rows]).any(axis=0)
            real_inside[rows] |= (squared <= fake_radii[columns]).any(axis=1)
            in_ball = squared <= density_radii[rows]
            balls[columns] += np.count_nonzero(in_ball, axis=0)
            covered[rows] |= in_ball.any(axis=1)
    return Membership(
        fake_inside=fake_inside,
        real_inside=real_inside,
        fake_density=balls / density_neighbors,
        real_covered=covered,
    )


def precision_recall(real: FeaturesLike, fake: FeaturesLike, *, neighbors: int = 3) -> PrecisionRecall:
    """Return improved precision and recall of (N, D) real and (M, D) fake features; raises what `membership` raises."""
    members = membership(real, fake, neighbors=neighbors, density_neighbors=neighbors)
    return PrecisionRecall(precision=members.precision, recall=members.recall)


def centered(real: Features, fake: Features) -> tuple[Rows, Rows]:
    """Return both sides in float32, with the mean of the real side subtracted."""
    center = real.values.mean(axis=0, dtype=np.float64)
    x, y = (
        np.subtract(side.values, center, out=np.empty(side.values.shape, np.float32), casting="same_kind")
        for side in (real, fake)
    )
    return x, y


def nearest_distances(x: Rows, neighbors: int) -> NDArray[np.float32]:
    """Return the squared distances (N, neighbors) from each point to its nearest others, ascending."""
    best = np.full((len(x), neighbors), np.inf, np.float32)

    def improve(rows: slice, squared: NDArray[np.float32]) -> None:
        candidates = np.concatenate([best[rows], squared], axis=1)
        candidates.partition(neighbors - 1, axis=1)
        best[rows] = candidates[:, :neighbors]

    for rows in blocks(x):
        for columns in blocks(x):
            if columns.start < rows.start:
                continue  # its transpose has already updated both
            squared = squared_distances(x[rows], x[columns])
            if columns == rows:
                np.fill_diagonal(squared, np.inf)
            else:
                improve(columns, squared.T)
            improve(rows, squared)
    return np.sort(best.clip(min=0), axis=1)


def squared_distances(a: Rows, b: Rows, *, norms: float = 1.0) -> NDArray[np.float32]:
    """Return squared distances from rows of `a` to rows of `b`: |a|² + |b|² - 2ab, the norms multiplied by `norms`."""
    squared = a @ (-2 * b).T
    squared += norms * np.einsum("ij,ij->i", a, a)[:, None]
    squared += norms * np.einsum("ij,ij->i", b, b)
    return squared


def blocks(x: Rows) -> Iterator[slice]:
    """Return the slices of rows whose distances are computed at a time."""
    return (slice(start, min(start + _BLOCK, len(x))) for start in range(0, len(x), _BLOCK))
