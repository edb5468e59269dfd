"""Memorization in features: are synthetic patches closer to the training patches than unseen real patches are?

d(x, T) is the Euclidean distance of x to its nearest neighbor in the training set T.

Authenticity (Alaa et al. 2022): a synthetic patch x with nearest training patch t is authentic unless it is closer to t
than any other training patch is, d(x, t) < d(t, T \\ t). AuthPct is the share of authentic patches.

Data-copying test (Meehan et al. 2020): with P held-out patches and Q synthetic ones, U counts the pairs (p, q) with
d(q, T) > d(p, T), counting ties as half (Mann-Whitney). The space is partitioned by k-means on T. In each cell π, all
three sets and d are restricted to the cell, and

    Z(π) = (U - mn/2) / √(mn (m + n + 1) / 12)          m, n: synthetic and held-out patches in π
    C_T = Σ P(π) Z(π) / Σ P(π)                          over the cells with at least 20 synthetic patches

where P(π) is the share of the held-out patches in π. A C_T well below 0 indicates copying, well above 0 underfitting.
The number of cells (see `data_copying`) is our choice.

Held-out patches come from patients who are not in T, so they lie farther from T than new patches of T's patients would.
For this reason alone, a generator that reproduces its training patients and copies nothing has a C_T below 0. Patches
of a patient are not independent, so p is far too small. Therefore two controls replace the synthetic patches with real
ones removed from T: those of whole patients, and patches drawn at random, whose patients remain in T. The ideal
generator would match the second control.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

MIN_PATCHES = 20
"""Minimum of synthetic patches per cell, and of held-out and of synthetic patches for the whole test."""

_BLOCK_BYTES = 64 * 2**20  # of distances in memory at a time
_PATCHES_PER_CELL, _MAX_CELLS = 100, 10
_MAX_ITERATIONS = 30

FeatureArray = NDArray[np.float32]  # (N, D)


@dataclass(frozen=True, kw_only=True)
class DataCopying:
    """Result of the data-copying test."""

    c_t: float
    z: float
    """C_T in units of its standard deviation without copying: C_T / √Σ w², with w = P(π) / Σ P(π)."""
    p: float
    """One-sided: small if synthetic patches are closer."""
    nearer: float
    """Probability that a synthetic patch is closer to T than a held-out one of its cell; 0.5 means no difference."""
    cells: int
    """Cells used."""
    cells_left_out: int
    """Cells with fewer than 20 synthetic patches, or without held-out patches."""


@dataclass(frozen=True, kw_only=True)
class Closeness:
    """Closeness of `n` patches to `n_train` training patches."""

    n: int
    n_train: int
    authenticity: float | None = None  # AuthPct / 100
    copying: DataCopying | None = None
    note: str | None = None  # why a result is missing


def nearest_neighbors(
    points: ArrayLike, reference: ArrayLike, *, others: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the row of the nearest reference to each point, and its distance; memory is bounded.

    Args:
        points: (N, D).
        reference: (M, D), searched for neighbors.
        others: `points[i]` is `reference[i]`, which does not count as its neighbor.
    """
    a, b = np.asarray(points, dtype=np.float32), np.asarray(reference, dtype=np.float32)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or len(b) <= others:
        raise ValueError(f"points of shape {a.shape} have no nearest neighbors in a reference of shape {b.shape}")
    center = b.mean(axis=0)
    shifted = b - center  # float32 is accurate enough around the center
    half = np.einsum("nd,nd->n", shifted, shifted) / 2
    rows, distances = np.empty(len(a), np.int64), np.empty(len(a))
    step = max(1, _BLOCK_BYTES // (4 * max(len(b), 2 * a.shape[1])))  # closeness in float32, differences in float64
    for start in range(0, len(a), step):
        block = a[start : start + step]
        closeness = (block - center) @ shifted.T - half  # (|a|² - |a - b|²) / 2
        if others:
            closeness[np.arange(len(block)), np.arange(start, start + len(block))] = -np.inf
        best = closeness.argmax(axis=1)
        rows[start : start + step] = best
        difference = block.astype(np.float64) - b[best]  # recomputed, so that a copy is at distance 0 exactly
        distances[start : start + step] = np.sqrt(np.einsum("nd,nd->n", difference, difference))
    return rows, distances


def authenticity(fake: ArrayLike, train: ArrayLike) -> float:
    """Return the authentic share in [0, 1] of (N, D) synthetic features, given (M >= 2, D) training features."""
    reference = np.asarray(train, dtype=np.float32)
    rows, distances = nearest_neighbors(fake, reference)
    matched, index = np.unique(rows, return_inverse=True)
    order = np.concatenate([matched, np.setdiff1d(np.arange(len(reference)), matched)])
    _, to_others = nearest_neighbors(reference[matched], reference[order], others=True)
    return float(np.mean(distances >= to_others[index]))


def data_copying(
    fake: ArrayLike, held_out: ArrayLike, train: ArrayLike, *, cells: int | None = None, seed: int = 0
) -> DataCopying:
    """Test (N, D) features for data copying.

    `cells` is by default one per hundred patches of the smaller of the two tested sets, at most ten.

    Raises:
        ValueError: there are fewer than 20 synthetic or held-out patches, or no cell has 20 synthetic patches and a
            held-out one.
    """
    q, p, t = (np.asarray(x, dtype=np.float32) for x in (fake, held_out, train))
    if min(len(p), len(q)) < MIN_PATCHES or not len(t):
        raise ValueError(f"needs {MIN_PATCHES} synthetic and held-out patches, found {len(q)} and {len(p)}")
    # Partition the space.
    count = cells or min(max(1, min(len(p), len(q)) // _PATCHES_PER_CELL), _MAX_CELLS)
    centers = k_means(t, min(count, len(t)), rng=np.random.default_rng(seed))
    of_q, of_p, of_t = (nearest_neighbors(x, centers)[0] for x in (q, p, t))
    # Test each cell.
    weights, scores, shares = [], [], []
    for cell in range(len(centers)):
        here_q, here_p, here_t = q[of_q == cell], p[of_p == cell], t[of_t == cell]
        m, n = len(here_q), len(here_p)
        if m < MIN_PATCHES or not n or not len(here_t):
            continue
        ranks = rankdata(np.concatenate([nearest_neighbors(x, here_t)[1] for x in (here_q, here_p)]))
        u = ranks[:m].sum() - m * (m + 1) / 2
        weights.append(n / len(p))
        scores.append((u - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12))
        shares.append(1 - u / (m * n))
    if not weights:
        raise ValueError(f"no cell has {MIN_PATCHES} synthetic patches and a held-out one: the two do not overlap")
    # Combine the cells.
    w = np.array(weights) / np.sum(weights)
    c_t = float(w @ scores)
    z = c_t / float(np.sqrt(w @ w))
    return DataCopying(
        c_t=c_t, z=z, p=float(norm.cdf(z)), nearer=float(w @ shares),
        cells=len(w), cells_left_out=len(centers) - len(w),
    )  # fmt: skip


def k_means(points: FeatureArray, count: int, *, rng: np.random.Generator) -> FeatureArray:
    """Return at most `count` centers of (N, D) points: Lloyd's, from k-means++ (Arthur & Vassilvitskii 2007)."""
    centers = points[[rng.integers(len(points))]]
    while len(centers) < count:
        squared = nearest_neighbors(points, centers)[1] ** 2
        if not squared.any():  # fewer distinct points than cells
            break
        centers = np.concatenate([centers, points[[rng.choice(len(points), p=squared / squared.sum())]]])
    for _ in range(_MAX_ITERATIONS):
        cell = nearest_neighbors(points, centers)[0]
        moved = np.stack([points[cell == k].mean(axis=0) for k in np.unique(cell)])
        if moved.shape == centers.shape and np.array_equal(moved, centers):
            break
        centers = moved
    return centers


def measure_closeness(fake: FeatureArray, held_out: FeatureArray, train: FeatureArray, *, seed: int = 0) -> Closeness:
    """Return both measures of `fake`; the note states why one is missing."""
    closeness = Closeness(n=len(fake), n_train=len(train))
    if not len(fake) or len(train) < 2:
        return replace(closeness, note=f"not measured: {len(fake)} patches against {len(train)} training patches")
    closeness = replace(closeness, authenticity=authenticity(fake, train))
    try:
        return replace(closeness, copying=data_copying(fake, held_out, train, seed=seed))
    except ValueError as error:
        return replace(closeness, note=f"C_T not measured: {error}")


def measure_controls(
    held_out: FeatureArray, train: FeatureArray, *, patients: Sequence[str | None], n: int, seed: int = 0
) -> tuple[Closeness, Closeness]:
    """Measure about `n` training patches as if synthetic: those of whole patients, and patches drawn at random.

    At most half of the training patches are removed, which leaves the rest slightly farther apart. Patients are taken
    in random order as long as they fit.

    Args:
        held_out: (P, D) features.
        train: (N, D) features.
        patients: patient of each row of `train`.
        n: number of patches to remove, that is, the number of synthetic patches.
        seed: determines which are removed.
    """
    # Remove patches drawn at random.
    rng = np.random.default_rng(seed)
    wanted = min(n, len(train) // 4)
    drawn = np.zeros(len(train), bool)
    drawn[rng.permutation(len(train))[:wanted]] = True
    by_patch = measure_closeness(train[drawn], held_out, train[~drawn], seed=seed)

    # Remove whole patients.
    names = np.array([name or "" for name in patients], dtype=str)
    removed = np.zeros(len(train), bool)
    for name in rng.permutation(np.unique(names[names != ""])):
        more = removed | (names == name)
        if removed.sum() < wanted and more.sum() <= len(train) // 2:
            removed = more
    if not removed.any():
        reason = "every patient has more than half of them" if names.any() else "their patients are unknown"
        note = f"not measured: there are {len(train)} training patches, and {reason}"
        return Closeness(n=0, n_train=len(train), note=note), by_patch
    return measure_closeness(train[removed], held_out, train[~removed], seed=seed), by_patch
