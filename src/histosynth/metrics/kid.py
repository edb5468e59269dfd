"""Kernel distance (KID): the squared maximum mean discrepancy under a cubic kernel (Binkowski et al. 2018).

k(x, y) = (xᵀy / D + 1)³
MMD² = Σ_{i≠j} k(xᵢ, xⱼ) / n(n-1) + Σ_{i≠j} k(yᵢ, yⱼ) / m(m-1) - 2 Σ k(xᵢ, yⱼ) / nm

Unbiased for independent images at any n, and so, unlike the Fréchet distance, fit for few; it can be below zero.
Two ways to report it: `kid_interval` uses every pair, with an interval by the delete-one jackknife (one patient on
the real side, one image on the synthetic side), exact in its leave-outs and conservative near zero; and
`kid_of_subsets` gives the mean and deviation over random subsets that papers quote, 100 of 1000 images, whose
deviation is that of a subset of 1000, not the standard error of the mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from histosynth.errors import HistosynthError
from histosynth.metrics.features import Floats, feature_pair
from histosynth.metrics.uncertainty import LEVEL, Interval, Units, image_units, unit_sums

_BLOCK = 1024  # rows of the kernel matrix held at a time


@dataclass(frozen=True, kw_only=True)
class SubsetKID:
    """Mean and standard deviation (divisor: their number) over subsets."""

    mean: float
    deviation: float
    subsets: int
    size: int


def kid_interval(
    real: ArrayLike, fake: ArrayLike, *, real_units: Units | None = None, level: float = LEVEL
) -> Interval:
    """MMD² of all (N, D) real and (M, D) fake features, with Student's interval of the jackknife's standard error.

    `real_units` are single images where not given. Holds 8 * 1024 * N bytes of the kernel matrix at a time.

    Raises:
        HistosynthError: fewer than three images a side, features that are not finite or of different numbers.
    """
    x, y = feature_pair(real, fake, least=3, reason="the jackknife of a kernel distance")
    real_units, fake_units = real_units or image_units(len(x)), image_units(len(y))
    own_x, own_y = _Side(x, real_units), _Side(y, fake_units)
    across_x, across_y = np.zeros(len(x)), np.zeros(len(y))
    for rows, block in _kernel(x, y):
        across_x[rows] = block.sum(axis=1)
        across_y += block.sum(axis=0)
    n, m, across = len(x), len(y), float(across_x.sum())
    value = own_x.mean + own_y.mean - 2 * across / (n * m)
    fewer_x, fewer_y = n - own_x.sizes, m - own_y.sizes
    without_x = own_x.left_out - 2 * (across - unit_sums(across_x, real_units)) / (fewer_x * m)
    without_y = own_y.left_out - 2 * (across - unit_sums(across_y, fake_units)) / (n * fewer_y)
    variances = [max((len(w) - 1) * float(np.var(w)), np.finfo(np.float64).tiny) for w in (without_x, without_y)]
    variance = sum(variances)
    # Welch & Satterthwaite: the degrees of freedom of a sum of variances, each of its own number of units.
    inverse = sum((v / variance) ** 2 / (len(w) - 1) for v, w in zip(variances, (without_x, without_y), strict=True))
    reach = float(stats.t.ppf((1 + level) / 2, 1 / inverse) * np.sqrt(variance))
    return Interval(value=value, low=value - reach, high=value + reach, level=level, note=real_units.note)


def kid_of_subsets(
    real: ArrayLike, fake: ArrayLike, *, rng: np.random.Generator, subsets: int = 100, size: int = 1000
) -> SubsetKID:
    """MMD² of random subsets of `size` images of each side, drawn without replacement within a subset.

    Raises:
        HistosynthError: a side has fewer images than a subset; features that are not finite or of different numbers.
    """
    x, y = feature_pair(real, fake, least=max(2, size), reason=f"a kernel distance of subsets of {size}")
    found = []
    for _ in range(subsets):
        a = x[rng.choice(len(x), size, replace=False)]
        b = y[rng.choice(len(y), size, replace=False)]
        inner = sum(_total(z, z) - float(np.sum(_diagonal(z))) for z in (a, b))
        found.append(inner / (size * (size - 1)) - 2 * _total(a, b) / size**2)
    return SubsetKID(mean=float(np.mean(found)), deviation=float(np.std(found)), subsets=subsets, size=size)


class _Side:
    """The mean of k over the pairs of one side, whole and without each unit."""

    def __init__(self, x: Floats, units: Units) -> None:
        diagonal, rows = _diagonal(x), np.empty(len(x))
        for block, kernel in _kernel(x, x):
            rows[block] = kernel.sum(axis=1)
        rows -= diagonal
        self.sizes = unit_sums(np.ones(len(x)), units)
        order = np.split(np.argsort(units.index, kind="stable"), np.cumsum(self.sizes).astype(int)[:-1])
        within = np.array([_total(x[i], x[i]) - diagonal[i].sum() if len(i) > 1 else 0.0 for i in order])
        n, left = len(x), len(x) - self.sizes
        if left.min() < 2:
            raise HistosynthError(
                f"a kernel distance without one of its {units.count} {units.kind} keeps {left.min():.0f} images; "
                "its interval needs 2 or more; resample by image"
            )
        self.mean = float(rows.sum()) / (n * (n - 1))
        self.left_out = (rows.sum() - 2 * unit_sums(rows, units) + within) / (left * (left - 1))


def _kernel(a: Floats, b: Floats) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    b = np.asarray(b, dtype=np.float64)
    for start in range(0, len(a), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(a)))
        inner = a[rows].astype(np.float64) @ b.T / b.shape[1] + 1.0
        yield rows, inner * inner * inner  # a power would take longer than the product


def _total(a: Floats, b: Floats) -> float:
    return sum(float(block.sum()) for _, block in _kernel(a, b))


def _diagonal(a: Floats) -> NDArray[np.float64]:
    return np.asarray((np.einsum("ij,ij->i", a, a, dtype=np.float64) / a.shape[1] + 1.0) ** 3)
