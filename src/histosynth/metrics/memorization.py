"""Memorization in features: are synthetic patches nearer to the training patches than unseen real ones are?

d(x, T) is the Euclidean distance of x to its nearest neighbor in the training set T.

Authenticity (Alaa et al. 2022): a synthetic patch x with nearest training patch t is authentic unless it
is nearer to t than any other training patch is, d(x, t) < d(t, T \\ t). AuthPct is the share of authentic patches.

Data-copying test (Meehan et al. 2020): with P held-out patches and Q synthetic ones, U counts the pairs (p, q) with
d(q, T) > d(p, T), a tie as half (Mann-Whitney). In each cell π of a partition of the space by k-means on T, all three
sets and d are restricted to the cell, and

    Z(π) = (U - mn/2) / √(mn (m + n + 1) / 12)          m, n: synthetic and held-out patches in π
    C_T = Σ P(π) Z(π) / Σ P(π)                          over the cells with 20 synthetic patches or more

where P(π) is the share of the held-out patches in π. C_T well below 0 means copying, well above 0 underfitting. The
number of cells (see `data_copying`) is our choice.

Held-out patches are of patients that T does not have, so they lie farther from T than new patches of T's patients
would. A generator that draws from its training patients and copies nothing has a C_T below 0 for that alone, and
patches of a patient are not independent, so p is far too sure of itself. Hence two controls put real patches, taken out
of T, in the place of the synthetic ones: those of whole patients, and those drawn at random, whose patients stay in T.
The second is what the ideal generator would reach.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

MIN_PATCHES = 20
"""Synthetic patches that a cell needs, and held-out and synthetic ones that the test needs at all."""

_BLOCK_BYTES = 64 * 2**20  # of distances held at a time
_PER_CELL, _MOST_CELLS = 100, 10
_ROUNDS = 30

FeatureArray = NDArray[np.float32]  # (N, D)


@dataclass(frozen=True, kw_only=True)
class DataCopying:
    """The data-copying test."""

    c_t: float
    z: float  # C_T in units of its standard deviation where nothing is copied: C_T / √Σ w², with w = P(π) / Σ P(π)
    p: float  # one-sided: small where synthetic patches are nearer
    nearer: (
        float  # chance that a synthetic patch is nearer to T than a held-out one of its cell; 0.5 means no difference
    )
    cells: int  # that count
    cells_left_out: int  # with fewer than 20 synthetic patches, or no held-out one


@dataclass(frozen=True, kw_only=True)
class Closeness:
    """How close `n` patches are to `n_train` training patches."""

    n: int
    n_train: int
    authenticity: float | None = None  # AuthPct / 100
    copying: DataCopying | None = None
    note: str | None = None  # why a figure is missing


def nearest_neighbors(
    points: ArrayLike, reference: ArrayLike, *, others: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Row of the nearest reference (M, D) to each point (N, D), and its distance; memory is bounded.

    Args:
        points: what is asked about.
        reference: among which.
        others: `points[i]` is `reference[i]`, and so no neighbor of its own.
    """
    a, b = np.asarray(points, dtype=np.float32), np.asarray(reference, dtype=np.float32)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or len(b) <= others:
        raise ValueError(f"no nearest neighbors of {a.shape} points in a reference of {b.shape}")
    center = b.mean(axis=0)
    shifted = b - center  # float32 is exact enough about the center
    half = np.einsum("nd,nd->n", shifted, shifted) / 2
    rows, distances = np.empty(len(a), np.int64), np.empty(len(a))
    step = max(1, _BLOCK_BYTES // (4 * len(b)))
    for start in range(0, len(a), step):
        block = a[start : start + step]
        closeness = (block - center) @ shifted.T - half  # (|a|² - |a - b|²) / 2
        if others:
            closeness[np.arange(len(block)), np.arange(start, start + len(block))] = -np.inf
        found = closeness.argmax(axis=1)
        rows[start : start + step] = found
        difference = block.astype(np.float64) - b[found]  # anew: a copy is at distance 0 exactly
        distances[start : start + step] = np.sqrt(np.einsum("nd,nd->n", difference, difference))
    return rows, distances


def authenticity(fake: ArrayLike, train: ArrayLike) -> float:
    """Share in [0, 1] of the authentic among (N, D) synthetic features, given (M >= 2, D) training features."""
    reference = np.asarray(train, dtype=np.float32)
    rows, distances = nearest_neighbors(fake, reference)
    asked, places = np.unique(rows, return_inverse=True)
    order = np.concatenate([asked, np.setdiff1d(np.arange(len(reference)), asked)])
    _, own = nearest_neighbors(reference[asked], reference[order], others=True)
    return float(np.mean(distances >= own[places]))


def data_copying(
    fake: ArrayLike, held_out: ArrayLike, train: ArrayLike, *, cells: int | None = None, seed: int = 0
) -> DataCopying:
    """The data-copying test on (N, D) features; `cells` by default one for each hundred of the fewer, at most ten.

    Raises:
        ValueError: fewer than 20 synthetic or held-out patches, or no cell with 20 synthetic and any held-out ones.
    """
    q, p, t = (np.asarray(x, dtype=np.float32) for x in (fake, held_out, train))
    if min(len(p), len(q)) < MIN_PATCHES or not len(t):
        raise ValueError(f"needs {MIN_PATCHES} synthetic and held-out patches, found {len(q)} and {len(p)}")
    count = cells or min(max(1, min(len(p), len(q)) // _PER_CELL), _MOST_CELLS)
    centers = k_means(t, min(count, len(t)), rng=np.random.default_rng(seed))
    of_q, of_p, of_t = (nearest_neighbors(x, centers)[0] for x in (q, p, t))
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
    w = np.array(weights) / np.sum(weights)
    c_t = float(w @ scores)
    z = c_t / float(np.sqrt(w @ w))
    return DataCopying(
        c_t=c_t, z=z, p=float(norm.cdf(z)), nearer=float(w @ shares),
        cells=len(w), cells_left_out=len(centers) - len(w),
    )  # fmt: skip


def k_means(points: FeatureArray, count: int, *, rng: np.random.Generator) -> FeatureArray:
    """`count` centers or fewer of (N, D) points, by Lloyd's rounds from k-means++ (Arthur & Vassilvitskii 2007)."""
    centers = points[[rng.integers(len(points))]]
    while len(centers) < count:
        squared = nearest_neighbors(points, centers)[1] ** 2
        if not squared.any():  # fewer distinct points than cells
            break
        centers = np.concatenate([centers, points[[rng.choice(len(points), p=squared / squared.sum())]]])
    for _ in range(_ROUNDS):
        cell = nearest_neighbors(points, centers)[0]
        moved = np.stack([points[cell == k].mean(axis=0) for k in np.unique(cell)])
        if moved.shape == centers.shape and np.array_equal(moved, centers):
            break
        centers = moved
    return centers


def measure_closeness(fake: FeatureArray, held_out: FeatureArray, train: FeatureArray, *, seed: int = 0) -> Closeness:
    """Both measures of `fake`, or in the note why one is missing."""
    found = Closeness(n=len(fake), n_train=len(train))
    if not len(fake) or len(train) < 2:
        return replace(found, note=f"not measured: {len(fake)} patches against {len(train)} training patches")
    found = replace(found, authenticity=authenticity(fake, train))
    try:
        return replace(found, copying=data_copying(fake, held_out, train, seed=seed))
    except ValueError as error:
        return replace(found, note=f"C_T not measured: {error}")


def measure_controls(
    held_out: FeatureArray, train: FeatureArray, *, patients: Sequence[str | None], n: int, seed: int = 0
) -> tuple[Closeness, Closeness]:
    """About `n` training patches in the place of the synthetic ones: of whole patients, and drawn at random.

    At most half of the training patches are taken out, for lack of which the rest lie a little farther apart; of
    patients, the first in a random order that fit in.

    Args:
        held_out: (P, D) features.
        train: (N, D) features.
        patients: of each row of `train`.
        n: how many are wanted: as many as there are synthetic patches.
        seed: decides what is taken out.
    """
    rng = np.random.default_rng(seed)
    wanted = min(n, len(train) // 4)
    drawn = np.zeros(len(train), bool)
    drawn[rng.permutation(len(train))[:wanted]] = True
    by_patch = measure_closeness(train[drawn], held_out, train[~drawn], seed=seed)

    names = np.array([name or "" for name in patients], dtype=str)
    taken = np.zeros(len(train), bool)
    for name in rng.permutation(np.unique(names[names != ""])):
        more = taken | (names == name)
        if taken.sum() < wanted and more.sum() <= len(train) // 2:
            taken = more
    if not taken.any():
        note = "no patient has half of them or fewer" if names.any() else "they name no patient"
        note = f"not measured: {len(train)} training patches, and {note}"
        return Closeness(n=0, n_train=len(train), note=note), by_patch
    return measure_closeness(train[taken], held_out, train[~taken], seed=seed), by_patch
