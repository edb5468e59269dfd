"""A slide as a mixture of two stains: the common part of Macenko and Vahadane, given the stain vectors.

In optical density a pixel is c_H h + c_E e. Concentrations follow by least squares; scaling their 99th percentiles m to
those of a target and mixing with the vectors of the target is linear, so that one 3x3 matrix normalizes an image:

    od' = od @ M,   M = pinv(S) @ diag(m_target / m) @ S_target,   rows of S: h, e.

The inverse is the same with the two fits exchanged. Least squares may give slightly negative concentrations (noise,
glass), as in other implementations.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from histosynth.stain.normalizer import StainError
from histosynth.stain.optical_density import apply_matrix, to_density

BETA = 0.15
"""Minimum optical density, in all channels, of a stained pixel; eosin, which transmits red, must be dense to count."""
MIN_PIXELS = 200
"""Minimum number of stained pixels."""
MIN_ANGLE_DEG = 8.0
"""Stain vectors closer than this are one stain: separating them would amplify the color blocks of the compression. 90 %
of real tiles lie between 12 and 39 degrees, the target at 22."""
MAX_RESIDUAL = 0.16
"""Maximum residual of two stains; ink leaves more. This limit and the next two lie just beyond all of 265 real tiles of
six laboratories: residual 0.14, red of hematoxylin 1.7 times its green, red of eosin 0.6 times its green."""
MAX_RED = (1.9, 0.75)
"""Maximum ratio of the densities of red and green, of hematoxylin and of eosin: both stains absorb green light."""
MAX_BLUE = 1.0
"""Maximum ratio of the densities of blue and green, of either stain: hematoxylin and eosin absorb green most. 210 real
tiles stay below 0.9. Diaminobenzidine (DAB), which is brown, has 1.4 (Ruifrok & Johnston 2001)."""
MAX_ERASED = 0.03
"""Maximum share of densely stained tissue that normalization may turn into glass, which happens if an estimated stain
is absent: 90 % of real tiles lose less than 1 %, a view filled by a pool of mucus or by bone up to a half."""
DENSE = 0.5
"""Pixels of higher density in any channel are certainly tissue."""
BLACK_DENSITY = 3.0
"""Pixels of higher density in all channels are black: about level 11 of 255."""
TOP_PERCENT = 1.0
"""The concentration exceeded by this percentage of the pixels is used as the largest."""

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class StainFit:
    """Stain of a slide, and the quality of its estimate.

    Attributes:
        stains: unit vectors in optical density (red, green, blue), hematoxylin first, then eosin.
        max_concentrations: 99th percentile of the concentration of each.
        pixels: number of stained pixels of the estimate.
        angle_deg: angle between the stain vectors, in degrees.
        residual: root mean square of the optical density that the two stains do not explain.
    """

    stains: tuple[Vector, Vector]
    max_concentrations: tuple[float, float]
    pixels: int
    angle_deg: float
    residual: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Restore a fit from `to_dict`, also after conversion to JSON and back; other keys are ignored."""
        hematoxylin, eosin = content["stains"]
        first, second = content["max_concentrations"]
        return cls(
            stains=(tuple(hematoxylin), tuple(eosin)),
            max_concentrations=(first, second),
            pixels=content["pixels"],
            angle_deg=content["angle_deg"],
            residual=content["residual"],
        )

    @classmethod
    def median(cls, fits: Sequence["StainFit"]) -> "StainFit":
        """Return the median of several fits, number by number; vectors are rescaled to unit length, pixels summed."""
        stains = np.median([fit.stains for fit in fits], axis=0)
        stains /= np.linalg.norm(stains, axis=1, keepdims=True)
        return cls(
            stains=(_round(stains[0]), _round(stains[1])),
            max_concentrations=_round(np.median([fit.max_concentrations for fit in fits], axis=0)),
            pixels=sum(fit.pixels for fit in fits),
            angle_deg=round(_angle_deg(stains), 3),
            residual=round(float(np.median([fit.residual for fit in fits])), 6),
        )


TARGET = StainFit(
    stains=((0.5626, 0.7201, 0.4062), (0.2159, 0.8012, 0.5581)),
    max_concentrations=(1.9705, 1.0308),
    pixels=0,
    angle_deg=22.4,
    residual=0.0,
)
"""The standard target: HERef and maxCRef of `normalizeStaining.m`, github.com/mitkovetta/staining-normalization."""


@dataclass(frozen=True)
class TwoStains(ABC):
    """Normalization to a target fit by two stain vectors; subclasses define how these are estimated."""

    target: StainFit = TARGET

    @abstractmethod
    def find_stain_vectors(self, stained: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the two stain vectors as rows (2, 3), in any order and of any length.

        Args:
            stained: densities of stained pixels, one row per channel: (3, N), N at least `MIN_PIXELS`.

        Raises:
            StainError: the pixels do not show two stains.
        """

    def estimate(self, pixels: NDArray[np.uint8]) -> StainFit:
        """Fit the stains of a slide from its pooled tissue pixels.

        Args:
            pixels: (N, 3). Stained pixels determine the vectors, all pixels the concentrations.

        Raises:
            StainError: one of `REASONS`.
        """
        density = to_density(np.ascontiguousarray(pixels.T))
        least = np.minimum(np.minimum(density[0], density[1]), density[2])
        stained = np.compress(least >= BETA, density, axis=1)
        require_enough_stain(stained.shape[1], black=int(np.count_nonzero(least > BLACK_DENSITY)))
        stains = order_stains(self.find_stain_vectors(stained))
        maxima = np.percentile(unmixing_matrix(stains) @ density, 100 - TOP_PERCENT, axis=1)
        off_plane = plane_normal(stains).astype(np.float32) @ density
        residual = float(np.sqrt(np.dot(off_plane, off_plane) / (3 * off_plane.size)))
        fit = validated_fit(stains, maxima, residual=residual, pixels=stained.shape[1])
        dense = density[:, density.max(axis=0) > DENSE]
        require_tissue_kept((normalization_matrix(fit, TARGET).T @ dense).max(axis=0))
        return fit

    def with_target(self, fits: Sequence[StainFit]) -> Self:
        """Return this method with the median of these fits as its target."""
        return replace(self, target=StainFit.median(fits))

    def apply(self, image: NDArray[np.uint8], fit: StainFit | None) -> NDArray[np.uint8]:
        """Return the image, (..., 3), in the colors of the target; unchanged if `fit` is None."""
        return image if fit is None else apply_matrix(image, normalization_matrix(fit, self.target))

    def invert(self, image: NDArray[np.uint8], fit: StainFit | None) -> NDArray[np.uint8]:
        """Return an image in the target's colors, (..., 3), in those of the slide; clipped values are not recovered."""
        return image if fit is None else apply_matrix(image, normalization_matrix(self.target, fit))


@lru_cache(maxsize=64)
def normalization_matrix(source: StainFit, target: StainFit) -> NDArray[np.float32]:
    """Return the matrix M (3, 3) of the equation above, from the colors of one fit to those of another."""
    scale = np.divide(target.max_concentrations, source.max_concentrations)
    matrix: NDArray[np.float64] = np.linalg.pinv(np.array(source.stains)) @ (scale[:, None] * np.array(target.stains))
    return matrix.astype(np.float32)


def require_enough_stain(pixels: int, *, black: int) -> None:
    """Raise if this number of stained pixels, of which `black` are black, is too small for an estimate.

    Raises:
        StainError: there are too few pixels, or most of them are black.
    """
    if pixels < MIN_PIXELS:
        raise StainError("too-few-pixels")
    if black > 0.5 * pixels:
        raise StainError("black")


def order_stains(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the stain vectors (2, 3) with unit length, hematoxylin first, which absorbs more red than eosin.

    Raises:
        StainError: the two vectors are one stain.
    """
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    stains: NDArray[np.float64] = unit[np.argsort(-unit[:, 0])]
    if _angle_deg(stains) < MIN_ANGLE_DEG:
        raise StainError("one-stain")
    return stains


def unmixing_matrix(stains: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the matrix (2, 3) that converts a density to the concentrations of two stains, by least squares."""
    matrix: NDArray[np.float32] = np.linalg.pinv(stains.T).astype(np.float32)
    return matrix


def plane_normal(stains: NDArray[np.float64]) -> NDArray[np.floating]:
    """Return the unit vector perpendicular to two stains; the component of a density along it is its residual."""
    perpendicular = np.cross(stains[0], stains[1])
    unit: NDArray[np.floating] = perpendicular / np.linalg.norm(perpendicular)
    return unit


def validated_fit(
    stains: NDArray[np.float64], maxima: NDArray[np.floating], *, residual: float, pixels: int
) -> StainFit:
    """Return the estimated stains as a fit if they can be hematoxylin and eosin.

    Args:
        stains: unit vectors (2, 3), hematoxylin first.
        maxima: largest concentration of each, (2,).
        residual: root mean square of the density off their plane, over pixels and channels.
        pixels: number of stained pixels.

    Raises:
        StainError: the estimate cannot be hematoxylin and eosin.
    """
    if maxima.min() <= 0:
        raise StainError("one-stain")
    red, green, blue = stains.T
    if residual > MAX_RESIDUAL or (red > MAX_RED * green).any() or (blue > MAX_BLUE * green).any():
        raise StainError("foreign-color")
    return StainFit(
        stains=(_round(stains[0]), _round(stains[1])),
        max_concentrations=_round(maxima),
        pixels=pixels,
        angle_deg=round(_angle_deg(stains), 3),
        residual=round(residual, 6),
    )


def require_tissue_kept(density: NDArray[np.float32]) -> None:
    """Raise if normalization to the built-in target turns too much dense tissue into glass.

    Args:
        density: density after normalization in the densest channel, of all pixels that were dense before, (N,).

    Raises:
        StainError: too much of it is glass.
    """
    if density.size and np.count_nonzero(density < BETA) > MAX_ERASED * density.size:
        raise StainError("erases-tissue")


def _angle_deg(stains: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(stains[0], stains[1])), stains[0] @ stains[1])))


def _round(vector: NDArray[np.floating]) -> Any:
    """Return a tuple of six decimals: the last bits depend on the linear algebra library, the image must not."""
    return tuple(round(float(value), 6) for value in vector)
