"""Features of each nucleus, in microns: size, shape, stain, nearest neighbor, halo.

The halo is 1 - d_ring / d_beyond, where d is the mean optical density between the nuclei, 0.5 to 2.5 um and 3 to 8 um
from this nucleus (each pixel counts for its nearest nucleus). A clear halo, near 1, is the mark of oligodendroglioma;
0 is even tissue, and negative values are dense cytoplasm.

A nucleus cut by the edge of the patch has no known size or shape. It is excluded here, although it may be the nearest
neighbor of others, and it counts half in the density.
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
    "density_per_mm2": ("density", "nuclei per mm²"),
}
"""Feature -> its title, and its unit or range. The last describes patches, the others nuclei."""
NUCLEUS_DTYPE = np.dtype([(name, "f4") for name in MORPHOLOGY_FEATURES if name != "density_per_mm2"])
_RING_UM = (0.5, 2.5)
_BEYOND_UM = (3.0, 8.0)
_MIN_DENSITY = 0.05  # less is glass, and nothing is paler than glass

NucleusTable = NDArray[np.void]


def measure_nuclei(nuclei: Nuclei) -> NucleusTable:
    """Measure the whole nuclei of a patch: (N,) of `NUCLEUS_DTYPE`; NaN without a neighbor, or without tissue."""
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
    """Return nuclei per square millimeter of patch, glass included; those cut by its edge count half."""
    counted = len(nuclei) - 0.5 * np.count_nonzero(touches_edge(nuclei))
    return float(counted / (nuclei.labels.size * nuclei.pitch_um**2) * 1e6)


def touches_edge(nuclei: Nuclei) -> NDArray[np.bool_]:
    """Return which of the n nuclei touch the edge of the patch, (n,)."""
    labels = nuclei.labels
    touched = np.zeros(len(nuclei) + 1, dtype=bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touched[edge] = True
    return touched[1:]


def _ellipses(labels: Labels, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centers (n, 2), row and column, and eccentricities (n,) of ellipses with the same second moments."""
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
    largest = middle + spread  # the larger eigenvalue; the smaller is `middle - spread`
    squared = np.divide(2 * spread, largest, out=np.zeros(n), where=largest > 0)
    return np.stack([row, column], axis=1), np.sqrt(squared)


def _hull_areas(labels: Labels, n: int) -> NDArray[np.float64]:
    """Return the areas of convex hulls in pixels, (n,). Hulls pass through midpoints of pixel edges, to keep areas."""
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
    """Return the distance to the nearest other point; NaN for a single point."""
    distance, _ = KDTree(centers).query(centers, k=2)
    other: NDArray[np.float64] = np.where(np.isfinite(distance[:, 1]), distance[:, 1], np.nan)
    return other


def _halo(nuclei: Nuclei, n: int) -> NDArray[np.float64]:
    distance, nearest = nearest_nucleus_map(nuclei.labels, pitch_um=nuclei.pitch_um)
    ring, beyond = (
        label_means(nuclei.optical_density, np.where((distance >= low) & (distance <= high), nearest, 0), n=n)
        for low, high in (_RING_UM, _BEYOND_UM)
    )
    known = beyond > _MIN_DENSITY
    halo: NDArray[np.float64] = np.divide(beyond - ring, beyond, out=np.full(n, np.nan), where=known)
    return halo
