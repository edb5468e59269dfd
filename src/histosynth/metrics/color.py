"""Color of tissue: distances between the pixels of two sets of images, in optical density (OD).

Light is absorbed exponentially, so colors are compared as densities, one per channel (red, green, blue): an OD of 0.1
is a tenth less light. Glass is excluded. Three measures answer different questions:

`color_distance`: Fréchet distance (2-Wasserstein distance of Gaussians; Dowson & Landau 1982) between the densities of
all tissue pixels, d = sqrt(|μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½). It responds to the stain *and* to the
content: twice as many nuclei change it as much as a bluer dye.

`concentration_distances`: 1-Wasserstein distances between concentrations of hematoxylin and of eosin, that is, the
amount of each, unmixed with one pair of stain vectors for all sets. It responds to stain and content, too.

`histosynth.stain.distance.stain_distance`: distance between the colors of the two stains themselves: the appearance of
dense nuclei and of dense eosin, whatever their number. It is independent of content, provided that both sets show both
stains in more than a few percent of the pixels.

All accept pixels, (..., 3) uint8. For a large set a subsample suffices, such as every hundredth pixel.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.frechet import frechet_distance
from histosynth.metrics.statistics import Statistics
from histosynth.metrics.wasserstein import wasserstein_distance
from histosynth.stain import StainError, StainFit, normalizers, tissue_pixels
from histosynth.stain.optical_density import to_density
from histosynth.stain.two_stains import TARGET

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class ColorStatistics:
    """Mean (3,) and covariance (3, 3) of the optical density of the tissue pixels of a set, in float64."""

    density: Statistics  # its n is the number of tissue pixels
    tissue: float  # tissue pixels as a share of all pixels, in [0, 1]

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> "ColorStatistics":
        """Compute the statistics of images or pixels, (..., 3).

        Raises:
            HistosynthError: there are fewer than two tissue pixels.
        """
        flat = np.ascontiguousarray(pixels).reshape(-1, 3)
        tissue = tissue_pixels(flat)
        return cls(Statistics.of(to_density(tissue)), len(tissue) / max(len(flat), 1))


def color_distance(a: ColorStatistics, b: ColorStatistics) -> float:
    """Return the Fréchet distance of two sets in OD, the square root of `frechet_distance`."""
    return float(np.sqrt(frechet_distance(a.density, b.density)))


def mean_shift(a: ColorStatistics, b: ColorStatistics) -> NDArray[np.float64]:
    """Return the mean density of `a` minus that of `b`, (3,) red, green, blue in OD; if positive, `a` is darker."""
    return a.density.mean - b.density.mean


def common_stains(reference: NDArray[np.uint8]) -> tuple[StainFit, bool]:
    """Return the stain vectors to unmix several sets with, and whether they were fitted to the reference.

    Args:
        reference: pixels, (..., 3). If Macenko's method cannot determine their stains, the default target's are used.
    """
    fit = fit_stains(reference)
    return (TARGET, False) if fit is None else (fit, True)


def fit_stains(pixels: NDArray[np.uint8]) -> StainFit | None:
    """Fit the stains of images or pixels, (..., 3), by Macenko's method; None if it cannot determine them."""
    try:
        fit: Any = normalizers["macenko"].estimate(tissue_pixels(np.ascontiguousarray(pixels).reshape(-1, 3)))
    except StainError:
        return None
    assert isinstance(fit, StainFit)
    return fit


def concentrations(pixels: NDArray[np.uint8], *, stains: StainFit) -> NDArray[np.float32]:
    """Unmix the tissue pixels among (..., 3) by least squares: hematoxylin and eosin, (N, 2) in OD, may be negative."""
    tissue = tissue_pixels(np.ascontiguousarray(pixels).reshape(-1, 3))
    unmix: NDArray[np.float32] = np.linalg.pinv(np.array(stains.stains)).astype(np.float32)
    return to_density(tissue) @ unmix


def concentration_quantiles(amounts: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return `QUANTILES` of (N, 2) concentrations: (2, 7), hematoxylin first."""
    quantiles: NDArray[np.float64] = np.quantile(amounts.astype(np.float64), QUANTILES, axis=0).T
    return quantiles


def concentration_distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[float, float]:
    """Return 1-Wasserstein distances between (N, 2) and (M, 2) concentrations in OD: hematoxylin, eosin."""
    hematoxylin, eosin = (wasserstein_distance(a[:, k], b[:, k]) for k in range(2))
    return hematoxylin, eosin
