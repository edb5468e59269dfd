"""Fréchet distance between two sets of features: each is taken for a Gaussian, and the Gaussians are compared.

d² = |μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½          (Dowson & Landau 1982; as FID: Heusel et al. 2017)

With Σ = FᵀF the last trace is the sum of the singular values of F₁F₂ᵀ. No root of an unsymmetric product is ever taken,
so the value is exact (to rounding) for singular covariances too, such as those of fewer images than features.

Its expectation falls with the number of images n as d²(∞) + c/n, once n is well above the number of features. A line
through distances at several n, drawn to 1/n = 0, takes that away (Chong & Forsyth 2020).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from histosynth.errors import HistosynthError
from histosynth.metrics.features import check_dimensions, feature_array, feature_pair
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


def frechet_distance(real: Statistics, fake: Statistics) -> float:
    """The squared distance d², as it is customarily reported (FID is one), in squared units of the features.

    Its expectation falls as the number of images grows: compare values at equal `n` only.

    Raises:
        HistosynthError: the two have different numbers of features.
    """
    check_dimensions(real.dimension, fake.dimension)
    small, large = sorted((real.factor, fake.factor), key=len)
    product = small @ large.T
    apart = float(np.sum((real.mean - fake.mean) ** 2) + np.sum(real.factor**2) + np.sum(fake.factor**2))
    # Eigenvalues of the Gram matrix are the quicker way to singular values, but small ones lose half of their digits.
    squares = np.linalg.eigvalsh(product @ product.T).clip(min=0)
    rounding = 16 * np.finfo(np.float64).eps * squares[-1]
    distance = apart - 2.0 * float(np.sum(np.sqrt(squares)))
    if np.sum(rounding / np.sqrt(squares.clip(min=max(rounding, np.finfo(np.float64).tiny)))) > 1e-7 * distance:
        distance = apart - 2.0 * float(np.sum(np.linalg.svd(product, compute_uv=False)))
    return max(0.0, distance)  # rounding alone can take it below zero


def frechet_interval(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    real_units: Units,
    fake_units: Units | None = None,
    rng: np.random.Generator,
    level: float = LEVEL,
    replicates: int = REPLICATES,
) -> Interval:
    """Fréchet distance of (N, D) real and (M, D) fake features, and its interval at these numbers of both.

    `fake_units` are single images where not given. Where two equal distributions are compared, the first-order term
    vanishes, and what is left of it is wider than need be.

    Raises:
        HistosynthError: features that are not finite, too few, or of different numbers; units of another number.
    """
    x, y = feature_pair(real, fake, least=2, reason="a Fréchet distance")
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
    """The distance that infinitely many synthetic images would have, and what it was drawn from."""

    value: float
    standard_error: float  # of the fitted line's intercept; not of the images, which the subsets share
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def frechet_infinity(
    real: Statistics, fake: ArrayLike, *, rng: np.random.Generator, points: int = 15, fewest: int | None = None
) -> Extrapolation:
    """FID∞: distances of random subsets of the synthetic features (M, D), extrapolated linearly in 1/n to none.

    `points` sizes, evenly spaced from `fewest` (a tenth of M where not given, as 5000 of 50,000 in the paper) to M.
    The bias of the real side stays: it is a constant where all models are held against the same real images.

    Raises:
        HistosynthError: fewer than three points, or sizes not above the number of features, where no line holds.
    """
    y = feature_array(fake, name="synthetic", least=2, reason="a Fréchet distance")
    check_dimensions(real.dimension, y.shape[1])
    fewest = max(len(y) // 10, y.shape[1] + 1) if fewest is None else fewest
    if fewest <= y.shape[1] or points < 3 or len(y) < fewest + points:
        raise HistosynthError(
            f"the distance is linear in 1/n only where n exceeds the number of features: {points} sizes from {fewest} "
            f"to {len(y)} synthetic images of {y.shape[1]} features are no basis; sample more images"
        )
    sizes = np.linspace(fewest, len(y), points).astype(int)
    distances = [frechet_distance(real, Statistics.of(y[rng.permutation(len(y))[:n]])) for n in sizes]
    design = np.stack([np.ones(points), 1 / sizes], axis=1)
    line = np.linalg.lstsq(design, np.array(distances), rcond=None)[0]
    variance = float(np.sum((distances - design @ line) ** 2)) / (points - 2)
    return Extrapolation(
        value=float(line[0]),
        standard_error=float(np.sqrt(variance * np.linalg.inv(design.T @ design)[0, 0])),
        sizes=tuple(map(int, sizes)),
        distances=tuple(distances),
    )


def frechet_influence(features: ArrayLike, *, other: Statistics) -> NDArray[np.float64]:
    """How much each image (N,) of one side moves the distance to the other: the derivative by its weight, mean zero.

    h(x) = 2 (μ₁ - μ₂)ᵀz + N/(N-1) zᵀ(I - T)z + constant,   z = x - μ₁

    where T carries this side's Gaussian to the other's (the optimal transport: T Σ₁ T = Σ₂). With the centered rows Z,
    the other's factor F₂ and ZF₂ᵀ = USVᵀ, row i has zᵀTz = (USUᵀ)ᵢᵢ √(N-1). No inverse is taken, so fewer images than
    features are no special case.
    """
    z = feature_array(features, name="given", least=2, reason="a Fréchet distance").astype(np.float64)
    check_dimensions(other.dimension, z.shape[1])
    mean = z.mean(axis=0)
    z -= mean
    product = z @ other.factor.T
    tall = len(product) > product.shape[1]
    squares, vectors = np.linalg.eigh(product.T @ product if tall else product @ product.T)
    kept = squares > 1e-14 * squares[-1]
    singular = np.sqrt(squares[kept])
    columns = product @ (vectors[:, kept] / singular) if tall else vectors[:, kept]
    carried = np.sqrt(len(z) - 1) * (columns**2 @ singular)
    stretched = len(z) / (len(z) - 1) * (np.einsum("ij,ij->i", z, z) - carried)
    return np.asarray(2 * z @ (mean - other.mean) + stretched - stretched.mean())
