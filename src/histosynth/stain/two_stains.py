"""A slide as a mixture of two stains: what Macenko and Vahadane share, once they have found the stain vectors.

In optical density a pixel is c_H h + c_E e. Concentrations follow by least squares; scaling their 99th percentiles m to
those of a target and mixing with the target's vectors is linear, so that one 3x3 matrix normalizes an image:

    od' = od @ M,   M = pinv(S) @ diag(m_target / m) @ S_target,   rows of S: h, e.

Inverting it is the same with the two fits exchanged. The least squares may leave a concentration slightly negative
(noise, glass), as in the customary implementations.
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
"""Least optical density, in every channel, of a pixel with stain: eosin that lets red through is seen where dense."""
MIN_PIXELS = 200
"""Least number of pixels with stain."""
MIN_ANGLE_DEG = 8.0
"""Stain vectors nearer than this are one stain: spreading them would spread the compression's color blocks. Nine of
ten real tiles lie between 12 and 39 degrees, the target at 22."""
MAX_RESIDUAL = 0.16
"""Largest residual of two stains; ink leaves more. This bound and the next two lie just beyond every one of 265 real
tiles of six laboratories: residual 0.14, red of hematoxylin 1.7 times its green, red of eosin 0.6 times its green."""
MAX_RED = (1.9, 0.75)
"""Largest density of red over that of green, of hematoxylin and of eosin: green light is what both absorb."""
MAX_ERASED = 0.03
"""Largest share of densely stained tissue that normalization may turn into glass. It does so where the stains found are
not there: nine of ten real tiles lose less than 1 %, a lake of mucus or a bone filling the view up to a half."""
DENSE = 0.5
"""Denser than this in any channel is certainly tissue."""
BLACK_DENSITY = 3.0
"""Denser than this in every channel is black: about 11 of 255."""
TOP_PERCENT = 1.0
"""The concentration that this share of the pixels exceeds counts as the largest."""

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class StainFit:
    """How a slide is stained, and how well that is known.

    Attributes:
        stains: unit vectors in optical density (red, green, blue), hematoxylin first, then eosin.
        max_concentrations: 99th percentile of the concentration of each.
        pixels: number of pixels with stain that the estimate rests on.
        angle_deg: angle between the stain vectors, in degrees.
        residual: root mean square of the optical density that the two stains leave unexplained.
    """

    stains: tuple[Vector, Vector]
    max_concentrations: tuple[float, float]
    pixels: int
    angle_deg: float
    residual: float

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and lists, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote, also after a way through JSON; other keys are left aside."""
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
        """The middle of several: medians of each number, the vectors brought back to unit length; pixels add up."""
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
"""The usual target: HERef and maxCRef of `normalizeStaining.m`, github.com/mitkovetta/staining-normalization."""


@dataclass(frozen=True)
class TwoStains(ABC):
    """Normalization to a target fit by two stain vectors; a method says how it finds them."""

    target: StainFit = TARGET

    @abstractmethod
    def find_stain_vectors(self, stained: NDArray[np.float32]) -> NDArray[np.float64]:
        """The two stain vectors as rows (2, 3), in any order and of any length.

        Args:
            stained: densities of pixels with stain, one row a channel: (3, N), N at least `MIN_PIXELS`.

        Raises:
            StainError: these pixels show no two stains.
        """

    def estimate(self, pixels: NDArray[np.uint8]) -> StainFit:
        """Fit the stains of a slide from its pooled tissue pixels.

        Args:
            pixels: (N, 3). Those with stain give the vectors; all of them give the concentrations.

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
        """This method with the median of these fits for its target."""
        return replace(self, target=StainFit.median(fits))

    def apply(self, image: NDArray[np.uint8], fit: StainFit | None) -> NDArray[np.uint8]:
        """The image, (..., 3), in the colors of the target; unchanged where `fit` is None."""
        return image if fit is None else apply_matrix(image, normalization_matrix(fit, self.target))

    def invert(self, image: NDArray[np.uint8], fit: StainFit | None) -> NDArray[np.uint8]:
        """An image in the colors of the target, (..., 3), in those of the slide; what `apply` clipped stays lost."""
        return image if fit is None else apply_matrix(image, normalization_matrix(self.target, fit))


@lru_cache(maxsize=64)
def normalization_matrix(source: StainFit, target: StainFit) -> NDArray[np.float32]:
    """M of the module's equation, (3, 3), from the colors of one fit to those of another."""
    scale = np.divide(target.max_concentrations, source.max_concentrations)
    matrix: NDArray[np.float64] = np.linalg.pinv(np.array(source.stains)) @ (scale[:, None] * np.array(target.stains))
    return matrix.astype(np.float32)


def require_enough_stain(pixels: int, *, black: int) -> None:
    """Nothing, if so many pixels with stain, so many of them black, are enough to estimate from.

    Raises:
        StainError: they are not.
    """
    if pixels < MIN_PIXELS:
        raise StainError("too-few-pixels")
    if black > 0.5 * pixels:
        raise StainError("black")


def order_stains(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stain vectors (2, 3) brought to unit length, hematoxylin first: it absorbs more red than eosin does.

    Raises:
        StainError: they are one stain.
    """
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    stains: NDArray[np.float64] = unit[np.argsort(-unit[:, 0])]
    if _angle_deg(stains) < MIN_ANGLE_DEG:
        raise StainError("one-stain")
    return stains


def unmixing_matrix(stains: NDArray[np.float64]) -> NDArray[np.float32]:
    """The matrix (2, 3) that takes a density to the concentrations of two stains, by least squares."""
    matrix: NDArray[np.float32] = np.linalg.pinv(stains.T).astype(np.float32)
    return matrix


def plane_normal(stains: NDArray[np.float64]) -> NDArray[np.floating]:
    """The unit vector that two stains leave out: what a density has of it is its residual."""
    across = np.cross(stains[0], stains[1])
    unit: NDArray[np.floating] = across / np.linalg.norm(across)
    return unit


def validated_fit(
    stains: NDArray[np.float64], maxima: NDArray[np.floating], *, residual: float, pixels: int
) -> StainFit:
    """What was found, as a fit.

    Args:
        stains: unit vectors (2, 3), hematoxylin first.
        maxima: largest concentration of each, (2,).
        residual: root mean square of the density off their plane, over pixels and channels.
        pixels: number of pixels with stain.

    Raises:
        StainError: it is not what hematoxylin and eosin make.
    """
    if maxima.min() <= 0:
        raise StainError("one-stain")
    if residual > MAX_RESIDUAL or (stains[:, 0] > MAX_RED * stains[:, 1]).any():
        raise StainError("foreign-color")
    return StainFit(
        stains=(_round(stains[0]), _round(stains[1])),
        max_concentrations=_round(maxima),
        pixels=pixels,
        angle_deg=round(_angle_deg(stains), 3),
        residual=round(residual, 6),
    )


def require_tissue_kept(density: NDArray[np.float32]) -> None:
    """Nothing, if dense tissue is no glass after normalization to the built-in target.

    Args:
        density: in the densest channel after it, of each pixel that was dense before, (N,).

    Raises:
        StainError: too much of it is.
    """
    if density.size and np.count_nonzero(density < BETA) > MAX_ERASED * density.size:
        raise StainError("erases-tissue")


def _angle_deg(stains: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(stains[0], stains[1])), stains[0] @ stains[1])))


def _round(vector: NDArray[np.floating]) -> Any:
    """As a tuple of six decimals: the last bits depend on the linear algebra library, the image must not."""
    return tuple(round(float(value), 6) for value in vector)
