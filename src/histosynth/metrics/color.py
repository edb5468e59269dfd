"""Color of tissue: how far the pixels of one set of images lie from those of another, in optical density (OD).

Light is absorbed exponentially, so colors are compared as densities, one a channel (red, green, blue): an OD of 0.1 is
a tenth less light. Glass is left out. Three measures answer different questions:

`color_distance`: Fréchet distance (2-Wasserstein distance of Gaussians; Dowson & Landau 1982) between the densities of
all tissue pixels, d = sqrt(|μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½). It sees the stain *and* the content:
twice as many nuclei move it as surely as a bluer dye.

`concentration_distances`: 1-Wasserstein distances between concentrations of hematoxylin and of eosin, by one pair of
stain vectors for all sets: how much of each there is. It sees stain and content, too.

`histosynth.stain.distance.stain_distance`: between the colors of the two stains themselves. What do dense nuclei and
dense eosin look like, however many there are? It is free of content, as long as both sets show both stains in more than
a few pixels of a hundred.

All take pixels, (..., 3) uint8. A subsample does for a large set, such as every hundredth pixel.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from histosynth.metrics.frechet import frechet_distance
from histosynth.metrics.statistics import Statistics
from histosynth.stain import StainError, StainFit, normalizers, tissue_pixels
from histosynth.stain.optical_density import to_density
from histosynth.stain.two_stains import TARGET

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class ColorStatistics:
    """Optical density of the tissue pixels of a set: mean (3,) and covariance (3, 3), in float64."""

    density: Statistics  # its n is the number of tissue pixels
    tissue: float  # their share of all pixels, in [0, 1]

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> "ColorStatistics":
        """Statistics of images or pixels, (..., 3).

        Raises:
            ValueError: fewer than two tissue pixels.
        """
        flat = np.ascontiguousarray(pixels).reshape(-1, 3)
        tissue = tissue_pixels(flat)
        return cls(Statistics.of(to_density(tissue)), len(tissue) / max(len(flat), 1))


def color_distance(a: ColorStatistics, b: ColorStatistics) -> float:
    """Fréchet distance of two sets in units of OD: the root of what `frechet_distance` gives."""
    return float(np.sqrt(frechet_distance(a.density, b.density)))


def mean_shift(a: ColorStatistics, b: ColorStatistics) -> NDArray[np.float64]:
    """Mean density of `a` minus that of `b`, (3,) red, green, blue in OD: where positive, `a` is darker."""
    return a.density.mean - b.density.mean


def common_stains(reference: NDArray[np.uint8]) -> tuple[StainFit, bool]:
    """The stain vectors to measure several sets by, and whether they are the reference's own.

    Args:
        reference: pixels, (..., 3). Where Macenko's method cannot tell their stains, the usual target's stand in.
    """
    fit = fit_stains(reference)
    return (TARGET, False) if fit is None else (fit, True)


def fit_stains(pixels: NDArray[np.uint8]) -> StainFit | None:
    """The stains of images or pixels, (..., 3), by Macenko's method; None where it cannot tell them."""
    try:
        found: Any = normalizers["macenko"].estimate(tissue_pixels(np.ascontiguousarray(pixels).reshape(-1, 3)))
    except StainError:
        return None
    fit: StainFit = found
    return fit


def concentrations(pixels: NDArray[np.uint8], *, stains: StainFit) -> NDArray[np.float32]:
    """Hematoxylin and eosin of the tissue pixels among (..., 3), by least squares: (N, 2) in OD, perhaps negative."""
    tissue = tissue_pixels(np.ascontiguousarray(pixels).reshape(-1, 3))
    unmix: NDArray[np.float32] = np.linalg.pinv(np.array(stains.stains)).astype(np.float32)
    return to_density(tissue) @ unmix


def concentration_quantiles(found: NDArray[np.float32]) -> NDArray[np.float64]:
    """`QUANTILES` of (N, 2) concentrations: (2, 7), hematoxylin first."""
    quantiles: NDArray[np.float64] = np.quantile(found.astype(np.float64), QUANTILES, axis=0).T
    return quantiles


def concentration_distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[float, float]:
    """1-Wasserstein distances between (N, 2) and (M, 2) concentrations, in OD: of hematoxylin, of eosin."""
    hematoxylin, eosin = (float(wasserstein_distance(a[:, k], b[:, k])) for k in range(2))
    return hematoxylin, eosin
