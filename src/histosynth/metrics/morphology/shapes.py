"""What is measured of each nucleus, in microns: size, shape, stain, neighbor, halo.

The halo is 1 - d_ring / d_beyond, d being the mean optical density between the nuclei: 0.5 to 2.5 um from this nucleus,
and 3 to 8 um from it (each place counts for its nearest nucleus). A clear halo, near 1, is the mark of the
oligodendroglioma; 0 is even tissue, and below it dense cytoplasm.

A nucleus that the edge of the patch cuts has no known size or shape. It is left out here, though others may have it for
their neighbor, and it counts half in the density.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, KDTree

from histosynth.metrics.morphology.nuclei import Labels, Nuclei, label_means, nearest_nucleus_map

MORPHOLOGY_FEATURES: Mapping[str, tuple[str, str]] = {
    "area_um2": ("area", "um²"),
    "eccentricity": ("eccentricity", "0 round, 1 a line"),
    "solidity": ("solidity", "1 convex"),
    "hematoxylin": ("hematoxylin", "1 is the set's 99th percentile"),
    "nearest_um": ("nearest nucleus", "um, center to center"),
    "halo": ("halo", "1 is clear"),
    "density_per_mm2": ("density", "nuclei a mm²"),
}
"""Feature -> its title, its unit or range. The last is one of patches, the others are of nuclei."""
NUCLEUS_DTYPE = np.dtype([(name, "f4") for name in MORPHOLOGY_FEATURES if name != "density_per_mm2"])
_RING_UM = (0.5, 2.5)
_BEYOND_UM = (3.0, 8.0)
_LEAST_DENSITY = 0.05  # beyond is glass else, of which nothing can be paler

NucleusTable = NDArray[np.void]


def measure_nuclei(nuclei: Nuclei) -> NucleusTable:
    """Features of the whole nuclei of a patch: (N,) of `NUCLEUS_DTYPE`; NaN where unknown."""
    n = len(nuclei)
    if not n:
        return np.empty(0, NUCLEUS_DTYPE)
    area = np.bincount(nuclei.labels.ravel())[1:]
    centers, eccentricity = _ellipses(nuclei.labels, n)
    table = np.empty(n, NUCLEUS_DTYPE)
    table["area_um2"] = area * nuclei.pitch_um**2
    table["eccentricity"] = eccentricity
    table["solidity"] = np.minimum(area / _hull_areas(nuclei.labels, n), 1.0)
    table["hematoxylin"] = label_means(nuclei.hematoxylin, nuclei.labels, n=n)
    table["nearest_um"] = _nearest(centers) * nuclei.pitch_um
    table["halo"] = _halo(nuclei, n)
    return table[~touches_edge(nuclei)]


def density_per_mm2(nuclei: Nuclei) -> float:
    """Nuclei per square millimeter of patch, glass and all; those that its edge cuts count half."""
    counted = len(nuclei) - 0.5 * np.count_nonzero(touches_edge(nuclei))
    return float(counted / (nuclei.labels.size * nuclei.pitch_um**2) * 1e6)


def touches_edge(nuclei: Nuclei) -> NDArray[np.bool_]:
    """Which of the n nuclei touch the edge of the patch, (n,)."""
    labels = nuclei.labels
    touched = np.zeros(len(nuclei) + 1, dtype=bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touched[edge] = True
    return touched[1:]


def _ellipses(labels: Labels, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centers (n, 2), row and column, and eccentricities (n,) of the ellipses with the nuclei's second moments."""
    rows, columns = np.nonzero(labels)
    owner = labels[rows, columns]
    counts = np.bincount(owner)[1:]

    def mean(values: NDArray[Any]) -> NDArray[np.float64]:
        averages: NDArray[np.float64] = np.bincount(owner, weights=values, minlength=n + 1)[1:] / counts
        return averages

    row, column = mean(rows), mean(columns)
    y, x = rows - row[owner - 1], columns - column[owner - 1]
    yy, xx, xy = mean(y * y), mean(x * x), mean(x * y)
    middle, spread = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    longest = middle + spread  # the greater eigenvalue; the lesser is `middle - spread`
    squared = np.divide(2 * spread, longest, out=np.zeros(n), where=longest > 0)
    return np.stack([row, column], axis=1), np.sqrt(squared)


def _hull_areas(labels: Labels, n: int) -> NDArray[np.float64]:
    """Areas in pixels of the convex hulls, (n,), through the middles of pixel edges: round hulls keep their size."""
    padded = np.pad(labels, 1)
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    rows, columns = np.nonzero((labels > 0) & np.any([labels != other for other in around], axis=0))
    owner = labels[rows, columns]
    order = np.argsort(owner, kind="stable")
    pixels = np.stack([rows, columns], axis=1)[order]
    middles = (pixels[:, None] + np.array([[0, 0.5], [0, -0.5], [0.5, 0], [-0.5, 0]])).reshape(-1, 2)
    ends = 4 * np.cumsum(np.bincount(owner, minlength=n + 1)[1:])
    return np.array([ConvexHull(points).volume for points in np.split(middles, ends[:-1])])


def _nearest(centers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance to the nearest other point; NaN for a single one."""
    distance, _ = KDTree(centers).query(centers, k=2)
    other: NDArray[np.float64] = np.where(np.isfinite(distance[:, 1]), distance[:, 1], np.nan)
    return other


def _halo(nuclei: Nuclei, n: int) -> NDArray[np.float64]:
    far, nearest = nearest_nucleus_map(nuclei.labels, pitch_um=nuclei.pitch_um)
    ring, beyond = (
        label_means(nuclei.density, np.where((far >= low) & (far <= high), nearest, 0), n=n)
        for low, high in (_RING_UM, _BEYOND_UM)
    )
    known = beyond > _LEAST_DENSITY
    halo: NDArray[np.float64] = np.divide(beyond - ring, beyond, out=np.full(n, np.nan), where=known)
    return halo
