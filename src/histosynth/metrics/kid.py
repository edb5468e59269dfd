"""Kernel distance (KID) and its interval: squared maximum mean discrepancy, cubic kernel (Binkowski et al. 2018).

k(x, y) = (xᵀy / D + 1)³
MMD² = mean k(xᵢ, xⱼ) + mean k(yᵢ, yⱼ) - 2 mean k(xᵢ, yⱼ),      i and j of different units in the first two means

Units are patients on a real side, and single images on the synthetic side, where this is the usual estimator. Patches
of one patient resemble each other, so pairs within a patient would raise the first mean, and with it the distance of
two equal distributions. Over pairs of different patients it is unbiased at any n, and therefore, unlike the Fréchet
distance, suitable for few images; it can be negative. Where patients are unknown or too few, units are images: the
distance is then too large by the similarity within patients. There are two ways to report it:

`kid_interval` uses every such pair. Its interval is that of the delete-one jackknife over units (`uncertainty`), which
is exact in its leave-outs and conservative near zero.

`kid_of_subsets` is what papers quote: mean and standard deviation over random subsets, 100 of 1000 images, whoever they
are of. Its deviation is that of a subset of 1000, not the standard error of the mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.metrics.features import FeaturesLike, Floats, features_of_both_sides
from histosynth.metrics.uncertainty import LEVEL, Interval, Units, image_units, jackknife_interval, unit_sums

_BLOCK = 1024  # rows of the kernel matrix held at a time


@dataclass(frozen=True, kw_only=True)
class SubsetKID:
    """Mean and standard deviation (divisor: their number) over subsets."""

    mean: float
    deviation: float
    subsets: int
    size: int


def kid_interval(
    real: FeaturesLike,
    fake: FeaturesLike,
    *,
    real_units: Units | None = None,
    fake_units: Units | None = None,
    level: float = LEVEL,
) -> Interval:
    """Return the MMD² of all (N, D) real and (M, D) fake features with its interval.

    Units are single images by default. Holds 8 * 1024 * N bytes of the kernel matrix at a time.

    Raises:
        HistosynthError: a side has fewer than three images or units; features are not finite or differ in number.
    """
    sides = features_of_both_sides(real, fake, minimum=3, purpose="the jackknife of a kernel distance")
    x, y = (side.values for side in sides)
    real_units, fake_units = real_units or image_units(len(x)), fake_units or image_units(len(y))
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
    without_x = within_x.left_out + within_y.mean - 2 * (between - unit_sums(between_x, real_units)) / (left_x * m)
    without_y = within_y.left_out + within_x.mean - 2 * (between - unit_sums(between_y, fake_units)) / (n * left_y)
    return jackknife_interval(value, (without_x, without_y), level=level, note=real_units.note or fake_units.note)


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
    """The mean of k over the pairs of different units of one side: of all images, and without each unit."""

    def __init__(self, x: Floats, units: Units) -> None:
        if units.count < 3:
            raise HistosynthError(
                f"a kernel distance averages over pairs of different {units.kind}, and its interval leaves one out; "
                f"it needs 3 or more {units.kind}, found {units.count}; resample by image"
            )
        # The sum over all pairs of images, less that over the pairs of each unit.
        rows = np.empty(len(x))
        for block, kernel in _kernel(x, x):
            rows[block] = kernel.sum(axis=1)
        self.sizes = unit_sums(np.ones(len(x)), units)
        members = np.split(np.argsort(units.index, kind="stable"), np.cumsum(self.sizes).astype(int)[:-1])
        diagonal = _diagonal(x)
        same = np.array([_total(x[i], x[i]) if len(i) > 1 else diagonal[i].sum() for i in members])
        different, n = unit_sums(rows, units) - same, len(x)  # pairs of each unit with all others
        pairs = n**2 - np.sum(self.sizes**2)
        self.mean = float(different.sum() / pairs)
        self.left_out = (different.sum() - 2 * different) / (pairs - 2 * self.sizes * (n - self.sizes))


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
