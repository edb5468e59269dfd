"""Improved precision and recall: how much of one set lies inside the manifold of the other (Kynkäänniemi et al. 2019).

The manifold of a set is the union of balls around its points, each reaching to the point's k-th nearest neighbor:

    precision = share of fake points inside the real manifold       (do the synthetic images look real?)
    recall    = share of real points inside the fake manifold       (is the variety of real images covered?)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK = 2048  # rows of distances held at a time


@dataclass(frozen=True)
class PrecisionRecall:
    """Both shares, in [0, 1]."""

    precision: float
    recall: float


def precision_recall(real: ArrayLike, fake: ArrayLike, *, neighbors: int = 3) -> PrecisionRecall:
    """Improved precision and recall of (N, D) real and (M, D) fake features. Both depend on N and M: keep them equal.

    Raises:
        ValueError: a set has no more than `neighbors` points, so that its balls have no radius.
    """
    a, b = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)
    if min(len(a), len(b)) <= neighbors:
        raise ValueError(f"{neighbors} neighbors need more than {neighbors} points, found {len(a)} and {len(b)}")
    return PrecisionRecall(precision=_share_inside(b, a, neighbors), recall=_share_inside(a, b, neighbors))


def _share_inside(points: NDArray[np.float64], manifold: NDArray[np.float64], neighbors: int) -> float:
    """The share of `points` that lie in at least one ball of the manifold."""
    # The nearest neighbor of a point in its own set is the point itself, hence index k and not k - 1.
    radii = np.concatenate([np.partition(d, neighbors, axis=1)[:, neighbors] for d in _distances(manifold, manifold)])
    inside = [np.any(d <= radii, axis=1) for d in _distances(points, manifold)]
    return float(np.mean(np.concatenate(inside)))


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Squared distances from rows of `a` to all of `b`, in blocks. What lies below rounding is zero, as for copies."""
    norms = np.sum(b**2, axis=1)
    for start in range(0, len(a), _BLOCK):
        block = a[start : start + _BLOCK]
        sums = np.sum(block**2, axis=1)[:, None] + norms
        squared = sums - 2.0 * (block @ b.T)
        yield np.where(squared > 64 * np.finfo(np.float64).eps * sums, squared, 0.0)
