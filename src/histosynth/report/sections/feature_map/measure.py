"""Patches of all sides in one plane: the two directions in which the features of real tissue vary most.

Principal components of the real patches (training and held-out), C the covariance of their features (N, D):

    C = V Λ Vᵀ,      a patch x lies at V₂ᵀ (x - mean),      variance share of axis k = λ_k / tr C

(Jolliffe 2002, chapter 1). Synthetic patches are projected but do not enter C, so they cannot turn the axes toward
their own peculiarities. For the same reason, differences in other directions do not show.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from histosynth.report.activations import Activations
from histosynth.report.sides import SideName

AXES = 2


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The axes of a map."""

    mean: NDArray[np.float64]  # (D,)
    axes: NDArray[np.float64]  # (2, D), of length 1; the largest entry of each is positive, which fixes its sign
    shares: tuple[float, float]  # of the variance that each axis holds

    def place(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the coordinates (N, 2) of (N, D) features."""
        return (np.asarray(features, dtype=np.float64) - self.mean) @ self.axes.T


@dataclass(frozen=True, kw_only=True)
class FeatureMap:
    """The coordinates of every patch that enters a comparison."""

    shares: tuple[float, float]
    points: Mapping[str, Mapping[SideName, NDArray[np.float64]]]  # label -> side -> (n, 2), in the order of the plan


def principal_plane(features: ArrayLike) -> Plane | None:
    """Return the plane of most variance of (N, D) features; None if they vary in fewer than two directions."""
    x = np.asarray(features, dtype=np.float64)
    mean = x.mean(axis=0)
    centered, dimension = x - mean, x.shape[1]
    if dimension < AXES:
        return None
    scatter = centered.T @ centered  # two of its eigenvectors take a fraction of the time of all singular vectors
    values, vectors = eigh(scatter, subset_by_index=[dimension - AXES, dimension - 1])
    if values[0] <= 1e-12 * values[1]:
        return None
    axes = vectors.T[::-1].copy()
    axes *= np.sign(axes[np.arange(AXES), np.abs(axes).argmax(axis=1)])[:, None]
    second, first = (values / np.trace(scatter)).tolist()
    return Plane(mean=mean, axes=axes, shares=(first, second))


def measure_feature_map(activations: Activations) -> FeatureMap | None:
    """Return the map of a report; None if the real features vary in fewer than two directions."""
    plan = activations.plan
    usable = {k: [side for side in plan.sides if plan.usable(side, k)] for k in plan.labels if plan.n[k]}
    real = [activations.of(side, [k]).values for k, sides in usable.items() for side in sides if side != "fake"]
    plane = principal_plane(np.concatenate(real))
    if plane is None:
        return None
    points = {k: {side: plane.place(activations.of(side, [k]).values) for side in sides} for k, sides in usable.items()}
    return FeatureMap(shares=plane.shares, points=points)
