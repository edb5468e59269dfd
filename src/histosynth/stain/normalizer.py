"""Common interface of stain normalization: estimate a fit from the pooled tissue pixels of a slide, apply it to images.

A failed estimate is a defined outcome: `estimate` raises `StainError` with a reason, the caller records
`skipped:<reason>`, and `apply` without a fit returns the image unchanged.
"""

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from histosynth.registry import Registry
from histosynth.stain.optical_density import min_channel, to_density

GLASS_DENSITY = 0.15
"""Pixels of lower density in all channels are glass."""
_LEVELS = np.arange(256, dtype=np.uint8)
_GLASS = int(_LEVELS[to_density(_LEVELS) < GLASS_DENSITY].min())  # all channels at this level or above


class StainError(Exception):
    """The stains cannot be estimated from these pixels. The message is the reason, one of `REASONS`."""


REASONS = {
    "too-few-pixels": "fewer stained pixels than an estimate needs: a blank or nearly blank image",
    "uniform": "pixels of one color: the stains cannot be distinguished",
    "black": "most of the pixels are black: their color is lost",
    "one-stain": "the estimated stain vectors are nearly parallel: only one stain",
    "erases-tissue": "the estimated stains would turn stained tissue into glass: at least one of them is absent",
    "foreign-color": "colors that hematoxylin and eosin cannot produce: ink, pigment, another stain",
}


class Fit(Protocol):
    """Stain of a slide, as described by one method."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, for JSON."""
        ...


class StainNormalizer(Protocol):
    """Method that brings the colors of a slide to those of a target. Deterministic and immutable."""

    @property
    def target(self) -> Fit | None:
        """The fit whose colors `apply` produces; None if the method has no target."""
        ...

    def estimate(self, pixels: NDArray[np.uint8]) -> Fit | None:
        """Return the fit of a slide from its pooled tissue pixels, (N, 3); None if the method needs none.

        Raises:
            StainError: the pixels do not permit an estimate.
        """
        ...

    def with_target(self, fits: Sequence[Any]) -> Self:
        """Return this normalizer with another target: the median of these fits."""
        ...

    def apply(self, image: NDArray[np.uint8], fit: Any) -> NDArray[np.uint8]:
        """Return the image, (..., 3), in the colors of the target; unchanged if `fit` is None."""
        ...

    def invert(self, image: NDArray[np.uint8], fit: Any) -> NDArray[np.uint8]:
        """Return an image in the target's colors, (..., 3), in those of the slide; clipped values are not recovered."""
        ...


normalizers: Registry[StainNormalizer] = Registry("normalizer")
"""Normalizers by name."""


def is_tissue(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which of (N, 3) pixels are not glass.

    The densest channel is the darkest one: density decreases as the pixel value increases.
    """
    tissue: NDArray[np.bool_] = min_channel(pixels) < _GLASS
    return tissue


def tissue_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return those of (N, 3) pixels that are not glass, for an estimate."""
    return np.compress(is_tissue(pixels), pixels, axis=0)


def fit(normalizer: StainNormalizer, reference: NDArray[np.uint8]) -> StainNormalizer:
    """Return the normalizer with the colors of a reference image, (..., 3), as its target.

    Raises:
        StainError: the reference does not permit an estimate.
    """
    target = normalizer.estimate(tissue_pixels(np.ascontiguousarray(reference).reshape(-1, 3)))
    return normalizer if target is None else normalizer.with_target([target])


class NoNormalization:
    """No normalization: raw colors."""

    target = None

    def estimate(self, pixels: NDArray[np.uint8]) -> None:
        """Return None: there is nothing to estimate."""

    def with_target(self, fits: Sequence[Any]) -> Self:
        """Return this object: there is no target."""
        return self

    def apply(self, image: NDArray[np.uint8], fit: Any) -> NDArray[np.uint8]:
        """Return the image itself."""
        return image

    def invert(self, image: NDArray[np.uint8], fit: Any) -> NDArray[np.uint8]:
        """Return the image itself."""
        return image


normalizers.register("none")(NoNormalization())
