"""Macenko stain normalization (Macenko et al., "A method for normalizing histology slides ...", ISBI 2009).

The stained pixels span a plane in optical density, that of the two largest principal axes. In this plane, the stains
are the extreme directions, estimated robustly as the 1st and 99th percentiles of the angle. Angles are measured from
the mean color and lie within 90 degrees of it, where the angle increases with its tangent; only the few values that a
percentile needs are converted to angles.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.stain.normalizer import StainError, normalizers
from histosynth.stain.two_stains import TwoStains

ALPHA = 1.0
"""Percentile of the angle that is considered extreme."""
_MIN_SPREAD = 1e-3


@dataclass(frozen=True)
class Macenko(TwoStains):
    """Macenko normalization to a target fit."""

    def find_stain_vectors(self, stained: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the extreme directions in the principal plane."""
        count = stained.shape[1]
        mean = stained.mean(axis=1, dtype=np.float64)
        centered = stained - mean.astype(np.float32)[:, None]
        forward, side = principal_plane(mean, (centered @ centered.T).astype(np.float64) / count)
        x, y = np.stack([forward, side]).astype(np.float32) @ stained
        return directions_at(_extreme_angles(x, y), forward, side)


normalizers.register("macenko")(Macenko())


def principal_plane(
    mean: NDArray[np.float64], covariance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the plane of the two largest principal axes: unit vectors along the mean color and perpendicular to it.

    Raises:
        StainError: the densities do not vary.
    """
    variances, axes = np.linalg.eigh(covariance)
    if variances[2] < _MIN_SPREAD**2:
        raise StainError("uniform")
    plane = axes[:, 1:]
    forward: NDArray[np.float64] = plane @ (plane.T @ mean)
    forward /= np.linalg.norm(forward)
    return forward, np.cross(forward, axes[:, 0])


def directions_at(
    angles: NDArray[np.float64], forward: NDArray[np.float64], side: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the unit vectors (2, 3) at two angles from the first vector of the plane."""
    vectors: NDArray[np.float64] = np.cos(angles)[:, None] * forward + np.sin(angles)[:, None] * side
    return vectors


def _extreme_angles(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the percentiles `ALPHA` and `100 - ALPHA`, interpolated linearly, of the angles of (x, y)."""
    if x.min() <= 0:  # a density more than 90 degrees off the mean color: not tissue, but no reason to fail
        angles: NDArray[np.float64] = np.percentile(np.arctan2(y, x), [ALPHA, 100 - ALPHA])
        return angles
    ranks = np.array([ALPHA, 100 - ALPHA]) / 100 * (len(x) - 1)
    below, above = np.floor(ranks).astype(int), np.ceil(ranks).astype(int)
    tangents = np.partition(y / x, np.unique([below, above]))
    low, high = np.arctan(tangents[below].astype(np.float64)), np.arctan(tangents[above].astype(np.float64))
    between: NDArray[np.float64] = low + (ranks - below) * (high - low)
    return between
