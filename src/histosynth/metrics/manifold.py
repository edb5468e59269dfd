"""How much of one set lies inside the manifold of the other: precision, recall, density, coverage.

The manifold of a set is the union of balls around its points, each reaching to the point's k-th nearest neighbor.

    precision = share of fake points inside the real manifold                      (do the synthetic images look real?)
    recall    = share of real points inside the fake manifold                      (is their variety covered?)
    density   = real balls around a fake point, mean, over k                       (precision that an outlier can't win)
    coverage  = share of real points whose ball holds a fake point

Precision and recall: Kynkäänniemi et al. 2019, k = 3. Density and coverage: Naeem et al. 2020, k = 5; both use real
balls only, so an outlying fake point spoils neither. All balls are closed here (Naeem's code has open ones).

Squared distances are taken in float32, tile by tile, after the features are centered: beside a float32 copy of them
(8 bytes a feature and pair of images) about 60 MB are held. A point that touches a ball to rounding counts as inside.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from histosynth.errors import HistosynthError
from histosynth.metrics.features import feature_pair

_BLOCK = 2048  # rows and columns of distances held at a time
_ROUNDING = 16 * float(np.finfo(np.float32).eps)  # of two squared distances, relative to the squared norms

Rows = NDArray[np.float32]  # (N, D)


@dataclass(frozen=True)
class PrecisionRecall:
    """Both shares, in [0, 1]."""

    precision: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class Membership:
    """Who lies where, a point at a time: what intervals are made from. The measures are means of these."""

    fake_inside: NDArray[np.bool_]  # (M,) in the real manifold
    real_inside: NDArray[np.bool_]  # (N,) in the fake manifold
    fake_density: NDArray[np.float64]  # (M,) real balls around it, over k
    real_covered: NDArray[np.bool_]  # (N,) its ball holds a fake point

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
        """From 0 upward; 1 in expectation where the two distributions are one."""
        return float(self.fake_density.mean())

    @property
    def coverage(self) -> float:
        """In [0, 1]."""
        return float(self.real_covered.mean())


def membership(real: ArrayLike, fake: ArrayLike, *, neighbors: int = 3, density_neighbors: int = 5) -> Membership:
    """All four measures of (N, D) real and (M, D) fake features at once, each a little dearer than one alone.

    `neighbors` is k of precision and recall, `density_neighbors` of density and coverage. All depend on N and M: keep
    them equal.

    Raises:
        HistosynthError: a set has no more points than neighbors, so that its balls have no radius; features that are
            not finite or of different numbers.
    """
    if min(neighbors, density_neighbors) < 1:
        raise HistosynthError(f"a ball needs 1 or more neighbors, found {min(neighbors, density_neighbors)}")
    least = max(neighbors, density_neighbors)
    a, b = feature_pair(real, fake, least=least + 1, reason=f"a manifold of {least} neighbors")
    center = a.mean(axis=0, dtype=np.float64)
    x, y = (np.subtract(z, center, out=np.empty(z.shape, np.float32), casting="same_kind") for z in (a, b))
    nearest = _nearest(x, least)
    real_radii, density_radii = nearest[:, neighbors - 1, None], nearest[:, density_neighbors - 1, None]
    fake_radii = _nearest(y, neighbors)[:, neighbors - 1]
    fake_inside, real_inside, covered = np.zeros(len(y), bool), np.zeros(len(x), bool), np.zeros(len(x), bool)
    balls = np.zeros(len(y), np.int64)
    for rows in _blocks(x):
        for columns in _blocks(y):
            squared = _squared(x[rows], y[columns], norms=1 - _ROUNDING)
            fake_inside[columns] |= (squared <= real_radii[rows]).any(axis=0)
            real_inside[rows] |= (squared <= fake_radii[columns]).any(axis=1)
            held = squared <= density_radii[rows]
            balls[columns] += np.count_nonzero(held, axis=0)
            covered[rows] |= held.any(axis=1)
    return Membership(
        fake_inside=fake_inside,
        real_inside=real_inside,
        fake_density=balls / density_neighbors,
        real_covered=covered,
    )


def precision_recall(real: ArrayLike, fake: ArrayLike, *, neighbors: int = 3) -> PrecisionRecall:
    """Improved precision and recall of (N, D) real and (M, D) fake features; errors as `membership`."""
    found = membership(real, fake, neighbors=neighbors, density_neighbors=neighbors)
    return PrecisionRecall(precision=found.precision, recall=found.recall)


def _nearest(x: Rows, neighbors: int) -> NDArray[np.float32]:
    """Squared distances (N, neighbors) from each point to its nearest others, ascending."""
    best = np.full((len(x), neighbors), np.inf, np.float32)

    def improve(rows: slice, squared: NDArray[np.float32]) -> None:
        candidates = np.concatenate([best[rows], squared], axis=1)
        candidates.partition(neighbors - 1, axis=1)
        best[rows] = candidates[:, :neighbors]

    for rows in _blocks(x):
        for columns in _blocks(x):
            if columns.start < rows.start:
                continue  # the mirrored tile has served both
            squared = _squared(x[rows], x[columns])
            if columns == rows:
                np.fill_diagonal(squared, np.inf)
            else:
                improve(columns, squared.T)
            improve(rows, squared)
    return np.sort(best.clip(min=0), axis=1)


def _squared(a: Rows, b: Rows, *, norms: float = 1.0) -> NDArray[np.float32]:
    """Squared distances from rows of `a` to rows of `b`: |a|² + |b|² - 2ab, the norms taken times `norms`."""
    squared = a @ (-2 * b).T
    squared += norms * np.einsum("ij,ij->i", a, a)[:, None]
    squared += norms * np.einsum("ij,ij->i", b, b)
    return squared


def _blocks(x: Rows) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, len(x))) for start in range(0, len(x), _BLOCK))
