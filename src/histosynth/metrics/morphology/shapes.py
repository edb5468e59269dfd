"""What is measured of each nucleus, in microns: size, shape, stain, neighbor, halo.

The halo is 1 - d_ring / d_beyond, d being the mean optical density between the nuclei: 0.5 to 2.5 um from this nucleus,
and 3 to 8 um from it (each place counts for its nearest nucleus). A clear halo, near 1, is the mark of the
oligodendroglioma; 0 is even tissue, and below it dense cytoplasm.

A nucleus that the edge of the patch cuts has no known size or shape. It is left out here, though others may have it for
their neighbor, and it counts half in the density.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from skimage.measure import regionprops_table

from histosynth.metrics.morphology.nuclei import Nuclei, means, surroundings

FEATURES: Mapping[str, tuple[str, str]] = {
    "area_um2": ("area", "um²"),
    "eccentricity": ("eccentricity", "0 round, 1 a line"),
    "solidity": ("solidity", "1 convex"),
    "hematoxylin": ("hematoxylin", "1 is the set's 99th percentile"),
    "nearest_um": ("nearest nucleus", "um, center to center"),
    "halo": ("halo", "1 is clear"),
    "density_per_mm2": ("density", "nuclei a mm²"),
}
"""Feature -> its title, its unit or range. The last is one of patches, the others are of nuclei."""
NUCLEUS = np.dtype([(name, "f4") for name in FEATURES if name != "density_per_mm2"])
_RING_UM = (0.5, 2.5)
_BEYOND_UM = (3.0, 8.0)
_LEAST_DENSITY = 0.05  # beyond is glass else, of which nothing can be paler

Table = NDArray[np.void]


def measure_nuclei(nuclei: Nuclei) -> Table:
    """Features of the whole nuclei of a patch: a table (N,) of `NUCLEUS`; NaN for want of a neighbor, or of tissue."""
    n = len(nuclei)
    if not n:
        return np.empty(0, NUCLEUS)
    shapes = regionprops_table(
        nuclei.labels, properties=("centroid", "area", "area_convex", "eccentricity"), separator="_"
    )
    table = np.empty(n, NUCLEUS)
    table["area_um2"] = shapes["area"] * nuclei.pitch_um**2
    table["eccentricity"] = shapes["eccentricity"]
    table["solidity"] = shapes["area"] / shapes["area_convex"]
    table["hematoxylin"] = means(nuclei.hematoxylin, nuclei.labels, n=n)
    table["nearest_um"] = _nearest(np.stack([shapes["centroid_0"], shapes["centroid_1"]], axis=1)) * nuclei.pitch_um
    table["halo"] = _halo(nuclei, n)
    return table[~cut_by_edge(nuclei)]


def density_per_mm2(nuclei: Nuclei) -> float:
    """Nuclei per square millimeter of patch, glass and all; those that its edge cuts count half."""
    counted = len(nuclei) - 0.5 * np.count_nonzero(cut_by_edge(nuclei))
    return float(counted / (nuclei.labels.size * nuclei.pitch_um**2) * 1e6)


def cut_by_edge(nuclei: Nuclei) -> NDArray[np.bool_]:
    """Which of the n nuclei touch the edge of the patch, (n,)."""
    labels = nuclei.labels
    touched = np.zeros(len(nuclei) + 1, dtype=bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touched[edge] = True
    return touched[1:]


def _nearest(centers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance to the nearest other point; NaN for a single one."""
    distance, _ = KDTree(centers).query(centers, k=2)
    other: NDArray[np.float64] = np.where(np.isfinite(distance[:, 1]), distance[:, 1], np.nan)
    return other


def _halo(nuclei: Nuclei, n: int) -> NDArray[np.float64]:
    far, nearest = surroundings(nuclei.labels, pitch_um=nuclei.pitch_um)
    ring, beyond = (
        means(nuclei.density, np.where((far >= low) & (far <= high), nearest, 0), n=n)
        for low, high in (_RING_UM, _BEYOND_UM)
    )
    known = beyond > _LEAST_DENSITY
    halo: NDArray[np.float64] = np.divide(beyond - ring, beyond, out=np.full(n, np.nan), where=known)
    return halo
