"""Kernel distance (KID) and its interval: squared maximum mean discrepancy, cubic kernel (Binkowski et al. 2018).

k(x, y) = (xᵀy / D + 1)³
MMD² = Σ_{i≠j} k(xᵢ, xⱼ) / n(n-1) + Σ_{i≠j} k(yᵢ, yⱼ) / m(m-1) - 2 Σ k(xᵢ, yⱼ) / nm

Unbiased for independent images at any n and therefore, unlike the Fréchet distance, suitable for few; it can be
negative. There are two ways to report it:

`kid_interval` uses every pair. Its interval is Student's, with the standard error of the delete-one jackknife (one
patient on the real side, one image on the synthetic side), which is exact in its leave-outs and conservative near zero.

`kid_of_subsets` is what papers quote: mean and standard deviation over random subsets, 100 of 1000 images. Its
deviation is that of a subset of 1000, not the standard error of the mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from histosynth.errors import HistosynthError
from histosynth.metrics.features import FeaturesLike, Floats, features_of_both_sides
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
    real: FeaturesLike, fake: FeaturesLike, *, real_units: Units | None = None, level: float = LEVEL
) -> Interval:
    """Return the MMD² of all (N, D) real and (M, D) fake features with its interval.

    `real_units` are single images by default. Holds 8 * 1024 * N bytes of the kernel matrix at a time.

    Raises:
        HistosynthError: a side has fewer than three images; features are not finite or differ in number.
    """
    sides = features_of_both_sides(real, fake, minimum=3, purpose="the jackknife of a kernel distance")
    x, y = (side.values for side in sides)
    real_units, fake_units = real_units or image_units(len(x)), image_units(len(y))
    # Sum the kernel within each side and between the sides.
    within_x, within_y = _WithinSide(x, real_units), _WithinSide(y, fake_units)
    between_x, between_y = np.zeros(len(x)), np.zeros(len(y))
    for rows, block in _kernel(x, y):
        between_x[rows] = block.sum(axis=1)
        between_y += block.sum(axis=0)
    n, m, between = len(x), len(y), float(between_x.sum())
    value = within_x.mean + within_y.mean - 2 * between / (n * m)
    # Jackknife: the distance without each unit.
    left_x, left_y = n - within_x.sizes, m - within_y.sizes
    without_x = within_x.left_out - 2 * (between - unit_sums(between_x, real_units)) / (left_x * m)
    without_y = within_y.left_out - 2 * (between - unit_sums(between_y, fake_units)) / (n * left_y)
    variances = [max((len(w) - 1) * float(np.var(w)), np.finfo(np.float64).tiny) for w in (without_x, without_y)]
    variance = sum(variances)
    # Welch & Satterthwaite: degrees of freedom of a sum of variances, each with its own number of units.
    inverse = sum((v / variance) ** 2 / (len(w) - 1) for v, w in zip(variances, (without_x, without_y), strict=True))
    half_width = float(stats.t.ppf((1 + level) / 2, 1 / inverse) * np.sqrt(variance))
    return Interval(value=value, low=value - half_width, high=value + half_width, level=level, note=real_units.note)


def kid_of_subsets(
    real: FeaturesLike, fake: FeaturesLike, *, rng: np.random.Generator, subsets: int = 100, size: int = 1000
) -> SubsetKID:
    """Return the MMD² of random subsets of `size` images per side, drawn without replacement within a subset.

    Raises:
        HistosynthError: a side has fewer images than a subset; features are not finite or differ in number.
    """
    purpose = f"a kernel distance of subsets of {size}"
    sides = features_of_both_sides(real, fake, minimum=max(2, size), purpose=purpose)
    x, y = (side.values for side in sides)
    distances = []
    for _ in range(subsets):
        a = x[rng.choice(len(x), size, replace=False)]
        b = y[rng.choice(len(y), size, replace=False)]
        within = sum(_total(z, z) - float(np.sum(_diagonal(z))) for z in (a, b))
        distances.append(within / (size * (size - 1)) - 2 * _total(a, b) / size**2)
    mean, deviation = float(np.mean(distances)), float(np.std(distances))
    return SubsetKID(mean=mean, deviation=deviation, subsets=subsets, size=size)


class _WithinSide:
    """The mean of k over the pairs of one side: of all images, and without each unit."""

    def __init__(self, x: Floats, units: Units) -> None:
        diagonal, rows = _diagonal(x), np.empty(len(x))
        for block, kernel in _kernel(x, x):
            rows[block] = kernel.sum(axis=1)
        rows -= diagonal
        self.sizes = unit_sums(np.ones(len(x)), units)
        members = np.split(np.argsort(units.index, kind="stable"), np.cumsum(self.sizes).astype(int)[:-1])
        within = np.array([_total(x[i], x[i]) - diagonal[i].sum() if len(i) > 1 else 0.0 for i in members])
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
