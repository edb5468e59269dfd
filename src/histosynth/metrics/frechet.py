"""Fréchet distance between two sets of features, each approximated by a Gaussian, and its interval.

d² = |μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½          (Dowson & Landau 1982; as FID: Heusel et al. 2017)

With Σ = FᵀF the last trace is the sum of the singular values of F₁F₂ᵀ. No root of an unsymmetric product is taken, so
the value is exact (to rounding) for singular covariances too, such as those of fewer images than features.

Its expectation falls with the number of images n as d²(∞) + c/n, once n is well above the number of features. A line
fitted to distances at several n and extrapolated to 1/n = 0 removes this bias (Chong & Forsyth 2020).

The distance cannot be resampled for an interval: a resampled set repeats images, which adds distance of its own, often
more than the width of the interval. Its first-order expansion can (the infinitesimal jackknife; Efron 1982). With the
influence h of each image, d²* = d² + mean* h(real) + mean* h(fake). The expansion adds no bias, costs one decomposition
for all replicates, and holds for fewer images than features. The interval is one of the distance AT THESE NUMBERS of
patients and images, whose expectation lies above that of infinitely many.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from histosynth.errors import HistosynthError
from histosynth.metrics.features import (
    Features,
    FeaturesLike,
    features_of_both_sides,
    require_equal_dimensions,
    require_images,
)
from histosynth.metrics.statistics import Statistics
from histosynth.metrics.uncertainty import (
    LEVEL,
    REPLICATES,
    Interval,
    Units,
    image_units,
    resampled_shifts,
    shift_quantiles,
)

_PURPOSE = "a Fréchet distance"


def frechet_distance(real: Statistics, fake: Statistics) -> float:
    """Return the squared distance d² in squared units of the features, as is customary (FID is one).

    Its expectation falls as the number of images grows: compare values at equal `n` only.

    Raises:
        HistosynthError: the two have different numbers of features.
    """
    require_equal_dimensions(real.dimension, fake.dimension)
    small, large = sorted((real.factor, fake.factor), key=len)
    product = small @ large.T
    without_product = float(np.sum((real.mean - fake.mean) ** 2) + np.sum(real.factor**2) + np.sum(fake.factor**2))
    # Eigenvalues of the Gram matrix are faster than singular values, but small ones lose half of their digits.
    squares = np.linalg.eigvalsh(product @ product.T).clip(min=0)
    rounding = 16 * np.finfo(np.float64).eps * squares[-1]
    distance = without_product - 2.0 * float(np.sum(np.sqrt(squares)))
    if np.sum(rounding / np.sqrt(squares.clip(min=max(rounding, np.finfo(np.float64).tiny)))) > 1e-7 * distance:
        distance = without_product - 2.0 * float(np.sum(np.linalg.svd(product, compute_uv=False)))
    return max(0.0, distance)  # rounding alone can make it negative


def frechet_interval(
    real: FeaturesLike,
    fake: FeaturesLike,
    *,
    real_units: Units,
    fake_units: Units | None = None,
    rng: np.random.Generator,
    level: float = LEVEL,
    replicates: int = REPLICATES,
) -> Interval:
    """Return the Fréchet distance of (N, D) real and (M, D) fake features with its interval at these N and M.

    `fake_units` are single images by default. Between two equal distributions the first-order term vanishes, and the
    interval is wider than necessary.

    Raises:
        HistosynthError: features are not finite, too few, or differ in number; units do not match the images.
    """
    x, y = features_of_both_sides(real, fake, minimum=2, purpose=_PURPOSE)
    a, b = Statistics.of(x), Statistics.of(y)
    value = frechet_distance(a, b)
    shifts = resampled_shifts(frechet_influence(x, other=b), real_units, level=level, replicates=replicates, rng=rng)
    shifts += resampled_shifts(
        frechet_influence(y, other=a), fake_units or image_units(len(y)), level=level, replicates=replicates, rng=rng
    )
    low, high = value + shift_quantiles(shifts, level)
    return Interval(value=value, low=max(0.0, float(low)), high=float(high), level=level, note=real_units.note)


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """The distance extrapolated to infinitely many synthetic images, and the distances it is fitted to."""

    value: float
    standard_error: float  # of the intercept of the line; not of the images, which the subsets share
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def frechet_infinity(
    real: Statistics, fake: FeaturesLike, *, rng: np.random.Generator, points: int = 15, smallest: int | None = None
) -> Extrapolation:
    """Return FID∞: distances of random subsets of the synthetic features (M, D), extrapolated linearly in 1/n to 0.

    There are `points` sizes, evenly spaced from `smallest` (by default a tenth of M, as 5000 of 50,000 in the paper) to
    M. The bias of the real side remains: it is constant if all models are compared with the same real images.

    Raises:
        HistosynthError: there are fewer than three points, or sizes at or below the number of features, where the
            distance is not linear in 1/n.
    """
    y = Features.of(fake, name="synthetic features")
    require_images(y, minimum=2, purpose=_PURPOSE, side="synthetic")
    require_equal_dimensions(real.dimension, y.dimension)
    # Check that a line can be fitted.
    smallest = max(len(y) // 10, y.dimension + 1) if smallest is None else smallest
    if smallest <= y.dimension or points < 3 or len(y) < smallest + points:
        raise HistosynthError(
            f"the distance is linear in 1/n only where n exceeds the number of features: {points} sizes from "
            f"{smallest} to {len(y)} synthetic images of {y.dimension} features are not enough; sample more images"
        )
    # Measure subsets of growing size.
    sizes = np.linspace(smallest, len(y), points).astype(int)
    distances = [frechet_distance(real, Statistics.of(y[rng.permutation(len(y))[:n]])) for n in sizes]
    # Fit the line by least squares.
    design = np.stack([np.ones(points), 1 / sizes], axis=1)
    line = np.linalg.lstsq(design, np.array(distances), rcond=None)[0]
    variance = float(np.sum((distances - design @ line) ** 2)) / (points - 2)
    return Extrapolation(
        value=float(line[0]),
        standard_error=float(np.sqrt(variance * np.linalg.inv(design.T @ design)[0, 0])),
        sizes=tuple(map(int, sizes)),
        distances=tuple(distances),
    )


def frechet_infinity_interval(limit: Extrapolation, *, at_n: Interval) -> Interval:
    """Return the interval of an extrapolated distance, from the interval of the distance of all images.

    The error of the line says nothing about other patients and other images, which all subsets share: that part is as
    wide as at n. Both are added in quadrature.
    """
    of_line = float(stats.t.ppf((1 + at_n.level) / 2, len(limit.sizes) - 2)) * limit.standard_error
    low = limit.value - np.hypot(at_n.value - at_n.low, of_line)
    high = limit.value + np.hypot(at_n.high - at_n.value, of_line)
    return replace(at_n, value=limit.value, low=float(low), high=float(high))


def frechet_influence(features: FeaturesLike, *, other: Statistics) -> NDArray[np.float64]:
    """Return the influence (N,) of each image of one side: the derivative of the distance by its weight, of mean zero.

    h(x) = 2 (μ₁ - μ₂)ᵀz + N/(N-1) zᵀ(I - T)z + constant,   z = x - μ₁

    where T transports this side's Gaussian to the other's (the optimal transport: T Σ₁ T = Σ₂). With the centered rows
    Z, the other side's factor F₂ and ZF₂ᵀ = USVᵀ, row i has zᵀTz = (USUᵀ)ᵢᵢ √(N-1). No inverse is taken, so fewer
    images than features need no special case.
    """
    valid = Features.of(features)
    require_images(valid, minimum=2, purpose=_PURPOSE)
    z = valid.values.astype(np.float64)
    require_equal_dimensions(other.dimension, z.shape[1])
    mean = z.mean(axis=0)
    z -= mean
    product = z @ other.factor.T
    tall = len(product) > product.shape[1]
    squares, vectors = np.linalg.eigh(product.T @ product if tall else product @ product.T)
    kept = squares > 1e-14 * squares[-1]
    singular = np.sqrt(squares[kept])
    columns = product @ (vectors[:, kept] / singular) if tall else vectors[:, kept]
    transported = np.sqrt(len(z) - 1) * (columns**2 @ singular)
    quadratic = len(z) / (len(z) - 1) * (np.einsum("ij,ij->i", z, z) - transported)
    return np.asarray(2 * z @ (mean - other.mean) + quadratic - quadratic.mean())
