"""Fréchet distance between two sets of features: each is taken for a Gaussian, and the Gaussians are compared.

d² = |μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½          (Dowson & Landau 1982; as FID: Heusel et al. 2017)

With Σ = FᵀF the last trace is the sum of the singular values of F₁F₂ᵀ. No root of an unsymmetric product is ever taken,
so the value is exact (to rounding) for singular covariances too, such as those of fewer images than features.
"""

import numpy as np

from histosynth.metrics.features import Statistics


def frechet_distance(real: Statistics, fake: Statistics) -> float:
    """The squared distance d², as it is customarily reported (FID is one), in squared units of the features.

    Its expectation falls as the number of images grows: compare values at equal `n` only.

    Raises:
        ValueError: the two have different numbers of features.
    """
    if real.mean.shape != fake.mean.shape:
        raise ValueError(f"cannot compare {real.mean.size} features with {fake.mean.size}")
    means = float(np.sum((real.mean - fake.mean) ** 2))
    traces = float(np.sum(real.factor**2) + np.sum(fake.factor**2))
    shared = float(np.sum(np.linalg.svd(real.factor @ fake.factor.T, compute_uv=False)))
    return max(0.0, means + traces - 2.0 * shared)  # rounding alone can take it below zero
