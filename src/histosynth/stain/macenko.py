"""Macenko stain normalization (Macenko et al., "A method for normalizing histology slides ...", ISBI 2009).

In optical density a pixel is a mixture c_H h + c_E e. The pixels with stain span a plane, that of the two largest
principal axes of their densities; within it the stains are the extreme directions, taken robustly as the 1st and 99th
percentile of the angle. Concentrations follow by least squares. Scaling their 99th percentiles to those of a target and
mixing with the target's vectors is linear, so that one 3x3 matrix in optical density normalizes an image:

    od' = od @ M,   M = pinv(S) @ diag(m_target / m) @ S_target,   rows of S: h, e.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histosynth.stain.normalizer import StainError, StainFit, normalizers
from histosynth.stain.optical_density import least_channel, to_density, to_rgb

BETA = 0.15
"""Least optical density, in every channel, of a pixel with stain: eosin that lets red through is seen where dense."""
ALPHA = 1.0
"""Percentile of the angle that counts as extreme."""
MIN_PIXELS = 200
"""Least number of pixels with stain."""
MIN_ANGLE_DEG = 8.0
"""Stain vectors nearer than this are one stain: spreading them would spread the compression's color blocks. Nine of
ten real tiles lie between 12 and 39 degrees, the target at 22."""
_BLACK_DENSITY = 3.0  # about 11 of 255
_MIN_SPREAD = 1e-3

TARGET = StainFit(
    stains=((0.5626, 0.7201, 0.4062), (0.2159, 0.8012, 0.5581)),
    max_concentrations=(1.9705, 1.0308),
    pixels=0,
    angle_deg=22.4,
    residual=0.0,
)
"""The usual target: HERef and maxCRef of `normalizeStaining.m`, github.com/mitkovetta/staining-normalization."""


@dataclass(frozen=True)
class Macenko:
    """Macenko normalization to a target fit."""

    target: StainFit = TARGET

    def estimate(self, pixels: NDArray[np.uint8]) -> StainFit:
        """Fit the stains of a slide from its pooled tissue pixels.

        Args:
            pixels: (N, 3). Those with stain give the vectors; all of them give the concentrations.

        Raises:
            StainError: `too-few-pixels`, `black`, `uniform` or `one-stain`.
        """
        density = to_density(pixels)
        least = least_channel(density)
        stained = density[least >= BETA]
        if len(stained) < MIN_PIXELS:
            raise StainError("too-few-pixels")
        if np.count_nonzero(least > _BLACK_DENSITY) > 0.5 * len(stained):
            raise StainError("black")
        stains, angle = _directions(stained)
        concentrations = density @ np.linalg.pinv(stains)
        residual = density - concentrations @ stains
        maxima = np.percentile(concentrations, 99, axis=0)
        if maxima.min() <= 0:
            raise StainError("one-stain")
        return StainFit(
            stains=(_round(stains[0]), _round(stains[1])),
            max_concentrations=_round(maxima),
            pixels=len(stained),
            angle_deg=round(angle, 3),
            residual=round(float(np.sqrt(np.mean(np.square(residual, dtype=np.float64)))), 6),
        )

    def apply(self, image: NDArray[np.uint8], fit: StainFit | None) -> NDArray[np.uint8]:
        """The image, (H, W, 3), in the colors of the target; unchanged where `fit` is None."""
        if fit is None:
            return image
        return to_rgb(to_density(image) @ _matrix(fit, self.target))


normalizers.register("macenko")(Macenko())


@lru_cache(maxsize=8)
def _matrix(fit: StainFit, target: StainFit) -> NDArray[np.float32]:
    """M of the module's equation, (3, 3); the same for all images of a slide."""
    scale = np.divide(target.max_concentrations, fit.max_concentrations)
    matrix: NDArray[np.float64] = np.linalg.pinv(np.array(fit.stains)) @ (scale[:, None] * np.array(target.stains))
    return matrix.astype(np.float32)


def _directions(stained: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Unit stain vectors as rows, (2, 3), hematoxylin first, and the angle between them in degrees."""
    mean = stained.mean(axis=0, dtype=np.float64)
    variances, vectors = np.linalg.eigh(np.cov(stained, rowvar=False, dtype=np.float64))
    if variances[2] < _MIN_SPREAD**2:
        raise StainError("uniform")
    plane = vectors[:, 1:]
    # Angles are counted from the mean color: there they never wrap, whatever the signs of the axes.
    forward = plane @ (plane.T @ mean)
    forward /= np.linalg.norm(forward)
    side = np.cross(forward, vectors[:, 0])
    angles = np.arctan2(stained @ side.astype(np.float32), stained @ forward.astype(np.float32))
    extremes = np.percentile(angles, [ALPHA, 100 - ALPHA])
    if np.degrees(extremes[1] - extremes[0]) < MIN_ANGLE_DEG:
        raise StainError("one-stain")
    stains = np.cos(extremes)[:, None] * forward + np.sin(extremes)[:, None] * side
    # Hematoxylin absorbs more red than eosin does.
    stains = stains[np.argsort(-stains[:, 0])]
    return stains.astype(np.float32), float(np.degrees(extremes[1] - extremes[0]))


def _round(vector: NDArray[np.floating]) -> Any:
    """As a tuple of six decimals: the last bits depend on the linear algebra library, the image must not."""
    return tuple(round(float(value), 6) for value in vector)
