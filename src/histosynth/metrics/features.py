"""From images to features, and from features to the statistics that distances are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import lapack
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.metrics.arrays import feature_array
from histosynth.metrics.extractors import FeatureExtractor
from histosynth.patches.store import Store


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of `n` feature vectors, in float64. The covariance is kept as its factor: Σ = FᵀF."""

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
    def of(cls, features: ArrayLike) -> "Statistics":
        """Statistics of (N, D) features.

        Raises:
            HistosynthError: fewer than two rows, or a value that is not finite.
        """
        x = feature_array(features, name="given", least=2, reason="a covariance").astype(np.float64)
        mean = x.mean(axis=0)
        x -= mean
        x /= np.sqrt(len(x) - 1)
        return cls(mean, x if len(x) <= x.shape[1] else _triangle(x), len(x))

    @classmethod
    def from_moments(cls, mean: ArrayLike, covariance: ArrayLike, *, n: int) -> "Statistics":
        """Statistics of a mean (D,) and a symmetric, positive semidefinite covariance (D, D)."""
        values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
        return cls(np.asarray(mean, dtype=np.float64), np.sqrt(values.clip(min=0))[:, None] * vectors.T, n)


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """R (D, D) with RᵀR = xᵀx: by Cholesky where that is safe, else by QR, slower but exact for singular matrices."""
    gram = x.T @ x
    upper, failed = lapack.dpotrf(gram, clean=True)
    condition = 0.0 if failed else lapack.dpocon(upper, np.abs(gram).sum(axis=0).max())[0]  # reciprocal, in the 1-norm
    return np.asarray(upper if condition > 1e-11 else np.linalg.qr(x, mode="r"), dtype=np.float64)


def extract_features(
    store: Store,
    rows: Sequence[int] | NDArray[np.int64],
    *,
    extractor: FeatureExtractor,
    batch: int,
    progress: "tqdm[Any]",
) -> NDArray[np.float32]:
    """Features (N, D) of these rows of a store, in their order, decoded and run `batch` at a time.

    `progress` is advanced by the images done. The batch size changes the speed, not the features (to 1e-5).

    Raises:
        HistosynthError: the extractor gives features that are not finite, or a store's image is damaged.
    """
    found = np.empty((len(rows), extractor.dimension), dtype=np.float32)
    for start in range(0, len(rows), batch):
        block = slice(start, start + batch)
        found[block] = extractor(store.images(rows[block]))
        progress.update(len(rows[block]))
    if not np.isfinite(found).all():
        raise HistosynthError(
            f"the extractor {extractor.name} gave features of {store.path} that are not finite; try --device cpu"
        )
    return found
