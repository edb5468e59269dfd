"""Mean and covariance of features in float64, from which Fréchet distances are computed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import lapack

from histosynth.errors import HistosynthError
from histosynth.metrics.features import Features, FeaturesLike, require_images


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of `n` feature vectors. The covariance is stored as its factor F: Σ = FᵀF."""

    mean: NDArray[np.float64]  # (D,)
    factor: NDArray[np.float64]  # (R, D), R <= D
    n: int

    @property
    def dimension(self) -> int:
        """D, the number of features."""
        return self.mean.size

    @property
    def covariance(self) -> NDArray[np.float64]:
        """The (D, D) covariance, with the divisor n - 1."""
        return self.factor.T @ self.factor

    @classmethod
    def of(cls, features: FeaturesLike) -> "Statistics":
        """Compute the statistics of (N, D) features.

        Raises:
            HistosynthError: there are fewer than two images, or values are not finite.
        """
        valid = Features.of(features)
        require_images(valid, minimum=2, purpose="a covariance")
        x = valid.values.astype(np.float64)
        n, mean = len(x), x.mean(axis=0)
        x -= mean
        x /= np.sqrt(n - 1)
        if n > x.shape[1]:  # D rows hold the same Σ
            triangle = _cholesky(x.T @ x)
            x = np.asarray(np.linalg.qr(x, mode="r")) if triangle is None else triangle
        return cls(mean, x, n)

    @classmethod
    def from_moments(cls, mean: ArrayLike, covariance: ArrayLike, *, n: int) -> "Statistics":
        """Return statistics from a mean (D,) and a symmetric, positive semidefinite covariance (D, D).

        Raises:
            HistosynthError: the shapes do not match, or values are not finite.
        """
        mean, symmetric = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
        if mean.ndim != 1 or symmetric.shape != (len(mean), len(mean)):
            raise HistosynthError(f"a mean of shape {mean.shape} does not fit a covariance of shape {symmetric.shape}")
        if not np.isfinite(mean).all() or not np.isfinite(symmetric).all():
            raise HistosynthError("the mean or covariance holds values that are not finite; recompute the statistics")
        factor = _cholesky(symmetric)
        if factor is None:
            values, vectors = np.linalg.eigh(symmetric)
            factor = np.sqrt(values.clip(min=0))[:, None] * vectors.T
        return cls(mean, factor, n)


def _cholesky(symmetric: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return R (D, D) with RᵀR = Σ, or None if Σ is nearly singular. Other factors take several times as long."""
    upper, failed = lapack.dpotrf(symmetric.T, clean=True)
    if failed or lapack.dpocon(upper, np.abs(symmetric).sum(axis=0).max())[0] < 1e-11:  # 1 / condition number
        return None
    return np.asarray(upper, dtype=np.float64)
