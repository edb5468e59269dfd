"""From images to features, and from features to the statistics that distances are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.metrics.extractors import FEATURES, FeatureExtractor, ManyOutputs, outputs_of
from histosynth.patches.store import Store


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of `n` feature vectors, in float64. The covariance is kept as its factor: Σ = FᵀF."""

    mean: NDArray[np.float64]  # (D,)
    factor: NDArray[np.float64]  # (R, D), R <= D
    n: int

    @property
    def covariance(self) -> NDArray[np.float64]:
        """The (D, D) covariance, with the divisor n - 1."""
        return self.factor.T @ self.factor

    @classmethod
    def of(cls, features: ArrayLike) -> "Statistics":
        """Statistics of (N, D) features.

        Raises:
            ValueError: fewer than two rows, or a value that is not finite.
        """
        x = np.asarray(features, dtype=np.float64)
        if x.ndim != 2 or len(x) < 2:
            raise ValueError(f"a covariance needs features of shape (N >= 2, D), found {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError("the features hold values that are not finite")
        mean = x.mean(axis=0)
        factor = (x - mean) / np.sqrt(len(x) - 1)
        if len(x) > x.shape[1]:
            factor = np.linalg.qr(factor, mode="r")  # the same Σ in D rows
        return cls(mean, factor, len(x))

    @classmethod
    def from_moments(cls, mean: ArrayLike, covariance: ArrayLike, *, n: int) -> "Statistics":
        """Statistics of a mean (D,) and a symmetric, positive semidefinite covariance (D, D)."""
        values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
        return cls(np.asarray(mean, dtype=np.float64), np.sqrt(values.clip(min=0))[:, None] * vectors.T, n)


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
    wanted = (FEATURES,)
    return extract_outputs(store, rows, extractor=extractor, outputs=wanted, batch=batch, progress=progress)[FEATURES]


def extract_outputs(
    store: Store,
    rows: Sequence[int] | NDArray[np.int64],
    *,
    extractor: FeatureExtractor,
    outputs: Sequence[str],
    batch: int,
    progress: "tqdm[Any]",
) -> dict[str, NDArray[np.float32]]:
    """These outputs of the extractor, each (N, its width), in one pass over the images; else as `extract_features`.

    Raises:
        HistosynthError: as for `extract_features`, or the extractor has no such output.
    """
    widths = outputs_of(extractor)
    for name in outputs:
        if name not in widths:
            raise HistosynthError(f"the extractor {extractor.name} gives no {name}; it gives {', '.join(widths)}")
    found = {name: np.empty((len(rows), widths[name]), dtype=np.float32) for name in outputs}
    for start in range(0, len(rows), batch):
        block = slice(start, start + batch)
        images = store.images(rows[block])
        given = extractor.activations(images) if isinstance(extractor, ManyOutputs) else {FEATURES: extractor(images)}
        for name, values in found.items():
            values[block] = given[name]
        progress.update(len(images))
    if not all(np.isfinite(values).all() for values in found.values()):
        raise HistosynthError(
            f"the extractor {extractor.name} gave features of {store.path} that are not finite; try --device cpu"
        )
    return found
