"""Cases in clusters: those of one patient resemble each other, so patients are independent and cases are not.

With d_c the contribution of a case to an estimate, and I_s clusters in stratum s (real or synthetic), the variance of
the estimate over other clusters sums contributions by cluster before it squares them (Liang & Zeger 1986, Biometrika
73, 13), and its degrees of freedom are Satterthwaite's:

    V = Σ_s V_s,   V_s = I_s / (I_s - 1) Σ_g (Σ_{c in g} d_c)²,   df = V² / Σ_s V_s² / (I_s - 1)

A synthetic case, and a real case whose patient is unknown, is a cluster by itself. One cluster says nothing about
others: V is then infinite.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def patient_clusters(patients: Sequence[str | None], synthetic: ArrayLike) -> NDArray[np.int64]:
    """Return the cluster of each case, (C,): the patient of a real case, else the case by itself."""
    keys = [
        f"case {i}" if fake or not patient else f"patient {patient}"
        for i, (patient, fake) in enumerate(zip(patients, np.asarray(synthetic), strict=True))
    ]
    return np.unique(np.array(keys, dtype=str), return_inverse=True)[1].astype(np.int64)


def all_single(clusters: ArrayLike | None) -> bool:
    """Return whether each case is a cluster by itself."""
    return clusters is None or len(np.unique(np.asarray(clusters))) == np.size(np.asarray(clusters))


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """The clusters of cases; each has one kind. Cases in `order` are contiguous by cluster."""

    kind: NDArray[np.int64]  # (G,) stratum of each cluster
    order: NDArray[np.int64]  # (C,)
    starts: NDArray[np.int64]  # (G,) of each cluster in `order`

    @classmethod
    def of(cls, kind: NDArray[np.int64], clusters: ArrayLike | None) -> "Clusters":
        """Group the cases by kind (C,) and cluster (C,), each case by itself by default."""
        patient = np.arange(len(kind)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
        order = np.lexsort((patient, kind))
        is_new = np.ones(len(kind), dtype=bool)
        is_new[1:] = (np.diff(kind[order]) != 0) | (np.diff(patient[order]) != 0)
        starts = np.flatnonzero(is_new)
        return cls(kind=kind[order][starts], order=order, starts=starts)

    def sum(self, values: ArrayLike) -> Array:
        """Sum values (…, C) by cluster, (…, G)."""
        x = np.asarray(values, dtype=np.float64)
        return np.asarray(np.add.reduceat(x[..., self.order], self.starts, axis=-1))


def variance_of_total(sums: Array, is_read: NDArray[np.bool_], kind: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return V and its degrees of freedom.

    Args:
        sums: (…, G) the contributions, summed by cluster.
        is_read: (…, G) whether a cluster was read at all.
        kind: (G,) the stratum of each cluster.
    """
    variance, spread = np.zeros(sums.shape[:-1]), np.zeros(sums.shape[:-1])
    for s in np.unique(kind):
        number = is_read[..., kind == s].sum(axis=-1)
        squares = (sums[..., kind == s] ** 2).sum(axis=-1)
        of_stratum = np.where(number > 1, number / np.maximum(number - 1, 1) * squares, np.where(number, np.inf, 0.0))
        variance = variance + of_stratum
        spread = spread + of_stratum**2 / np.maximum(number - 1, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = variance**2 / spread
    without_spread = np.where(np.isfinite(variance), np.maximum(is_read.sum(axis=-1) - len(np.unique(kind)), 1), 1)
    return variance, np.where(np.isfinite(df), df, without_spread)
